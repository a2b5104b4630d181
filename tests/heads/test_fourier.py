"""The Fourier unit: the transform it says, on any grid, and a branch that is not blind to frequency."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heads.fft import FftHead
from heads.fourier import FourierUnit, SpectralBranch, frequencies

SIZE = 16


def grating(cycles: int, vertical: bool = False) -> torch.Tensor:
    """A cosine of whole cycles over a 16x16 grid, the same in four channels: (1, 4, 16, 16)."""
    wave = torch.cos(2 * torch.pi * cycles * torch.arange(SIZE) / SIZE)
    plane = wave[:, None].expand(SIZE, SIZE) if vertical else wave[None, :].expand(SIZE, SIZE)
    return plane[None, None].repeat(1, 4, 1, 1).contiguous()


def unit(seed: int = 0, channels: int = 4) -> FourierUnit:
    torch.manual_seed(seed)
    return FourierUnit(channels)


def test_the_unit_is_what_numpy_computes_bin_by_bin() -> None:
    """Written out a second time, in numpy, complex numbers and loops."""
    module, x = unit(channels=2), torch.randn(1, 2, 5, 6, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        found = module(x)[0].numpy()
    z = np.fft.rfft2(x[0].numpy() - x[0].numpy().mean(axis=(1, 2), keepdims=True), norm="ortho")
    parts = np.stack([z[0].real, z[0].imag, z[1].real, z[1].imag])
    fy, fx = np.abs(np.fft.fftfreq(5)) * 2, np.fft.rfftfreq(6) * 2
    mixed = np.zeros_like(parts)
    for i in range(parts.shape[1]):
        for j in range(parts.shape[2]):
            place = np.array([fy[i], fx[j], np.hypot(fy[i], fx[j]) / np.sqrt(2)])
            mixed[:, i, j] = module.mix.weight[:, :, 0, 0].detach().numpy() @ parts[:, i, j]
            mixed[:, i, j] += module.place.weight[:, :, 0, 0].detach().numpy() @ place
    mixed = np.maximum((mixed - mixed.mean()) / np.sqrt(mixed.var() + 1e-5), 0)
    expected = [np.fft.irfft2(mixed[2 * c] + 1j * mixed[2 * c + 1], s=(5, 6), norm="ortho") for c in range(2)]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9))
def test_any_grid_keeps_its_shape_and_has_a_finite_gradient(height: int, width: int) -> None:
    """Odd sizes lose a column if the inverse transform is not told the size; 1x1 has no spread."""
    x = torch.randn(2, 4, height, width, requires_grad=True)
    y = unit()(x)
    assert y.shape == x.shape
    branch = SpectralBranch(4)
    branch(x).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_a_constant_does_not_reach_the_spectrum() -> None:
    """Else the zero-frequency bin, which grows with the square root of the area, would rule the norm."""
    x = torch.randn(1, 4, 7, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(unit()(x), unit()(x + 50), rtol=1e-3, atol=1e-3)


def test_frequencies_are_those_of_the_bins_whatever_the_grid() -> None:
    y, x, radial = frequencies(4, 6).numpy()
    assert y[:, 0].tolist() == pytest.approx([0, 0.5, 1, 0.5])
    assert x[0].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert radial[2, 3] == pytest.approx(1)
    assert frequencies(64, 64).max() == pytest.approx(1)


def as_published(module: FourierUnit) -> FourierUnit:
    """FFC's own unit: no bin knows its frequency."""
    torch.nn.init.zeros_(module.place.weight)
    return module


def test_a_plain_mean_after_the_inverse_transform_is_blind() -> None:
    """The trap. Layers that act bin by bin, inverse transform, spatial mean: what is left is the
    zero-frequency bin, so textures of equal mean and power look the same, whatever the weights; and our
    branch, with the same weights in its unit, sees them."""
    for seed in range(3):
        torch.manual_seed(seed)
        branch = SpectralBranch(4)
        as_published(branch.unit)
        with torch.no_grad():
            low, high = (branch.unit(grating(cycles)).mean(dim=(2, 3)) for cycles in (1, 2))
            torch.testing.assert_close(low, high, rtol=0, atol=1e-6)
            assert (branch(grating(1)) - branch(grating(2))).abs().max() > 1e-3


@pytest.mark.parametrize(("low", "high"), [(1, 2), (1, 3), (3, 5), (2, 6), (1, 7)])
def test_the_branch_tells_frequencies_of_equal_mean_and_power_apart(low: int, high: int) -> None:
    a, b = grating(low), grating(high)
    assert a.mean().item() == pytest.approx(b.mean().item(), abs=1e-6)
    assert a.square().mean().item() == pytest.approx(b.square().mean().item(), abs=1e-6)
    torch.manual_seed(0)
    branch = SpectralBranch(4)
    with torch.no_grad():
        assert (branch(a) - branch(b)).abs().max() > 5e-3


@pytest.mark.parametrize("cycles", [3, 5, 7])
def test_without_places_in_the_spectrum_permuted_frequencies_look_alike(cycles: int) -> None:
    """Why every bin is told its frequency. On 16 cells, 1 and 3 cycles are the same values in another
    order; a unit that treats all bins alike, pooled by anything that forgets places, hardly tells them
    apart."""
    torch.manual_seed(0)
    branch = SpectralBranch(8)
    one, other = (grating(n).repeat(1, 2, 1, 1) for n in (1, cycles))
    with torch.no_grad():
        told = (branch(one) - branch(other)).abs().max()
        as_published(branch.unit)
        untold = (branch(one) - branch(other)).abs().max()
    assert told > 5 * untold


def test_the_whole_head_tells_frequency_and_direction_apart() -> None:
    torch.manual_seed(0)
    network = FftHead({"width": 16}).build([4]).eval()
    maps = torch.cat([grating(1), grating(3), grating(3, vertical=True)]).permute(0, 2, 3, 1)
    with torch.inference_mode():
        one, three, upright = network([[(torch.arange(3), maps)]]).tolist()
    assert abs(one - three) > 1e-3
    assert abs(three - upright) > 1e-3
