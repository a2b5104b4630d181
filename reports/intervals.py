"""Bootstrap intervals of SRCC and PLCC, by image or by group. Never a point estimate: those are `reports.scores`.

Rows of one group (a reference, a scene, a prompt) are drawn together: images of one photograph are not independent,
and an interval by image would be far too narrow. A draw is a vector of counts, so no draw is ever sorted: mid-ranks
come from cumulative counts over values that were sorted once.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reports.scores import standardised, undefined

DRAWS = 2000
LEVEL = 0.95
FEWEST_UNITS = 5
_BLOCK = 400_000  # numbers held at a time; they stay near the processor
_ROUNDING = 1e-13  # a draw of one value only has this little variance, by rounding

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """Percentile interval at 95 %; NaN, with a reason, where there is none.

    Attributes:
        by: "image" or "group": what was drawn.
        units: how many of them there were.
    """

    low: float
    high: float
    by: str
    units: int
    reason: str = ""


def intervals(
    quality: Floats, prediction: Floats, groups: list[str] | None = None, draws: int = DRAWS, seed: int = 0
) -> tuple[Interval, Interval]:
    """Percentile bootstrap intervals of SRCC and raw PLCC (Efron 1979).

    Args:
        quality, prediction: (n,); rows that are not finite are left out.
        groups: (n,) rows that are drawn together; None: each row on its own.
        seed: same rows and seed, same interval.
    """
    y, x = np.asarray(quality, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    good = np.isfinite(y) & np.isfinite(x)
    names = np.arange(len(y)) if groups is None else np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
    y, x = y[good], x[good]
    unit = np.unique(names[good], return_inverse=True)[1]
    units = int(unit.max()) + 1 if len(unit) else 0
    by = "image" if units == len(y) else "group"
    why = undefined(y, x)
    if not why and units < FEWEST_UNITS:
        why = f"{units} {by}{'' if units == 1 else 's'}; an interval needs {FEWEST_UNITS}"
    if why:
        none = Interval(math.nan, math.nan, by, units, why)
        return none, none
    order = np.argsort(y, kind="stable")
    draw = _Draws(y[order], x[order])
    unit = unit[order]
    rng = np.random.default_rng(seed)
    found: list[Floats] = []
    block = max(1, _BLOCK // len(y))
    for start in range(0, draws, block):
        here = min(block, draws - start)
        drawn = rng.integers(units, size=(here, units)) + units * np.arange(here)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=here * units).reshape(here, units)
        found.append(draw.correlations(counts[:, unit].astype(np.float64)))
    values = np.concatenate(found, axis=1)
    ends = np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    srcc, plcc = (np.nanquantile(v, ends) for v in values)
    return Interval(float(srcc[0]), float(srcc[1]), by, units), Interval(float(plcc[0]), float(plcc[1]), by, units)


class _Draws:
    """SRCC and PLCC of any draw of rows that stand in the order of y."""

    def __init__(self, y: Floats, x: Floats) -> None:
        self._by_x = np.argsort(x, kind="stable")
        self._back = np.argsort(self._by_x, kind="stable")
        self._ties_y, self._ties_x = _ties(y), _ties(x[self._by_x])
        flat_y, flat_x = standardised(y)[0], standardised(x)[0]
        self._moments = np.stack([flat_y, flat_x, flat_y * flat_x, flat_y**2, flat_x**2], axis=1)

    def correlations(self, weights: Floats) -> Floats:
        """(b, n) times that each row is drawn -> (2, b) SRCC and PLCC; NaN where a draw has one value only."""
        total = weights.sum(axis=1)
        of_x = weights[:, self._by_x]
        y, x = _ranks(weights, self._ties_y), _ranks(of_x, self._ties_x)
        mean = total * ((total + 1) / 2) ** 2
        rank = _correlation(
            np.einsum("ij,ij,ij->i", weights, y, x[:, self._back]) - mean,
            np.einsum("ij,ij,ij->i", weights, y, y) - mean,
            np.einsum("ij,ij,ij->i", of_x, x, x) - mean,
            total,
        )
        sy, sx, yx, yy, xx = (weights @ self._moments).T
        raw = _correlation(yx - sy * sx / total, yy - sy**2 / total, xx - sx**2 / total, total)
        return np.stack([rank, raw])


def _ties(ordered: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
    """Where each run of equal values starts, and the run of each row; None where all differ."""
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    if len(starts) == len(ordered):
        return None
    return starts, np.searchsorted(starts, np.arange(len(ordered)), side="right") - 1


def _ranks(weights: Floats, ties: tuple[NDArray[np.intp], NDArray[np.intp]] | None) -> Floats:
    """(b, n) counts in the order of the values -> (b, n) mid-ranks of the rows in each draw."""
    sums = weights if ties is None else np.add.reduceat(weights, ties[0], axis=1)
    middle = np.cumsum(sums, axis=1) - (sums - 1) / 2.0
    return middle if ties is None else middle[:, ties[1]]


def _correlation(cross: Floats, yy: Floats, xx: Floats, total: Floats) -> Floats:
    varies = np.minimum(yy, xx) > _ROUNDING * total
    return np.where(varies, cross / np.sqrt(np.where(varies, yy * xx, 1.0)), np.nan)
