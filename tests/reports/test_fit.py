"""The curve that the fitted PLCC uses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from reports.scores import fit, plcc, score


def logistic(x: Any, top: float, bottom: float, middle: float, width: float) -> Any:
    return (top - bottom) / (1 + np.exp(-(x - middle) / width)) + bottom


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("turned", [1.0, -1.0])
def test_a_known_logistic_is_found(scale: float, turned: float) -> None:
    x = np.linspace(-3, 5, 200)
    y = logistic(turned * x, 0.9, 0.2, turned * 1.2, 0.6)
    curve = fit(y, x * scale)
    assert curve.name == "logistic"
    assert curve.falls is (turned < 0)
    np.testing.assert_allclose(curve(x * scale), y, atol=1e-6)


def test_p07_a_falling_curve_has_a_negative_fitted_plcc() -> None:
    x = np.linspace(-3, 3, 100)
    y = logistic(-x, 1.0, 0.0, 0.0, 0.3)
    found = score(y, x)
    assert found.fit == "logistic"
    assert found.plcc_fitted == pytest.approx(-1.0, abs=1e-6)
    assert found.srcc == pytest.approx(-1.0)
    assert found.plcc_fitted < found.plcc < 0


def test_p16_a_fit_that_never_converges_is_a_line_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trap: a failed fit that silently counts as a PLCC of 0 or of 1."""

    def fails(*_args: object, **_settings: object) -> None:
        raise RuntimeError("Optimal parameters not found")

    x = np.linspace(-3, 3, 50)
    y = logistic(x, 1.0, 0.0, 0.3, 0.4)
    assert score(y, x).fit == "logistic"
    monkeypatch.setattr("scipy.optimize.curve_fit", fails)
    found = score(y, x)
    assert found.fit == "linear"
    assert found.plcc_fitted == found.plcc == plcc(y, x)


def test_four_rows_get_a_line_and_a_line_leaves_plcc_as_it_is() -> None:
    y, x = np.array([0.1, 0.9, 0.3, 0.7]), np.array([1.0, 2.0, 4.0, 3.0])
    found = score(y, x)
    assert found.fit == "linear"
    assert found.plcc_fitted == found.plcc


PAIRS = st.integers(5, 30).flatmap(
    lambda n: st.tuples(
        *(arrays(np.float64, n, elements=st.floats(-100, 100, allow_subnormal=False), unique=True) for _ in range(2))
    )
)


@given(PAIRS)
@settings(deadline=None, max_examples=60)
def test_a_curve_is_monotone_and_never_worse_than_the_line(pair: tuple[Any, Any]) -> None:
    y, x = pair
    curve = fit(y, x)
    line = np.polynomial.Polynomial.fit(x, y, 1)
    unit = float(np.var(y)) * len(y)
    assert np.sum((curve(x) - y) ** 2) <= np.sum((line(x) - y) ** 2) + 1e-9 * unit
    steps = np.diff(curve(np.sort(x)))
    assert (steps >= -1e-9 * np.ptp(y)).all() or (steps <= 1e-9 * np.ptp(y)).all()
    assert abs(score(y, x).plcc_fitted) >= abs(plcc(y, x)) - 1e-6


def test_labels_that_no_line_follows_have_a_fitted_plcc_of_zero() -> None:
    found = score(np.array([0.0, 1.0, 1.0, 0.0]), np.array([0.0, 1.0, 2.0, 3.0]))
    assert found.plcc_fitted == pytest.approx(0.0, abs=1e-12)
