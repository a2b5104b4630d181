"""Rows on their way into a network: float32 batches, one pass of statistics. Never shuffles, never learns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from heads import resident
from heads.errors import DataError
from heads.examples import FeatureSource, Rows
from heads.layers import Batch, Group, Statistics
from heads.names import is_map
from heads.resident import tensor

# Rows a batch where nothing is learned; the result of a row does not depend on it.
READ_BATCH = 64


class Reader:
    """Batches of all features of a head; summaries are read once, maps are streamed, or held on the device.

    Args:
        source: rows of features.
        names: which of them, in the order of the network's embeddings.
        device: where batches go; "cpu", "cuda".
        again: the only rows that are read, each several times: their maps are held where they fit. None: streamed.
    """

    def __init__(
        self, source: FeatureSource, names: Sequence[str], device: str = "cpu", again: Rows | None = None
    ) -> None:
        self.names = list(names)
        self._source = source
        self.device = device
        self._tables = {name: tensor(source.table(name)) for name in names if not is_map(name)}
        maps = [name for name in names if is_map(name)]
        self._held: dict[str, resident.Resident] = {}
        if again is not None and maps and resident.fits(source, maps, again, device):
            self._held = {name: resident.Resident(source, name, again, device) for name in maps}

    def batches(self, rows: Sequence[Rows]) -> Iterator[Batch]:
        """One batch for each array of rows, float32."""
        streams = [
            self._table_stream(name, rows) if name in self._tables else self._map_stream(name, rows)
            for name in self.names
        ]
        for parts in zip(*streams, strict=True):
            yield list(parts)

    def rounding(self) -> list[float]:
        """Smallest relative step of each feature as stored: maps float16, summaries summed in float32."""
        return [1e-6 if name in self._tables else 2.0**-11 for name in self.names]

    def _table_stream(self, name: str, rows: Sequence[Rows]) -> Iterator[list[Group]]:
        table = self._tables[name]
        for part in rows:
            yield [(torch.arange(len(part)), table[torch.from_numpy(part)].to(self.device))]

    def _map_stream(self, name: str, rows: Sequence[Rows]) -> Iterator[list[Group]]:
        if name in self._held:
            for held in self._held[name].batches(rows):
                yield [(positions, maps.float()) for positions, maps in held]
            return
        for groups in self._source.batches(name, rows):
            yield [(tensor(positions), tensor(maps).to(self.device).float()) for positions, maps in groups]


def chunks(rows: Rows, size: int) -> list[Rows]:
    """Nearly equal parts of at most `size` rows: one row left over would pull as hard as a batch."""
    return [part.astype(np.int64) for part in np.array_split(rows, max(1, math.ceil(len(rows) / size)))]


def measure(reader: Reader, rows: Rows) -> Statistics:
    """Mean and deviation of every channel over all places of the rows, in one pass (Chan et al. 1979).

    Raises:
        DataError: a feature is not finite.
    """
    found: list[tuple[int, Tensor, Tensor]] = []
    for batch in reader.batches(chunks(rows, READ_BATCH)):
        for i, (name, groups) in enumerate(zip(reader.names, batch, strict=True)):
            for _, values in groups:
                flat = values.flatten(0, -2)
                middle = flat.mean(dim=0)
                # Twice as fast as torch.var_mean along the first axis; exact, as the mean comes off first.
                mean, variance = middle.double().cpu(), (flat - middle).square_().mean(dim=0).double().cpu()
                if not bool(torch.isfinite(mean).all() & torch.isfinite(variance).all()):
                    raise DataError(
                        f"Expected finite numbers in {name}, found NaN or infinity. Verify the store and encode again."
                    )
                if i == len(found):
                    found.append((len(flat), mean, variance))
                else:
                    n, old, spread = found[i]
                    share = len(flat) / (n + len(flat))
                    between = share * (1 - share) * (mean - old).square()
                    found[i] = (
                        n + len(flat),
                        old + share * (mean - old),
                        (1 - share) * spread + share * variance + between,
                    )
    return [(mean.float(), variance.sqrt().float()) for _, mean, variance in found]
