"""Run folders -> cards and predictions, in one order whatever the order of the folders. Never computes a score."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from reports import card as cards
from reports import predictions
from reports.card import Evaluation, RunCard
from reports.errors import ReportError


class Result(NamedTuple):
    """One run on one set of rows; `frame` has the columns of `predictions.SCHEMA`."""

    run: RunCard
    evaluation: Evaluation
    frame: pd.DataFrame


def load(folders: Sequence[Path]) -> list[Result]:
    """Every evaluation of every run, sorted by run and rows.

    Raises:
        ReportError: no folders, a run without evaluations, a damaged file, predictions that are not the card's, or two
            different folders with the same run.
    """
    places = sorted({Path(folder).resolve() for folder in folders})
    if not places:
        raise ReportError("Expected run folders, found none. Train a head first: harness train-head.")
    found: dict[str, Path] = {}
    results: list[Result] = []
    for place in places:
        run = cards.load_run(place / "card.json")
        if run.id in found:
            raise ReportError(
                f"Expected every run once, found {run.id} in {found[run.id]} and in {place}. Leave one of them out."
            )
        found[run.id] = place
        files = sorted(place.glob("evaluations/*/card.json"))
        if not files:
            raise ReportError(
                f"Expected evaluations in {place / 'evaluations'}, found none. "
                "Evaluate the run, or train it again: harness train-head."
            )
        results += [_result(run, file) for file in files]
    return sorted(results, key=lambda r: (r.run.id, r.evaluation.dataset, r.evaluation.rows))


def _result(run: RunCard, file: Path) -> Result:
    evaluation = cards.load_evaluation(file)
    if evaluation.run != run.id:
        raise ReportError(
            f"Expected an evaluation of {run.id} at {file}, found one of {evaluation.run}. "
            "Move it back, or evaluate again."
        )
    if evaluation.absent:
        return Result(run, evaluation, predictions.none())
    path = file.with_name("predictions.parquet")
    frame = predictions.read(path)
    asked, missing = (int(evaluation.counts.get(name, 0)) for name in ("asked", "missing"))
    different, lost = len(set(frame["id"])), sum(reason != "" for reason in frame["failure"])
    if not len(frame) == asked == different or missing > lost:
        raise ReportError(
            f"Expected {asked} different rows in {path}, {missing} of them missing, as its card says; "
            f"found {len(frame)} rows, {different} different, {lost} without a prediction. Evaluate again."
        )
    return Result(run, evaluation, frame)
