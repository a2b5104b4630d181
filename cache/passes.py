"""One batch through the encoder: pictures in, rows out. Owns the way to a device and back, what becomes of a batch that
fails, and the encoder's time. Reads no file.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from cache.encoders.base import ask
from cache.errors import CacheError, ImageError
from cache.features import MAPS, VECTOR, FeatureName
from cache.summaries import SUMMARIES

if TYPE_CHECKING:
    from cache.ahead import Picture
    from cache.encoders.base import Encoder


NO_ROOM = "out of memory"


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


class Meter:
    """Lets one pass at a time to the encoder, and remembers of them what matters later.

    Attributes:
        busy: seconds that the encoder was at work; the rest of the time it waited.
        too_many: height and width of a picture -> the least number of them that memory had no room for.
    """

    def __init__(self) -> None:
        self.busy = 0.0
        self.too_many: dict[tuple[int, int], int] = {}
        self._turn, self._since = Lock(), 0.0

    def __enter__(self) -> None:
        self._turn.acquire()
        self._since = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.busy += time.perf_counter() - self._since
        self._turn.release()


def rows_of(
    batch: Sequence[Picture], encoder: Encoder, taps: Sequence[str], features: Sequence[FeatureName], meter: Meter
) -> list[Encoded]:
    """Rows of pictures of one size. A batch that fails is halved, until the picture is alone that is to blame; one that
    memory had no room for before is halved at once, so at the same places.

    Raises:
        CacheError: the device itself failed; names the image.
    """
    height, width = _size(batch)
    if len(batch) < meter.too_many.get((height, width), len(batch) + 1):
        found = _pass(batch, encoder, taps, features, meter)
        if not isinstance(found, str):
            return found
        # Beyond the handlers: while an exception lives, its frames keep the tensors of the failed pass.
        if len(batch) == 1:
            return [failed(batch[0], found)]
        if found == NO_ROOM:
            meter.too_many[height, width] = len(batch)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    half = len(batch) // 2
    return [
        *rows_of(batch[:half], encoder, taps, features, meter),
        *rows_of(batch[half:], encoder, taps, features, meter),
    ]


def _size(batch: Sequence[Picture]) -> tuple[int, int]:
    pixels = batch[0].pixels
    assert pixels is not None
    return pixels.shape[0], pixels.shape[1]


def _pass(
    batch: Sequence[Picture], encoder: Encoder, taps: Sequence[str], features: Sequence[FeatureName], meter: Meter
) -> list[Encoded] | str:
    """The rows of one pass, or why there are none."""
    pixels = _staged(batch, encoder)
    facts = [p.facts for p in batch if p.facts is not None]
    vectors = {n.tap for n in features if n.what == VECTOR}
    try:
        with meter:
            found = ask(encoder, pixels, (pixels.shape[2], pixels.shape[3]), taps, facts)
            kept = {tap: found[tap] if tap in vectors else found[tap].half() for tap in taps}
            maps = {str(n): _brought(kept[n.tap].permute(0, 2, 3, 1)) for n in features if n.what in MAPS}
            finite = {tap: torch.isfinite(values).flatten(1).all(1).tolist() for tap, values in kept.items()}
            reasons = [_unfit(i, found, finite) for i in range(len(batch))]
            tables = {str(n): kept[n.tap].cpu().numpy() for n in features if n.what == VECTOR}
            tables |= {str(n): summarise(kept[n.tap], n.what) for n in features if n.what not in (*MAPS, VECTOR)}
    except ImageError as error:
        return error.reason
    except CacheError:
        raise
    except Exception as error:  # an encoder may be anyone's
        if isinstance(error, _DEVICE_LOST):
            raise CacheError(
                f"{encoder.spec.name} on {encoder.device}: the device failed at image {batch[0].item.id!r} or the "
                f"{len(batch) - 1} after it ({_first_line(error)}). What was committed is kept: run the same "
                "command again."
            ) from error
        return NO_ROOM if out_of_memory(error) else f"encoder failed: {_first_line(error)}"
    return [
        failed(p, reason) if reason else _row(p, i, maps, tables)
        for i, (p, reason) in enumerate(zip(batch, reasons, strict=True))
    ]


def asynchronous(device: str) -> bool:
    """Whether a device works while this process does something else."""
    return device.startswith("cuda")


def _staged(batch: Sequence[Picture], encoder: Encoder) -> torch.Tensor:
    """(b, 3, H, W) uint8, in memory that the device can read by itself where it is a GPU."""
    pictures = [p.pixels for p in batch if p.pixels is not None]
    pinned = asynchronous(encoder.device) and torch.cuda.is_available()
    pixels = torch.empty(len(pictures), *pictures[0].shape, dtype=torch.uint8, pin_memory=pinned)
    np.stack(pictures, out=pixels.numpy())
    return pixels.permute(0, 3, 1, 2)


def _brought(values: torch.Tensor) -> torch.Tensor:
    """In this process's memory; from a GPU without waiting: what comes after asks it for a number, and so waits."""
    if values.device.type != "cuda":
        return values.cpu()
    home = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return home.copy_(values, non_blocking=True)


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
    picture: Picture, i: int, maps: Mapping[str, torch.Tensor], tables: Mapping[str, NDArray[np.float32]]
) -> Encoded:
    """One image's features; a summary that is not finite makes the row a failed one."""
    if not all(np.isfinite(table[i]).all() for table in tables.values()):
        return failed(picture, "non-finite feature")
    values: dict[str, NDArray[Any]] = {name: table[i] for name, table in tables.items()}
    values |= {name: stack[i].contiguous().numpy() for name, stack in maps.items()}
    return Encoded(picture.item.id, picture.sha256, picture.width, picture.height, "ok", "", values)


def failed(picture: Picture, reason: str) -> Encoded:
    return Encoded(picture.item.id, picture.sha256, picture.width, picture.height, "failed", reason, {})
