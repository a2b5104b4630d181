"""`harness demo`: the main job, offline, on data made on the spot; ends with a table and a page. Only calls the
other verbs.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from harness.config import verb

if TYPE_CHECKING:
    from rich.console import RenderableType

    from harness.verbs.report import Report

TITLE = "Which frozen encoder, which tap, which head? A small synthetic answer"

# (encoder, what each run reads): the maps' heads read the output's map, `ridge` also each of a few taps alone.
ENCODERS = {
    "sam-tiny": ("*:moments", "block.1:moments", "neck:moments"),
    "efficientnet-lite0": ("*:moments", "stage.2:moments", "stage.6:moments", "head:moments"),
}
NETWORKS = ("mlp", "fft", "spatial", "sam-iqa")


class Demo(msgspec.Struct, frozen=True):
    """What the demo made."""

    report: Any
    seconds: float

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        from harness.console import duration

        words = (
            f"\nMade in {duration(self.seconds)}. Labels are a formula's (proxy), sam-tiny's weights are random "
            "(UNTRAINED), and a few "
            "photographs prove little: this shows the tool, not a result. With a real dataset:\n"
            "  harness datasets ls\n  harness precompute --dataset NAME --root DIR --encoder efficientnet-lite0\n"
            "  harness train-head --variant ridge\n\n"
            f"report: {self.report.html}"
        )
        return Group(self.report, Text(words))


@verb
def demo(
    out: Annotated[Path, typer.Option(help="The folder to work in.")] = Path("demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer photographs, one encoder, two heads: under a minute.")
    ] = False,
) -> Demo:
    """Runs the whole job offline on synthetic datasets: encode, train, test within and across, report. Under 3 minutes.

    Examples:
    harness demo
    harness demo --quick --out try

    Returns:
        The report and the seconds it took.
    """
    import time

    from harness.datasets.synthetic import generate
    from harness.verbs.evaluate import evaluate
    from harness.verbs.precompute import precompute
    from harness.verbs.report import report
    from harness.verbs.train_head import train_head

    start = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    stores, runs = out / "stores", out / "runs"
    roots = {name: generate(name, out / "data" / name, quick=quick) for name in ("synthetic", "synthetic-cross")}
    encoders = {"efficientnet-lite0": ENCODERS["efficientnet-lite0"][:1]} if quick else ENCODERS
    networks = ("fft",) if quick else NETWORKS
    made: list[Any] = []
    for encoder, readings in encoders.items():
        for name, root in roots.items():
            told(precompute, dataset=name, root=root, encoder=encoder, store=stores)
        common: dict[str, Any] = {
            "dataset": "synthetic",
            "encoder": encoder,
            "store": stores,
            "runs": runs,
            "split": "leave-one-out",
        }
        for features in readings:
            made += told(train_head, variant="ridge", features=[features], **common)
        for variant in networks:
            made += told(train_head, variant=variant, **common)
    told(
        evaluate,
        runs=[Path(run.folder) for run in made],
        on="synthetic-cross",
        store=stores,
        shown=[runs / "*"],
    )
    page: Report = told(
        report, runs=[Path(run.folder) for run in made], out=out / "report", title=TITLE, shown=[runs / "*"]
    )
    return Demo(page, time.monotonic() - start)


def told(function: Any, shown: list[Path] | None = None, **settings: Any) -> Any:
    """Calls a verb and says the command that does the same."""
    from harness import console

    words = ["harness", function.__name__.replace("_", "-")]
    for key, value in settings.items():
        if key == "runs" and isinstance(value, list):
            words += [str(path) for path in shown or value]
        else:
            words += [f"--{key}", *(str(v) for v in (value if isinstance(value, list) else [value]))]
    console.say("$ " + " ".join(word if "runs/*" in word else shlex.quote(word) for word in words))
    return function(**settings)
