"""Summaries: the formula's value, finite down to one pixel, the same in any company."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.summaries import SUMMARIES, moments

maps = st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))


def made(shape: tuple[int, int, int, int], seed: int, spread: float = 3.0, mean: float = 1.0) -> torch.Tensor:
    values = np.random.default_rng(seed).standard_normal(shape) * spread + mean
    return torch.from_numpy(values.astype(np.float32))


@given(maps)
@settings(deadline=None)
def test_moments_are_numpys(shape: tuple[int, int, int, int, int]) -> None:
    x = made(shape[:4], shape[4])
    flat = x.numpy().astype(np.float64).reshape(*x.shape[:2], -1)
    std = flat.std(axis=2, ddof=1) if flat.shape[2] > 1 else np.zeros(flat.shape[:2])
    expected = np.concatenate([flat.mean(axis=2), std], axis=1).astype(np.float32)
    np.testing.assert_allclose(moments(x).numpy(), expected, rtol=1e-6, atol=1e-7)


def test_a_small_spread_on_a_large_mean_is_not_lost() -> None:
    """The trap: in float32 the deviation of 1e4 + noise of 1e-2 is nothing but rounding."""
    x = made((1, 2, 40, 40), 0, spread=1e-2, mean=1e4).double().float()
    expected = x.double().flatten(2).numpy().std(axis=2, ddof=1)
    np.testing.assert_allclose(moments(x)[:, 2:].numpy(), expected, rtol=1e-6)


@given(maps)
@settings(deadline=None)
def test_an_image_has_the_same_numbers_in_any_company(shape: tuple[int, int, int, int, int]) -> None:
    x = made(shape[:4], shape[4])
    together = moments(x)
    for i in range(len(x)):
        assert torch.equal(moments(x[i : i + 1])[0], together[i])
    assert torch.equal(moments(x.flip(0)).flip(0), together)


@pytest.mark.parametrize("name", SUMMARIES)
@pytest.mark.parametrize("grid", [(1, 1), (1, 2), (64, 64)])
@pytest.mark.parametrize("value", [0.0, 1e30, -65504.0])
def test_every_summary_is_finite_and_as_wide_as_it_says(name: str, grid: tuple[int, int], value: float) -> None:
    summary = SUMMARIES[name]
    found = summary.compute(torch.full((2, 3, *grid), value))
    assert found.shape == (2, summary.width(3))
    assert found.dtype == torch.float32
    assert bool(torch.isfinite(found).all())


@pytest.mark.parametrize("name", SUMMARIES)
def test_a_map_that_is_not_finite_gives_no_finite_row(name: str) -> None:
    """So that a failure cannot hide behind a summary."""
    for bad in (float("nan"), float("inf")):
        x = torch.zeros(1, 3, 4, 4)
        x[0, 1, 2, 2] = bad
        assert not bool(torch.isfinite(SUMMARIES[name].compute(x)).all())


@pytest.mark.parametrize("name", SUMMARIES)
def test_memory_order_does_not_matter(name: str) -> None:
    """SAM's maps are channels last."""
    x = made((2, 5, 6, 4), 1)
    last = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    torch.testing.assert_close(SUMMARIES[name].compute(last), SUMMARIES[name].compute(x), rtol=1e-6, atol=1e-7)
