"""`harness score`: predictions from anywhere, scored as a run of ours is: same rows, tables, intervals and stamps."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer

from harness.config import verb

if TYPE_CHECKING:
    from rich.console import RenderableType

    from reports.scores import Scores

NO_PREDICTION = "no prediction in the file"


class Scored(msgspec.Struct, frozen=True):
    """How the predictions did, and how they were joined; hand it to `report` like a run."""

    id: str
    folder: str
    dataset: str
    rows: str
    scores: dict[str, float | None]
    asked: int
    notes: list[str]
    stamps: list[str]

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, header_style="bold")
        names = {"srcc": "SRCC", "plcc": "PLCC raw", "plcc_fitted": "PLCC fitted", "krcc": "KRCC", "rmse": "RMSE"}
        for heading in ("on", "n", "asked", *names.values(), "stamps"):
            table.add_column(heading, justify="left" if heading in ("on", "stamps") else "right")
        numbers = [self.scores[name] for name in names]
        shown = ["-" if v is None else f"{v:.3f}" for v in numbers]
        used = f"{int(self.scores['n'] or 0):,}"
        table.add_row(f"{self.dataset} ({self.rows})", used, f"{self.asked:,}", *shown, " ".join(self.stamps))
        return Group(table, *(Text(f"  {note}") for note in self.notes), Text(f"\n{self.folder}"))


@verb
def score(
    predictions: Annotated[Path, typer.Argument(help="A CSV with the columns id and prediction.")],
    dataset: Annotated[str, typer.Option(help="A name of `harness datasets ls`.")],
    split: Annotated[
        str, typer.Option(help="Whose test rows: official, official:NAME, random:3, a split file; or all.")
    ] = "official",
    scale: Annotated[
        Literal["mos", "quality", "any"],
        typer.Option(help="What the predictions are in: as published, 0..1 and higher is better, or neither."),
    ] = "mos",
    better: Annotated[
        Literal["higher", "lower"], typer.Option(help="With --scale any: which predictions are the better ones.")
    ] = "higher",
    name: Annotated[str | None, typer.Option(help="What the predictor is called (default: the file's name).")] = None,
    trained_on: Annotated[str | None, typer.Option(help="What it was trained on (default: the same dataset).")] = None,
    runs: Annotated[Path | None, typer.Option(help="Where the run goes (default: ./runs).")] = None,
    root: Annotated[Path | None, typer.Option(help="The dataset's folder; only its labels are read.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Its label files, where they lie elsewhere.")] = None,
) -> Scored:
    """Scores somebody's predictions; needs neither images nor an encoder.

    Every asked row counts: one without a prediction is a failed row, never a dropped one.

    Examples:
    harness score clipiqa.csv --dataset koniq10k --labels iqa/koniq10k
    harness score niqe.csv --dataset livec --split all --scale any --better lower
    harness score mine.csv --dataset spaq --split plans/koniq-ood/spaq-all.json --trained-on koniq10k

    Returns:
        Scores, and how ids were joined. The run in its folder goes into a report beside others.

    Raises:
        UsageError: no such columns, or an id with two different predictions.
    """
    from collections import Counter

    import numpy as np

    from harness import evaluation, fit, locate, stamps, submitted
    from harness.config import current
    from harness.datasets import sharing
    from harness.errors import UsageError
    from harness.runs import provenance_of, test_rows, write
    from harness.splits.kinds import whole_splits
    from reports import scores as scoring
    from reports.card import Evaluation, RunCard

    config, call = current()
    data = locate.labelled(dataset, root, labels, config, config.path("stores", "stores"))
    chosen = None if split == "all" else whole_splits(split, data)[0]
    ids = data.judged if chosen is None else fit.asked_test(data, chosen)
    if not ids:
        raise UsageError(f"{split} tests nothing: expected a split with test rows, or a plan's list of tested rows.")
    joined = submitted.join(predictions, ids, set(data.manifest["id"]))
    tested, trained = (chosen.name, chosen.train) if chosen else ("all", ())
    quality_map = data.quality_map(trained or data.labelled["id"])
    frame = evaluation.prediction_frame(data, ids, quality_map)
    given = np.array([joined.values.get(i, math.nan) for i in ids])
    signed = quality_map.to_quality(given) if scale == "mos" else given * (-1.0 if better == "lower" else 1.0)
    frame["prediction"] = signed
    frame["failure"] = [
        "label is NaN" if math.isnan(mos) else NO_PREDICTION if i not in joined.values else ""
        for i, mos in zip(ids, frame["mos"], strict=True)
    ]
    frame.loc[(frame["failure"] == "") & ~np.isfinite(frame["prediction"]), "failure"] = "prediction is not finite"
    frame.loc[frame["failure"] != "", "prediction"] = math.nan
    numbers = scoring.score(frame["quality"].to_numpy(), frame["prediction"].to_numpy())
    if scale == "any":
        numbers = msgspec.structs.replace(numbers, rmse=math.nan)
    found = stamps.of_data(missing=max(data.spec.count - len(data.judged), 0), encoded=0, present=0, proxy=data.proxy)
    reasons = Counter(str(reason) for reason in frame["failure"] if reason)
    origin = provenance_of(call.command)
    page = locate.page_of(trained_on or data.name, config.path("stores", "stores"))
    card = RunCard(
        id=f"{data.name}-{name or predictions.stem}-{tested.replace(':', '-')}-{joined.digest[:8]}",
        dataset=trained_on or data.name,
        variant=name or predictions.stem,
        features=[],
        encoder="submitted",
        view="csv",
        store="",
        store_key=joined.digest[:8],
        split_kind=chosen.kind if chosen else "all",
        split_name=tested,
        split_fingerprint=chosen.fingerprint if chosen else "",
        split_note="predictions made elsewhere: what they were trained and chosen on is their author's word",
        seed=0,
        settings={"file": predictions.name, "sha256": joined.digest, "scale": scale, "better": better},
        counts={"asked": len(ids), "used": numbers.n, "failed": len(ids) - numbers.n, "test": numbers.n},
        failures=dict(sorted(reasons.items())),
        stamps=found,
        label_digest=data.label_digest,
        quality_map=msgspec.to_builtins(quality_map),
        gflop=0.0,
        parameters=0,
        head_revision=0,
        seconds={},
        valid_srcc=None,
        provenance=origin,
        config=msgspec.to_builtins(call),
    )
    result = Evaluation(
        run=card.id,
        dataset=data.name,
        rows=test_rows(tested) if trained else "all",
        counts=evaluation.counts(frame),
        failures=card.failures,
        stamps=found,
        scorer=scoring.SCORER,
        scale={**msgspec.to_builtins(data.scale), "quality": quality_map.source, "predictions": scale},
        seconds=0.0,
        provenance=origin,
        notes=[] if page is None else sharing.between(page, data.spec),
    )
    place = (runs or config.path("runs", "runs")) / card.id
    write(place, card, [(result, frame)])
    return Scored(
        card.id, str(place), data.name, result.rows, _plain(numbers), len(ids), joined.notes + result.notes, found
    )


def _plain(numbers: Scores) -> dict[str, float | None]:
    found = {name: getattr(numbers, name) for name in ("n", "failed", "srcc", "plcc", "plcc_fitted", "krcc", "rmse")}
    return {name: value if math.isfinite(value) else None for name, value in found.items()}
