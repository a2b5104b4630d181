"""Results -> scored evaluations -> rows of the tables. Owns what is put together with what; never formats, never draws.

A row is one configuration (what was trained how on what) on one set of test rows. Its runs differ only in their split
or seed, and their median stands for them.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import pandas as pd

from reports.card import Evaluation, RunCard
from reports.intervals import Interval, intervals
from reports.results import Result
from reports.scores import Scores, score, within

FEWEST_IN_GROUP = 10


class Config(NamedTuple):
    """What was trained, but for split and seed. Sorts by name; equal means that runs may be put together."""

    train: str
    encoder: str  # with its view; see `RunCard.source`
    variant: str
    features: tuple[str, ...]
    split: str  # its kind
    settings: str  # canonical JSON
    store: str
    labels: str
    revision: int


class Within(NamedTuple):
    """SRCC within groups; NaN, with a reason, where there is none.

    Attributes:
        by: the column that names the groups.
        own: group -> its SRCC.
    """

    mean: float
    by: str
    own: dict[str, float]
    reason: str = ""


class Scored(NamedTuple):
    """One evaluation with its numbers.

    Attributes:
        rows: what the rows are, the same for all splits of a kind.
        own: whether these are test rows of the dataset that the run was trained on.
        failed: rows without a number that are not missing images.
        reasons: why rows have no number, missing images among them.
    """

    run: RunCard
    evaluation: Evaluation
    frame: pd.DataFrame
    config: Config
    rows: str
    own: bool
    scores: Scores
    srcc: Interval
    plcc: Interval
    within: Within
    missing: int
    failed: int
    reasons: dict[str, int]

    @property
    def asked(self) -> int:
        """Rows that were asked for; more than the frame has where the evaluation is absent as a whole."""
        return int(self.evaluation.counts["asked"])


class Middle(NamedTuple):
    """The median over runs, and the lowest and highest; NaN, with a reason, where no run has a value."""

    value: float
    low: float
    high: float
    runs: int
    reason: str = ""


class Row(NamedTuple):
    """One configuration on one set of rows; `members` are its runs."""

    config: Config
    test: str
    rows: str
    own: bool
    members: list[Scored]
    stamps: list[str]

    def middle(self, value: Callable[[Scored], float]) -> Middle:
        """The median of a number over the runs that have it."""
        values = [v for v in map(value, self.members) if math.isfinite(v)]
        if not values:
            reasons = sorted({m.scores.reason for m in self.members} - {""})
            return Middle(math.nan, math.nan, math.nan, 0, "; ".join(reasons))
        return Middle(float(np.median(values)), min(values), max(values), len(values))

    @property
    def representative(self) -> Scored:
        """The run whose SRCC is in the middle (the lower of two)."""
        order = sorted(self.members, key=lambda m: (not math.isfinite(m.scores.srcc), m.scores.srcc, m.run.id))
        return order[(sum(math.isfinite(m.scores.srcc) for m in order) - 1) // 2]


def config_of(run: RunCard) -> Config:
    """The configuration that a run belongs to."""
    return Config(
        train=run.dataset,
        encoder=run.source,
        features=tuple(run.features),
        variant=run.variant,
        split=run.split_kind,
        settings=json.dumps(run.settings, sort_keys=True),
        store=run.store_key,
        labels=run.label_digest,
        revision=run.head_revision,
    )


def scored(result: Result) -> Scored:
    """All numbers of one evaluation, made from its predictions."""
    run, evaluation, frame = result
    quality, prediction = (frame[name].to_numpy(dtype=np.float64).copy() for name in ("quality", "prediction"))
    failure = frame["failure"].to_numpy(dtype=object).copy()
    failure[(failure == "") & ~np.isfinite(quality)] = "label is NaN"
    failure[(failure == "") & ~np.isfinite(prediction)] = "prediction is not finite"
    lost = failure != ""
    prediction[lost] = np.nan
    numbers = score(quality, prediction)
    reasons = Counter(failure[lost].tolist())
    if evaluation.absent:
        numbers = msgspec.structs.replace(numbers, reason=evaluation.absent)
        reasons = Counter({evaluation.absent: evaluation.counts["asked"]})
    if evaluation.scale.get("predictions") == "any":  # another scale than the labels': a distance means nothing
        numbers = msgspec.structs.replace(numbers, rmse=math.nan)
    groups = frame["group"].fillna("").astype(str)
    units = groups.where(groups != "", frame["id"]).tolist()
    srcc, plcc = intervals(quality, prediction, units)
    own = evaluation.dataset == run.dataset
    missing = int(evaluation.counts.get("missing", 0))
    return Scored(
        run=run,
        evaluation=evaluation,
        frame=frame.assign(failure=failure, prediction=prediction),
        config=config_of(run),
        rows=evaluation.rows.replace(run.split_name, run.split_kind) if own else evaluation.rows,
        own=own,
        scores=numbers,
        srcc=srcc,
        plcc=plcc,
        within=_within(frame, quality, prediction),
        missing=missing,
        failed=evaluation.counts["asked"] - numbers.n - missing,
        reasons=dict(sorted(reasons.items())),
    )


def _within(frame: pd.DataFrame, quality: np.ndarray, prediction: np.ndarray) -> Within:
    """By scene (or source) where there are scenes, else by group."""
    reason = "no groups"
    for column in ("scene", "group"):
        names = frame[column].fillna("").astype(str)
        used = (names != "").to_numpy() & np.isfinite(prediction) & np.isfinite(quality)
        sizes = Counter(names.to_numpy()[used].tolist())
        if not sizes or (column == "group" and max(sizes.values()) == 1):
            continue
        mean, own = within(quality, prediction, names.tolist(), FEWEST_IN_GROUP)
        if len(own) > 1:
            return Within(mean, column, own)
        large = sum(size >= FEWEST_IN_GROUP for size in sizes.values())
        reason = f"{column}s of < {FEWEST_IN_GROUP} rows" if large < 2 else f"{column}s of equal values"
        reason = f"1 {column}" if len(sizes) == 1 else reason
    return Within(math.nan, "", {}, reason)


def rows_of(results: Sequence[Scored], order: Callable[[set[str]], list[str]]) -> list[Row]:
    """Evaluations put together by configuration and test rows, sorted by train set, test set and name.

    Args:
        order: brings a set of stamps into their order.
    """
    together: dict[tuple[Config, str, str], list[Scored]] = {}
    for one in results:
        together.setdefault((one.config, one.evaluation.dataset, one.rows), []).append(one)
    rows = [
        Row(config, test, rows, members[0].own, members, order({s for m in members for s in stamps_of(m)}))
        for (config, test, rows), members in together.items()
    ]
    return sorted(rows, key=lambda r: (r.config.train, r.config.split, not r.own, r.test, r.rows, r.config))


def stamps_of(one: Scored) -> set[str]:
    """The stamps of a run and of the rows that it was evaluated on."""
    return {*one.run.stamps, *one.evaluation.stamps}


def validation(config: Config, results: Sequence[Scored]) -> Middle:
    """The median validation SRCC of a configuration's runs; what chooses, where something is chosen."""
    scores = {r.run.id: r.run.valid_srcc for r in results if r.config == config}
    values = [v for v in scores.values() if v is not None and math.isfinite(v)]
    if not values or len(values) < len(scores):
        lack = len(scores) - len(values)
        return Middle(math.nan, math.nan, math.nan, 0, f"{lack} of {len(scores)} runs have no validation score")
    return Middle(float(np.median(values)), min(values), max(values), len(values))
