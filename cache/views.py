"""Views: how an image becomes the pixels that an encoder sees. Geometry alone; the encoder pads and normalises."""

from __future__ import annotations

import re

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cache.errors import UsageError
from cache.identity import ViewIdentity

PILLOW = "pillow-bilinear"


class View(msgspec.Struct, frozen=True):
    """A named geometry: `native`, `half`, `long<N>` (the longer side becomes N, as SAM does) or `square<N>` (both
    sides become N whatever the image's shape, as SAM 2 does).

    Attributes:
        name: what a person types.
        long: the longer side in pixels, 0 where there is none.
        square: both sides in pixels, 0 where there is none.
        scale: the factor of both sides where `long` and `square` are 0.
    """

    name: str
    long: int = 0
    square: int = 0
    scale: float = 1.0

    def identity(self) -> ViewIdentity:
        """What of this view changes numbers."""
        if self.square:
            geometry = f"both sides to {self.square}"
        elif self.long:
            geometry = f"longest side to {self.long}, sides rounded half up"
        else:
            geometry = f"sides times {self.scale:g}, rounded half up"
        unchanged = self.scale == 1.0 and not self.long and not self.square
        return ViewIdentity(self.name, geometry, "none" if unchanged else PILLOW)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of the pixels that an image of this size becomes; at least 1 each."""
        if self.square:
            return self.square, self.square
        factor = self.long / max(width, height, 1) if self.long else self.scale
        return max(1, int(width * factor + 0.5)), max(1, int(height * factor + 0.5))

    def apply(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 -> (H', W', 3) uint8; Pillow's bilinear filter, which is antialiased when it shrinks."""
        height, width = rgb.shape[:2]
        size = self.size(width, height)
        if size == (width, height):
            return rgb
        return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR))


def parse_view(name: str) -> View:
    """A view by its name.

    Raises:
        UsageError: no such view.
    """
    if name == "native":
        return View("native")
    if name == "half":
        return View("half", scale=0.5)
    found = re.fullmatch(r"(long|square)([1-9]\d{1,4})", name)
    if found:
        side = int(found.group(2))
        return View(name, long=side) if found.group(1) == "long" else View(name, square=side)
    raise UsageError(
        f"Unknown view {name!r}. There are: native, half, long<N> such as long1024, and square<N> such as square1024."
    )
