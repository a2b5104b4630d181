"""Agreement of predictions with labels: SRCC, PLCC, KRCC, RMSE. The only home of these numbers; never plots.

Signs are kept: a head that orders images upside down has a negative SRCC. A value that does not exist (fewer than three
rows, a constant side) is NaN, with the reason in words, never 0.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

SCORER = "1"
FEWEST = 3

Floats = NDArray[np.float64]


class Scores(msgspec.Struct, frozen=True):
    """What is said of one set of predictions.

    Attributes:
        n: rows with a finite label and a finite prediction.
        failed: rows without one; they are in no number below.
        srcc: Spearman's rank correlation, mid-ranks for ties.
        plcc: Pearson's correlation of the predictions as they are.
        plcc_fitted: Pearson's correlation after the fitted curve; the fit has seen these labels, so it flatters. Its
            sign is the curve's direction: a fit cannot turn a head that orders images upside down into a good one.
        krcc: Kendall's tau-b.
        rmse: root mean squared error in quality, predictions as they are.
        fit: which curve was fitted: "logistic" or "linear".
        reason: why there are no correlations; "" where there are.
    """

    n: int
    failed: int
    srcc: float
    plcc: float
    plcc_fitted: float
    krcc: float
    rmse: float
    fit: str
    reason: str


class Curve(NamedTuple):
    """A fitted map from prediction to quality; see `fit`.

    Attributes:
        name: "logistic" or "linear".
        parameters: of the curve between standardised predictions and standardised quality.
        x: mean and standard deviation of the predictions that it was fitted on.
        y: the same of the quality.
    """

    name: str
    parameters: tuple[float, ...]
    x: tuple[float, float]
    y: tuple[float, float]

    def __call__(self, prediction: Floats) -> Floats:
        """Predictions, any shape -> fitted quality, same shape."""
        z = (np.asarray(prediction, dtype=np.float64) - self.x[0]) / self.x[1]
        p = self.parameters
        curve = p[0] * z if self.name == "linear" else _logistic(z, *p)
        return self.y[0] + self.y[1] * curve

    @property
    def falls(self) -> bool:
        """Whether a higher prediction means lower quality."""
        return self.parameters[0] < (0.0 if self.name == "linear" else self.parameters[1])


def score(quality: Floats, prediction: Floats) -> Scores:
    """All scores of one set of predictions.

    Args:
        quality: (n,) labels, higher is better; any scale.
        prediction: (n,) higher is better; a row that is not finite counts as failed.
    """
    y, x = _pair(quality, prediction)
    failed = len(np.asarray(quality)) - len(y)
    why = undefined(y, x)
    if why:
        nan = math.nan
        return Scores(len(y), failed, nan, nan, nan, nan, rmse(y, x), "", why)
    curve, raw = fit(y, x), plcc(y, x)
    fitted = raw if curve.name == "linear" else plcc(y, curve(x)) * (-1.0 if curve.falls else 1.0)
    return Scores(len(y), failed, srcc(y, x), raw, fitted, krcc(y, x), rmse(y, x), curve.name, "")


def undefined(quality: Floats, prediction: Floats) -> str:
    """Why these rows have no correlation; "" where they have one."""
    y, x = _pair(quality, prediction)
    if len(y) < FEWEST:
        return f"{len(y)} row{'' if len(y) == 1 else 's'}; a correlation needs {FEWEST}"
    for name, values in (("labels", y), ("predictions", x)):
        if values.min() == values.max():
            return f"all {name} are equal"
    return ""


def srcc(quality: Floats, prediction: Floats) -> float:
    """Spearman's rank correlation with mid-ranks (Spearman 1904); NaN where it does not exist."""
    y, x = _pair(quality, prediction)
    return math.nan if undefined(y, x) else _pearson(ranks(y), ranks(x))


def plcc(quality: Floats, prediction: Floats) -> float:
    """Pearson's linear correlation; NaN where it does not exist."""
    y, x = _pair(quality, prediction)
    return math.nan if undefined(y, x) else _pearson(y, x)


def krcc(quality: Floats, prediction: Floats) -> float:
    """Kendall's tau-b, which allows for ties (Kendall 1945); NaN where it does not exist."""
    from scipy.stats import kendalltau

    y, x = _pair(quality, prediction)
    return math.nan if undefined(y, x) else float(cast("Any", kendalltau(y, x)).statistic)


def rmse(quality: Floats, prediction: Floats) -> float:
    """Root mean squared error in quality, predictions as they are; NaN without rows."""
    y, x = _pair(quality, prediction)
    if not len(y):
        return math.nan
    with np.errstate(over="ignore"):
        error = np.abs(y - x)
        most = float(error.max())
        return most * math.sqrt(float(np.mean((error / most) ** 2))) if 0 < most < math.inf else most


