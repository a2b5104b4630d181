"""Views: how an image becomes the pixels that an encoder sees. Geometry alone; the encoder pads and normalises."""

from __future__ import annotations

import re

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from cache.errors import UsageError
from cache.identity import ViewIdentity

RESIZERS = {"pillow": "pillow-bilinear", "torch": "torch-bilinear"}  # what a person types -> its name in an identity


class View(msgspec.Struct, frozen=True):
    """A named geometry: `native`, `half`, or `long<N>` (the longer side becomes N, as SAM does).

    Attributes:
        name: what a person types.
        long: the longer side in pixels, 0 where there is none.
        scale: the factor of both sides where `long` is 0.
        resize: who draws: `pillow`, bit for bit what SAM's own code sees, or `torch`, several times as fast and within
            one grey level of it.
    """

    name: str
    long: int = 0
    scale: float = 1.0
    resize: str = "pillow"

    def identity(self) -> ViewIdentity:
        """What of this view changes numbers."""
        geometry = (
            f"longest side to {self.long}, sides rounded half up"
            if self.long
            else f"sides times {self.scale:g}, rounded half up"
        )
        return ViewIdentity(
            self.name, geometry, "none" if self.scale == 1.0 and not self.long else RESIZERS[self.resize]
        )

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of the pixels that an image of this size becomes; at least 1 each."""
        factor = self.long / max(width, height, 1) if self.long else self.scale
        return max(1, int(width * factor + 0.5)), max(1, int(height * factor + 0.5))

    def apply(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 -> (H', W', 3) uint8, by a bilinear filter that is antialiased when it shrinks."""
        height, width = rgb.shape[:2]
        size = self.size(width, height)
        if size == (width, height):
            return rgb
        if self.resize == "torch":
            pixels = torch.from_numpy(np.require(rgb, requirements=["C", "W"]))
            planes = pixels.permute(2, 0, 1)[
                None
            ]  # channels last; laid out in planes, it would cost five times as much
            drawn = torch.nn.functional.interpolate(planes, size[::-1], mode="bilinear", antialias=True)
            return drawn[0].permute(1, 2, 0).contiguous().numpy()
        return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR))


def parse_view(name: str, resize: str = "pillow") -> View:
    """A view by its name, drawn by one of `RESIZERS`.

    Raises:
        UsageError: no such view, or nobody of that name draws.
    """
    if resize not in RESIZERS:
        raise UsageError(f"Unknown --resize {resize!r}. There are: {', '.join(RESIZERS)}.")
    if name == "native":
        return View("native", resize=resize)
    if name == "half":
        return View("half", scale=0.5, resize=resize)
    found = re.fullmatch(r"long([1-9]\d{1,4})", name)
    if found:
        return View(name, long=int(found.group(1)), resize=resize)
    raise UsageError(f"Unknown view {name!r}. There are: native, half, and long<N> such as long1024.")
