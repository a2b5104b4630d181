"""The head `ridge`: linear regression on summaries, closed form, float64. Nothing in it is random.

Columns are standardised on the train rows (a column that does not vary there gets weight 0). One
eigendecomposition of the smaller of Z Z' (n x n) and Z' Z (d x d) serves every regulariser; plans with the
same train rows share it, and with fewer columns than rows all plans share one matrix of products, from
which each takes away what it may not see.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self, override

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from scipy.linalg import eigh

from heads.base import Arrays, FitPlan, Head, Progress, Report, Score
from heads.errors import DataError, HeadError
from heads.examples import Examples, FeatureSource, Floats, Rows
from heads.settings import HeadSettings

# A column that varies by less than this share of its mean varies by rounding alone (summaries are float32).
ROUNDING = 1e-6


class RidgeSettings(HeadSettings, frozen=True, kw_only=True):
    """Settings of the ridge.

    alphas: how many regularisers are tried, evenly spaced in their logarithm.
    alpha_low: the smallest; columns have unit variance, so a sum of n squares stands beside it.
    alpha_high: the largest.
    select: "gcv" chooses by generalised cross-validation on the train rows, whether or not there are
        validation rows; "valid" by the score on validation rows.
    refit: solve once more on train and validation rows together, with the regulariser chosen before; the
        validation score stays that of the fit on train rows.
    """

    alphas: Annotated[int, Meta(ge=1, le=1000)] = 25
    alpha_low: Annotated[float, Meta(gt=0, le=1e30)] = 1.0
    alpha_high: Annotated[float, Meta(gt=0, le=1e30)] = 1e6
    select: Literal["gcv", "valid"] = "gcv"
    refit: bool = False


@dataclass(frozen=True)
class Solutions:
    """Ridge solutions for many regularisers.

    Attributes:
        weights: (d, a) for raw columns, folded with their standardisation.
        intercept: (a,).
        gcv: (a,) generalised cross-validation, in squared quality.
    """

    weights: Floats
    intercept: Floats
    gcv: Floats


@dataclass(frozen=True)
class Decomposition:
    """Eigenvalues and vectors of standardised train rows; what plans with the same rows share.

    Attributes:
        mean, scale: (d,) so that z = (x - mean) * scale; scale is 0 for columns that do not vary.
        values: (k,) eigenvalues >= 0 of Z Z' or Z' Z.
        vectors: (n, k) if `dual`, else (d, k).
    """

    mean: Floats
    scale: Floats
    values: Floats
    vectors: Floats
    dual: bool

    def path(self, x: Floats, y: Floats, alphas: Floats) -> Solutions:
        """Solutions for every alpha.

        GCV(a) = (RSS / n) / (1 - df / n)^2 with df = 1 + sum(l / (l + a)), the 1 for the intercept (Golub,
        Heath, Wahba, Technometrics 1979).

        Args:
            x: (n, d) the rows that were decomposed.
            y: (n,) labels.
            alphas: (a,) > 0, for columns of unit variance.
        """
        n = len(y)
        z = (x - self.mean) * self.scale
        centre = y.mean()
        target = y - centre
        shrink = 1.0 / (self.values[:, None] + alphas)
        if self.dual:
            weights = z.T @ (self.vectors @ (shrink * (self.vectors.T @ target)[:, None]))
        else:
            weights = self.vectors @ (shrink * (self.vectors.T @ (z.T @ target))[:, None])
        rss = np.square(target[:, None] - z @ weights).sum(axis=0)
        free = 1 - (1 + (self.values[:, None] * shrink).sum(axis=0)) / n
        usable = free > 1e-12
        gcv = np.where(usable, rss / n / np.where(usable, free, 1.0) ** 2, np.inf)
        folded = weights * self.scale[:, None]
        return Solutions(folded, centre - self.mean @ folded, gcv)


class Products:
    """Z' Z of any train rows, from one product over all rows, less those left out where they are the fewer.

    Args:
        x: (n, d) all rows that any plan may see.
    """

    def __init__(self, x: Floats) -> None:
        self._x = x
        # Shifted and scaled before the product: differences of large sums would lose the digits that matter.
        self._shift = x.mean(axis=0)
        deviation = x.std(axis=0)
        self._unit = np.where(deviation > 0, deviation, 1.0)
        self._total: Floats | None = None

    def decompose(self, rows: Rows) -> Decomposition:
        """Standardises the given rows and decomposes the smaller of their two product matrices."""
        x = self._x[rows]
        n, d = x.shape
        mean, deviation = x.mean(axis=0), x.std(axis=0)
        varies = deviation > ROUNDING * np.abs(mean) + 1e-300
        scale = np.where(varies, 1.0 / np.where(varies, deviation, 1.0), 0.0)
        dual = n < d
        if dual:
            z = (x - mean) * scale
            products = z @ z.T
        else:
            factor = scale * self._unit
            centre = (mean - self._shift) / self._unit
            products = (self._raw(rows) - n * np.outer(centre, centre)) * np.outer(factor, factor)
        values, vectors = eigh(products, overwrite_a=True, check_finite=False, driver="evd")
        return Decomposition(mean, scale, np.maximum(values, 0.0), vectors, dual)

    def _raw(self, rows: Rows) -> Floats:
        n = len(self._x)
        left_out = np.setdiff1d(np.arange(n), rows)
        if len(np.unique(rows)) < len(rows) or len(left_out) >= len(rows):
            part = (self._x[rows] - self._shift) / self._unit
            return part.T @ part
        if self._total is None:
            whole = (self._x - self._shift) / self._unit
            self._total = whole.T @ whole
        part = (self._x[left_out] - self._shift) / self._unit
        return self._total - part.T @ part


class RidgeHead(Head):
    """Ridge regression on summaries; the regulariser by generalised cross-validation. Instant and exact.

    Fits the train rows alone, standardised, in float64; the same for every seed. Validation rows are
    scored, choose only with select=valid, and are fitted only with refit=true.
    """

    variant = "ridge"
    revision = 1
    reads = "summaries"
    Settings: ClassVar[type[HeadSettings]] = RidgeSettings

    def __init__(self, settings: Mapping[str, Any] | HeadSettings | None = None) -> None:
        super().__init__(settings)
        if self.settings.alpha_low > self.settings.alpha_high:
            raise HeadError(
                f"Expected alpha_low <= alpha_high, found {self.settings.alpha_low:g} and "
                f"{self.settings.alpha_high:g}. "
                "Swap them."
            )
        self._weights: Floats = np.empty(0)
        self._intercept = 0.0
        self._alpha = float("nan")

    @override
    def fit_plans(
        self, examples: Examples, plans: Sequence[FitPlan], score: Score | None, report: Report
    ) -> Sequence[Self]:
        heads = [self.refined(plan) for plan in plans]
        learnt = [head.learnt(plan) for head, plan in zip(heads, plans, strict=True)]
        used = np.unique(np.concatenate([np.empty(0, np.int64), *learnt]))
        whole = table(examples.features, examples.features.names)  # read once for all plans
        x = whole[used].astype(np.float64)
        bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
        if len(bad):
            raise DataError(
                f"Expected finite features on every train row, found NaN or infinity in {len(bad)}, such as "
                f"{examples.ids[used[bad[0]]]!r}. Verify the store and encode again."
            )
        products = Products(x)
        shared: dict[bytes, Decomposition] = {}
        for i, (head, plan, every) in enumerate(zip(heads, plans, learnt, strict=True)):
            start = time.monotonic()
            for rows in (plan.train, every):
                if rows.tobytes() not in shared:
                    shared[rows.tobytes()] = products.decompose(np.searchsorted(used, rows))
            own = shared[plan.train.tobytes()]
            valid = head._choose(own, x[np.searchsorted(used, plan.train)], whole, examples, plan, score, start)
            if len(every) > len(plan.train):
                again = x[np.searchsorted(used, every)]
                found = shared[every.tobytes()].path(again, examples.quality[every], np.array([head._alpha]))
                head._weights, head._intercept = found.weights[:, 0].copy(), float(found.intercept[0])
                head.history[0]["note"] += f", fitted again on {len(every)} train and validation rows"
            report(Progress(self.variant, i, len(plans), 1, 1, None, valid))
        return heads

    def learnt(self, plan: FitPlan) -> Rows:
        """The rows that this head fits: train, and with refit=true validation too."""
        return np.concatenate([plan.train, plan.valid]) if self.settings.refit else plan.train

    def _choose(
        self,
        decomposition: Decomposition,
        x: Floats,
        whole: NDArray[np.float32],
        examples: Examples,
        plan: FitPlan,
        score: Score | None,
        start: float,
    ) -> float | None:
        settings = self.settings
        alphas = np.geomspace(settings.alpha_low, settings.alpha_high, settings.alphas)
        y = examples.quality[plan.train]
        path = decomposition.path(x, y, alphas)
        scores = self._scores(path, whole, examples, plan, score)
        if settings.select == "valid":
            if not np.isfinite(scores).any():
                raise DataError(
                    f"Expected validation rows with a score, for select=valid, found {len(plan.valid)} "
                    "rows and none. "
                    "Use a split with validation rows, or --set select=gcv."
                )
            chosen = len(alphas) - 1 - int(np.argmax(np.where(np.isfinite(scores), scores, -np.inf)[::-1]))
            how = f"the score on {len(plan.valid)} validation rows"
        else:
            chosen = int(np.argmin(path.gcv))
            how = "generalised cross-validation"
        self._weights, self._intercept = path.weights[:, chosen].copy(), float(path.intercept[chosen])
        self._alpha = float(alphas[chosen])
        edge = ", at the edge of those tried" if chosen in (0, len(alphas) - 1) and len(alphas) > 1 else ""
        valid = float(scores[chosen]) if np.isfinite(scores[chosen]) else None
        self.history = [
            {
                "epoch": 1,
                "train_loss": float(np.square(y - x @ self._weights - self._intercept).mean()),
                "valid_srcc": valid,
                "seconds": time.monotonic() - start,
                "note": f"alpha {self._alpha:g}, of {len(alphas)}, by {how}{edge}",
            }
        ]
        return valid

    def _scores(
        self,
        path: Solutions,
        whole: NDArray[np.float32],
        examples: Examples,
        plan: FitPlan,
        score: Score | None,
    ) -> Floats:
        """The score on validation rows for every alpha asked about, else NaN: (a,)."""
        found = np.full(len(path.gcv), np.nan)
        if score is None or not len(plan.valid):
            return found
        x = whole[plan.valid].astype(np.float64)
        predicted = x @ path.weights + path.intercept
        asked = range(len(found)) if self.settings.select == "valid" else [int(np.argmin(path.gcv))]
        for i in asked:
            found[i] = score(examples.quality[plan.valid], predicted[:, i])
        return found

    @override
    def predict_rows(self, examples: Examples) -> Floats:
        x = table(examples.features, self.features).astype(np.float64)
        # Row by row, so that a prediction is the same to the last bit alone and among others.
        return np.einsum("nd,d->n", x, self._weights) + self._intercept

    @override
    def state(self) -> Arrays:
        return {
            "weights": self._weights,
            "intercept": np.array([self._intercept]),
            "alpha": np.array([self._alpha]),
        }

    @override
    def restore(self, arrays: Arrays) -> None:
        shapes = {"weights": (sum(self.widths),), "intercept": (1,), "alpha": (1,)}
        found = {name: value.shape for name, value in arrays.items()}
        if found != shapes:
            raise DataError(f"Expected the arrays {shapes} of a ridge head, found {found}. Train the head again.")
        self._weights = np.array(arrays["weights"], dtype=np.float64)
        self._intercept, self._alpha = float(arrays["intercept"][0]), float(arrays["alpha"][0])

    @override
    def parameters(self) -> int:
        return int(np.count_nonzero(self._weights)) + 1 if self.features else 0


def table(source: FeatureSource, names: Sequence[str]) -> NDArray[np.float32]:
    """Several summaries side by side: (n, d)."""
    return np.concatenate([source.table(name) for name in names], axis=1)
