"""Views: how an image becomes the pixels that an encoder sees. Geometry alone; the encoder pads and normalises, unless
the view says that nothing is padded.

Most views make one picture of an image. Crops and tiles make several: a summary of such an image is the mean over its
pictures, and there is no map of it.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from cache.errors import UsageError
from cache.identity import ViewIdentity

RESIZERS = {"pillow": "pillow-bilinear", "torch": "torch-bilinear"}  # what a person types -> its name in an identity
UNPADDED = "-unpadded"
MEAN = "a summary is the mean over them"  # of an image that becomes several pictures; part of the identity


class Box(NamedTuple):
    """A part of an image, in pixels from its upper left corner."""

    left: int
    top: int
    width: int
    height: int


class View(msgspec.Struct, frozen=True):
    """A named geometry: `native`, `half`, `long<N>` (the longer side becomes N, as SAM does), `square<N>` (both sides
    become N whatever the image's shape, as SAM 2 does), `crops5x<N>` (four corners and the centre), `tiles<N>` (the
    whole image in parts); each also as `<view>-unpadded`.

    Attributes:
        name: what a person types.
        long: the longer side in pixels, 0 where there is none.
        square: both sides in pixels, 0 where there is none.
        scale: the factor of both sides where `long` and `square` are 0.
        resize: who draws: `pillow`, bit for bit what SAM's own code sees, or `torch`, several times as fast and within
            one grey level of it.
        crop: the side of five square crops, 0 where there are none.
        tile: the largest side of a tile, 0 where there are none.
        padded: an encoder that pads may do so.
    """

    name: str
    long: int = 0
    square: int = 0
    scale: float = 1.0
    resize: str = "pillow"
    crop: int = 0
    tile: int = 0
    padded: bool = True

    @property
    def several(self) -> bool:
        """Whether an image becomes several pictures."""
        return bool(self.crop or self.tile)

    def identity(self) -> ViewIdentity:
        """What of this view changes numbers."""
        if self.crop:
            geometry = f"corners and centre of {self.crop}x{self.crop}, cut at the edges, equal ones once; {MEAN}"
        elif self.tile:
            geometry = f"fewest equal tiles of at most {self.tile}x{self.tile}; {MEAN}"
        elif self.square:
            geometry = f"both sides to {self.square}"
        elif self.long:
            geometry = f"longest side to {self.long}, sides rounded half up"
        else:
            geometry = f"sides times {self.scale:g}, rounded half up"
        if not self.padded:
            geometry += "; the encoder pads nothing"
        drawn = self.long or self.square or self.scale != 1.0
        return ViewIdentity(self.name, geometry, RESIZERS[self.resize] if drawn else "none")

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of what an image of this size is resized to; at least 1 each."""
        if self.square:
            return self.square, self.square
        factor = self.long / max(width, height, 1) if self.long else self.scale
        return max(1, int(width * factor + 0.5)), max(1, int(height * factor + 0.5))

    def boxes(self, width: int, height: int) -> list[Box]:
        """The pictures that an image of this size becomes, as parts of what it is resized to."""
        width, height = self.size(width, height)
        if self.crop:
            return _corners_and_centre(width, height, self.crop)
        if self.tile:
            return _tiles(width, height, self.tile)
        return [Box(0, 0, width, height)]

    def draws(self, width: int, height: int) -> bool:
        """Whether the pictures of an image of this size are drawn anew; else they are the image, or parts of it."""
        return self.size(width, height) != (width, height)

    def apply(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The whole image resized, (H, W, 3) uint8 -> (H', W', 3) uint8, by a bilinear filter that is antialiased when
        it shrinks.
        """
        height, width = rgb.shape[:2]
        if not self.draws(width, height):
            return rgb
        size = self.size(width, height)
        if self.resize == "torch":
            pixels = torch.from_numpy(np.require(rgb, requirements=["C", "W"]))
            planes = pixels.permute(2, 0, 1)[
                None
            ]  # channels last; laid out in planes, it would cost five times as much
            drawn = torch.nn.functional.interpolate(planes, size[::-1], mode="bilinear", antialias=True)
            return drawn[0].permute(1, 2, 0).contiguous().numpy()
        return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR))

    def pictures(self, rgb: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        """(H, W, 3) uint8 -> what the encoder sees of it, (h, w, 3) uint8 each."""
        height, width = rgb.shape[:2]
        whole = self.apply(rgb)
        return [whole[b.top : b.top + b.height, b.left : b.left + b.width] for b in self.boxes(width, height)]


def _corners_and_centre(width: int, height: int, side: int) -> list[Box]:
    w, h = min(side, width), min(side, height)
    right, bottom = width - w, height - h
    places = [(0, 0), (right, 0), (0, bottom), (right, bottom), (right // 2, bottom // 2)]
    return [Box(left, top, w, h) for left, top in dict.fromkeys(places)]


def _tiles(width: int, height: int, most: int) -> list[Box]:
    boxes = [Box(left, top, w, h) for top, h in _parts(height, most) for left, w in _parts(width, most)]
    return sorted(boxes, key=lambda box: (box.height, box.width))  # pictures of one size share a forward pass


def _parts(length: int, most: int) -> list[tuple[int, int]]:
    """A side cut into the fewest parts of at most `most` pixels, equal to a pixel: (start, length) each."""
    count = -(-length // most)
    edges = [length * i // count for i in range(count + 1)]
    return [(start, end - start) for start, end in pairwise(edges)]


def parse_view(name: str, resize: str = "pillow") -> View:
    """A view by its name, drawn by one of `RESIZERS`.

    Raises:
        UsageError: no such view, or nobody of that name draws.
    """
    if resize not in RESIZERS:
        raise UsageError(f"Unknown --resize {resize!r}. There are: {', '.join(RESIZERS)}.")
    plain = name.removesuffix(UNPADDED)
    padded = plain == name
    if plain == "native":
        return View(name, resize=resize, padded=padded)
    if plain == "half":
        return View(name, scale=0.5, resize=resize, padded=padded)
    found = re.fullmatch(r"(long|square|crops5x|tiles)([1-9]\d{1,4})", plain)
    if found:
        sides = {"long": "long", "square": "square", "crops5x": "crop", "tiles": "tile"}
        return View(name, resize=resize, padded=padded, **{sides[found.group(1)]: int(found.group(2))})
    raise UsageError(
        f"Unknown view {name!r}. There are: native, half, long<N> such as long1024, square<N> such as square1024, "
        f"crops5x<N> such as crops5x224, and tiles<N> such as tiles512; each also with {UNPADDED} behind it."
    )
