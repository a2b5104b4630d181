"""The head `fft`: Fourier convolution on a map's valid grid. Never convolves in the spatial domain."""

from __future__ import annotations

from heads.fourier import SpectralBranch
from heads.network import MapHead


class FftHead(MapHead):
    """Fourier convolution over a map's whole grid, then mean and spread of every channel.

    For each map: standardise channels, 1x1 convolution to `width`, norm, ReLU; a Fourier unit (FFC of Chi et
    al. 2020, without its local part) with a residual; 1x1 convolution, norm, ReLU; mean and spread over the
    grid. The vectors of all maps are read out by one gated layer. `heads.fourier` says where the unit differs
    from FFC, and why. Any grid from 1x1 up; grids may differ from image to image.
    """

    variant = "fft"
    revision = 1
    branches = (SpectralBranch,)
