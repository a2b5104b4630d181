"""Maps that are read again and again, held where the network is: read once, in float16. Never learns, chooses no row.

On a GPU that spares the way over the bus in every epoch, of maps in half the bytes their decoding; of exact maps in
warm memory next to nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heads.examples import FeatureSource, Rows

SHARE = 0.5  # of what is free on the device: the rest is for the network, its gradients and everybody else


def free_bytes(device: str) -> int:
    """Memory that can be had now: the GPU's own, else the machine's, or what is left of this process's limit."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0]
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2 if hasattr(os, "sysconf") else 0]
    info, group = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
    if info.exists():
        lines = dict(line.split(":") for line in info.read_text(encoding="ascii").splitlines())
        found = [1024 * int(lines["MemAvailable"].split()[0])]
    if (group / "memory.max").exists() and (limit := (group / "memory.max").read_text().strip()) != "max":
        found.append(int(limit) - int((group / "memory.current").read_text()))
    return min(found)


def fits(source: FeatureSource, names: Sequence[str], rows: Rows, device: str) -> bool:
    """Whether these rows' maps take at most half of what is free on the device."""
    places = (int(source.grids(name)[rows].prod(axis=1).sum()) * source.channels(name) for name in names)
    return sum(places) * 2 <= SHARE * free_bytes(device)


class Resident:
    """Maps of some rows on a device; each is read from its source when it is first asked for.

    Args:
        rows: which rows may be asked for.
    """

    def __init__(self, source: FeatureSource, name: str, rows: Rows, device: str) -> None:
        self._source, self._name = source, name
        rows = np.unique(rows)
        self._grids = source.grids(name)
        self._slot = np.full(len(self._grids), -1, dtype=np.int64)  # of each row among those of its grid
        self._maps: dict[tuple[int, int], Tensor] = {}
        self._have = np.zeros(len(self._grids), dtype=bool)
        members: dict[tuple[int, int], list[int]] = {}
        for row in rows.tolist():
            members.setdefault(self._grid(row), []).append(row)
        for grid, mine in members.items():
            self._slot[mine] = np.arange(len(mine))
            shape = (len(mine), *grid, source.channels(name))
            self._maps[grid] = torch.empty(shape, dtype=torch.float16, device=device)

    def batches(self, parts: Sequence[Rows]) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """As the source's own batches, float16 on the device."""
        for part in parts:
            self._read(np.unique(part[~self._have[part]]))
            groups: dict[tuple[int, int], list[int]] = {}
            for position, row in enumerate(part.tolist()):
                groups.setdefault(self._grid(row), []).append(position)
            yield [
                (torch.tensor(members), self._maps[grid][torch.from_numpy(self._slot[part[members]])])
                for grid, members in groups.items()
            ]

    def _grid(self, row: int) -> tuple[int, int]:
        h, w = self._grids[row].tolist()
        return h, w

    def _read(self, missing: Rows) -> None:
        for batch in self._source.batches(self._name, [missing] if len(missing) else []):
            for positions, maps in batch:
                rows = missing[positions]
                held = self._maps[self._grid(rows[0])]
                held[torch.from_numpy(self._slot[rows])] = tensor(maps).to(held.device)
                self._have[rows] = True


def tensor(array: NDArray[Any]) -> Tensor:
    """A tensor on an array's memory; a copy where the array is read-only, which torch cannot stand for."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())
