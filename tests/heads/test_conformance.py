"""Every built-in head does what every head must, and the suite notices heads that do not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, override

import numpy as np
import pytest

import heads
from heads import HEADS
from heads.base import Examples, FitPlan, Floats, Report, Score
from heads.checkpoint import builtin
from heads.conformance import NotConformingError, check_head
from heads.ridge import RidgeHead

QUICK: dict[str, dict[str, Any]] = {
    "fft": {"epochs": 6, "width": 8, "hidden": 16, "learning_rate": 0.01},
    "spatial": {"epochs": 6, "width": 8, "hidden": 16, "learning_rate": 0.01},
    "sam-iqa": {"epochs": 5, "width": 8, "hidden": 16, "learning_rate": 0.01},
    "mlp": {"epochs": 12, "batch": 16, "hidden": 16, "learning_rate": 0.005},
    "ridge": {},
}


@pytest.mark.parametrize("variant", HEADS)
def test_a_built_in_head_does_what_every_head_must(variant: str) -> None:
    kind = builtin(variant)
    assert kind.variant == variant
    assert len(check_head(kind, QUICK[variant])) >= 13


class Crowded(RidgeHead):
    """Predicts relative to the batch, as a batch norm in training mode would."""

    @override
    def predict_rows(self, examples: Examples) -> Floats:
        found = super().predict_rows(examples)
        return found - found.mean() + 0.5


class Peeking(RidgeHead):
    """Reads labels when it predicts."""

    @override
    def predict_rows(self, examples: Examples) -> Floats:
        return 0.9 * super().predict_rows(examples) + 0.1 * np.nan_to_num(examples.quality)


class Leaking(RidgeHead):
    """Centres its predictions on all labels, test rows among them."""

    @override
    def fit_plans(
        self, examples: Examples, plans: Sequence[FitPlan], score: Score | None, report: Report
    ) -> Sequence[RidgeHead]:
        fitted = super().fit_plans(examples, plans, score, report)
        for head in fitted:
            head._intercept += 0.01 * float(np.nanmean(examples.quality))
        return fitted


class Moody(RidgeHead):
    """Is never the same twice."""

    @override
    def fit_plans(
        self, examples: Examples, plans: Sequence[FitPlan], score: Score | None, report: Report
    ) -> Sequence[RidgeHead]:
        fitted = super().fit_plans(examples, plans, score, report)
        for head in fitted:
            head._intercept += 1e-3 * float(np.random.default_rng().random())
        return fitted


@pytest.mark.parametrize(
    ("kind", "failing"),
    [
        (Crowded, "is_indifferent_to_its_company"),
        (Peeking, "reads_no_label_when_it_predicts"),
        (Leaking, "sees_no_row_outside_its_plan"),
        (Moody, "repeats_itself"),
    ],
)
def test_the_suite_names_what_a_wrong_head_does_wrong(kind: type[RidgeHead], failing: str) -> None:
    with pytest.raises(NotConformingError, match=failing):
        check_head(kind)


def test_the_table_of_heads_costs_no_import() -> None:
    """A list of names on a command line must not wait for torch."""
    code = "import sys, heads; print([m for m in ('torch', 'numpy', 'scipy', 'msgspec') if m in sys.modules])"
    root = Path(heads.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"
