"""Fixed summaries of a map, named and versioned. A formula that changes gets a new revision, never an old name."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

EDGES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0, math.sqrt(2))  # octaves of the grid's Nyquist frequency
SECTORS = 4  # centred on 0, 45, 90, 135 degrees
FLOOR = 1e-6  # added to every power: the log of a flat map is finite
RANK = 32  # channels that `gram` projects to


class Summary(NamedTuple):
    """A fixed function of a map.

    Attributes:
        name, revision: `moments`, 1; both are part of the name on the disk.
        width: channels -> numbers.
        compute: (b, C, h, w) float32 -> (b, d) float32; each image on its own, finite for every finite map down to 1x1.
    """

    name: str
    revision: int
    width: Callable[[int], int]
    compute: Callable[[torch.Tensor], torch.Tensor]


def moments(maps: torch.Tensor) -> torch.Tensor:
    """Mean and standard deviation of every channel over the grid: (b, C, h, w) -> (b, 2C), means first.

    The deviation is the unbiased one, 0 on a 1x1 grid; both are taken in float64, so that an image's numbers do not
    depend on what else is in its batch.
    """
    import torch

    flat = _double(maps).flatten(2)
    mean = flat.mean(2)
    n = flat.shape[2]
    std = flat.std(2) if n > 1 else mean.new_zeros(mean.shape)
    return torch.cat([mean, std], dim=1).float()


def spectrum(maps: torch.Tensor) -> torch.Tensor:
    """Log-power of every channel at zero, in 6 octaves and in 4 directions: (b, C, h, w) -> (b, 11 C).

    Channel by channel: zero, octaves from low to high, directions.

    Frequency is relative to the grid's own Nyquist frequency (1 along an axis, sqrt 2 in the corner); power is
    |DFT|^2 / (h w) averaged over a band, so white noise gives its variance at any size; zero holds the squared mean and
    is in no band. Direction is that of the frequency: 0 degrees varies from left to right. A band in which a small
    grid has no frequency takes the mean over all that it has, as white noise would; one pixel has none: power 0.
    Float64 inside, image by image.
    """
    import torch

    maps = _double(maps)
    h, w = maps.shape[2:]
    order, counts = _cells(h, w)
    order = torch.from_numpy(order).to(maps.device)
    sizes = torch.tensor(counts, device=maps.device).double().view(len(EDGES), SECTORS)
    rows = []
    for one in maps:
        power = torch.fft.fft2(one.contiguous()).abs().square_().flatten(1) / (h * w)
        cells = [cell.sum(1) for cell in power[:, order].split([1, *counts], dim=1)]
        sums = torch.stack(cells[1:], dim=1).view(-1, len(EDGES), SECTORS)
        # An empty band has the mean over all; a single pixel, which has no frequency at all, power 0.
        every = sums.sum((1, 2), keepdim=True)[..., 0] / max(h * w - 1, 1)
        bands = [(sums.sum(i), sizes.sum(i - 1)) for i in (2, 1)]
        means = [torch.where(n > 0, total / n.clamp(min=1), every) for total, n in bands]
        found = torch.cat([cells[0][:, None] / (h * w), *means], dim=1)
        rows.append((found + FLOOR).log().flatten())
    return torch.stack(rows).float() if rows else maps.new_zeros(0, 11 * maps.shape[1]).float()


@lru_cache(maxsize=8)
def _cells(h: int, w: int) -> tuple[NDArray[np.int32], list[int]]:
    """The places of a transform, zero first and then sorted by octave and direction, and how many each of these 6 x 4
    cells has: 4 bytes a pixel, so that a photograph can be a map.
    """
    import numpy as np

    cell = np.empty((h, w), np.uint8)
    fx = np.fft.fftfreq(w)
    for row, fy in zip(cell, np.fft.fftfreq(h), strict=True):
        octave = np.searchsorted(np.array(EDGES) * (1 + 1e-9), 2 * np.hypot(fy, fx))  # an edge: the band below it
        sector = np.rint(np.arctan2(fy, fx) / (np.pi / SECTORS)).astype(int) % SECTORS
        row[:] = 1 + octave * SECTORS + sector
    cell[0, 0] = 0
    counts = np.bincount(cell.ravel(), minlength=1 + len(EDGES) * SECTORS)
    return np.argsort(cell.ravel(), kind="stable").astype(np.int32), counts[1:].tolist()


def gram(maps: torch.Tensor) -> torch.Tensor:
    """Which channels go together: (b, C, h, w) -> (b, k (k + 1) / 2) with k = min(C, 32).

    Covariance over the grid (divided by its size) of k fixed mixtures of channels, the upper triangle row by row, each
    number as its signed square root: in the map's own unit, and finite in float32 for any map. Up to 32 channels are
    taken as they are; more are mixed by signs that depend on their number alone. Float64 inside, image by image.
    """
    import torch

    maps = _double(maps)
    channels = maps.shape[1]
    signs = _signs(channels)
    mix = None if signs is None else torch.from_numpy(signs).to(maps.device)
    k = min(channels, RANK)
    upper = torch.triu_indices(k, k)
    rows = []
    for one in maps:
        flat = one.contiguous().flatten(1)
        flat = flat - flat.mean(1, keepdim=True)
        mixed = flat if mix is None else mix @ flat
        covariance = (mixed @ mixed.T / flat.shape[1])[upper[0], upper[1]]
        rows.append(covariance.sign() * covariance.abs().sqrt())
    return torch.stack(rows).float() if rows else maps.new_zeros(0, upper.shape[1]).float()


@lru_cache(maxsize=8)
def _signs(channels: int) -> NDArray[np.float64] | None:
    """(32, C) of +-1 / sqrt C from a hash, the same on every platform; None where no projection is needed."""
    import numpy as np

    if channels <= RANK:
        return None
    stream = hashlib.shake_256(f"gram {channels}".encode()).digest(RANK * channels // 8)
    bits = np.unpackbits(np.frombuffer(stream, np.uint8)).reshape(RANK, channels)
    return (2 * bits.astype(np.float64) - 1) / math.sqrt(channels)


def _double(maps: torch.Tensor) -> torch.Tensor:
    return (maps.cpu() if maps.device.type == "mps" else maps).double()  # mps knows no float64


def _gram_width(channels: int) -> int:
    k = min(channels, RANK)
    return k * (k + 1) // 2


SUMMARIES: dict[str, Summary] = {
    "moments": Summary("moments", 2, lambda channels: 2 * channels, moments),
    "spectrum": Summary("spectrum", 1, lambda channels: (1 + len(EDGES) + SECTORS) * channels, spectrum),
    "gram": Summary("gram", 1, _gram_width, gram),
}
