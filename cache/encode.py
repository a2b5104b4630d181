"""Images in, rows out: the one place where files become features, for a store or for memory. Never writes, knows no
labels.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from cache.ahead import Block, Item, Look, Picture, Want, decoded
from cache.encoders.base import seen_through
from cache.features import FeatureName
from cache.passes import Encoded, Meter, asynchronous, failed, rows_of

if TYPE_CHECKING:
    from cache.encoders.base import Encoder
    from cache.views import View

__all__ = ["Block", "Encoded", "Item", "Look", "Meter", "encode_items", "encode_looks"]


def encode_items(
    items: Sequence[Item],
    encoder: Encoder,
    view: View,
    features: Sequence[FeatureName],
    batch_size: int | None = None,
    threads: int | None = None,
) -> Iterator[Encoded]:
    """As `encode_looks`, for one look at one block: a row an image, in the order of the items."""
    for _, row in encode_looks([Look(encoder, view, [Block(items, features)], batch_size)], threads):
        yield row


def encode_looks(
    looks: Sequence[Look], threads: int | None = None, meter: Meter | None = None
) -> Iterator[tuple[int, Encoded]]:
    """Encodes images, decoding ahead on threads; yields (position of the look, row), the rows of each look in the order
    of its items.

    An image that several looks ask for is read and decoded once, as long as the items of each come in the order of a
    plan (by width, height and id). What one look gives does not depend on the others.

    Neighbours of equal size in one block share a forward pass, at most `batch_size` of them, always cut at the same
    places, so that the same block gives the same bytes. Out of memory halves the batch and goes on; an image that the
    encoder cannot take alone is a failed row that says why.

    Raises:
        CacheError: the device itself failed; names the image.
        UsageError: a view is without padding, and its encoder has no such form.
    """
    ahead = threads or max(1, (os.cpu_count() or 1))
    meter = meter or Meter()
    with (
        ThreadPoolExecutor(ahead, thread_name_prefix="decode") as pool,
        ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="pass") as passes,
    ):
        lanes = [_Lane(look, meter, passes) for look in looks]
        depth = 2 * max(ahead, *(lane.size for lane in lanes))
        for wants, seen in decoded(pool, looks, depth):
            for want, pictures in zip(wants, seen, strict=True):
                for row in lanes[want.look].rows(want, pictures):
                    yield want.look, row
        for i, lane in enumerate(lanes):
            for row in lane.rest():
                yield i, row


_IN_FLIGHT = 2  # passes of a GPU: it computes one while the other is laid out for it, or taken apart


class _Lane:
    """The batches of one look. A CPU computes where it is called; a GPU is given its passes by threads."""

    def __init__(self, look: Look, meter: Meter, passes: ThreadPoolExecutor) -> None:
        self.size = look.batch_size or look.encoder.spec.batch
        self._encoder, self._meter = seen_through(look.encoder, look.view), meter
        self._passes = passes if asynchronous(self._encoder.device) else None
        self._batch: list[Picture] = []
        self._coming: deque[Callable[[], list[Encoded]]] = deque()  # passes, each to be asked for its rows
        self._done: list[Encoded] = []  # pictures of images that are not complete yet
        self._counts: deque[int] = deque()  # pictures of each image that has been taken and not given

    def rows(self, want: Want, pictures: Sequence[Picture]) -> Iterator[Encoded]:
        """Takes an image's pictures; gives the rows of images that are complete, which may be some passes later."""
        self._counts.append(len(pictures))
        for picture in pictures:
            if self._batch and not self._fits(picture):
                self._send(want.features)
            if picture.pixels is None:
                self._coming.append(partial(list, [failed(picture, picture.reason)]))
            else:
                self._batch.append(picture)
        if want.last and self._batch:
            self._send(want.features)
        yield from self._arrived(_IN_FLIGHT - 1 if self._passes else 0)

    def rest(self) -> Iterator[Encoded]:
        """The rows that were not given yet."""
        yield from self._arrived(0)

    def _fits(self, picture: Picture) -> bool:
        first = self._batch[0].pixels
        return (
            len(self._batch) < self.size
            and picture.pixels is not None
            and first is not None
            and picture.pixels.shape == first.shape
        )

    def _send(self, features: Sequence[FeatureName]) -> None:
        batch, self._batch = self._batch, []
        taps = list(dict.fromkeys(name.tap for name in features))
        run = partial(rows_of, batch, self._encoder, taps, features, self._meter)
        self._coming.append(self._passes.submit(run).result if self._passes else run)

    def _arrived(self, waiting: int) -> Iterator[Encoded]:
        """Rows of all passes but the last ones, which may go on."""
        while len(self._coming) > waiting:
            self._done += self._coming.popleft()()
            while self._counts and len(self._done) >= self._counts[0]:
                count = self._counts.popleft()
                yield _mean(self._done[:count])
                self._done = self._done[count:]


def _mean(pictures: Sequence[Encoded]) -> Encoded:
    """The row of an image: the mean over its pictures; failed where one of them did."""
    first = next((p for p in pictures if p.status != "ok"), pictures[0])
    if len(pictures) == 1 or first.status != "ok":
        return first
    return first._replace(
        features={
            name: np.mean([p.features[name] for p in pictures], axis=0, dtype=np.float64).astype(np.float32)
            for name in first.features
        }
    )
