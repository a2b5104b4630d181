"""Ordinary convolution, matched to the Fourier unit in all but the transform. Never sees more than 3x3 cells.

The comparison of a spectral with a spatial head is worth something only if the two differ in one thing. The
unit here stands in the same place, with the same residual, norms, pooling and (within two per cent) the
same number of parameters.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from heads.layers import group_norm, mean_and_spread


def matched_width(channels: int) -> int:
    """Channels between the two convolutions, so that they have as many parameters as a Fourier unit.

    3x3 to k and 1x1 back: 10 C k + 2 k; the Fourier unit: 4 C^2 + 6 C + 4 C.
    """
    return max(1, round((4 * channels**2 + 10 * channels) / (10 * channels + 2)))


class SpatialUnit(nn.Module):
    """3x3 convolution to a matched width, norm, ReLU, 1x1 convolution back.

    Args:
        channels: C, in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = matched_width(channels)
        self.local = nn.Conv2d(channels, inner, 3, padding=1, bias=False)
        self.norm = group_norm(inner)
        self.back = nn.Conv2d(inner, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(g, C, h, w) -> (g, C, h, w); cells outside the valid grid count as zero."""
        return self.back(F.relu(self.norm(self.local(x))))


class SpatialBranch(nn.Module):
    """Residual spatial unit, 1x1 convolution, norm, ReLU, then mean and spread over the grid.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.unit = SpatialUnit(channels)
        self.out = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = group_norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(g, C, h, w) -> (g, 2 C)."""
        return mean_and_spread(F.relu(self.norm(self.out(x + self.unit(x)))))
