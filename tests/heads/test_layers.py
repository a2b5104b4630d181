"""Layers: what is folded equals what is written out; dead channels stay dead; rows never mix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from heads.convolution import SpatialBranch
from heads.fourier import SpectralBranch
from heads.layers import Reduce, Standard, gather, mean_and_spread
from heads.network import MapHead
from heads.sam_iqa import SamIqaHead


def test_folded_standardisation_equals_standardising_first() -> None:
    torch.manual_seed(0)
    maps = 5 + 3 * torch.randn(2, 4, 5, 6)
    reduce = Reduce(6, 3)
    reduce.standard.set(maps.mean((0, 1, 2)), maps.std((0, 1, 2)), 1e-6)
    plain = nn.functional.conv2d(
        reduce.standard(maps).permute(0, 3, 1, 2), reduce.linear.weight[:, :, None, None], reduce.linear.bias
    )
    torch.testing.assert_close(reduce(maps), plain, rtol=1e-4, atol=1e-5)


def test_a_channel_that_varies_by_rounding_alone_is_switched_off() -> None:
    """The trap: its last bits, scaled to unit variance, would be noise as loud as any signal."""
    standard = Standard(3)
    standard.set(torch.tensor([100.0, 0.0, 100.0]), torch.tensor([0.04, 0.0, 4.0]), 2.0**-11)
    assert standard.scale.tolist() == pytest.approx([0.0, 0.0, 0.25])
    assert torch.isfinite(standard(torch.full((1, 3), 1e4))).all()


def test_mean_and_spread_are_the_plain_ones() -> None:
    x = torch.randn(3, 2, 4, 5, generator=torch.Generator().manual_seed(1))
    flat = x.flatten(2).numpy()
    expected = np.concatenate([flat.mean(-1), flat.std(-1)], axis=1)
    np.testing.assert_allclose(mean_and_spread(x).numpy(), expected, atol=1e-5)


def test_the_gradient_of_spread_is_finite_where_nothing_spreads() -> None:
    """The derivative of a square root at 0 is infinite: a 1x1 grid, or a dead channel, would end a
    training."""
    x = torch.ones(2, 3, 1, 1, requires_grad=True)
    mean_and_spread(x).sum().backward()
    assert torch.isfinite(x.grad).all()


@given(st.permutations(list(range(7))), st.integers(1, 6))
def test_gathered_rows_stand_where_they_were(order: list[int], cut: int) -> None:
    values = torch.arange(7.0)[:, None]
    positions = torch.tensor(order)
    groups = [(positions[:cut], values[positions[:cut]]), (positions[cut:], values[positions[cut:]])]
    assert gather(groups, nn.Identity()).squeeze(1).tolist() == list(range(7))


@pytest.mark.parametrize("branch", [SpectralBranch, SpatialBranch])
def test_a_sample_is_embedded_the_same_in_any_group(branch: type[nn.Module]) -> None:
    """A batch norm would make a prediction depend on its neighbours; group norm does not."""
    torch.manual_seed(0)
    module = branch(8)
    x = torch.randn(5, 8, 6, 7)
    alone = torch.cat([module(row[None]) for row in x])
    torch.testing.assert_close(module(x), alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(module(torch.cat([x[:1], 100 * x[1:]]))[0], alone[0], rtol=1e-4, atol=1e-5)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("width", [32, 64, 96, 128, 256])
def test_both_branches_have_as_many_parameters(width: int) -> None:
    assert count(SpatialBranch(width)) == pytest.approx(count(SpectralBranch(width)), rel=0.02)


@pytest.mark.parametrize("channels", [192, 256, 768, 1280])
def test_the_heads_fft_and_spatial_differ_by_less_than_two_per_cent(channels: int) -> None:
    from heads.fft import FftHead
    from heads.spatial import SpatialHead

    fft, spatial = (count(head().build([channels])) for head in (FftHead, SpatialHead))
    assert spatial == pytest.approx(fft, rel=0.02)


def test_sam_iqa_holds_both_branches_over_one_reduction() -> None:
    embed = SamIqaHead().build([256]).embeds[0]
    kinds = [type(branch) for branch in embed.branches]
    assert kinds == [SpectralBranch, SpatialBranch]
    assert sum(isinstance(module, Reduce) for module in embed.modules()) == 1
    assert issubclass(SamIqaHead, MapHead)
