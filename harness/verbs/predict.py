"""`harness predict`: quality of new images, end to end: the run's own encoder, features and head. Nothing is stored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from harness.config import verb

if TYPE_CHECKING:
    from rich.console import RenderableType


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
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps or auto.")] = "auto",
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

    from cache.encode import Item, encode_items
    from cache.features import parse_feature
    from cache.identity import key8
    from cache.rows import InMemory
    from harness import console
    from harness.config import current
    from harness.datasets.scale import QualityMap
    from harness.errors import NotFoundError, ProtocolError
    from harness.locate import run_folder
    from harness.verbs.precompute import identity_of, resolve_encoder
    from heads.base import Examples
    from heads.checkpoint import load_head
    from reports import card as cards

    folder = run_folder(run, current()[0])
    card = cards.load_run(folder / "card.json")
    files = _files(images)
    if not files:
        raise NotFoundError(f"Expected image files, found none in {', '.join(str(i) for i in images)}.")
    encoder, view = resolve_encoder(card.encoder, weights, card.view, device, precision, resize)
    key = key8(identity_of(encoder, view))
    if key != card.store_key:
        raise ProtocolError(
            f"{card.id} was trained on features with key {card.store_key} ({card.store}); this encoder, with these "
            f"weights, gives {key}. "
            "Use the same weights file and version (--weights FILE), --resize and --precision."
        )
    head = load_head(folder / "head")
    names = [parse_feature(name) for name in head.features]
    rows = []
    with console.progress("predict", len(files), "image") as bar:
        for row in encode_items([Item(str(file), file) for file in files], encoder, view, names):
            rows.append(row)
            bar.advance()
    good = [row for row in rows if row.status == "ok"]
    quality: dict[str, float] = {}
    if good:
        n = len(good)
        unknown = np.full(n, np.nan)
        ids = [row.id for row in good]
        examples = Examples(
            InMemory(good, list(head.features)), ids, unknown, unknown, unknown, ["new"] * n, ids, [""] * n
        )
        quality = dict(zip(ids, head.predict(examples).tolist(), strict=True))
    # A run that learnt from several datasets has several scales, and so no one to put a new image on.
    scale = msgspec.convert(card.quality_map, QualityMap) if len(card.datasets) == 1 else None
    result = Predictions()
    for row in rows:
        value = quality.get(row.id, math.nan)
        failure = row.reason if row.status != "ok" else "" if math.isfinite(value) else "prediction is not finite"
        mos = None if failure or scale is None else float(scale.to_mos(np.array([value]))[0])
        result.append(Predicted(row.id, None if failure else value, mos, failure))
    stamps = f" Stamped {' '.join(card.stamps)}." if card.stamps else ""
    result.note = (
        f"{card.variant} on {card.encoder}, trained on {card.dataset} ({card.counts['train']} images).{stamps}"
    )
    return result


def _files(images: list[Path]) -> list[Path]:
    """Files as given; of a folder, its images by extension."""
    known = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"}
    files: list[Path] = []
    for path in images:
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in known) if path.is_dir() else [path]
        files += inside
    return files
