"""Correlations against SciPy and against formulas written out another way."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from reports import scores

# Few different values, so that ties are many.
TIED = st.integers(3, 40).flatmap(
    lambda n: st.tuples(*(arrays(np.float64, n, elements=st.integers(-4, 4).map(float)) for _ in range(2)))
)
REAL = st.integers(3, 40).flatmap(
    lambda n: st.tuples(
        *(arrays(np.float64, n, elements=st.floats(-1e6, 1e6, allow_subnormal=False), unique=True) for _ in range(2))
    )
)


def test_scores_agree_with_scipy() -> None:
    rng = np.random.default_rng(1)
    y = rng.uniform(size=300).round(2)
    x = (y + rng.normal(0, 0.2, 300)).round(2)
    found = scores.score(y, x)
    assert found.srcc == pytest.approx(stats.spearmanr(y, x).statistic, abs=1e-12)
    assert found.plcc == pytest.approx(stats.pearsonr(y, x).statistic, abs=1e-12)
    assert found.krcc == pytest.approx(stats.kendalltau(y, x).statistic, abs=1e-12)
    assert found.rmse == pytest.approx(float(np.sqrt(np.mean((y - x) ** 2))), abs=1e-12)
    assert (found.n, found.failed, found.reason) == (300, 0, "")


@given(TIED)
@settings(deadline=None, max_examples=150)
def test_ties_get_mid_ranks_and_tau_b(pair: tuple[Any, Any]) -> None:
    y, x = pair
    if len(set(y)) == 1 or len(set(x)) == 1:
        assert math.isnan(scores.srcc(y, x))
        return
    assert scores.srcc(y, x) == pytest.approx(stats.spearmanr(y, x).statistic, abs=1e-12)
    assert scores.krcc(y, x) == pytest.approx(tau_b(y, x), abs=1e-12)
    np.testing.assert_array_equal(scores.ranks(y), stats.rankdata(y))


def tau_b(y: Any, x: Any) -> float:
    """Pair by pair."""
    signs = [(np.sign(y[i] - y[j]), np.sign(x[i] - x[j])) for i, j in combinations(range(len(y)), 2)]
    untied = [sum(s[side] != 0 for s in signs) for side in (0, 1)]
    return sum(a * b for a, b in signs) / math.sqrt(untied[0] * untied[1])


@given(REAL)
@settings(deadline=None, max_examples=50)
def test_p07_reversed_predictions_reverse_every_sign(pair: tuple[Any, Any]) -> None:
    y, x = pair
    up, down = scores.score(y, x), scores.score(y, -x)
    for name in ("srcc", "plcc", "krcc"):
        assert getattr(up, name) == pytest.approx(-getattr(down, name), abs=1e-9)


@given(REAL)
@settings(deadline=None, max_examples=100)
def test_srcc_sees_order_only_and_plcc_no_affine_map(pair: tuple[Any, Any]) -> None:
    y, x = pair
    assert scores.srcc(y, np.cbrt(x)) == pytest.approx(scores.srcc(y, scores.ranks(np.cbrt(x))), abs=1e-12)
    assert scores.plcc(y, 3.0 * x) == pytest.approx(scores.plcc(y, x), abs=1e-9)
    assert -1 <= scores.plcc(y, x) <= 1


@pytest.mark.parametrize("scale", [5e-320, 1e-300, 1e-12, 1.0, 1e12, 1e300, 1e307])
def test_magnitude_changes_nothing(scale: float) -> None:
    x = np.array([1.0, 2.0, 4.0, 3.0, 5.0, 7.0, 6.0])
    y = np.array([0.0, 0.3, 0.5, 0.6, 0.7, 0.9, 1.0])
    found, plain = scores.score(y, x * scale), scores.score(y, x)
    for name in ("srcc", "plcc", "krcc"):
        assert getattr(found, name) == pytest.approx(getattr(plain, name), abs=1e-4)
    assert scores.plcc(y * scale, x * scale) == pytest.approx(plain.plcc, abs=1e-4)


def test_both_ends_of_the_numbers_do_not_overflow() -> None:
    wide = np.array([-1.7e308, 0.0, 1.7e308])
    assert scores.plcc(np.array([0.0, 0.5, 1.0]), wide) == pytest.approx(1.0)
    assert scores.rmse(-wide, wide) == math.inf


def test_nearly_equal_values_keep_their_correlation() -> None:
    x = 1.0 + np.array([0, 1, 2, 3, 4]) * np.finfo(float).eps
    assert scores.plcc(np.array([0.0, 1.0, 2.0, 3.0, 4.0]), x) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("y", "x", "reason"),
    [
        ([], [], "0 rows; a correlation needs 3"),
        ([1], [1], "1 row; a correlation needs 3"),
        ([1, 2], [1, 2], "2 rows; a correlation needs 3"),
        ([1, 1, 1, 1], [1, 2, 3, 4], "all labels are equal"),
        ([1, 2, 3, 4], [0.1, 0.1, 0.1, 0.1], "all predictions are equal"),
        ([1, 2, np.nan, 4], [1, np.inf, 3, 4], "2 rows; a correlation needs 3"),
    ],
)
def test_p16_a_value_that_does_not_exist_has_a_reason(y: list[float], x: list[float], reason: str) -> None:
    found = scores.score(np.array(y, dtype=float), np.array(x, dtype=float))
    assert found.reason == reason
    assert all(math.isnan(v) for v in (found.srcc, found.plcc, found.plcc_fitted, found.krcc))
    assert found.n + found.failed == len(y)


def test_rows_that_are_not_finite_are_failed_and_in_no_number() -> None:
    rng = np.random.default_rng(2)
    y, x = rng.uniform(size=(2, 40))
    spoilt = x.copy()
    spoilt[[3, 7]] = np.nan, np.inf
    found = scores.score(y, spoilt)
    assert (found.n, found.failed) == (38, 2)
    keep = np.isfinite(spoilt)
    assert found.srcc == scores.score(y[keep], x[keep]).srcc


def test_p20_within_cannot_be_had_by_knowing_the_group() -> None:
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(5), 40)
    quality = group / 5 + 0.05 * rng.normal(size=200)
    known = group / 5 + 0.05 * rng.normal(size=200)
    mean, own = scores.within(quality, known, [str(g) for g in group])
    assert scores.srcc(quality, known) > 0.9
    assert abs(mean) < 0.25
    each = [stats.spearmanr(quality[group == g], known[group == g]).statistic for g in range(5)]
    assert list(own.values()) == pytest.approx(each, abs=1e-12)
    assert mean == pytest.approx(math.tanh(np.mean([math.atanh(v) for v in each])), abs=1e-9)
    assert scores.group_median(own) == pytest.approx(sorted(each)[2], abs=1e-12)
    assert math.isnan(scores.group_median({}))


def test_within_leaves_out_small_groups_and_those_without_a_value() -> None:
    y = np.arange(34.0)
    x = np.r_[np.arange(12.0), np.zeros(12), np.arange(10.0)]
    names = ["a"] * 12 + ["flat"] * 12 + ["small"] * 4 + [""] * 6
    mean, own = scores.within(y, x, names)
    assert set(own) == {"a"}
    assert math.isnan(mean)


def test_within_counts_scored_rows_alone_towards_its_minimum() -> None:
    """The trap: rows of images that are missing made a group of three large enough to count."""
    rng = np.random.default_rng(4)
    quality = rng.uniform(size=40)
    prediction = quality + 0.01 * rng.normal(size=40)
    groups = ["a"] * 10 + ["b"] * 20 + ["c"] * 10
    prediction[3:10] = np.nan  # 3 of 10 scored
    quality[10:20] = np.nan  # 10 of 20
    prediction[33:] = np.inf  # 3 of 10
    mean, own = scores.within(quality, prediction, groups)
    assert set(own) == {"b"}
    assert math.isnan(mean)


def test_fisher_mean_of_perfect_correlations_is_finite() -> None:
    assert scores.fisher_mean([1.0, 1.0]) == pytest.approx(1.0, abs=1e-8)
    assert math.isnan(scores.fisher_mean([]))
