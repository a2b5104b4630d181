"""Maps held on the device: the same numbers as streamed ones, read once, and only where they fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heads import resident
from heads.base import Examples, FitPlan
from heads.conformance import GRIDS, PlantedSource
from heads.fft import FftHead
from heads.streams import Reader

SMALL = {"epochs": 3, "width": 8, "hidden": 8, "batch": 8}


class Counting(PlantedSource):
    """Counts how often each row is read."""

    reads: np.ndarray

    def batches(self, name: str, rows: Iterable[np.ndarray]) -> Iterator[Any]:
        for part in rows:
            np.add.at(self.reads, part, 1)
            yield from super().batches(name, [part])


def source(n: int = 40) -> Counting:
    random = np.random.default_rng(0)
    maps = [random.standard_normal((*GRIDS[i % len(GRIDS)], 5)).astype(np.float16) for i in range(n)]
    made = Counting([f"{i:02}" for i in range(n)], maps, ["out:map"], 5)
    made.reads = np.zeros(n, dtype=int)
    return made


def examples(rows: Counting) -> Examples:
    n = len(rows.ids)
    none = np.full(n, np.nan)
    return Examples(rows, rows.ids, np.random.default_rng(1).random(n), none, none, "x", rows.ids, [""] * n)


def plcc(quality: np.ndarray, prediction: np.ndarray) -> float:
    return float(np.corrcoef(quality, prediction)[0, 1])


def test_a_fit_is_the_same_bit_for_bit_held_or_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, fitted, reads = FitPlan(np.arange(25), np.arange(25, 33)), [], []
    for free in (0, 10**9):
        monkeypatch.setattr(resident, "free_bytes", lambda device, free=free: free)
        rows = source()
        fitted.append(FftHead(SMALL).fit(examples(rows), plan, plcc))
        reads.append(rows.reads)
    streamed, held = fitted
    assert [{**h, "seconds": 0} for h in streamed.history] == [{**h, "seconds": 0} for h in held.history]
    for name, values in streamed.state().items():
        np.testing.assert_array_equal(values, held.state()[name], strict=True)
    assert reads[0][:25].min() > 3  # statistics, then every epoch
    assert reads[1].tolist() == [1] * 33 + [0] * 7  # test rows are never read


@given(st.lists(st.lists(st.integers(0, 19), max_size=9, unique=True), max_size=5))
@settings(max_examples=60, deadline=None)
def test_batches_are_those_of_the_source(parts: list[list[int]]) -> None:
    """Any rows in any order, again or for the first time: positions, order of groups and numbers."""
    rows = [np.array(part, dtype=np.int64) for part in parts]
    made = source(20)
    streamed, held = Reader(made, ["out:map"]), Reader(made, ["out:map"], again=np.arange(20))
    assert held._held
    for one, other in zip(streamed.batches(rows), held.batches(rows), strict=True):
        assert len(one[0]) == len(other[0])
        for (positions, maps), (others, expected) in zip(one[0], other[0], strict=True):
            assert torch.equal(positions, others)
            assert torch.equal(maps, expected)


@pytest.mark.parametrize(("spare", "expected"), [(0, True), (-1, False)])
def test_maps_are_held_if_they_take_at_most_half_of_what_is_free(
    monkeypatch: pytest.MonkeyPatch, spare: int, expected: bool
) -> None:
    made, rows = source(), np.arange(3, 20)
    needed = sum(made.maps[i].nbytes for i in rows)
    monkeypatch.setattr(resident, "free_bytes", lambda device: 2 * needed + spare)
    assert resident.fits(made, ["out:map"], rows, "cpu") is expected


def test_what_is_free_is_less_than_there_is() -> None:
    import os

    assert 0 < resident.free_bytes("cpu") < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
