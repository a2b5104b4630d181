"""Fourier convolution on a valid grid: learnable layers. Never a fixed spectrum: those are summaries.

Follows the spectral transform of Fast Fourier Convolution (Chi, Jiang, Mu, NeurIPS 2020) without its local
Fourier unit, which needs even sizes. Three things differ, each for a reason that a test holds:

- The zero-frequency bin is taken out before the transform (the residual path carries the mean): with
  "ortho" scaling it grows with the square root of the grid's area and would make a head depend on the size
  of the image.
- Every bin knows its frequency (three coordinates, in cycles a cell; LaMa's code has two such channels as
  an option). The original unit treats all bins alike and pooling forgets places, so permuting frequencies
  would change next to nothing.
- A non-linearity follows the inverse transform, before any pooling: the spatial mean of an inverse
  transform is its zero-frequency bin, so a linear ending pooled by a mean is blind to every other
  frequency.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from heads.layers import group_norm, mean_and_spread


def frequencies(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """Where each bin of `rfft2` lies, whatever the grid: (3, height, width // 2 + 1) from 0 to 1.

    Vertical, horizontal and radial frequency; 1 is one half cycle a cell (radially: that along both axes).
    """
    fy = 2 * torch.fft.fftfreq(height, device=device).abs()
    fx = 2 * torch.fft.rfftfreq(width, device=device)
    y, x = torch.meshgrid(fy, fx, indexing="ij")
    return torch.stack([y, x, ((y.square() + x.square()) / 2).sqrt()])


class FourierUnit(nn.Module):
    """Convolution over the whole grid: real transform, 1x1 convolution of the spectrum, norm, ReLU, inverse.

    Real and imaginary parts are interleaved channels (C -> 2 C), as in FFC; float32 throughout.

    Args:
        channels: C, in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(2 * channels, 2 * channels, 1, bias=False)
        self.place = nn.Conv2d(3, 2 * channels, 1, bias=False)
        self.norm = group_norm(2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        """(g, C, h, w) float32 -> (g, C, h, w)."""
        height, width = x.shape[-2:]
        z = torch.fft.rfft2(x - x.mean(dim=(2, 3), keepdim=True), norm="ortho")
        parts = torch.stack([z.real, z.imag], dim=2).flatten(1, 2)
        parts = self.mix(parts) + self.place(frequencies(height, width, x.device)[None])
        parts = F.relu(self.norm(parts)).unflatten(1, (-1, 2))
        return torch.fft.irfft2(torch.complex(parts[:, :, 0], parts[:, :, 1]), s=(height, width), norm="ortho")


class SpectralBranch(nn.Module):
    """Residual Fourier unit, 1x1 convolution, norm, ReLU, then mean and spread over the grid.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.unit = FourierUnit(channels)
        self.out = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = group_norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(g, C, h, w) -> (g, 2 C)."""
        return mean_and_spread(F.relu(self.norm(self.out(x + self.unit(x)))))
