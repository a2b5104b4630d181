"""Any life of a store against a plain dictionary: grown, changed, broken, repaired, damaged, killed, in any order."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cache.store import FeatureStore
from cache.verify import verify

SIZES = [(1, 1), (9, 5), (9, 5), (16, 33), (5, 9)]
PATTERNS = ["coarse:map", "fine:map", "coarse:moments", "fine:moments"]
IDS = [f"i{n}.png" for n in range(6)]


class Death(BaseException):
    """What a killed writer looks like from outside."""


class Life(RuleBasedStateMachine):
    """The model: every version that each image ever had, with what a store must hold of it."""

    fakes: ModuleType

    def __init__(self) -> None:
        super().__init__()
        self.top = Path(tempfile.mkdtemp())
        self.images = self.top / "images"
        self.images.mkdir()
        self.versions: dict[str, list[dict[str, np.ndarray]]] = {}
        self.broken: set[str] = set()
        self.seed = 0
        self.store: FeatureStore = self.fakes.new_store(self.top)

    def teardown(self) -> None:
        shutil.rmtree(self.top)

    def write(self, image_id: str, size: tuple[int, int]) -> None:
        self.seed += 1
        path = self.fakes.write_image(self.images / image_id, *size, seed=self.seed)
        features = self.fakes.features("*:map", "*:moments")
        self.versions.setdefault(image_id, []).append({str(f): self.fakes.truth(path, f) for f in features})
        self.broken.discard(image_id)

    @initialize()
    def begin(self) -> None:
        for image_id in IDS[:2]:
            self.write(image_id, SIZES[1])

    @rule(image_id=st.sampled_from(IDS), size=st.sampled_from(SIZES))
    def add_or_change_an_image(self, image_id: str, size: tuple[int, int]) -> None:
        self.write(image_id, size)

    @rule(index=st.integers(0, 5))
    def break_an_image(self, index: int) -> None:
        image_id = sorted(self.versions)[index % len(self.versions)]
        self.seed += 1
        (self.images / image_id).write_bytes(b"GIF89a" + bytes([self.seed % 256]))
        self.broken.add(image_id)

    def precompute(self, patterns: list[str], ids: list[str]) -> None:
        self.store = self.fakes.fill(self.top, self.images, ids, patterns)

    @rule(patterns=st.sets(st.sampled_from(PATTERNS), min_size=1), part=st.integers(1, 6))
    def precompute_a_part(self, patterns: set[str], part: int) -> None:
        self.precompute(sorted(patterns), sorted(self.versions)[:part])

    @rule(patterns=st.sets(st.sampled_from(PATTERNS), min_size=1), step=st.integers(0, 12))
    def precompute_and_die(self, patterns: set[str], step: int) -> None:
        real, count = os.link, 0

        def link(source: Any, target: Any) -> None:
            nonlocal count
            count += 1
            if count > step:
                raise Death
            real(source, target)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "link", link)
            try:
                self.precompute(sorted(patterns), sorted(self.versions))
            except Death:
                self.store = FeatureStore.open(self.store.path)

    @rule(patterns=st.sets(st.sampled_from(PATTERNS), min_size=1))
    def precompute_all_and_compare(self, patterns: set[str]) -> None:
        """All that was asked for is there, of the images as they are now; what each image had is there still."""
        before = self.held()
        self.precompute(sorted(patterns), sorted(self.versions))
        after, good = self.held(), set(self.versions) - self.broken
        assert set(self.store.ids()) == set(after) == good
        assert {i for i, _ in self.store.failures()} == self.broken
        for image_id in good:
            assert set(after[image_id]) >= patterns | set(before.get(image_id, {}))
            self.assert_is(after[image_id], self.versions[image_id][-1], image_id)
        assert verify(self.store) == []

    @precondition(lambda self: any(self.store.path.glob("features/*/*/*/c.*")))
    @rule(choice=st.integers(0, 10**6), bit=st.integers(0, 7), cut=st.booleans())
    def damage_a_shard_then_verify_and_precompute(self, choice: int, bit: int, cut: bool) -> None:
        """Damage is either of no row that counts, or found; then the plain command mends it."""
        shards = sorted(self.store.path.glob("features/*/*/*/c.*"))
        shard = shards[choice % len(shards)]
        length = shard.stat().st_size
        if cut:
            self.fakes.tear(shard, 1 + choice % length)
        else:
            self.fakes.flip(shard, choice % length, 1 << bit)
        found = {finding.id for finding in verify(self.store)}
        assert found >= self.unreadable()  # a shard's damaged index is found, too, though its rows can be read
        had = {f for mine in self.store._spans[0].values() for f in mine}
        self.precompute([f.removesuffix(".1") for f in sorted(had)] or PATTERNS, sorted(self.versions))
        assert verify(self.store) == []
        assert self.unreadable() == set()

    @rule()
    def reopen(self) -> None:
        self.store = FeatureStore.open(self.store.path)

    def each(self, see: Callable[[str, str, Callable[[], np.ndarray]], None]) -> None:
        for name in self.store.features(everywhere=False):
            rows = self.store.select_any([str(name)])
            rows.check = "always"
            read = rows.map if name.what == "map" else rows.summary
            for i, image_id in enumerate(rows.ids):
                see(image_id, str(name), lambda i=i, read=read, name=name: read(str(name), i))

    def held(self) -> dict[str, dict[str, np.ndarray]]:
        found: dict[str, dict[str, np.ndarray]] = {}
        self.each(lambda image_id, name, read: found.setdefault(image_id, {}).__setitem__(name, np.array(read())))
        return found

    def unreadable(self) -> set[str]:
        from cache.errors import StoreError

        bad: set[str] = set()

        def see(image_id: str, name: str, read: Callable[[], np.ndarray]) -> None:
            try:
                read()
            except StoreError:
                bad.add(image_id)

        self.store = FeatureStore.open(self.store.path)
        self.each(see)
        return bad

    @staticmethod
    def assert_is(found: dict[str, np.ndarray], version: dict[str, np.ndarray], image_id: str) -> None:
        for name, values in found.items():
            np.testing.assert_array_equal(values, version[name], err_msg=f"{image_id} {name}", strict=True)

    @invariant()
    def every_row_is_of_one_version_of_its_image(self) -> None:
        """Never two versions mixed, never another image's, never half of one."""
        for image_id, found in self.held().items():
            fitting = [
                v
                for v in self.versions[image_id]
                if all(f.shape == v[n].shape and np.array_equal(f, v[n]) for n, f in found.items())
            ]
            assert fitting, f"{image_id} holds what it never was"


@pytest.mark.usefixtures("no_fsync")
def test_any_life_of_a_store_is_that_of_a_dictionary(fakes: ModuleType) -> None:
    Life.fakes = fakes
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=20, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
