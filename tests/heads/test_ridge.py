"""Ridge: the textbook's numbers, shared work that changes nothing, and columns that cannot be used."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from heads.base import Examples, FitPlan
from heads.errors import DataError, HeadError
from heads.ridge import Products, RidgeHead

Make = Callable[..., Examples]
NONE = np.arange(0)


def problem(n: int, d: int, seed: int = 0, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = (random.standard_normal((n, d)) * random.uniform(0.1, 30, d) + random.uniform(-50, 50, d)).astype(np.float32)
    y = (x - x.mean(0)) / x.std(0) @ random.standard_normal(d) / np.sqrt(d) + noise * random.standard_normal(n)
    return x, y


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def gcv_by_hat_matrix(x: np.ndarray, y: np.ndarray, alphas: np.ndarray) -> list[float]:
    """Golub, Heath, Wahba 1979, written out with the n x n hat matrix and no decomposition."""
    x = x.astype(np.float64)
    z = (x - x.mean(0)) / x.std(0)
    n, d = z.shape
    scores = []
    for alpha in alphas:
        hat = np.full((n, n), 1 / n) + z @ np.linalg.inv(z.T @ z + alpha * np.eye(d)) @ z.T
        residual = y - hat @ y
        scores.append(float((residual @ residual / n) / (1 - np.trace(hat) / n) ** 2))
    return scores


@pytest.mark.parametrize(("n", "d"), [(60, 8), (30, 50)])
def test_gcv_is_that_of_the_hat_matrix(n: int, d: int) -> None:
    """More rows than columns, and fewer: two decompositions, one answer."""
    x, y = problem(n, d)
    alphas = np.geomspace(1, 1e4, 9)
    solutions = Products(x.astype(np.float64)).decompose(np.arange(n)).path(x.astype(np.float64), y, alphas)
    np.testing.assert_allclose(solutions.gcv, gcv_by_hat_matrix(x, y, alphas), rtol=1e-6)


@pytest.mark.parametrize(("n", "d"), [(60, 8), (30, 50)])
def test_predictions_are_scikit_learns_at_the_chosen_alpha(make_examples: Make, n: int, d: int) -> None:
    x, y = problem(n + 20, d)
    train = np.arange(n)
    rows = make_examples(y, {"a:moments": x[:, :5], "b:moments": x[:, 5:]})
    head = RidgeHead().fit(rows, FitPlan(train, NONE))
    alphas = np.geomspace(1, 1e6, 25)
    alpha = alphas[int(np.argmin(gcv_by_hat_matrix(x[train], y[train], alphas)))]
    assert f"alpha {alpha:g}, of 25, by generalised cross-validation" in head.history[0]["note"]
    wide = x.astype(np.float64)
    z = (wide - wide[train].mean(0)) / wide[train].std(0)
    expected = Ridge(alpha=alpha).fit(z[train], y[train]).predict(z)
    np.testing.assert_allclose(head.predict(rows), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("d", [6, 120])
def test_p14_sharing_among_plans_changes_no_head(make_examples: Make, d: int) -> None:
    x, y = problem(100, d)
    rows = make_examples(y, {"a:moments": x})
    random = np.random.default_rng(1)
    plans = [FitPlan(np.sort(random.permutation(100)[:80]), NONE) for _ in range(4)]
    plans += [
        FitPlan(np.arange(20), NONE),
        FitPlan(random.integers(0, 100, 90), NONE),
    ]  # few rows; repeated rows
    together = RidgeHead().fit_many(rows, plans)
    for plan, head in zip(plans, together, strict=True):
        np.testing.assert_allclose(head.predict(rows), RidgeHead().fit(rows, plan).predict(rows), rtol=1e-9)


@pytest.mark.parametrize("n", [200, 20])
def test_columns_that_do_not_vary_have_no_say(make_examples: Make, n: int) -> None:
    """The trap: a constant column, or one that varies by its last bit, standardised, explodes on the next
    dataset."""
    x, y = problem(n, 30)
    x[:, 3] = 7.0
    x[:, 4] = np.float32(1000) + np.float32(6.1e-5) * (np.arange(n) % 2)
    rows = make_examples(y, {"a:moments": x})
    head = RidgeHead().fit(rows, FitPlan(np.arange(n), NONE))
    away = x.copy()
    away[:, 3:5] += 1e4
    np.testing.assert_allclose(head.predict(make_examples(y, {"a:moments": away})), head.predict(rows), rtol=1e-9)
    assert head.parameters() == 28 + 1


def test_validation_rows_choose_only_if_asked_to(make_examples: Make) -> None:
    x, y = problem(90, 40, noise=3.0)
    rows = make_examples(y, {"a:moments": x})
    plan, blind = FitPlan(np.arange(60), np.arange(60, 90)), FitPlan(np.arange(60), NONE)
    gcv = RidgeHead().fit(rows, plan, correlation)
    np.testing.assert_array_equal(gcv.predict(rows), RidgeHead().fit(rows, blind, correlation).predict(rows))
    chosen = RidgeHead({"select": "valid"}).fit(rows, plan, correlation)
    scores = []
    for alpha in np.geomspace(1, 1e6, 25):
        one = RidgeHead({"alphas": 1, "alpha_low": alpha, "alpha_high": alpha}).fit(rows, plan, correlation)
        scores.append(one.history[0]["valid_srcc"])
    assert chosen.history[0]["valid_srcc"] == pytest.approx(max(scores))
    assert "by the score on 30 validation rows" in chosen.history[0]["note"]


def test_fitted_again_on_validation_rows_with_the_choice_made_before(make_examples: Make) -> None:
    """The trap: a choice, or its validation score, made with the rows that it is then fitted on."""
    x, y = problem(90, 40, noise=3.0)
    rows, train = make_examples(y, {"a:moments": x}), np.arange(60)
    plan = FitPlan(train, np.arange(60, 90))
    before, head = RidgeHead().fit(rows, plan, correlation), RidgeHead({"refit": "true"}).fit(rows, plan, correlation)
    assert head.history[0]["valid_srcc"] == pytest.approx(before.history[0]["valid_srcc"])
    alpha = float(head.state()["alpha"][0])
    assert alpha == float(before.state()["alpha"][0])
    wide = x.astype(np.float64)
    z = (wide - wide.mean(0)) / wide.std(0)
    np.testing.assert_allclose(head.predict(rows), Ridge(alpha=alpha).fit(z, y).predict(z), rtol=1e-8, atol=1e-8)
    assert "fitted again on 90 train and validation rows" in head.history[0]["note"]


def test_choosing_on_no_validation_rows_is_refused(make_examples: Make) -> None:
    x, y = problem(20, 3)
    with pytest.raises(DataError, match="select=valid"):
        RidgeHead({"select": "valid"}).fit(make_examples(y, {"a:moments": x}), FitPlan(np.arange(20), NONE))


def test_one_setting_may_differ_from_plan_to_plan(make_examples: Make) -> None:
    x, y = problem(50, 5)
    rows = make_examples(y, {"a:moments": x})
    plans = [FitPlan(np.arange(50), NONE, settings={"alphas": "1", "alpha_low": a}) for a in ("1", "1000")]
    weak, strong = RidgeHead().fit_many(rows, plans)
    assert weak.settings.alpha_low == 1.0
    assert strong.predict(rows).std() < weak.predict(rows).std()


def test_a_map_is_refused_by_name(make_examples: Make) -> None:
    rows = make_examples(np.arange(4.0), {"neck:map": [np.zeros((2, 2, 3), np.float16)] * 4})
    with pytest.raises(HeadError, match=r"reads summaries|Expected summaries.*neck:map"):
        RidgeHead().fit(rows, FitPlan(np.arange(4), NONE))


def test_a_row_that_is_not_finite_is_predicted_as_nan_and_alone(make_examples: Make) -> None:
    x, y = problem(30, 4)
    head = RidgeHead().fit(make_examples(y, {"a:moments": x}), FitPlan(np.arange(30), NONE))
    x[7, 2] = np.nan
    assert np.flatnonzero(np.isnan(head.predict(make_examples(y, {"a:moments": x})))).tolist() == [7]
