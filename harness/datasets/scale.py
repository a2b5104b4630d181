"""The only place where a published score becomes quality (higher is better, 0-1) and back. Never reads a
file.

A closed scale is mapped by its declared range, never by the range that happens to be observed: minima and
maxima of a part differ from part to part, and would move every score with the split. An open scale (Elo, JOD,
z-scores, realigned DMOS) has no declared range: its affine map is fitted on train rows only and kept with the
head.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, cast

import msgspec

from harness.datasets.errors import DatasetError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

Kind = Literal["MOS", "DMOS", "JOD", "ELO", "proxy"]

OPEN_MEAN = 0.5
OPEN_DEVIATION = 0.2


class QualityMap(msgspec.Struct, frozen=True):
    """quality = slope * mos + offset; a negative slope turns a scale round on which lower is better.

    `source` is "declared", or "fitted on N train rows".
    """

    slope: float
    offset: float
    source: str

    def to_quality(self, mos: ArrayLike) -> NDArray[np.float64]:
        """Published scores, any shape -> quality, same shape, float64, higher is better; NaN stays NaN."""
        import numpy as np

        return np.asarray(np.asarray(mos, dtype=np.float64) * self.slope + self.offset)

    def to_mos(self, quality: ArrayLike) -> NDArray[np.float64]:
        """Quality, any shape -> the published scale, same shape, float64; the inverse of `to_quality`."""
        import numpy as np

        return np.asarray((np.asarray(quality, dtype=np.float64) - self.offset) / self.slope)

    def spread(self, std: ArrayLike) -> NDArray[np.float64]:
        """Standard deviations in published units, any shape -> in quality units (never negative)."""
        import numpy as np

        return np.asarray(np.asarray(std, dtype=np.float64) * abs(self.slope))


class ScoreScale(msgspec.Struct, frozen=True):
    """What the published numbers mean.

    `low` and `high` are the declared ends of a closed scale, both None for an open one. `name` is printed
    beside every score ("MOS", "DMOS", "proxy (SSIM)"); the kind "proxy" is a formula's output, never a
    judgement of people.
    """

    kind: Kind
    low: float | None
    high: float | None
    higher_is_better: bool
    name: str

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise DatasetError(
                "both ends of a closed scale, or neither for an open one",
                f"low {self.low}, high {self.high}",
                "Declare low and high together.",
            )
        if self.low is not None and self.high is not None:
            ends = (float(self.low), float(self.high))
            if not (math.isfinite(ends[0]) and math.isfinite(ends[1]) and ends[0] < ends[1]):
                raise DatasetError(
                    "a scale whose low end is below its high end, both finite",
                    f"low {self.low}, high {self.high}",
                    "Correct the ends; the direction is told by higher_is_better, not by their order.",
                )

    @property
    def closed(self) -> bool:
        """Whether the scale has declared ends."""
        return self.low is not None

    def quality_map(self, train_mos: ArrayLike | None = None) -> QualityMap:
        """The affine map from this scale to quality.

        Closed: the declared low..high becomes 0..1 (turned round where lower is better); `train_mos` is not
            looked at.
        Open: the mean of the train rows becomes 0.5 and their standard deviation 0.2, about what the labels
        of closed authentic sets have; one extreme row then cannot squeeze the rest, as minimum and maximum
        would let it.

        Raises:
            DatasetError: an open scale without train rows, or with train labels that are all equal or not
                finite.
        """
        import numpy as np

        sign = 1.0 if self.higher_is_better else -1.0
        if self.low is not None and self.high is not None:
            slope = 1.0 / (float(self.high) - float(self.low))
            start = float(self.low) if self.higher_is_better else float(self.high)
            return QualityMap(sign * slope, -sign * slope * start, "declared")
        if train_mos is None:
            raise DatasetError(
                f"train rows for the open scale {self.name}",
                "none",
                "Pass the train labels: an open scale has no declared range to map.",
            )
        mos = cast("NDArray[np.float64]", np.asarray(train_mos, dtype=np.float64).ravel())
        if mos.size < 2 or not bool(np.isfinite(mos).all()) or float(np.ptp(mos)) == 0.0:
            raise DatasetError(
                f"at least two different finite train labels for the open scale {self.name}",
                f"{mos.size} labels, {len(set(mos.tolist()))} different",
                "Use more train rows.",
            )
        slope = sign * OPEN_DEVIATION / float(mos.std())
        return QualityMap(slope, OPEN_MEAN - slope * float(mos.mean()), f"fitted on {mos.size} train rows")

    def outside(self, mos: ArrayLike) -> NDArray[np.bool_]:
        """Which finite scores lie outside the declared ends by more than a rounding error; all False on an
        open scale.
        """
        import numpy as np

        values = np.asarray(mos, dtype=np.float64)
        if self.low is None or self.high is None:
            return np.zeros(values.shape, dtype=np.bool_)
        slack = 1e-6 * (self.high - self.low)
        with np.errstate(invalid="ignore"):
            return (values < self.low - slack) | (values > self.high + slack)

    def __str__(self) -> str:
        ends = f"{self.low:g}..{self.high:g}" if self.low is not None and self.high is not None else "open"
        return f"{self.name} {ends}, {'higher' if self.higher_is_better else 'lower'} is better"
