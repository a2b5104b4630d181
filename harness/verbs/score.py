"""`harness score`: predictions from anywhere, scored as a run of ours is: same rows, tables, intervals and stamps."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import msgspec
import typer

from harness.config import verb

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType

    from harness.datasets.dataset import Dataset
    from harness.datasets.spec import DatasetSpec
    from harness.splits.split import Split
    from reports.card import Evaluation, RunCard
    from reports.scores import Scores

NO_PREDICTION = "no prediction in the file"
SHOWN = 10


class Scored(msgspec.Struct, frozen=True):
    """How the predictions did on one set of rows, and how they were joined."""

    id: str
    folder: str
    dataset: str
    rows: str
    scores: dict[str, float | None]
    asked: int
    notes: list[str]
    stamps: list[str]


class Scorings(list[Scored]):
    """One a split; they draw themselves. Hand them to `report` like runs."""

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, header_style="bold")
        names = {"srcc": "SRCC", "plcc": "PLCC raw", "plcc_fitted": "PLCC fitted", "krcc": "KRCC", "rmse": "RMSE"}
        for heading in ("on", "n", "asked", *names.values(), "stamps"):
            table.add_column(heading, justify="left" if heading in ("on", "stamps") else "right")
        for one in self:
            numbers = [one.scores[name] for name in names]
            shown = ["-" if v is None else f"{v:.3f}" for v in numbers]
            used = f"{int(one.scores['n'] or 0):,}"
            table.add_row(f"{one.dataset} ({one.rows})", used, f"{one.asked:,}", *shown, " ".join(one.stamps))
        notes = list(dict.fromkeys(note for one in self for note in one.notes))
        told = [Text(f"  {note}") for note in [*notes[:SHOWN], *["..."] * (len(notes) > SHOWN)]]
        return Group(table, *told, Text("\n" + "\n".join(one.folder for one in self)))


class Predictor(NamedTuple):
    """What made the predictions, as far as the user tells.

    Attributes:
        trained_on: a dataset's name.
        scale: "mos", "quality" or "any".
        better: which predictions are the better ones, on a scale of their own.
    """

    file: Path
    name: str
    trained_on: str
    scale: str
    better: str

    @property
    def reading(self) -> dict[str, str]:
        """How its predictions are to be read; settings of its runs."""
        return {"scale": self.scale, **({"better": self.better} if self.scale == "any" else {})}


@verb
def score(
    predictions: Annotated[Path, typer.Argument(help="A CSV with the columns id and prediction.")],
    dataset: Annotated[str, typer.Option(help="A name of `harness datasets ls`.")],
    split: Annotated[
        str,
        typer.Option(
            help="Whose test rows: official, official:NAME, random:10 (each of the ten), leave-one-out, a split "
            "file; or all."
        ),
    ] = "official",
    scale: Annotated[
        Literal["mos", "quality", "any"],
        typer.Option(help="What the predictions are in: as published, 0..1 and higher is better, or neither."),
    ] = "mos",
    better: Annotated[
        Literal["higher", "lower"] | None,
        typer.Option(help="With --scale any: which predictions are the better ones (default: higher)."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="What the predictor is called (default: the file's name).")] = None,
    trained_on: Annotated[str | None, typer.Option(help="What it was trained on (default: the same dataset).")] = None,
    runs: Annotated[Path | None, typer.Option(help="Where runs go (default: ./runs).")] = None,
    root: Annotated[Path | None, typer.Option(help="The dataset's folder; only its labels are read.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Its label files, where they lie elsewhere.")] = None,
) -> Scorings:
    """Scores somebody's predictions; needs neither images nor an encoder.

    Every asked row counts: one without a prediction is a failed row, never a dropped one.

    Examples:
    harness score clipiqa.csv --dataset koniq10k --labels iqa/koniq10k
    harness score niqe.csv --dataset livec --split all --scale any --better lower
    harness score mine.csv --dataset livec --split random:10
    harness score mine.csv --dataset spaq --split plans/koniq-ood/spaq-all.json --trained-on koniq10k

    Returns:
        Scores, and how ids were joined, one a split. The runs in their folders go into a report beside others.

    Raises:
        UsageError: no such columns, or an id with two different predictions; --better on a scale that has a direction.
    """
    from harness import locate
    from harness.config import current
    from harness.errors import UsageError
    from harness.runs import write
    from harness.splits.kinds import whole_splits

    if better is not None and scale != "any":
        raise UsageError(
            f"--better {better} goes with --scale any: a prediction in {scale} has a direction already. Type "
            f"--scale any --better {better}, or leave --better out."
        )
    config, _ = current()
    stores = config.path("stores", "stores")
    data = locate.labelled(dataset, root, labels, config, stores)
    told = Predictor(predictions, name or predictions.stem, trained_on or data.name, scale, better or "higher")
    page = locate.page_of(told.trained_on, stores)
    chosen: list[Split | None] = [None] if split == "all" else [*whole_splits(split, data)]
    # All are scored before one is written: what is wrong with the last leaves nothing behind.
    made = [_scored(data, one, told, page, runs or config.path("runs", "runs")) for one in chosen]
    for one, card, result, frame in made:
        write(Path(one.folder), card, [(result, frame)])
    return Scorings(one for one, *_ in made)


def _scored(
    data: Dataset, chosen: Split | None, told: Predictor, page: DatasetSpec | None, runs: Path
) -> tuple[Scored, RunCard, Evaluation, pd.DataFrame]:
    """The scores on one split's test rows (None: on all rows), with what is written into the run's folder.

    Args:
        page: what is declared of the dataset that the predictor was trained on.
        runs: where the run's folder goes.
    """
    from collections import Counter

    import numpy as np

    from harness import evaluation, fit, stamps, submitted
    from harness.config import current
    from harness.datasets import sharing
    from harness.errors import UsageError
    from harness.runs import provenance_of, test_rows
    from reports import scores as scoring
    from reports.card import Evaluation, RunCard

    _, call = current()
    tested, trained = (chosen.name, chosen.train) if chosen else ("all", ())
    ids = data.judged if chosen is None else fit.asked_test(data, chosen)
    if not ids:
        raise UsageError(f"{tested} tests nothing: expected a split with test rows, or a plan's list of tested rows.")
    joined = submitted.join(told.file, ids, set(data.manifest["id"]))
    quality_map = data.quality_map(trained or data.labelled["id"])
    frame = evaluation.prediction_frame(data, ids, quality_map)
    given = np.array([joined.values.get(i, math.nan) for i in ids])
    turned = given * (-1.0 if told.better == "lower" else 1.0)
    frame["prediction"] = quality_map.to_quality(given) if told.scale == "mos" else turned
    frame["failure"] = [
        "label is NaN" if math.isnan(mos) else NO_PREDICTION if i not in joined.values else ""
        for i, mos in zip(ids, frame["mos"], strict=True)
    ]
    frame.loc[(frame["failure"] == "") & ~np.isfinite(frame["prediction"]), "failure"] = "prediction is not finite"
    frame.loc[frame["failure"] != "", "prediction"] = math.nan
    numbers = scoring.score(frame["quality"].to_numpy(), frame["prediction"].to_numpy())
    if told.scale == "any":
        numbers = msgspec.structs.replace(numbers, rmse=math.nan)
    found = stamps.of_data(missing=max(data.spec.count - len(data.judged), 0), encoded=0, present=0, proxy=data.proxy)
    reasons = Counter(str(reason) for reason in frame["failure"] if reason)
    origin = provenance_of(call.command)
    card = RunCard(
        id=_run_id(data, chosen, told, joined.digest),
        dataset=told.trained_on,
        variant=told.name,
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
        settings={"file": told.file.name, "sha256": joined.digest, **told.reading},
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
        scale={**msgspec.to_builtins(data.scale), "quality": quality_map.source, "predictions": told.scale},
        seconds=0.0,
        provenance=origin,
        notes=[] if page is None else sharing.between(page, data.spec),
    )
    one = Scored(
        id=card.id,
        folder=str(runs / card.id),
        dataset=data.name,
        rows=result.rows,
        scores=_plain(numbers),
        asked=len(ids),
        notes=joined.notes + result.notes,
        stamps=found,
    )
    return one, card, result, frame


def _run_id(data: Dataset, chosen: Split | None, told: Predictor, digest: str) -> str:
    """`<dataset>-<predictor>-<split>-<key8>`: the key covers everything that changes the result or what it is called.

    Args:
        digest: of the predictions.
    """
    identity = {
        "labels": data.label_digest,
        "split": chosen.fingerprint if chosen else "all",
        "predictions": [digest, told.reading],
        "trained on": told.trained_on,
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    return f"{data.name}-{told.name}-{(chosen.name if chosen else 'all').replace(':', '-')}-{key}"


def _plain(numbers: Scores) -> dict[str, float | None]:
    found = {name: getattr(numbers, name) for name in ("n", "failed", "srcc", "plcc", "plcc_fitted", "krcc", "rmse")}
    return {name: value if math.isfinite(value) else None for name, value in found.items()}
