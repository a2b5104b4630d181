"""What a head is, and what it may see: `Head`, `FitPlan`. Never reads a store and never scores.

A head learns from frozen features only. It is handed rows with labels, told which of them it may fit and
choose on, and returns fitted copies of itself; test rows are not part of a plan, so no head can look at
them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from heads.errors import DataError, HeadError
from heads.examples import Examples, FeatureSource, Floats, Rows
from heads.names import all_summaries, output_maps, require
from heads.settings import HeadSettings, parse_settings

__all__ = [
    "Arrays",
    "Examples",
    "FeatureSource",
    "FitPlan",
    "Floats",
    "Head",
    "Progress",
    "Report",
    "Rows",
    "Score",
]

Arrays = dict[str, NDArray[Any]]
Score = Callable[[Floats, Floats], float]


@dataclass(frozen=True, eq=False)
class FitPlan:
    """What one fit may see.

    Attributes:
        train: positions into `Examples` to fit on.
        valid: positions to choose on (epoch, regulariser); may be empty.
        seed: of everything random.
        settings: changes to the head's settings for this fit alone.
    """

    train: Rows
    valid: Rows
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        for part in ("train", "valid"):
            object.__setattr__(self, part, np.array(getattr(self, part), dtype=np.int64).reshape(-1))


@dataclass(frozen=True)
class Progress:
    """One step of a fit, for a progress bar.

    Attributes:
        plan: which plan, from 0, of `plans`.
        epoch: which epoch, from 1, of `epochs`.
        loss: of the epoch on train rows; None where there is none.
        valid: score on validation rows; None without them.
    """

    variant: str
    plan: int
    plans: int
    epoch: int
    epochs: int
    loss: float | None = None
    valid: float | None = None

    @property
    def text(self) -> str:
        """`fit 2/10, epoch 7/20, loss 0.312, valid 0.781`."""
        parts = [f"fit {self.plan + 1}/{self.plans}"] if self.plans > 1 else []
        parts += [f"epoch {self.epoch}/{self.epochs}"] if self.epochs > 1 else []
        parts += [f"loss {self.loss:.3f}"] if self.loss is not None else []
        parts += [f"valid {self.valid:.3f}"] if self.valid is not None else []
        return ", ".join(parts)


Report = Callable[[Progress], None]


class Head(ABC):
    """A trainable map from features to quality. A subclass is one file, held to `conformance.check_head`.

    Subclasses give `variant`, `revision` (raised whenever the same settings would give other numbers), what
    it `reads` and `Settings`, and write `fit_plans`, `predict_rows`, `state`, `restore` and `parameters`.
    They must be constructible from settings alone. Fitted heads are copies; the head that `fit` is called
    on stays as it is.

    Attributes:
        settings: checked, with defaults filled in.
        device: where networks fit and predict, "cpu" or "cuda"; not a setting, as it is no part of what a head is.
            Closed forms are solved on the CPU.
        features: names that the head was fitted on, in order; empty before.
        widths: their channels (maps) or widths (summaries).
        history: one entry an epoch: epoch, train_loss, valid_srcc (None without validation rows), seconds,
            note (which epoch was kept, and why).
    """

    variant: ClassVar[str]
    revision: ClassVar[int]
    reads: ClassVar[Literal["maps", "summaries"]]
    Settings: ClassVar[type[HeadSettings]]
    device: str = "cpu"

    def __init__(self, settings: Mapping[str, Any] | HeadSettings | None = None) -> None:
        self.settings: Any = parse_settings(self.Settings, settings)
        self.features: list[str] = []
        self.widths: list[int] = []
        self.history: list[dict[str, Any]] = []

    def default_features(self, available: Sequence[str], output: str) -> list[str]:
        """Names that this head asks for if a person names none: the output's map, or all summaries and vectors.

        Args:
            available: names that the store has of what its encoder keeps by default; may repeat, may be qualified
                (`encoder@view/tap:what`).
            output: the encoder's output tap.
        """
        return output_maps(available, output) if self.reads == "maps" else all_summaries(available)

    @abstractmethod
    def fit_plans(
        self, examples: Examples, plans: Sequence[FitPlan], score: Score | None, report: Report
    ) -> Sequence[Self]:
        """Fits one copy for each plan; the plans are checked already. Calls `report` `steps(plan)` times
        for each."""

    @abstractmethod
    def predict_rows(self, examples: Examples) -> Floats:
        """Quality of every row, (n,); features are checked already, labels must not be read."""

    @abstractmethod
    def state(self) -> Arrays:
        """All fitted arrays by name."""

    @abstractmethod
    def restore(self, arrays: Arrays) -> None:
        """Takes back what `state` gave; settings, features and widths are set already.

        Raises:
            DataError: an array is missing or of another shape.
        """

    @abstractmethod
    def parameters(self) -> int:
        """How many numbers were learned; 0 before the fit."""

    def steps(self, plan: FitPlan) -> int:
        """How many progress events the fit of a plan makes."""
        return 1

    def fit_many(
        self,
        examples: Examples,
        plans: Sequence[FitPlan],
        score: Score | None = None,
        progress: Report | None = None,
    ) -> list[Self]:
        """Fits one copy for each plan, sharing what can be shared.

        Args:
            examples: labelled rows; only rows of the plans are read.
            plans: which rows to fit and to choose on.
            score: (quality, prediction) -> agreement, higher is better; chooses on validation rows. None:
                nothing is chosen on them.
            progress: called after each step.

        Returns:
            Fitted heads, in the order of the plans.

        Raises:
            DataError: no or equal labels, unknown or shared rows, features that are not finite.
            HeadError: features of the wrong kind, wrong settings.
            FitError: the loss is no longer a number.
        """
        names = list(examples.features.names)
        if not names:
            raise DataError("Expected at least one feature, found none. Name one: --features TAP:WHAT.")
        require(self.variant, self.reads, names)
        for plan in plans:
            check_plan(examples, plan)
        fitted = list(self.fit_plans(examples, plans, score, progress or (lambda _: None)))
        for head in fitted:
            head.features = names
            head.widths = [examples.features.channels(name) for name in names]
        return fitted

    def fit(
        self, examples: Examples, plan: FitPlan, score: Score | None = None, progress: Report | None = None
    ) -> Self:
        """Fits one copy; see `fit_many`."""
        return self.fit_many(examples, [plan], score, progress)[0]

    def predict(self, examples: Examples) -> Floats:
        """Quality of every row: (n,) float64, on the scale of the labels it was fitted on; NaN where
        features are not finite.

        Raises:
            HeadError: the head is not fitted.
            DataError: a feature is missing or has another width than at the fit.
        """
        if not self.features:
            raise HeadError(
                f"Expected a fitted {self.variant} head, found one that was never fitted. Call fit, or "
                "load a saved one."
            )
        have = list(examples.features.names)
        for name, width in zip(self.features, self.widths, strict=True):
            if name not in have:
                raise DataError(
                    f"Expected the feature {name} that this {self.variant} head was fitted on, found "
                    f"{', '.join(have) or 'none'}. "
                    "Encode it, or select it from the store."
                )
            found = examples.features.channels(name)
            if found != width:
                raise DataError(
                    f"Expected {width} channels in {name}, found {found}. Use features of the same "
                    "encoder as at the fit."
                )
        if len(examples) == 0:
            return np.empty(0)
        return self.predict_rows(examples)

    def refined(self, plan: FitPlan) -> Self:
        """An unfitted copy with the plan's settings."""
        merged = {**msgspec.to_builtins(self.settings), **plan.settings}
        return type(self)(merged)

    def save(self, folder: Path) -> None:
        """Writes `head.safetensors` and `head.json` into a folder; see `heads.checkpoint`."""
        from heads.checkpoint import save_head

        save_head(self, folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """A fitted head from its folder.

        Raises:
            HeadError: a head of another variant, or of a newer revision than this code.
            DataError: missing or damaged files.
        """
        from heads.checkpoint import read_head

        return read_head(cls, folder)


def check_plan(examples: Examples, plan: FitPlan) -> None:
    """Raises DataError unless the plan's rows exist, train and valid share none, and the train labels
    differ."""
    for part, rows in (("train", plan.train), ("valid", plan.valid)):
        if len(rows) and (rows.min() < 0 or rows.max() >= len(examples)):
            raise DataError(
                f"Expected {part} rows between 0 and {len(examples) - 1}, found {rows.min()} to {rows.max()}."
            )
        unlabelled = np.flatnonzero(~np.isfinite(examples.quality[rows]))
        if len(unlabelled):
            raise DataError(
                f"Expected a finite label on every {part} row, found {len(unlabelled)} without, such as "
                f"{examples.ids[rows[unlabelled[0]]]!r}. Leave those rows out of the plan."
            )
    shared = np.intersect1d(plan.train, plan.valid)
    if len(shared):
        raise DataError(
            f"Expected train and valid rows to differ, found {len(shared)} in both, such as "
            f"{examples.ids[shared[0]]!r}."
        )
    labels = np.unique(examples.quality[plan.train])
    if len(labels) < 2:
        found = f"{len(plan.train)} rows" + (f" that all have the label {labels[0]:g}" if len(labels) else "")
        raise DataError(
            f"Expected at least two train rows with different labels, found {found}. Nothing can be learned from them."
        )
