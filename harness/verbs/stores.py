"""`harness stores ls | info`: what the feature stores hold; and how any verb finds the store that is meant."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from harness.verbs.datasets import Facts

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cache.store import FeatureStore

STORE = Annotated[Path | None, typer.Option("--store", help="The stores' folder, or one store (default: ./stores).")]


class StoreRow(msgspec.Struct, frozen=True):
    """One line of `stores ls`.

    Attributes:
        differs: what sets it apart from others of its dataset, encoder and view; empty where its name says all.
    """

    dataset: str
    name: str
    images: int
    failed: int
    pending: int
    features: list[str]
    bytes: int
    stamps: list[str]
    differs: dict[str, str] = {}


class StoreTable(list[StoreRow]):
    """Rows that draw themselves."""

    def __rich__(self) -> RenderableType:
        from rich.table import Table

        from harness.console import size
        from harness.locate import in_words

        table = Table(box=None, header_style="bold")
        for heading in ("dataset", "store", "images", "failed", "pending", "features", "size", "encoder stamps"):
            table.add_column(heading, justify="right" if heading in ("images", "failed", "pending", "size") else "left")
        for r in self:
            table.add_row(
                r.dataset,
                f"{r.name}\n  {in_words(r.differs)}" if r.differs else r.name,
                str(r.images),
                str(r.failed),
                str(r.pending),
                _short(r.features),
                size(r.bytes),
                " ".join(r.stamps),
            )
        return table


def _short(features: list[str]) -> str:
    """`9 x moments, 2 x map (head, stage.6)`."""
    by_what: dict[str, list[str]] = {}
    for name in features:
        tap, _, what = name.partition(":")
        by_what.setdefault(what, []).append(tap)
    return ", ".join(
        f"{what} of {', '.join(taps) if len(taps) <= 3 else f'{len(taps)} taps'}" for what, taps in by_what.items()
    )


def _row(store: FeatureStore, differs: dict[str, str]) -> StoreRow:
    status = store.status()
    return StoreRow(
        dataset=store.dataset,
        name=store.name,
        images=status.ok,
        failed=status.failed,
        pending=status.pending,
        features=[str(f) for f in store.features()],
        bytes=status.bytes,
        stamps=list(store.provenance.get("stamps", [])),
        differs=differs,
    )


def ls(store: STORE = None) -> StoreTable:
    """Lists the feature stores; where some differ by more than dataset, encoder and view (weights, precision, device
    ...), by what.

    Examples:
    harness stores ls
    """
    from cache.store import FeatureStore
    from harness import config, locate
    from harness.errors import NotFoundError

    folder = store or config.load().path("stores", "stores")
    if store is not None and not store.is_dir():
        raise NotFoundError(f"Expected a folder of stores at {store}, found no such folder. Correct --store.")
    paths = locate.stores_under(folder)
    apart = locate.told_apart(paths)
    return StoreTable(_row(FeatureStore.open(path), d) for path, d in zip(paths, apart, strict=True))


def find(folder: Path | None, dataset: str | None, encoder: str | None, view: str | None) -> FeatureStore:
    """The one store that is meant; several or none is an error that says so."""
    from harness import config, locate

    return locate.find_store(folder or config.load().path("stores", "stores"), dataset, encoder, view)


DATASET = Annotated[str | None, typer.Option(help="Only stores of this dataset.")]
ENCODER = Annotated[str | None, typer.Option(help="Only stores of this encoder.")]
VIEW = Annotated[str | None, typer.Option(help="Only stores of this view.")]


MOST_SHOWN = 20


class StoreFacts(Facts, frozen=True):
    """What `stores info` tells; people see the first failed images, `--json` has all."""

    def __rich__(self) -> RenderableType:
        failed = self.facts["failed images"]
        assert isinstance(failed, dict)
        shown = dict(list(failed.items())[:MOST_SHOWN])
        if len(failed) > len(shown):
            shown["..."] = f"{len(failed) - len(shown)} more (--json lists all)"
        return Facts(self.name, self.facts | {"failed images": shown or "none"}).__rich__()


def info(store: STORE = None, dataset: DATASET = None, encoder: ENCODER = None, view: VIEW = None) -> StoreFacts:
    """Prints what is in a store and what its numbers mean: the identity in full, features, each failed image with its
    reason (the first 20; all with --json).

    Examples:
    harness stores info
    harness stores info --dataset biq2021 --encoder efficientnet-lite0
    """
    opened = find(store, dataset, encoder, view)
    status = opened.status()
    failures = dict(opened.failures())
    reasons = dict(Counter(failures.values()))
    facts: dict[str, object] = {
        "path": str(opened.path),
        "key": opened.key8,
        "identity": _flat(msgspec.to_builtins(opened.identity)),
        "why these": (
            "each changes stored numbers: encoder and weights, the code around them, the precision of its products, "
            "how an image becomes pixels (view) and is decoded; a store of another value is never taken for this one"
        ),
        "not in the identity": "labels, paths, which features are kept: none of them changes a number that is stored",
        "status": msgspec.to_builtins(status),
        "failures": reasons or "none",
        "failed images": failures,
        "features": "\n".join(str(f) for f in opened.features()),
        "provenance": _flat(opened.provenance),
    }
    return StoreFacts(f"{opened.dataset} {opened.name}", facts)


def _flat(value: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(value, dict):
        return {prefix.rstrip("."): value}
    flat: dict[str, object] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{prefix}{key}.")
    return flat
