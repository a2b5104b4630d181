"""Images in, rows out: the one place where files become features, for a store or for memory. Never writes, knows no
labels.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice, tee
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from cache import images
from cache.encoders.base import Facts, ask
from cache.errors import CacheError, ImageError
from cache.features import MAPS, VECTOR, FeatureName
from cache.summaries import SUMMARIES

if TYPE_CHECKING:
    from cache.encoders.base import Encoder, EncoderSpec
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


def encode_items(
    items: Sequence[Item],
    encoder: Encoder,
    view: View,
    features: Sequence[FeatureName],
    batch_size: int | None = None,
    threads: int | None = None,
) -> Iterator[Encoded]:
    """As `encode_blocks`, for one block."""
    return encode_blocks([Block(items, features)], encoder, view, batch_size, threads)


def encode_blocks(
    blocks: Iterable[Block],
    encoder: Encoder,
    view: View,
    batch_size: int | None = None,
    threads: int | None = None,
    meter: Meter | None = None,
) -> Iterator[Encoded]:
    """Encodes images, decoding ahead on threads; yields one row an image, in the order of the items.

    Neighbours of equal size in one block share a forward pass, at most `batch_size` of them (default: the encoder's
    own), always cut at the same places, so that the same block gives the same bytes. Blocks may come one by one: the
    next is asked for when its first image is to be decoded. Out of memory halves the batch and goes on; an image that
    the encoder cannot take alone is a failed row that says why.

    Raises:
        CacheError: the device itself failed; names the image.
    """
    size = batch_size or encoder.spec.batch
    ahead = threads or max(1, (os.cpu_count() or 1))
    meter = meter or Meter()
    blocks, coming = tee(blocks)
    with ThreadPoolExecutor(ahead, thread_name_prefix="decode") as pool:
        read = partial(_read, view=view, spec=encoder.spec)
        every = _ahead(pool, (item for block in coming for item in block.items), read, depth=2 * max(size, ahead))
        for block in blocks:
            batch: list[_Pixels] = []
            for pixels in islice(every, len(block.items)):
                fits = (
                    batch
                    and pixels.pixels is not None
                    and batch[0].pixels is not None
                    and len(batch) < size
                    and pixels.pixels.shape == batch[0].pixels.shape
                )
                if not fits and batch:
                    yield from _timed(meter, batch, encoder, block.features)
                    batch = []
                if pixels.pixels is None:
                    yield _failed(pixels, pixels.reason)
                else:
                    batch.append(pixels)
            if batch:
                yield from _timed(meter, batch, encoder, block.features)


def _timed(meter: Meter, batch: list[_Pixels], encoder: Encoder, features: Sequence[FeatureName]) -> list[Encoded]:
    start = time.perf_counter()
    rows = _encode(batch, encoder, list(dict.fromkeys(name.tap for name in features)), features)
    meter.busy += time.perf_counter() - start
    return rows


def _ahead(
    pool: ThreadPoolExecutor, items: Iterable[Item], read: Callable[[Item], _Pixels], depth: int
) -> Iterator[_Pixels]:
    """Decoded images in order, with at most `depth` of them in memory."""
    rest = iter(items)
    waiting: list[Future[_Pixels]] = [pool.submit(read, item) for item in islice(rest, depth)]
    while waiting:
        yield waiting.pop(0).result()
        waiting += [pool.submit(read, item) for item in islice(rest, 1)]


def _read(item: Item, view: View, spec: EncoderSpec) -> _Pixels:
    """Reads, checks and decodes one image; what is wrong becomes a reason."""
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
        quality = images.jpeg_quality(data) if spec.reads_facts else 0
        facts = Facts(len(data), width, height, quality, item.source)
        return _Pixels(item, sha256, width, height, "", view.apply(rgb), facts)
    except ImageError as error:
        return _Pixels(item, sha256, width, height, error.reason, None)


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
