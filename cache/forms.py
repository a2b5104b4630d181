"""How a feature lies on the disk: which numbers, how many rows an image, and what turns one into the other. Knows no
file.

A map is a row a token, float16. `map8` is the same map in half the bytes: every channel of an image in 256 even steps
between its smallest and its largest number; its run of h*w rows is followed by eight rows that hold, byte by byte, the
channels' smallest numbers and their steps (float32, little-endian, four rows each). A summary is one row, float32.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cache.features import MAP, MAP8, MAPS

STEPS = 255


class Form(NamedTuple):
    """One way to lie on the disk.

    Attributes:
        dtype: of the array.
        fill: what stands where nothing was written, as Zarr's documents name it.
        by_token: a row a token of the grid; else one an image.
        extra: rows an image has besides.
    """

    dtype: np.dtype[Any]
    fill: float | str
    by_token: bool
    extra: int

    def rows(self, h: int, w: int) -> int:
        """Rows of one image."""
        return h * w + self.extra


class Lines(NamedTuple):
    """One image's feature as it is stored: rows (n, width), and the grid that they are of."""

    rows: NDArray[Any]
    h: int
    w: int


_SUMMARY = Form(np.dtype("<f4"), "NaN", by_token=False, extra=0)
_FORMS = {
    MAP: Form(np.dtype("<f2"), 0.0, by_token=True, extra=0),
    MAP8: Form(np.dtype("u1"), 0, by_token=True, extra=8),
}


def form_of(what: str) -> Form:
    """The form of what is kept of a tap: of a map, or of any summary."""
    return _FORMS.get(what, _SUMMARY)


def to_lines(what: str, value: NDArray[Any]) -> Lines:
    """A map (h, w, C) or a summary (d,) as it is stored."""
    if what not in MAPS:
        return Lines(np.ascontiguousarray(value, _SUMMARY.dtype)[None], 1, 1)
    h, w, channels = value.shape
    flat = value.reshape(-1, channels)
    return Lines(_coded(flat) if what == MAP8 else np.ascontiguousarray(flat, _FORMS[MAP].dtype), h, w)


def from_lines(what: str, lines: Lines) -> NDArray[Any]:
    """What was stored, as it is read: a map (h, w, C) float16, a view unless it is a `map8`, or a summary (d,)."""
    rows, h, w = lines
    if what not in MAPS:
        return rows[0]
    return (_decoded(rows) if what == MAP8 else rows).reshape(h, w, -1)


def as_read(what: str, value: NDArray[Any]) -> NDArray[Any]:
    """A value that was just encoded, as a store would give it back."""
    return from_lines(what, to_lines(what, value)) if what == MAP8 else value


def _coded(flat: NDArray[Any]) -> NDArray[np.uint8]:
    """(n, C) -> (n + 8, C)."""
    exact = flat.astype(np.float32)
    low = exact.min(axis=0)
    step = (exact.max(axis=0) - low) / np.float32(STEPS)
    exact -= low
    exact /= np.where(step > 0, step, np.float32(1))
    codes = np.rint(exact, out=exact).clip(0, STEPS).astype(np.uint8)
    scales = np.stack([low, step]).astype("<f4").view(np.uint8).reshape(8, -1)
    return np.concatenate([codes, scales])


def _decoded(rows: NDArray[np.uint8]) -> NDArray[np.float16]:
    """(n + 8, C) -> (n, C)."""
    import torch

    low, step = np.ascontiguousarray(rows[-8:]).reshape(-1).view("<f4").reshape(2, -1)
    values = rows[:-8].astype(np.float32)
    values *= step
    values += low
    return torch.from_numpy(values).half().numpy()  # the same bits as NumPy's cast, nine times as fast
