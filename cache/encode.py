"""Images in, rows out: the one place where files become features, for a store or for memory. Never writes, knows no
labels.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from cache import images
from cache.encoders.base import Facts, ask, seen_through
from cache.errors import CacheError, ImageError
from cache.features import MAPS, VECTOR, FeatureName
from cache.summaries import SUMMARIES

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


class Encoded(NamedTuple):
    """One image encoded, or the reason why not.

    Attributes:
        sha256: of the bytes that were read, "" where none could be.
        width, height: in pixels, orientation applied, before the view.
        status: "ok" or "failed".
        reason: "" or why, short and stable.
        features: `tap:map`, and `tap:map8` (which is rounded when it is stored) -> (h, w, C) float16,
            `tap:<summary>` and `tap:vector` -> (d,) float32; empty where it failed.
    """

    id: str
    sha256: str
    width: int
    height: int
    status: str
    reason: str
    features: Mapping[str, NDArray[Any]]


class _Pixels(NamedTuple):
    item: Item
    sha256: str
    width: int
    height: int
    reason: str
    pixels: NDArray[np.uint8] | None
    facts: Facts | None = None


class Meter:
    """How long the encoder was at work, in seconds; the rest of the time it waited for images."""

    def __init__(self) -> None:
        self.busy = 0.0


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
    lanes = [_Lane(look, meter or Meter()) for look in looks]
    depth = 2 * max(ahead, *(lane.size for lane in lanes))
    with ThreadPoolExecutor(ahead, thread_name_prefix="decode") as pool:
        for wants, pictures in _ahead(pool, looks, depth):
            for want, seen in zip(wants, pictures, strict=True):
                for row in lanes[want.look].rows(want, seen):
                    yield want.look, row


class _Want(NamedTuple):
    """That a look asks for an image, what is kept of it, and whether it is the last of its block."""

    look: int
    features: Sequence[FeatureName]
    last: bool


class _Lane:
    """The batches of one look."""

    def __init__(self, look: Look, meter: Meter) -> None:
        self.size = look.batch_size or look.encoder.spec.batch
        self._encoder, self._meter = seen_through(look.encoder, look.view), meter
        self._batch: list[_Pixels] = []
        self._done: list[Encoded] = []  # pictures of images that are not complete yet
        self._counts: list[int] = []  # pictures of each image that has been taken and not given

    def rows(self, want: _Want, pictures: Sequence[_Pixels]) -> Iterator[Encoded]:
        """Takes an image's pictures; gives the rows of the images that are complete with them."""
        self._counts.append(len(pictures))
        for picture in pictures:
            if self._batch and not self._fits(picture):
                yield from self._encoded(want.features)
            if picture.pixels is None:
                yield from self._complete([_failed(picture, picture.reason)])
            else:
                self._batch.append(picture)
        if want.last and self._batch:
            yield from self._encoded(want.features)

    def _fits(self, picture: _Pixels) -> bool:
        first = self._batch[0].pixels
        return (
            len(self._batch) < self.size
            and picture.pixels is not None
            and first is not None
            and picture.pixels.shape == first.shape
        )

    def _encoded(self, features: Sequence[FeatureName]) -> list[Encoded]:
        batch, self._batch = self._batch, []
        start = time.perf_counter()
        rows = _encode(batch, self._encoder, list(dict.fromkeys(name.tap for name in features)), features)
        self._meter.busy += time.perf_counter() - start
        return self._complete(rows)

    def _complete(self, rows: list[Encoded]) -> list[Encoded]:
        self._done += rows
        found: list[Encoded] = []
        while self._counts and len(self._done) >= self._counts[0]:
            count = self._counts.pop(0)
            found.append(_mean(self._done[:count]))
            self._done = self._done[count:]
        return found


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


def _schedule(looks: Sequence[Look]) -> Iterator[tuple[Item, list[_Want]]]:
    """Each image with the looks that ask for it now: of the looks' next images the one that a plan puts first."""

    def stream(i: int, look: Look) -> Iterator[tuple[Item, _Want]]:
        for block in look.blocks:
            for left, item in zip(reversed(range(len(block.items))), block.items, strict=True):
                yield item, _Want(i, block.features, last=left == 0)

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


def _ahead(
    pool: ThreadPoolExecutor, looks: Sequence[Look], depth: int
) -> Iterator[tuple[list[_Want], list[list[_Pixels]]]]:
    """Decoded images in order, with at most `depth` of them in memory; for each look that asks, its pictures."""

    def start(item: Item, wants: list[_Want]) -> tuple[list[_Want], Future[list[list[_Pixels]]]]:
        return wants, pool.submit(_read, item, [looks[want.look] for want in wants])

    rest = _schedule(looks)
    waiting = [start(*asked) for asked in islice(rest, depth)]
    while waiting:
        wants, pictures = waiting.pop(0)
        yield wants, pictures.result()
        waiting += [start(*asked) for asked in islice(rest, 1)]


