"""How fast an engine was, beside what its devices can do. Measures a matrix product; encodes no image of a dataset."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import torch

from cache.encoders.base import OPENVINO, Counted, made_up, seen_through
from cache.views import parse_view

if TYPE_CHECKING:
    from cache.blocks import PlanItem
    from cache.encoders.base import Encoder
    from cache.views import View

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Work(NamedTuple):
    """What an engine did.

    Attributes:
        seconds: from start to end.
        busy, ready: seconds that its encoders were at work, and that they were loaded, on average.
    """

    images: int
    seconds: float
    busy: float
    ready: float


class Speed(msgspec.Struct, frozen=True):
    """Attributes:
    images_per_second: from the first file to the last commit.
    idle: share of the time that the loaded encoder waited for images, 0..1.
    tflops: 10^12 operations (2 x multiply-accumulate) a second, while the encoder was at work; 0 where unknown.
    peak_tflops: what the same devices reach in a large product of matrices in the same precision.
    share: of the peak, 0..1.
    """

    images_per_second: float
    idle: float
    tflops: float
    peak_tflops: float
    share: float

    def __str__(self) -> str:
        text = f"{self.images_per_second:.3g} images/s, the encoder waited {self.idle:.1%} of the time"
        if not self.tflops:
            return text
        return (
            f"{text}; {self.tflops:.3g} TFLOP/s at work, {self.share:.0%} of what the device reaches in matrix products"
        )


def speed(
    work: Work, encoder: Encoder, encoded: Sequence[tuple[View, Sequence[PlanItem]]], devices: Sequence[str]
) -> Speed:
    """The speed of work that is done.

    Args:
        encoder: as it was at work, on one of the devices.
        encoded: what was encoded in each view; sizes alone are looked at.
        devices: one may be named twice, it is measured once.
    """
    tflops = sum(gflop(encoder, view, items) for view, items in encoded if items) / 1e3 / max(work.busy, 1e-9)
    torchs = dict.fromkeys("cpu" if device == OPENVINO else device for device in devices)
    peak = sum(peak_gflops(device, encoder.identity.precision) for device in torchs) / 1e3
    return Speed(
        images_per_second=work.images / work.seconds,
        idle=max(0.0, 1 - work.busy / max(work.ready, 1e-9)),
        tflops=tflops,
        peak_tflops=peak,
        share=tflops / peak,
    )


def peak_gflops(device: str, precision: str) -> float:
    """10^9 operations a second in products of square matrices: the best size that takes a tenth of a second at most."""
    dtype, best, side, seconds = PRECISIONS.get(precision, torch.float32), 0.0, 256, 0.0
    while side <= 8192 and seconds < 0.1:
        a = torch.ones(side, side, device=device, dtype=dtype)
        for _ in range(3):  # the first one loads the kernel
            start = time.perf_counter()
            (a @ a)[0, 0].item()  # brings one number back, so it waits for all
            seconds = time.perf_counter() - start
            best = max(best, 2 * side**3 / max(seconds, 1e-9) / 1e9)
        side *= 2
    return best


def gflop(encoder: Encoder, view: View, items: Sequence[PlanItem]) -> float:
    """10^9 operations for all these images: as the encoder counts them itself, else in proportion to pixels; as
    declared for its own view where they are many, or counted on a made-up picture of the middle size. 0 where torch
    does not see them.
    """
    from torch.utils.flop_counter import FlopCounterMode

    seen = seen_through(encoder, view)
    sizes = [(box.width, box.height) for item in items for box in view.boxes(item.width, item.height)]
    if isinstance(seen, Counted):
        return sum(count * seen.gflop(*size) for size, count in Counter(sizes).items())
    sizes.sort(key=lambda size: size[0] * size[1])
    if encoder.spec.heavy:
        own = [parse_view(encoder.spec.view).size(item.width, item.height) for item in items]
        return encoder.spec.gflop * len(items) * sum(w * h for w, h in sizes) / sum(w * h for w, h in own)
    width, height = sizes[len(sizes) // 2]
    with FlopCounterMode(display=False) as counter:
        made_up(encoder, width, height, [tap.name for tap in encoder.spec.taps])
    return counter.get_total_flops() / 1e9 * sum(w * h for w, h in sizes) / (width * height)
