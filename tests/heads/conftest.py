"""A fake store for the heads' tests: any features, held in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest
import torch

from heads.base import Examples

torch.set_num_threads(1)


class FakeSource:
    """Rows in memory: each feature is a list of maps (grids may differ) or a table. Arrays are read-only,
    as a store's are."""

    def __init__(self, ids: list[str], features: dict[str, list[np.ndarray] | np.ndarray]) -> None:
        self.ids = ids
        self.names = list(features)
        self._features = features

    def table(self, name: str) -> np.ndarray:
        return np.asarray(self._features[name])

    def batches(self, name: str, rows: Iterable[np.ndarray]) -> Iterator[list[tuple[np.ndarray, np.ndarray]]]:
        maps = self._features[name]
        for part in rows:
            groups: dict[tuple[int, ...], list[int]] = {}
            for position, row in enumerate(part):
                groups.setdefault(maps[row].shape, []).append(position)
            batch = []
            for where in groups.values():
                stacked = np.stack([maps[part[i]] for i in where])
                stacked.flags.writeable = False
                batch.append((np.array(where, dtype=np.int64), stacked))
            yield batch

    def channels(self, name: str) -> int:
        return int(self._features[name][0].shape[-1])

    def grids(self, name: str) -> np.ndarray:
        return np.array([m.shape[:2] for m in self._features[name]])

    def take(self, rows: np.ndarray) -> FakeSource:
        taken = {
            name: value[rows] if isinstance(value, np.ndarray) else [value[i] for i in rows]
            for name, value in self._features.items()
        }
        return FakeSource([self.ids[i] for i in rows], taken)


@pytest.fixture
def make_examples() -> Callable[..., Examples]:
    """Examples of any features and labels: make_examples(quality, {"neck:map": [...]})."""

    def make(quality: np.ndarray, features: dict[str, list[np.ndarray] | np.ndarray]) -> Examples:
        n = len(quality)
        ids = [f"i{i}" for i in range(n)]
        unknown = np.full(n, np.nan)
        source = FakeSource(ids, features)
        return Examples(source, ids, np.asarray(quality, float), unknown, unknown, "fake", ids, [""] * n)

    return make