def _read(item: Item, looks: Sequence[Look]) -> list[list[_Pixels]]:
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
        rgb = images.decode(data)
        height, width = rgb.shape[:2]
        if item.width and (width, height) != (item.width, item.height):
            raise ImageError("changed", f"{width}x{height}, planned as {item.width}x{item.height}")
        quality = images.jpeg_quality(data) if any(look.encoder.spec.reads_facts for look in looks) else 0
        whole = _Pixels(item, sha256, width, height, "", None, Facts(len(data), width, height, quality, item.source))
        return [[whole._replace(pixels=picture) for picture in look.view.pictures(rgb)] for look in looks]
    except ImageError as error:
        return [[_Pixels(item, sha256, width, height, error.reason, None)] for _ in looks]


def _encode(batch: list[_Pixels], encoder: Encoder, taps: list[str], features: Sequence[FeatureName]) -> list[Encoded]:
    """Rows of images of one size. A batch that fails is halved, until the image is alone that is to blame."""
    pixels = torch.from_numpy(np.stack([p.pixels for p in batch if p.pixels is not None])).permute(0, 3, 1, 2)
    facts = [p.facts for p in batch if p.facts is not None]
    vectors = {n.tap for n in features if n.what == VECTOR}
    try:
        found = ask(encoder, pixels, (pixels.shape[2], pixels.shape[3]), taps, facts)
        kept = {tap: found[tap] if tap in vectors else found[tap].half() for tap in taps}
        finite = {tap: torch.isfinite(values).flatten(1).all(1).tolist() for tap, values in kept.items()}
        reasons = [_unfit(i, found, finite) for i in range(len(batch))]
        tables = {str(n): kept[n.tap].cpu().numpy() for n in features if n.what == VECTOR}
        tables |= {str(n): summarise(kept[n.tap], n.what) for n in features if n.what not in (*MAPS, VECTOR)}
        maps = {str(n): kept[n.tap].permute(0, 2, 3, 1).cpu() for n in features if n.what in MAPS}
    except ImageError as error:
        reason = error.reason
    except CacheError:
        raise
    except Exception as error:  # an encoder may be anyone's
        if isinstance(error, _DEVICE_LOST):
            raise CacheError(
                f"{encoder.spec.name} on {encoder.device}: the device failed at image {batch[0].item.id!r} or the "
                f"{len(batch) - 1} after it ({_first_line(error)}). What was committed is kept: run the same "
                "command again."
            ) from error
        reason = "out of memory" if out_of_memory(error) else f"encoder failed: {_first_line(error)}"
    else:
        return [
            _failed(p, reason) if reason else _row(p, i, maps, tables)
            for i, (p, reason) in enumerate(zip(batch, reasons, strict=True))
        ]
    # Beyond the handlers: while an exception lives, its frames keep the tensors of the failed pass.
    if len(batch) == 1:
        return [_failed(batch[0], reason)]
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    half = len(batch) // 2
    return [*_encode(batch[:half], encoder, taps, features), *_encode(batch[half:], encoder, taps, features)]


_DEVICE_LOST: tuple[type[Exception], ...] = tuple(
    kind for kind in [getattr(torch, "AcceleratorError", None)] if isinstance(kind, type)
)


def out_of_memory(error: Exception) -> bool:
    """Whether a device or the host (whose allocator raises a plain RuntimeError) has no room."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip()}".split("\n")[0][:120]


def summarise(maps: torch.Tensor, what: str) -> NDArray[np.float32]:
    """A summary of maps (b, C, h, w) float16: of what is stored, so that one that is derived from a store later has
    the same numbers as one that was made beside the encoder.
    """
    return SUMMARIES[what].compute(maps.float().contiguous()).cpu().numpy()


def _unfit(i: int, found: Mapping[str, torch.Tensor], finite: Mapping[str, list[bool]]) -> str:
    """Why what was found in an image cannot be kept; "" where it can."""
    bad = [tap for tap, good in finite.items() if not good[i]]
    if not bad:
        return ""
    whole = all(bool(torch.isfinite(found[tap][i]).all()) for tap in bad)
    return "feature over the range of float16" if whole else "non-finite feature"


def _row(
    pixels: _Pixels, i: int, maps: Mapping[str, torch.Tensor], tables: Mapping[str, NDArray[np.float32]]
) -> Encoded:
    """One image's features; a summary that is not finite makes the row a failed one."""
    if not all(np.isfinite(table[i]).all() for table in tables.values()):
        return _failed(pixels, "non-finite feature")
    values: dict[str, NDArray[Any]] = {name: table[i] for name, table in tables.items()}
    values |= {name: stack[i].contiguous().numpy() for name, stack in maps.items()}
    return Encoded(pixels.item.id, pixels.sha256, pixels.width, pixels.height, "ok", "", values)


def _failed(pixels: _Pixels, reason: str) -> Encoded:
    return Encoded(pixels.item.id, pixels.sha256, pixels.width, pixels.height, "failed", reason, {})