def ranks(values: Floats) -> Floats:
    """Mid-ranks from 1: equal values share the mean of their places."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2.0)[inverse]


def within(quality: Floats, prediction: Floats, groups: list[str], fewest: int = 10) -> tuple[float, dict[str, float]]:
    """SRCC within groups (sources, scenes): the mean by Fisher's z, and each group's own.

    A pooled SRCC may come from knowing which group a picture is of; this one cannot. Groups with fewer than `fewest`
    scored rows (finite label, finite prediction), or without a correlation, are left out; NaN where fewer than two are
    left.
    """
    y, x = np.asarray(quality, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    good = np.isfinite(y) & np.isfinite(x)
    y, x, names = y[good], x[good], np.asarray(groups, dtype=object)[good]
    own: dict[str, float] = {}
    for name in sorted({str(g) for g in names} - {""}):
        mine = names == name
        if mine.sum() >= fewest:
            value = srcc(y[mine], x[mine])
            if math.isfinite(value):
                own[name] = value
    return (fisher_mean(list(own.values())) if len(own) > 1 else math.nan), own


def group_median(own: Mapping[str, float]) -> float:
    """The median of each group's own SRCC: PIQ23's published statistic, with its scenes as groups; NaN without groups.

    Args:
        own: group -> SRCC, as `within` gives them.
    """
    return float(np.median(list(own.values()))) if own else math.nan


def fisher_mean(values: list[float]) -> float:
    """Mean of correlations by Fisher's z (Fisher 1921); values of 1 are held just below it."""
    z = np.arctanh(np.clip(np.asarray(values, dtype=np.float64), -1 + 1e-9, 1 - 1e-9))
    return float(np.tanh(z.mean())) if len(values) else math.nan


def fit(quality: Floats, prediction: Floats) -> Curve:
    """The curve from prediction to quality that PLCC is fitted with: a logistic with four parameters.

    y = (b1 - b2) / (1 + exp(-(x - b3) / |b4|)) + b2 (VQEG 2000; the form that LIQE and DeQA-Score use), by
    least squares on standardised values from several starts. Monotone by construction. Where no start beats a
    straight line, the line is taken, and its name says so.
    """
    from scipy.optimize import OptimizeWarning, curve_fit

    y, x = _pair(quality, prediction)
    (zy, *y_scale), (z, *x_scale) = standardised(y), standardised(x)
    slope = float(zy @ z) / len(z)
    best: tuple[str, tuple[float, ...]] = ("linear", (slope,))
    least = float(np.sum((slope * z - zy) ** 2))
    top, bottom = float(zy.max()), float(zy.min())
    ends = (top, bottom) if slope >= 0 else (bottom, top)
    # Four parameters would go through any four rows.
    for width in (1.0, 0.25, 3.0) if len(y) > 4 else ():
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore", OptimizeWarning)  # a covariance that nobody reads
                p, _ = curve_fit(_logistic, z, zy, p0=(*ends, 0.0, width), jac=_logistic_slopes, maxfev=1000)
                error = float(np.sum((_logistic(z, *p) - zy) ** 2))
        except RuntimeError:  # this start does not converge
            continue
        if math.isfinite(error) and error < least * (1 - 1e-9):
            best, least = ("logistic", tuple(float(v) for v in p)), error
    return Curve(*best, (x_scale[0], x_scale[1]), (y_scale[0], y_scale[1]))


def standardised(values: Floats) -> tuple[Floats, float, float]:
    """(n,) finite values, not all equal -> (n,) with mean 0 and deviation 1, and the mean and deviation they had.

    Exact scaling by a power of two first: tiny or huge values must not under- or overflow when squared. Centred twice:
    the mean of nearly equal values is itself rounded.
    """
    exponent = int(np.frexp(np.abs(values).max())[1])
    z = np.ldexp(values, -exponent)
    mean = float(z.mean())
    z = z - mean
    z = z - z.mean()
    unit = math.sqrt(float(z @ z) / len(z))
    return z / unit, float(np.ldexp(mean, exponent)), float(np.ldexp(unit, exponent))


def _logistic(x: Floats, b1: float, b2: float, b3: float, b4: float) -> Floats:
    t = np.clip((x - b3) / (abs(b4) + 1e-12), -60.0, 60.0)
    return (b1 - b2) / (1.0 + np.exp(-t)) + b2


def _logistic_slopes(x: Floats, b1: float, b2: float, b3: float, b4: float) -> Floats:
    """(n, 4) derivatives by b1 ... b4."""
    width = abs(b4) + 1e-12
    t = np.clip((x - b3) / width, -60.0, 60.0)
    s = 1.0 / (1.0 + np.exp(-t))
    steep = (b2 - b1) * s * (1.0 - s) / width
    return np.stack([s, 1.0 - s, steep, steep * t * math.copysign(1.0, b4)], axis=1)


def _pair(quality: Floats, prediction: Floats) -> tuple[Floats, Floats]:
    y, x = np.asarray(quality, dtype=np.float64).ravel(), np.asarray(prediction, dtype=np.float64).ravel()
    good = np.isfinite(y) & np.isfinite(x)
    return y[good], x[good]


def _pearson(a: Floats, b: Floats) -> float:
    (a, *_), (b, *_) = standardised(a), standardised(b)
    return float(np.clip((a @ b) / len(a), -1.0, 1.0))
