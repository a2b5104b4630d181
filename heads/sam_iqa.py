"""The head `sam-iqa`: a spectral and a spatial branch side by side. Never claims to be the authors' own.

SAM-IQA (Li, Jiang, Fan, Liu, arXiv 2307.04455) states that Fourier and standard convolutions are applied to
features of the Segment Anything encoder. Code, weights, widths, loss and training were not published. So
every choice here is this project's own: a frozen encoder, the neck's map, one 1x1 reduction shared by both
branches, width 64, the branches of `fft` and `spatial`, mean and standard deviation as pooling, fusion by
concatenation, one hidden layer, smooth L1 and Pearson's correlation as loss. Numbers made with it are not
numbers of that paper.
"""

from __future__ import annotations

from heads.convolution import SpatialBranch
from heads.fourier import SpectralBranch
from heads.network import MapHead


class SamIqaHead(MapHead):
    """SAM-IQA-style: the branches of `fft` and `spatial` on one reduced map, fused by concatenation.

    After the idea of SAM-IQA (arXiv 2307.04455), whose widths, loss and code were not published: all of
    those are this project's choices, listed in `heads.sam_iqa`.
    """

    variant = "sam-iqa"
    revision = 1
    branches = (SpectralBranch, SpatialBranch)
