"""Plain JPEGs by simplejpeg, half as dear as by Pillow: the same pixels, or none. Never scales, knows no other format.

Plain is what the two were proved to agree on: 8-bit Huffman-coded baseline and progressive files, YCbCr in the usual
subsamplings or grey. Each brings a libjpeg-turbo of its own, so they are compared once a process, too.
"""

from __future__ import annotations

import functools
import io

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, features

_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive: 8 or 12 bits, Huffman
_ALONE = (0x01, *range(0xD0, 0xD9))  # markers without a length
_PLAIN = {"Gray": ("Gray",), "YCbCr": ("444", "422", "420")}


def decode(data: bytes, room: NDArray[np.uint8] | None = None) -> NDArray[np.uint8] | None:
    """Pixels of a plain JPEG as they are stored, (H, W, 3) uint8 RGB; None where Pillow is to decide.

    That is: other kinds of JPEG, damaged ones (also slightly), and all of them where the two disagree.

    Args:
        room: memory for the pixels to lie in, if it is enough.
    """
    return _decoded(data, room) if _agree() else None


def _decoded(data: bytes, room: NDArray[np.uint8] | None = None) -> NDArray[np.uint8] | None:
    if not _plain_frame(data):
        return None
    try:
        height, width, colours, subsampling = simplejpeg.decode_jpeg_header(data)
        if subsampling not in _PLAIN.get(colours, ()):
            return None
        enough = room is not None and room.size >= 3 * int(height) * int(width)
        return simplejpeg.decode_jpeg(data, "RGB", buffer=room if enough else None)
    except ValueError:
        return None


def _plain_frame(data: bytes) -> bool:
    """Whether the first frame header is of a kind that is plain, with 8 bits a sample."""
    at = 2
    while at + 5 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill
            at += 1
        elif marker in _ALONE:
            at += 2
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return marker in _FRAMES and data[at + 4] == 8
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return False


@functools.cache
def _agree() -> bool:
    """Whether simplejpeg gives Pillow's pixels here: a small noisy picture of odd size, each way that is plain."""
    if not features.check_feature("libjpeg_turbo"):
        return False
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8))
    for image, subsampling in ((noise, 0), (noise, 1), (noise, 2), (noise.convert("L"), 0)):
        baseline, progressive = (_saved(image, subsampling, more) for more in (False, True))
        unfinished = progressive[: progressive.rindex(b"\xff\xda")] + b"\xff\xd9"  # decoders smooth what is missing
        for data in (baseline, progressive, unfinished):
            ours, theirs = _decoded(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
            if ours is None or not np.array_equal(ours, theirs):
                return False
    return True


def _saved(image: Image.Image, subsampling: int, progressive: bool) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80, subsampling=subsampling, progressive=progressive)
    return file.getvalue()
