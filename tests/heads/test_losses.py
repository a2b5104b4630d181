"""The loss: a number with a finite gradient on every batch there can be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from heads.losses import pearson, quality_loss

values = st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=12)


def test_pearson_is_numpys_where_both_vary() -> None:
    random = np.random.default_rng(0)
    a, b = random.standard_normal((2, 50))
    found = pearson(torch.from_numpy(a), torch.from_numpy(b + a)).item()
    assert found == pytest.approx(np.corrcoef(a, b + a)[0, 1], abs=1e-5)


@given(values, values)
def test_loss_and_gradient_are_finite_for_any_batch(p: list[float], t: list[float]) -> None:
    """The trap: the correlation of one row or of equal labels is 0 / 0, and one NaN ruins all weights."""
    n = min(len(p), len(t))
    prediction = torch.tensor(p[:n], requires_grad=True)
    loss = quality_loss(prediction, torch.tensor(t[:n]), 1.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(prediction.grad).all()


@pytest.mark.parametrize("prediction", [[0.3, 0.3, 0.3], [0.1, 0.2, 0.3]])
def test_equal_labels_are_left_to_the_first_term(prediction: list[float]) -> None:
    p, t = torch.tensor(prediction), torch.full((3,), 0.5)
    assert quality_loss(p, t, 1.0) == quality_loss(p, t, 0.0)


def test_only_the_correlation_term_minds_scale() -> None:
    """Predictions in perfect order but on a wrong scale: no loss in the second term, some in the first."""
    t = torch.linspace(-1, 1, 9)
    assert quality_loss(5 * t, t, 1.0) - quality_loss(5 * t, t, 0.0) == pytest.approx(0, abs=1e-4)
    assert quality_loss(-t, t, 1.0) - quality_loss(-t, t, 0.0) == pytest.approx(2, abs=1e-4)
