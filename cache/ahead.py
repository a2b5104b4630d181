"""Files in, pictures out: read, checked and decoded ahead on threads, each image once for all looks that ask for it.
Encodes nothing.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cache import images
from cache.encoders.base import Facts
from cache.errors import ImageError
from cache.features import FeatureName

if TYPE_CHECKING:
    from cache.encoders.base import Encoder
    from cache.views import View


class Item(NamedTuple):
    """One image to encode; sha256 "" and sizes 0 mean: whatever is there. `source` is for encoders that read facts."""

    id: str
    path: Path
    sha256: str = ""
    width: int = 0
    height: int = 0
    source: str = ""


class Picture(NamedTuple):
    """What a look sees of an image, or why it sees nothing."""

    item: Item
    sha256: str
    width: int
    height: int
    reason: str
    pixels: NDArray[np.uint8] | None
    facts: Facts | None = None


class Block(NamedTuple):
    """Images that are encoded together, and what is kept of them."""

    items: Sequence[Item]
    features: Sequence[FeatureName]


class Look(NamedTuple):
    """How images are seen: by an encoder, through a view, block by block.

    Attributes:
        blocks: asked for one by one, each when its first image is to be decoded.
        batch_size: images a forward pass; None: the encoder's own.
    """

    encoder: Encoder
    view: View
    blocks: Iterable[Block]
    batch_size: int | None = None


class Want(NamedTuple):
    """That a look asks for an image, what is kept of it, and whether it is the last of its block."""

    look: int
    features: Sequence[FeatureName]
    last: bool


class Room(threading.local):
    """A thread's memory to decode into, for images of which nothing is kept but what is drawn of them: fresh pages
    would cost a tenth of decoding a large JPEG.
    """

    MOST = 192 << 20  # bytes that a thread holds

    def __init__(self) -> None:
        self._bytes = np.empty(0, np.uint8)

    def of(self, width: int, height: int, views: Iterable[View]) -> NDArray[np.uint8] | None:
        """Memory for an image of this size (0: not known) that is seen through these views; None where it must have
        its own.
        """
        size = 3 * width * height
        if not 0 < size <= self.MOST or not all(view.draws(width, height) for view in views):
            return None
        if size > self._bytes.size:
            self._bytes = np.empty(size, np.uint8)
        return self._bytes


_room = Room()


def _schedule(looks: Sequence[Look]) -> Iterator[tuple[Item, list[Want]]]:
    """Each image with the looks that ask for it now: of the looks' next images the one that a plan puts first."""

    def stream(i: int, look: Look) -> Iterator[tuple[Item, Want]]:
        for block in look.blocks:
            for left, item in zip(reversed(range(len(block.items))), block.items, strict=True):
                yield item, Want(i, block.features, last=left == 0)

    streams = [stream(i, look) for i, look in enumerate(looks)]
    heads = {i: head for i, one in enumerate(streams) if (head := next(one, None))}
    while heads:
        item = min((item for item, _ in heads.values()), key=lambda item: (item.width, item.height, item.id))
        wants = [want for other, want in heads.values() if other == item]
        yield item, wants
        for want in wants:
            del heads[want.look]
            if head := next(streams[want.look], None):
                heads[want.look] = head


def decoded(
    pool: ThreadPoolExecutor, looks: Sequence[Look], depth: int
) -> Iterator[tuple[list[Want], list[list[Picture]]]]:
    """Decoded images in order, with at most `depth` of them in memory; for each look that asks, its pictures."""

    def start(item: Item, wants: list[Want]) -> tuple[list[Want], Future[list[list[Picture]]]]:
        return wants, pool.submit(_read, item, [looks[want.look] for want in wants])

    rest = _schedule(looks)
    waiting = [start(*asked) for asked in islice(rest, depth)]
    while waiting:
        wants, pictures = waiting.pop(0)
        yield wants, pictures.result()
        waiting += [start(*asked) for asked in islice(rest, 1)]


def _read(item: Item, looks: Sequence[Look]) -> list[list[Picture]]:
    """Reads, checks and decodes one image; gives its pictures in each look. What is wrong becomes a reason."""
    sha256, width, height = "", 0, 0
    try:
        try:
            data = item.path.read_bytes()
        except FileNotFoundError:
            raise ImageError("missing", str(item.path)) from None
        except OSError as error:
            raise ImageError("cannot be read", str(error)) from error
        sha256 = hashlib.sha256(data).hexdigest()
        if item.sha256 and sha256 != item.sha256:
            raise ImageError("changed", "other bytes than when it was planned")
        rgb = images.decode(data, room=_room.of(item.width, item.height, [look.view for look in looks]))
        height, width = rgb.shape[:2]
        if item.width and (width, height) != (item.width, item.height):
            raise ImageError("changed", f"{width}x{height}, planned as {item.width}x{item.height}")
        quality = images.jpeg_quality(data) if any(look.encoder.spec.reads_facts for look in looks) else 0
        whole = Picture(item, sha256, width, height, "", None, Facts(len(data), width, height, quality, item.source))
        return [[whole._replace(pixels=picture) for picture in look.view.pictures(rgb)] for look in looks]
    except ImageError as error:
        return [[Picture(item, sha256, width, height, error.reason, None)] for _ in looks]
