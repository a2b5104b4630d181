"""Summaries: the formula's value, finite down to one pixel, the same in any company."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.summaries import FLOOR, SUMMARIES, gram, moments, spectrum

FIRST_OF_GRAM = [2.98325587, 1.36690938, -0.32230067]
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


@pytest.mark.parametrize("name", SUMMARIES)
@given(maps)
@settings(deadline=None)
def test_an_image_has_the_same_numbers_in_any_company(name: str, shape: tuple[int, int, int, int, int]) -> None:
    x = made(shape[:4], shape[4])
    compute = SUMMARIES[name].compute
    together = compute(x)
    assert together.shape == (len(x), SUMMARIES[name].width(x.shape[1]))
    assert bool(torch.isfinite(together).all())
    for i in range(len(x)):
        assert torch.equal(compute(x[i : i + 1])[0], together[i])
    assert torch.equal(compute(x.flip(0)).flip(0), together)


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


def by_hand(x: np.ndarray) -> np.ndarray:
    """`spectrum` of one channel, one frequency after another, by the definition of the transform."""
    h, w = x.shape
    ys, xs = np.mgrid[:h, :w]
    octaves: list[list[float]] = [[] for _ in range(6)]
    sectors: list[list[float]] = [[] for _ in range(4)]
    for ky in range(-(h // 2), h - h // 2):
        for kx in range(-(w // 2), w - w // 2):
            if (ky, kx) == (0, 0):
                continue
            power = abs((x * np.exp(-2j * np.pi * (ky * ys / h + kx * xs / w))).sum()) ** 2 / (h * w)
            squared = 4 * ((ky / h) ** 2 + (kx / w) ** 2)
            octaves[next(i for i in range(6) if squared <= 4.0 ** (i - 4) * (1 + 1e-8) or i == 5)].append(power)
            degrees = np.degrees(np.arctan2(ky / h, kx / w)) % 180
            sectors[int((degrees + 22.5) // 45) % 4].append(power)
    every = [power for band in octaves for power in band]
    means = [np.mean(band or every or [0.0]) for band in octaves + sectors]
    return np.log(np.array([x.mean() ** 2, *means]) + FLOOR)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_spectrum_is_that_of_the_definition(h: int, w: int, seed: int) -> None:
    x = made((1, 2, h, w), seed)
    expected = np.concatenate([by_hand(channel) for channel in x[0].numpy().astype(np.float64)])
    np.testing.assert_allclose(spectrum(x)[0].numpy(), expected, rtol=1e-5, atol=1e-5)


def test_spectrum_says_how_fine_and_which_way() -> None:
    """Stripes from left to right, one period in four steps: half the Nyquist frequency, direction 0."""
    stripes = torch.cos(torch.arange(32.0) * np.pi / 2).expand(1, 1, 32, 32)
    low = float(np.log(FLOOR))
    octaves, sectors = spectrum(stripes)[0, 1:7], spectrum(stripes)[0, 7:]
    assert octaves.argmax() == 3
    assert sectors.argmax() == 0
    assert octaves[[0, 1, 2, 4, 5]].tolist() == pytest.approx([low] * 5, abs=1e-3)
    turned = spectrum(stripes.transpose(2, 3).contiguous())[0]
    assert turned[7:].argmax() == 2
    torch.testing.assert_close(turned[:7], spectrum(stripes)[0, :7])


def test_spectrum_of_white_noise_is_its_variance_at_any_size() -> None:
    for side in (16, 64):
        found = spectrum(made((1, 64, side, side), side, spread=2.0)).view(64, 11).double().exp().mean(0)
        assert found[0].item() == pytest.approx(1.0, abs=0.2)
        assert found[2:].numpy() == pytest.approx(4.0, rel=0.2)


@pytest.mark.parametrize("channels", [1, 3, 32])
def test_gram_of_few_channels_is_their_covariance(channels: int) -> None:
    x = made((2, channels, 5, 7), channels)
    for i, found in enumerate(gram(x).numpy()):
        full = np.atleast_2d(np.cov(x[i].numpy().astype(np.float64).reshape(channels, -1), bias=True))
        expected = full[np.triu_indices(channels)]
        np.testing.assert_allclose(found * np.abs(found), expected, rtol=1e-5, atol=1e-6)


def test_gram_of_many_channels_is_of_528_numbers_and_linear_mixtures() -> None:
    """The mixing is fixed: the same for another map, so that a map that is twice another has twice its numbers."""
    x = made((1, 100, 6, 6), 0)
    found = gram(x)
    assert found.shape == (1, 528)
    torch.testing.assert_close(gram(2 * x + 5), 2 * found, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gram(x.flip(2)), found, rtol=1e-5, atol=1e-6)
    assert found[0, :3].tolist() == pytest.approx(FIRST_OF_GRAM, rel=1e-5)  # a changed projection needs a new revision


def test_gram_keeps_the_total_variance() -> None:
    """Signs over sqrt C: on average over mixtures of independent channels, a mixture varies as a channel does."""
    found = gram(made((1, 400, 20, 20), 3, spread=2.0))[0]
    corner, diagonal = 0, []
    for size in range(32, 0, -1):
        diagonal.append(found[corner].item() ** 2)
        corner += size
    assert np.mean(diagonal) == pytest.approx(4.0, rel=0.1)
