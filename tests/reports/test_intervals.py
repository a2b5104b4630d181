"""Intervals against a plain loop over resampled rows, and what they should do on clustered data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from reports.intervals import DRAWS, intervals
from reports.scores import srcc


def by_loop(y: Any, x: Any, unit: Any, draws: int, seed: int) -> tuple[list[float], list[float]]:
    """Rows are really repeated, and SciPy ranks them anew in every draw."""
    rng = np.random.default_rng(seed)
    units = int(unit.max()) + 1
    rank, raw = [], []
    for _ in range(draws):
        drawn = rng.integers(units, size=units)
        rows = np.concatenate([np.flatnonzero(unit == u) for u in drawn])
        constant = len(set(y[rows])) == 1 or len(set(x[rows])) == 1
        rank.append(math.nan if constant else stats.spearmanr(y[rows], x[rows]).statistic)
        raw.append(math.nan if constant else stats.pearsonr(y[rows], x[rows]).statistic)
    return rank, raw


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
def test_the_interval_is_that_of_a_plain_loop(ties: bool, grouped: bool) -> None:
    rng = np.random.default_rng(4)
    n = 60
    y = rng.uniform(size=n)
    x = y + rng.normal(0, 0.3, n)
    if ties:
        y, x = y.round(1), x.round(1)
    unit = rng.permutation(n) // 6 if grouped else np.arange(n)
    rank, raw = by_loop(y, x, unit, 300, 9)
    found = intervals(y, x, [f"{u:02d}" for u in unit] if grouped else None, draws=300, seed=9)
    for interval, values in zip(found, (rank, raw), strict=True):
        low, high = np.nanquantile(values, [0.025, 0.975])
        assert interval.low == pytest.approx(low, abs=1e-12)
        assert interval.high == pytest.approx(high, abs=1e-12)
        assert (interval.by, interval.units) == (("group", 10) if grouped else ("image", 60))


def test_draws_of_one_value_are_left_out_as_in_a_plain_loop() -> None:
    y, x = np.array([0.1, 0.1, 0.1, 0.1, 0.7]), np.array([0.3, 0.2, 0.2, 0.5, 0.6])
    rank, raw = by_loop(y, x, np.arange(5), 500, 0)
    assert any(math.isnan(v) for v in raw)
    for interval, values in zip(intervals(y, x, draws=500), (rank, raw), strict=True):
        assert (interval.low, interval.high) == pytest.approx(np.nanquantile(values, [0.025, 0.975]), abs=1e-9)


def test_an_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    rho = 0.7
    truth = 6 / math.pi * math.asin(rho / 2)  # Spearman's value of a normal pair
    covered = 0
    for _ in range(100):
        y, e = rng.normal(size=(2, 120))
        interval = intervals(y, rho * y + math.sqrt(1 - rho**2) * e, draws=300)[0]
        covered += interval.low <= truth <= interval.high
    assert covered >= 86


def test_groups_make_the_interval_of_clustered_data_wider() -> None:
    rng = np.random.default_rng(6)
    group = np.repeat(np.arange(12), 30)
    photograph = rng.uniform(size=12)
    quality = photograph[group] + 0.05 * rng.normal(size=360)
    prediction = (photograph + rng.normal(0, 0.3, 12))[group] + 0.05 * rng.normal(size=360)
    names = [f"photo{g}" for g in group]
    image, grouped = intervals(quality, prediction)[0], intervals(quality, prediction, names)[0]
    assert grouped.high - grouped.low > 2 * (image.high - image.low)
    assert grouped.low <= srcc(quality, prediction) <= grouped.high


def test_the_same_rows_give_the_same_interval() -> None:
    rng = np.random.default_rng(7)
    y, x = rng.uniform(size=(2, 50))
    assert intervals(y, x) == intervals(y.copy(), x.copy())
    assert intervals(y, x, seed=1) != intervals(y, x)
    assert DRAWS >= 2000


def test_rows_without_a_prediction_are_left_out() -> None:
    rng = np.random.default_rng(8)
    y, x = rng.uniform(size=(2, 50))
    spoilt = x.copy()
    spoilt[10] = np.nan
    assert intervals(y, spoilt) == intervals(np.delete(y, 10), np.delete(x, 10))


@pytest.mark.parametrize(
    ("n", "groups", "reason"),
    [
        (2, None, "2 rows; a correlation needs 3"),
        (4, None, "4 images; an interval needs 5"),
        (30, ["a"] * 30, "1 group; an interval needs 5"),
        (30, ["a", "b"] * 15, "2 groups; an interval needs 5"),
    ],
)
def test_where_there_is_no_interval_it_says_why(n: int, groups: list[str] | None, reason: str) -> None:
    y, x = np.random.default_rng(9).uniform(size=(2, n))
    for interval in intervals(y, x, groups):
        assert interval.reason == reason
        assert math.isnan(interval.low)
        assert math.isnan(interval.high)


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_magnitude_does_not_move_an_interval(scale: float) -> None:
    y, x = np.random.default_rng(10).uniform(size=(2, 40))
    for plain, scaled in zip(intervals(y, x), intervals(y, x * scale), strict=True):
        assert (scaled.low, scaled.high) == pytest.approx((plain.low, plain.high), abs=1e-9)
