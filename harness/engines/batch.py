"""How many images share a forward pass, where nobody said. Found once a store and kind of device, then kept with it."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from cache.encoders.base import made_up
from cache.passes import out_of_memory, summarise
from cache.summaries import SUMMARIES

if TYPE_CHECKING:
    from cache.blocks import BlockTask
    from cache.encoders.base import Encoder
    from cache.store import FeatureStore
    from cache.views import View

WORTH = 1.05  # a batch twice as large is taken where it is this much faster


def batch_size(store: FeatureStore, encoder: Encoder, view: View, tasks: Sequence[BlockTask]) -> int:
    """The encoder's own on a CPU, where more gains nothing; elsewhere what was found to be fastest.

    What is found first is kept in the store, so that whoever goes on with it there gives the same bytes.
    """
    kind = encoder.device.partition(":")[0]
    if kind == "cpu" or not tasks:
        return encoder.spec.batch
    name = torch.cuda.get_device_name(encoder.device) if kind == "cuda" else kind
    return store.agreed(f"batch-{re.sub(r'[^A-Za-z0-9]+', '-', name)}", lambda: fastest(encoder, view, tasks))


def fastest(encoder: Encoder, view: View, tasks: Sequence[BlockTask]) -> int:
    """Grows from the encoder's own size until throughput stops rising, memory ends, or a block is filled; on a made-up
    image of the largest planned size, with all that is kept of it.
    """
    items = [item for task in tasks for item in task.items]
    boxes = [box for item in items for box in view.boxes(item.width, item.height)]
    width, height = max(((box.width, box.height) for box in boxes), key=lambda size: size[0] * size[1])
    features = list(dict.fromkeys(feature for task in tasks for feature in task.features))
    taps = list(dict.fromkeys(feature.tap for feature in features))
    most = max(len(task.items) for task in tasks)

    def rate(size: int) -> float:
        """Images a second, the better of two passes after one that warms up; 0 where memory does not suffice."""
        seconds: list[float] = []
        try:
            for _ in range(3):
                start = time.perf_counter()
                maps = made_up(encoder, width, height, taps, size)
                for feature in features:
                    if feature.what in SUMMARIES:
                        summarise(maps[feature.tap].half(), feature.what)
                for found in maps.values():
                    found.flatten()[0].item()  # waits for the device
                seconds.append(time.perf_counter() - start)
        except Exception as error:  # an encoder may be anyone's
            if not out_of_memory(error):
                raise
            return 0.0
        return size / max(min(seconds[1:]), 1e-9)

    size = min(encoder.spec.batch, most)
    best = rate(size)
    while not best and size > 1:
        size //= 2
        best = rate(size)
    while 2 * size <= most and (larger := rate(2 * size)) >= WORTH * best:
        size, best = 2 * size, larger
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return size
