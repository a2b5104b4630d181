"""`harness predict`: quality of new images, end to end: the run's own encoder, features and head. Nothing is stored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from harness.config import verb

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cache.encoders.base import Encoder
    from cache.views import View
    from reports.card import RunCard


class Predicted(msgspec.Struct, frozen=True):
    """One image's predicted quality."""

    image: str
    quality: float | None
    mos: float | None
    failure: str


class Predictions(list[Predicted]):
    """Predictions that draw themselves."""

    note: str = ""

    @property
    def exit_code(self) -> int:
        """1 where not one image could be predicted."""
        return 1 if self and all(p.failure for p in self) else 0

    def __rich__(self) -> RenderableType:
        from rich.table import Table

        table = Table(box=None, header_style="bold", caption=self.note or None, caption_justify="left")
        for heading in ("image", "quality", "on its scale", ""):
            table.add_column(
                heading,
                justify="right" if heading in ("quality", "on its scale") else "left",
                overflow="fold",
            )
        for p in self:
            numbers = ("-" if v is None else f"{v:.3f}" for v in (p.quality, p.mos))
            table.add_row(p.image, *numbers, p.failure)
        return table


@verb
def predict(
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")],
    run: Annotated[Path, typer.Option(help="The run whose encoder and head are used: a folder or an id.")],
    weights: Annotated[Path | None, typer.Option(help="The encoder's weights (default: as for precompute).")] = None,
    resize: Annotated[str, typer.Option(help="As at precompute: pillow, torch.")] = "pillow",
    precision: Annotated[str, typer.Option(help="As at precompute: fp32, bf16, fp16.")] = "fp32",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps or auto; openvino for SAM and ONNX.")] = "auto",
) -> Predictions:
    """Predicts the quality of new images with a fitted run.

    Examples:
    harness predict photo.jpg --run runs/biq2021-ridge-official-1a2b3c4d
    harness predict holiday/ --run biq2021-ridge-official-1a2b3c4d --json

    Returns:
        One row an image: quality (0..1, higher is better), the same on the scale that the run was trained on (where
        that is one), or why not.
    """
    import math

    import numpy as np

    from cache.encode import Block, Encoded, Item, Look, encode_looks
    from cache.features import parse_feature
    from cache.joined import Joined
    from cache.memory import InMemory
    from harness import console
    from harness.config import current
    from harness.datasets.scale import QualityMap
    from harness.errors import NotFoundError
    from harness.locate import run_folder
    from harness.runs import fitted
    from heads.base import Examples
    from heads.checkpoint import load_head
    from reports import card as cards

    (folder,) = fitted([run_folder(run, current()[0])])
    card = cards.load_run(folder / "card.json")
    files = _files(images)
    if not files:
        raise NotFoundError(f"Expected image files, found none in {', '.join(str(i) for i in images)}.")
    head = load_head(folder / "head")
    items = [Item(str(file), file) for file in files]
    seen = looks_of(card, weights, device, precision, resize)
    own = {
        prefix: [n.rpartition("/")[2] for n in head.features if n.rpartition("/")[0] in ("", prefix)] for prefix in seen
    }
    looks = [
        Look(encoder, view, [Block(items, [parse_feature(name) for name in own[prefix]])])
        for prefix, (encoder, view) in seen.items()
    ]
    rows: dict[str, list[Encoded]] = {prefix: [] for prefix in seen}
    with console.progress("predict", len(files) * len(looks), "picture") as bar:
        for look, row in encode_looks(looks):
            rows[list(seen)[look]].append(row)
            bar.advance()
    failures = {row.id: row.reason for some in reversed(rows.values()) for row in some if row.status != "ok"}
    quality: dict[str, float] = {}
    if set(failures) < {item.id for item in items}:
        joined = Joined({p: InMemory([r for r in some if r.status == "ok"], own[p]) for p, some in rows.items()})
        ids, unknown = joined.ids, np.full(len(joined.ids), np.nan)
        source = joined if len(looks) > 1 else next(iter(joined.parts.values()))
        examples = Examples(source, ids, unknown, unknown, unknown, ["new"] * len(ids), ids, [""] * len(ids))
        quality = dict(zip(ids, head.predict(examples).tolist(), strict=True))
    # A run that learnt from several datasets has several scales, and so no one to put a new image on.
    scale = msgspec.convert(card.quality_map, QualityMap) if len(card.datasets) == 1 else None
    result = Predictions()
    for item in items:
        value = quality.get(item.id, math.nan)
        failure = failures.get(item.id, "" if math.isfinite(value) else "prediction is not finite")
        mos = None if failure or scale is None else float(scale.to_mos(np.array([value]))[0])
        result.append(Predicted(item.id, None if failure else value, mos, failure))
    stamps = f" Stamped {' '.join(card.stamps)}." if card.stamps else ""
    result.note = (
        f"{card.variant} on {card.encoder}, trained on {card.dataset} ({card.counts['train']} images).{stamps}"
    )
    return result


def looks_of(
    card: RunCard, weights: Path | None, device: str, precision: str, resize: str
) -> dict[str, tuple[Encoder, View]]:
    """`encoder@view` of each store that a run was trained on -> the same encoder, loaded, and view.

    Raises:
        ProtocolError: with these weights it is another one.
    """
    from cache.identity import key8
    from cache.views import parse_view
    from harness.devices import encoder_device
    from harness.errors import ProtocolError
    from harness.locate import parts_of
    from harness.recipe import identity_of, recipe
    from reports import card as cards

    loaded: dict[str, Encoder] = {}
    found: dict[str, tuple[Encoder, View]] = {}
    for store, wanted in zip(cards.apart(card.store), cards.apart(card.store_key), strict=True):
        name, view_name = parts_of(store)
        if name not in loaded:
            loaded[name] = recipe(name, weights, precision).load(encoder_device(device))
        view = parse_view(view_name, resize)
        key = key8(identity_of(loaded[name], view))
        if key != wanted:
            raise ProtocolError(
                f"{card.id} was trained on features with key {wanted} ({store}); this encoder, with these weights, "
                f"gives {key}. Use the same weights file and version (--weights FILE), --resize and --precision."
            )
        found[f"{name}@{view_name}"] = (loaded[name], view)
    return found


def _files(images: list[Path]) -> list[Path]:
    """Files as given; of a folder, its images by extension."""
    known = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"}
    files: list[Path] = []
    for path in images:
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in known) if path.is_dir() else [path]
        files += inside
    return files
