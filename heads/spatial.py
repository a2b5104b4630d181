"""The head `spatial`: ordinary convolution in the place of Fourier convolution. Never transforms a map."""

from __future__ import annotations

from heads.convolution import SpatialBranch
from heads.network import MapHead


class SpatialHead(MapHead):
    """Ordinary 3x3 convolution with as many parameters as `fft`: the control for what Fourier adds.

    The same as `fft` in all but the unit: 3x3 convolution to a matched width, norm, ReLU, 1x1 convolution
    back. The parameters of the two heads agree within two per cent.
    """

    variant = "spatial"
    revision = 1
    branches = (SpatialBranch,)
