"""`harness stores ls | info | verify`: what the feature stores hold, and whether every byte is what it was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from harness.verbs.datasets import Facts

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cache.recompute import Agreement, Recomputed
    from cache.store import FeatureStore

STORE = Annotated[Path | None, typer.Option("--store", help="The stores' folder, or one store (default: ./stores).")]


class StoreRow(msgspec.Struct, frozen=True):
    """One line of `stores ls`."""

    dataset: str
    name: str
    images: int
    failed: int
    pending: int
    features: list[str]
    bytes: int
    stamps: list[str]


class StoreTable(list[StoreRow]):
    """Rows that draw themselves."""

    def __rich__(self) -> RenderableType:
        from rich.table import Table

        from harness.console import size

        table = Table(box=None, header_style="bold")
        for heading in ("dataset", "store", "images", "failed", "pending", "features", "size", "encoder stamps"):
            table.add_column(heading, justify="right" if heading in ("images", "failed", "pending", "size") else "left")
        for r in self:
            table.add_row(
                r.dataset,
                r.name,
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


def _row(store: FeatureStore) -> StoreRow:
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
    )


def ls(store: STORE = None) -> StoreTable:
    """Lists the feature stores.

    Examples:
    harness stores ls
    """
    from cache.store import FeatureStore
    from harness import config, locate
    from harness.errors import NotFoundError

    folder = store or config.load().path("stores", "stores")
    if store is not None and not store.is_dir():
        raise NotFoundError(f"Expected a folder of stores at {store}, found no such folder. Correct --store.")
    return StoreTable(_row(FeatureStore.open(path)) for path in locate.stores_under(folder))


def find(folder: Path | None, dataset: str | None, encoder: str | None, view: str | None) -> FeatureStore:
    """The one store that is meant; several or none is an error that says so."""
    from harness import config, locate

    return locate.find_store(folder or config.load().path("stores", "stores"), dataset, encoder, view)


DATASET = Annotated[str | None, typer.Option(help="Only stores of this dataset.")]
ENCODER = Annotated[str | None, typer.Option(help="Only stores of this encoder.")]
VIEW = Annotated[str | None, typer.Option(help="Only stores of this view.")]


def info(store: STORE = None, dataset: DATASET = None, encoder: ENCODER = None, view: VIEW = None) -> Facts:
    """Prints what is in a store and what its numbers mean: the identity in full, features, failures with reasons.

    Examples:
    harness stores info
    harness stores info --dataset biq2021 --encoder efficientnet-lite0
    """
    opened = find(store, dataset, encoder, view)
    status = opened.status()
    reasons: dict[str, int] = {}
    for _, reason in opened.failures():
        reasons[reason] = reasons.get(reason, 0) + 1
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
        "features": "\n".join(str(f) for f in opened.features()),
        "provenance": _flat(opened.provenance),
    }
    return Facts(f"{opened.dataset} {opened.name}", facts)


def _flat(value: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(value, dict):
        return {prefix.rstrip("."): value}
    flat: dict[str, object] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{prefix}{key}.")
    return flat


class StoreReport(msgspec.Struct, frozen=True):
    """What `stores verify` found in one store.

    Attributes:
        recomputed: one entry a feature; empty where nothing was encoded again.
        changed: of the images encoded again, those whose file is another now, with the reason; no fault of the store.
        failed: those that can no longer be encoded.
    """

    store: str
    checked: int
    findings: list[dict[str, str]]
    recomputed: list[Agreement] = []
    changed: dict[str, str] = {}
    failed: dict[str, str] = {}

    @property
    def exit_code(self) -> int:
        """3 where anything is wrong."""
        return 3 if self.findings or self.failed or any(c.wrong for c in self.recomputed) else 0

    def __rich__(self) -> str:
        lines = [f"{self.store}: {self.checked} images, every row there and every checksum right."]
        if self.findings:
            lines = [
                f"{self.store}: {len(self.findings)} findings. `harness precompute` on the same dataset mends them."
            ]
            lines += [f"  {f['path']}  {f['id']}  {f['problem']}" for f in self.findings]
        for c in self.recomputed:
            lines.append(
                f"  {c.feature}: {c.images} encoded again, {c.equal} bit for bit the same; largest difference "
                f"{c.worst:.2g} of the image's largest number (tolerance {c.tolerance:.2g})"
            )
            if c.wrong:
                lines.append(
                    f"    WRONG: {', '.join(c.wrong)}. Was another machine, library or weights file at work? Make "
                    "them again: harness precompute --if-exists recompute"
                )
        lines += [f"  {i}: not compared, its file is {why} since" for i, why in self.changed.items()]
        lines += [f"  {i}: WRONG: stored, and cannot be encoded now ({why})" for i, why in self.failed.items()]
        return "\n".join(lines)


def verify(
    store: STORE = None,
    dataset: DATASET = None,
    encoder: ENCODER = None,
    view: VIEW = None,
    recompute: Annotated[
        int, typer.Option(min=0, help="Also encode this many images again, and compare with what is stored.")
    ] = 0,
    root: Annotated[Path | None, typer.Option(help="With --recompute: where the images are.")] = None,
    labels: Annotated[Path | None, typer.Option(help="With --recompute: label files that lie elsewhere.")] = None,
    weights: Annotated[Path | None, typer.Option(help="With --recompute: the encoder's weights.")] = None,
    device: Annotated[str, typer.Option(help="With --recompute: cpu, cuda, cuda:1, mps or auto.")] = "auto",
) -> StoreReport:
    """Reads every row of a store and finds each one that is missing, torn or flipped; ends with exit code 3 if any is.

    With --recompute K also encodes K images again, the same K each time (those whose hashed ids come first), and
    compares: the same bits on the same machine, else within a tolerance. An image whose file changed is told, not
    compared.

    Examples:
    harness stores verify --dataset biq2021
    harness stores verify --dataset biq2021 --recompute 20
    """
    from cache.verify import verify as run

    opened = find(store, dataset, encoder, view)
    findings = [{"path": str(f.path), "id": f.id, "problem": f.problem} for f in run(opened)]
    report = StoreReport(f"{opened.dataset} {opened.name}", len(opened.ids()), findings)
    if not recompute:
        return report
    damaged = {finding["id"] for finding in findings}
    whole = [i for i in opened.ids() if i not in damaged]
    again = _encode_again(opened, whole, recompute, (root, labels), weights, device)
    return msgspec.structs.replace(report, recomputed=again.agreements, changed=again.changed, failed=again.failed)


def _encode_again(
    opened: FeatureStore,
    whole: list[str],
    count: int,
    places: tuple[Path | None, Path | None],
    weights: Path | None,
    device: str,
) -> Recomputed:
    """Encodes some of a store's images again with the encoder that it names; `places`: root and label files."""
    from cache.recompute import recompute
    from cache.views import RESIZERS
    from harness import console, locate
    from harness.config import current
    from harness.datasets.dataset import first_by_hash, open_dataset
    from harness.recipe import identity_of, resolve_encoder

    config, _ = current()
    root, labels = places
    folder = locate.needed_root(opened.dataset, root, config)
    data = open_dataset(opened.dataset, folder, locate.labels_folder(opened.dataset, labels, config))
    paths, sources = (dict(zip(data.manifest["id"], data.manifest[of], strict=True)) for of in ("path", "scene"))
    by, seen = opened.identity.encoder, opened.identity.view
    resize = next((typed for typed, name in RESIZERS.items() if name == seen.resize), "pillow")  # "none": either
    loaded, (view,) = resolve_encoder(by.name, weights, [seen.name], device, by.precision, resize)
    ids = first_by_hash(whole, count)
    with console.progress(f"encode {opened.dataset} again", len(ids), "image") as bar:
        return recompute(opened, ids, folder, paths, sources, loaded, view, identity_of(loaded, view), bar.advance)
