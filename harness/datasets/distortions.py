"""Distortions of a photograph at five levels, and the full-reference measure that labels them. Never touches
a file.

Bytes do not depend on the process, the platform's random generator or NumPy's distributions: noise is made
from the raw stream of PCG64, which NumPy promises to keep. JPEG depends on the version of libjpeg that Pillow
was built with.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.metrics import structural_similarity

Pixels = NDArray[np.uint8]

# One strength a level, weakest first.
STRENGTHS: dict[str, tuple[float, ...]] = {
    "Gaussian blur": (0.6, 1.2, 2.0, 3.2, 5.0),  # standard deviation, pixels
    "white noise": (5, 10, 20, 35, 60),  # standard deviation, grey levels
    "JPEG": (60, 35, 20, 10, 5),  # quality
    "contrast": (0.75, 0.55, 0.4, 0.25, 0.15),  # factor about the mean
    "motion blur": (3, 5, 9, 15, 25),  # length, pixels
    "impulse noise": (0.005, 0.015, 0.04, 0.1, 0.2),  # share of values
    "downsampling": (1.5, 2, 3, 4.5, 7),  # factor
    "quantisation": (24, 14, 9, 6, 3),  # steps a channel
}


def distort(rgb: Pixels, family: str, level: int, key: str) -> Pixels:
    """One distorted copy.

    Args:
        rgb: (H, W, 3) uint8.
        family: a name of `STRENGTHS`.
        level: 1 (weakest) to 5.
        key: what seeds the noise; the same key gives the same copy.
    """
    return _FAMILIES[family](rgb, STRENGTHS[family][level - 1], f"{key}:{family}:{level}")


def ssim(reference: Pixels, distorted: Pixels) -> float:
    """Structural similarity of two (H, W, 3) images, 0-1, 1 for equal ones.

    Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural
    similarity", IEEE TIP 13(4), 2004: luma, Gaussian window of 11 pixels with deviation 1.5, K1 = .01, K2 =
    .03. Its rare negative values are set to 0.
    """
    value: Any = structural_similarity(
        luma(reference),
        luma(distorted),
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        K1=0.01,
        K2=0.03,
    )
    return max(float(value), 0.0)


def luma(rgb: Pixels) -> NDArray[np.float64]:
    """(H, W, 3) uint8 -> (H, W) float64, 0-255, weights of ITU-R BT.601, unrounded."""
    return rgb.astype(np.float64) @ np.array([0.299, 0.587, 0.114])


def uniform(shape: tuple[int, ...], key: str) -> NDArray[np.float64]:
    """Numbers in [0, 1) from a key: sha256 seeds PCG64, whose raw 64-bit words are used as they come."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "big")
    words = np.asarray(np.random.PCG64(seed).random_raw(int(np.prod(shape))), dtype=np.uint64)
    return (words >> np.uint64(11)).astype(np.float64).reshape(shape) * 2.0**-53


def _rounded(values: NDArray[np.floating[Any]]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _gaussian_blur(rgb: Pixels, sigma: float, key: str) -> Pixels:
    return _rounded(ndimage.gaussian_filter(rgb.astype(np.float64), (sigma, sigma, 0), mode="reflect"))


def _motion_blur(rgb: Pixels, length: float, key: str) -> Pixels:
    return _rounded(ndimage.uniform_filter1d(rgb.astype(np.float64), int(length), axis=1, mode="reflect"))


def _white_noise(rgb: Pixels, deviation: float, key: str) -> Pixels:
    radius = np.sqrt(-2 * np.log(1 - uniform(rgb.shape, f"{key}:radius")))
    noise = radius * np.cos(2 * np.pi * uniform(rgb.shape, f"{key}:angle"))
    return _rounded(rgb + deviation * noise)


def _impulse_noise(rgb: Pixels, share: float, key: str) -> Pixels:
    draw = uniform(rgb.shape, key)
    return np.where(draw < share / 2, 0, np.where(draw < share, 255, rgb)).astype(np.uint8)


def _jpeg(rgb: Pixels, quality: float, key: str) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=int(quality))
    return np.asarray(Image.open(buffer).convert("RGB"))


def _contrast(rgb: Pixels, factor: float, key: str) -> Pixels:
    mean = float(luma(rgb).mean())
    return _rounded(mean + factor * (rgb - mean))


def _downsampling(rgb: Pixels, factor: float, key: str) -> Pixels:
    image = Image.fromarray(rgb)
    small = (max(round(image.width / factor), 1), max(round(image.height / factor), 1))
    smaller = image.resize(small, Image.Resampling.BICUBIC)
    return np.asarray(smaller.resize(image.size, Image.Resampling.BICUBIC))


def _quantisation(rgb: Pixels, steps: float, key: str) -> Pixels:
    return _rounded(np.rint(rgb / 255 * (steps - 1)) / (steps - 1) * 255)


_FAMILIES: dict[str, Callable[[Pixels, float, str], Pixels]] = {
    "Gaussian blur": _gaussian_blur,
    "white noise": _white_noise,
    "JPEG": _jpeg,
    "contrast": _contrast,
    "motion blur": _motion_blur,
    "impulse noise": _impulse_noise,
    "downsampling": _downsampling,
    "quantisation": _quantisation,
}
