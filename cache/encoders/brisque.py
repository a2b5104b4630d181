"""The 36 natural-scene-statistics features of BRISQUE (Mittal, Moorthy, Bovik, IEEE TIP 21(12), 2012). Formulas alone:
knows no encoder, and the authors' regression to a score is not here.

The paper leaves open what implementations differ in. Taken here is what the authors' MATLAB release does: grey is
`rgb2gray`, rounded to 0..255; beyond its edges an image is 0 under the Gaussian window; the constant beside the local
deviation is 1; neighbours wrap around the edges; the second scale is `imresize(.., 0.5)`, bicubic with antialiasing and
mirrored edges; shapes are searched on 0.2, 0.201 .. 10. PIQ is the same but for grey, which it does not round, and odd
sizes, which it halves downwards; OpenCV repeats edge pixels, halves without antialiasing and has no products over the
edge.

In flat places the coefficients are exactly 0 here, and count to the right of a product's distribution; in MATLAB they
are what rounding leaves, on whichever side that falls. A black image has no coefficient but 0, MATLAB's formulas are
0/0: its shapes are 0.2, where MATLAB's search ends, and means and squares are 0. So features are always finite.
"""

from __future__ import annotations

from functools import cache
from math import gamma
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

GREY = (0.298936021293775, 0.587043074451121, 0.114020904255103)  # MATLAB's rgb2gray
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (-1, 1))  # rows down and columns right that the coefficients are shifted by
SCALES = 2
ROUNDING = 1e-9  # grey levels; a difference from the local mean that is smaller is none


def features(rgb: NDArray[np.uint8]) -> Floats:
    """(H, W, 3) uint8 -> (36,): for each scale shape and variance of the coefficients, then shape, mean, left and right
    mean square of their products with the left, the upper and both diagonal neighbours.
    """
    image = np.floor(sum((weight * rgb[..., i] for i, weight in enumerate(GREY)), np.array(0.5)))
    found: list[float] = []
    for scale in range(SCALES):
        image = halved(image) if scale else image
        coefficients = normalised(image)
        found += symmetric(coefficients)
        for shift in NEIGHBOURS:
            found += asymmetric(coefficients * np.roll(coefficients, shift, axis=(0, 1)))
    return np.array(found)


def normalised(image: Floats) -> Floats:
    """Mean-subtracted, contrast-normalised coefficients, under a 7x7 Gaussian window of deviation 7/6."""
    mean = _blurred(image)
    deviation = np.sqrt(np.abs(_blurred(image * image) - mean * mean))
    difference = image - mean
    difference[np.abs(difference) < ROUNDING] = 0
    return difference / (deviation + 1)


def _blurred(image: Floats) -> Floats:
    return _filtered(image, np.exp(-0.5 * (np.arange(-3, 4) / (7 / 6)) ** 2), 1, "constant")


def halved(image: Floats) -> Floats:
    """Half the size, rounded up: the cubic kernel (a = -0.5) stretched to 8 pixels, edges mirrored."""
    x = np.abs(np.arange(-3.5, 4)) / 2
    taps = np.where(x <= 1, 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2)
    return _filtered(image, taps, 2, "symmetric")


def _filtered(image: Floats, taps: Floats, step: int, beyond: Literal["constant", "symmetric"]) -> Floats:
    """Every step-th place of both axes: its neighbours weighted by `taps`, which begin 3 pixels before it."""
    for _ in range(2):  # down, then the same across
        places = -(-len(image) // step)
        padded = np.pad(image, ((3, len(taps) - 4), (0, 0)), mode=beyond)
        image = np.zeros((places, image.shape[1]))
        for i, tap in enumerate(taps / taps.sum()):
            image += tap * padded[i : i + step * (places - 1) + 1 : step]
        image = np.ascontiguousarray(image.T)
    return image


def symmetric(values: Floats) -> tuple[float, float]:
    """Shape and variance of a generalised Gaussian of mean 0, by its moments."""
    shapes, ratios = _shapes()
    variance, absolute = float(np.mean(values * values)), float(np.mean(np.abs(values)))
    if variance == 0:
        return float(shapes[0]), 0.0
    return float(shapes[np.abs(1 / ratios - variance / absolute**2).argmin()]), variance


def asymmetric(values: Floats) -> tuple[float, float, float, float]:
    """Shape, mean, left and right mean square of an asymmetric generalised Gaussian, by its moments; a side that has
    no values has 0.
    """
    shapes, ratios = _shapes()
    below, above = np.minimum(values, 0), np.maximum(values, 0)
    negative = int(np.count_nonzero(below))
    left = float(np.vdot(below, below)) / max(negative, 1)
    right = float(np.vdot(above, above)) / max(values.size - negative, 1)
    if left == right == 0:
        return float(shapes[0]), 0.0, 0.0, 0.0
    a, b = np.sqrt(left), np.sqrt(right)
    ratio = np.mean(np.abs(values)) ** 2 / np.mean(values * values)
    ratio *= (a**3 + b**3) * (a + b) / (left + right) ** 2
    shape = float(shapes[np.abs(ratios - ratio).argmin()])
    mean = (b - a) * gamma(2 / shape) / np.sqrt(gamma(1 / shape) * gamma(3 / shape))
    return shape, float(mean), left, right


@cache
def _shapes() -> tuple[Floats, Floats]:
    """Shapes that are tried, and the squared mean absolute value over the variance that each has."""
    shapes = np.arange(200, 10001) / 1000
    ratios = [gamma(2 / shape) ** 2 / (gamma(1 / shape) * gamma(3 / shape)) for shape in shapes]
    return shapes, np.array(ratios)
