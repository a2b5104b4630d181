"""Images in, rows out: the one place where files become features, for a store or for memory. Never writes, knows no
labels.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from cache import images
from cache.errors import CacheError, ImageError
from cache.features import MAP, FeatureName
from cache.summaries import SUMMARIES

if TYPE_CHECKING:
    from cache.encoders.base import Encoder
    from cache.views import View

FLOAT16_MAX = 65504.0


class Item(NamedTuple):
    """One image to encode; sha256 "" and sizes 0 mean: whatever is there."""

    id: str
    path: Path
    sha256: str = ""
    width: int = 0
    height: int = 0


class Encoded(NamedTuple):
    """One image encoded, or the reason why not.

    Attributes:
        sha256: of the bytes that were read, "" where none could be.
        width, height: in pixels, orientation applied, before the view.
        status: "ok" or "failed".
        reason: "" or why, short and stable.
        features: `tap:map` -> (h, w, C) float16, `tap:<summary>` -> (d,) float32; empty where it failed.
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


def encode_items(
    items: Sequence[Item],
    encoder: Encoder,
    view: View,
    features: Sequence[FeatureName],
    batch_size: int | None = None,
    threads: int | None = None,
) -> Iterator[Encoded]:
    """Encodes images, decoding ahead on threads; yields one row an image, in the order of the items.

    Neighbours of equal size share a forward pass, at most `batch_size` of them (default: the encoder's own), always
    cut at the same places, so that the same items give the same bytes. Out of memory halves the batch and goes on; an
    image that the encoder cannot take alone is a failed row that says why.

    Raises:
        CacheError: the device itself failed; names the image.
    """
    taps = list(dict.fromkeys(name.tap for name in features))
    size = batch_size or encoder.spec.batch
    ahead = threads or max(1, (os.cpu_count() or 1))
    with ThreadPoolExecutor(ahead, thread_name_prefix="decode") as pool:
        batch: list[_Pixels] = []
        for pixels in _ahead(pool, items, view, depth=2 * max(size, ahead)):
            fits = (
                batch
                and pixels.pixels is not None
                and batch[0].pixels is not None
                and len(batch) < size
                and pixels.pixels.shape == batch[0].pixels.shape
            )
            if not fits and batch:
                yield from _encode(batch, encoder, taps, features)
                batch = []
            if pixels.pixels is None:
                yield Encoded(pixels.item.id, pixels.sha256, pixels.width, pixels.height, "failed", pixels.reason, {})
            else:
                batch.append(pixels)
        if batch:
            yield from _encode(batch, encoder, taps, features)


def _ahead(pool: ThreadPoolExecutor, items: Sequence[Item], view: View, depth: int) -> Iterator[_Pixels]:
    """Decoded images in order, with at most `depth` of them in memory."""
    rest = iter(items)
    waiting: list[Future[_Pixels]] = [pool.submit(_read, item, view) for item in islice(rest, depth)]
    while waiting:
        yield waiting.pop(0).result()
        waiting += [pool.submit(_read, item, view) for item in islice(rest, 1)]


def _read(item: Item, view: View) -> _Pixels:
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
        return _Pixels(item, sha256, width, height, "", view.apply(rgb))
    except ImageError as error:
        return _Pixels(item, sha256, width, height, error.reason, None)


def _encode(batch: list[_Pixels], encoder: Encoder, taps: list[str], features: Sequence[FeatureName]) -> list[Encoded]:
    """Rows of images of one size. A batch that fails is halved, until the image is alone that is to blame."""
    pixels = torch.from_numpy(np.stack([p.pixels for p in batch if p.pixels is not None])).permute(0, 3, 1, 2)
    try:
        maps = encoder.encode(pixels, (pixels.shape[2], pixels.shape[3]), taps)
        summaries = {str(n): SUMMARIES[n.what].compute(maps[n.tap]).cpu().numpy() for n in features if n.what != MAP}
        kept = {str(n): maps[n.tap].permute(0, 2, 3, 1).cpu() for n in features if n.what == MAP}
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
        reason = "out of memory" if _of_memory(error) else f"encoder failed: {_first_line(error)}"
    else:
        return [_row(p, i, kept, summaries) for i, p in enumerate(batch)]
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


def _of_memory(error: Exception) -> bool:
    """Whether a device or the host (whose allocator raises a plain RuntimeError) has no room."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip()}".split("\n")[0][:120]


def _row(
    pixels: _Pixels, i: int, kept: Mapping[str, torch.Tensor], summaries: Mapping[str, NDArray[np.float32]]
) -> Encoded:
    """One image's features; one that is not finite or does not fit float16 makes the row a failed one."""
    values: dict[str, NDArray[Any]] = {}
    for name, table in summaries.items():
        values[name] = table[i]
        if not np.isfinite(table[i]).all():
            return _failed(pixels, "non-finite feature")
    for name, maps in kept.items():
        one = maps[i]
        most = one.abs().max().item() if one.numel() else 0.0
        if not np.isfinite(most):
            return _failed(pixels, "non-finite feature")
        if most > FLOAT16_MAX:
            return _failed(pixels, "feature over the range of float16")
        values[name] = one.half().contiguous().numpy()
    return Encoded(pixels.item.id, pixels.sha256, pixels.width, pixels.height, "ok", "", values)


def _failed(pixels: _Pixels, reason: str) -> Encoded:
    return Encoded(pixels.item.id, pixels.sha256, pixels.width, pixels.height, "failed", reason, {})
