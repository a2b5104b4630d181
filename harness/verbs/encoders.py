"""`harness encoders ls | info | fetch`: what each frozen encoder is, costs and needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from harness.verbs.datasets import Facts

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cache.encoders.base import EncoderSpec


class EncoderRow(msgspec.Struct, frozen=True):
    """One line of `encoders ls`."""

    name: str
    title: str
    taps: int
    output: str
    view: str
    gflop: str
    weights: str
    licence: str


class EncoderTable(list[EncoderRow]):
    """Rows that draw themselves."""

    def __rich__(self) -> RenderableType:
        from rich.table import Table

        table = Table(box=None, header_style="bold")
        for heading in ("name", "title", "taps", "output", "view", "GFLOP/image", "weights", "licence"):
            table.add_column(heading, justify="right" if heading in ("taps", "GFLOP/image") else "left")
        for r in self:
            known = (str(r.taps), r.output, r.view, r.gflop) if r.taps else ("its own", "", r.view, r.gflop)
            table.add_row(r.name, r.title, *known, r.weights, r.licence)
        return table


def ls() -> EncoderTable:
    """Lists the encoders.

    Examples:
    harness encoders ls
    """
    from harness.registry import encoders

    registry = encoders()
    rows = EncoderTable()
    for name in registry.names():
        spec = registry.get(name).spec
        facts = (len(spec.taps), spec.output, spec.view, cost(spec), said_of_weights(spec), spec.licence)
        rows.append(EncoderRow(name, spec.title, *facts))
    return rows


def info(
    name: Annotated[str, typer.Argument(help="A name of `harness encoders ls`.")],
    weights: Annotated[
        Path | None, typer.Option(help="Its weights, where taps depend on them: the tensors of an ONNX graph.")
    ] = None,
) -> Facts:
    """Prints what an encoder is: taps with channels and stride, normalisation, cost, licence, training data, weights.

    Examples:
    harness encoders info sam-vit-b
    harness encoders info onnx --weights model.onnx
    """
    from harness.recipe import resolve_encoder
    from harness.registry import encoders

    spec = encoders().get(name).spec if weights is None else resolve_encoder(name, weights, None, "cpu")[0].spec
    taps = {
        tap.name: f"{tap.channels} channels, stride {tap.stride}" if tap.stride else f"{tap.channels} numbers an image"
        for tap in spec.taps
    }
    return Facts(
        name,
        {
            "title": spec.title,
            "taps": taps or "those of a graph (--weights FILE) or of a name (timm.NAME)",
            "output": spec.output or "the last tap",
            "kept": " ".join(spec.kept) if taps else "the output's map and all moments",
            "view": spec.view,
            "normalisation": spec.normalisation,
            **({"its own preprocessing": spec.preprocessing} if spec.preprocessing else {}),
            "cost": f"{cost(spec)} GFLOP an image" + " of 512 x 512" * (spec.view == "native"),
            "precisions": ", ".join(spec.precisions),
            "devices": "torch's" + ", openvino" * spec.openvino if not spec.formula else "cpu",
            "licence": spec.licence,
            "source": spec.source,
            "training data": spec.training_data,
            "trained on": ", ".join(spec.trained_on) or "nothing",
            "weights": said_of_weights(spec),
            **({"sha256": spec.weights_sha256, "url": spec.weights_url} if spec.weights_url else {}),
        },
    )


def cost(spec: EncoderSpec) -> str:
    """GFLOP an image, as far as it is known."""
    return f"{spec.gflop:,.1f}" if spec.gflop >= 1 else f"{spec.gflop:.1g}" if spec.gflop else "?"


def said_of_weights(spec: EncoderSpec) -> str:
    """Where they come from, in a word or two."""
    if spec.embedded:
        return "untrained, seeded" if spec.untrained else "none" if spec.formula else "in a package"
    return spec.weights_file or "--weights FILE"


class Fetched(msgspec.Struct, frozen=True):
    """A weights file that is now here."""

    encoder: str
    file: str
    sha256: str

    def __rich__(self) -> str:
        return f"{self.encoder}: {self.file} (sha256 {self.sha256[:12]}…). Set IQA_WEIGHTS to its folder."


def fetch(
    name: Annotated[str, typer.Argument(help="A name of `harness encoders ls` that has an official file.")],
    to: Annotated[Path, typer.Option(help="The folder to put it in.")] = Path("weights"),
) -> Fetched:
    """Fetches an encoder's official weights once, and checks their sha256.

    Examples:
    harness encoders fetch sam-vit-b --to weights
    """
    from cache.weights import fetch as get
    from cache.weights import sha256_of
    from harness.registry import encoders

    path = get(encoders().get(name).spec, to)
    return Fetched(name, str(path), sha256_of(path))
