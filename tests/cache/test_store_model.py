"""Any life of a store against a plain dictionary: grown, changed, broken, mended, damaged, killed, compacted, in any
order, by one writer and by two.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cache import tables
from cache.compaction import compact
from cache.store import FeatureStore
from cache.verify import verify

SIZES = [(1, 1), (9, 5), (9, 5), (16, 33), (5, 9)]
PATTERNS = ["coarse:map", "fine:map", "coarse:map8", "coarse:moments", "fine:moments"]
NO_CHECKS: Any = list(HealthCheck)
WORKS = ["precompute", "anew", "compact", "index"]
IDS = [f"i{n}.png" for n in range(6)]
CHANGES: list[tuple[Any, str]] = [(os, "link"), (os, "unlink"), (os, "rmdir")]
STEPS = [*CHANGES, (os, "mkdir"), (tables, "read")]  # before whether a name is taken is asked, and before each look

ASKED = st.sets(st.sampled_from(PATTERNS), min_size=1)
PART = st.integers(1, 6)
STEP = st.none() | st.integers(0, 60)
PAIR: dict[str, Any] = {
    "whats": st.tuples(st.sampled_from(WORKS[:2]), st.sampled_from(WORKS)),
    "patterns": st.tuples(ASKED, ASKED),
    "parts": st.tuples(PART, PART),
    "dies": st.tuples(STEP, STEP),
    "turns": st.lists(st.tuples(st.booleans(), st.integers(1, 12)), max_size=12),
}


class Death(BaseException):
    """What a killed writer looks like from outside."""


@contextlib.contextmanager
def before_each(steps: list[tuple[Any, str]], do: Callable[[], None]) -> Iterator[None]:
    """Calls `do` before each of these functions is called."""

    def stopped(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            do()
            return real(*args, **more)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in steps:
            patch.setattr(owner, name, stopped(getattr(owner, name)))
        yield


@contextlib.contextmanager
def dying(step: int) -> Iterator[None]:
    """Death before the step-th link, unlink or rmdir; what it was about to do is not done."""
    count = 0

    def die() -> None:
        nonlocal count
        count += 1
        if count > step:
            raise Death

    with contextlib.suppress(Death), before_each(CHANGES, die):
        yield


class Writer:
    """Work in a thread of its own that stands still before each step on the disk, until it may take it or dies there.

    Args:
        dies: before which of its steps; None: never.
    """

    def __init__(self, work: Callable[[], object], dies: int | None) -> None:
        self.work, self.dies = work, dies
        self.steps, self.done = 0, False
        self.error: BaseException | None = None
        self._may, self._stands = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._may.acquire()
        try:
            self.work()
        except Death:
            pass
        except BaseException as error:
            self.error = error
        self.done = True
        self._stands.release()

    def stand(self) -> None:
        """Before a step, in whatever thread; one that is dead takes none any more, not even to tidy up."""
        if threading.current_thread() is self._thread:
            if self.steps != self.dies:
                self._stands.release()
                self._may.acquire()
            if self.steps == self.dies:
                raise Death
            self.steps += 1

    def take(self, steps: int) -> None:
        """Takes some steps."""
        for _ in range(steps):
            if not self.done:
                self._may.release()
                assert self._stands.acquire(timeout=60), "a writer hangs"
        if self.error is not None:
            raise self.error


def together(writers: tuple[Writer, Writer], turns: list[tuple[bool, int]]) -> None:
    """Two writers take turns of so many steps each, the same turns again and again, until both are done."""

    def stand() -> None:
        for writer in writers:
            writer.stand()

    with before_each(STEPS, stand):
        for who, steps in itertools.cycle([*turns, (False, 1), (True, 1)]):
            writers[who].take(steps)
            if writers[0].done and writers[1].done:
                break


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
        features = self.fakes.features("*:map", "*:moments", "coarse:map8")
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

    @rule(patterns=ASKED, part=PART)
    def precompute_a_part(self, patterns: set[str], part: int) -> None:
        self.precompute(sorted(patterns), sorted(self.versions)[:part])

    @rule(patterns=ASKED, step=st.integers(0, 12))
    def precompute_and_die(self, patterns: set[str], step: int) -> None:
        with dying(step):
            self.precompute(sorted(patterns), sorted(self.versions))
        self.store = FeatureStore.open(self.store.path)

    @rule()
    def compact(self) -> None:
        """Nothing that is held changes, nor why others failed."""
        before, failed = self.held(), self.store.failures()
        compact(self.store)
        self.assert_unchanged(before, failed)

    @rule(step=st.integers(0, 25))
    def compact_and_die(self, step: int) -> None:
        self.store.refresh()
        before, failed = self.held(), self.store.failures()
        with dying(step):
            compact(FeatureStore.open(self.store.path))
        self.store = FeatureStore.open(self.store.path)
        self.assert_unchanged(before, failed)

    def work(self, what: str, patterns: list[str], ids: list[str], batch_size: int) -> Callable[[], object]:
        """What a second process could be doing meanwhile, each with a store that it opened itself."""

        def anew() -> None:
            store = self.fakes.new_store(self.top)
            store.plan(self.fakes.look(self.images, ids), heavy=True, anew=True)
            self.fakes.work(store, self.images, self.fakes.features(*patterns), ids)

        return {
            "precompute": lambda: self.fakes.fill(self.top, self.images, ids, patterns, batch_size=batch_size),
            "anew": anew,
            "compact": lambda: compact(self.fakes.new_store(self.top)),
            "index": lambda: self.index_of(self.fakes.new_store(self.top)),
        }[what]

    @staticmethod
    def index_of(store: FeatureStore) -> None:
        assert store.state
        store.disk.write_index()

    @rule(**PAIR)
    def two_at_once(
        self,
        whats: tuple[str, str],
        patterns: tuple[set[str], set[str]],
        parts: tuple[int, int],
        dies: tuple[int | None, int | None],
        turns: list[tuple[bool, int]],
    ) -> None:
        """Two writers, interleaved at any of their steps on the disk, each of which may be its last."""
        before, ids = self.held(), [sorted(self.versions)[:part] for part in parts]
        writers = [
            Writer(self.work(what, sorted(p), some, batch_size), death)
            for what, p, some, batch_size, death in zip(whats, patterns, ids, (1, 4), dies, strict=True)
        ]
        together((writers[0], writers[1]), turns)
        self.store = FeatureStore.open(self.store.path)
        held = self.held()
        for image_id in set(before) - self.broken:
            assert set(held[image_id]) >= set(before[image_id])
        if dies == (None, None) and "compact" not in whats:  # which may take what was added to a block just copied
            for what, asked, some in zip(whats, patterns, ids, strict=True):
                for image_id in set(some) - self.broken if what != "index" else ():
                    assert set(held[image_id]) >= asked
                    self.assert_is(held[image_id], self.versions[image_id][-1], image_id)
        self.precompute_all_and_compare(patterns[0] | patterns[1])

    def assert_unchanged(self, before: dict[str, dict[str, np.ndarray]], failed: list[tuple[str, str]]) -> None:
        after = self.held()
        assert {i: set(f) for i, f in after.items()} == {i: set(f) for i, f in before.items()}
        for image_id, found in after.items():
            self.assert_is(found, before[image_id], image_id)
        assert self.store.failures() == failed

    @rule(damage=st.sampled_from(["write", "drop", "tear"]))
    def index_made_lost_or_torn(self, damage: str) -> None:
        """The index is never the truth."""
        self.store.refresh()
        before, failed = self.held(), self.store.failures()
        if damage != "drop":
            self.store.disk.write_index()
        for file in (self.store.path / "index").glob("*.parquet"):
            file.unlink() if damage == "drop" else None
            self.fakes.tear(file, 20) if damage == "tear" else None
        self.store = FeatureStore.open(self.store.path)
        self.assert_unchanged(before, failed)

    @rule(patterns=ASKED)
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
        self.precompute(
            [f.rpartition(".")[0] if ":moments" in f else f for f in sorted(had)] or PATTERNS, sorted(self.versions)
        )
        assert verify(self.store) == []
        assert self.unreadable() == set()

    @rule()
    def reopen(self) -> None:
        self.store = FeatureStore.open(self.store.path)

    def each(self, see: Callable[[str, str, Callable[[], np.ndarray]], None]) -> None:
        for name in self.store.features(everywhere=False):
            rows = self.store.select_any([str(name)])
            rows.check = "always"
            read = rows.map if name.what.startswith("map") else rows.summary
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
        settings=settings(max_examples=30, stateful_step_count=14, deadline=None, suppress_health_check=NO_CHECKS),
    )


@pytest.mark.usefixtures("no_fsync")
@pytest.mark.parametrize("choice", range(8))
def test_a_killed_compaction_goes_on_over_what_was_damaged_since(fakes: ModuleType, choice: int) -> None:
    """The trap: shards without a commit that differ from what they should hold, and every later gc refuses to go on."""
    Life.fakes = fakes
    life = Life()
    try:
        life.begin()
        life.precompute_all_and_compare(patterns=set(PATTERNS))
        life.damage_a_shard_then_verify_and_precompute(bit=0, choice=0, cut=False)
        life.compact_and_die(step=7)
        life.damage_a_shard_then_verify_and_precompute(bit=0, choice=choice, cut=False)
        life.compact()
        life.every_row_is_of_one_version_of_its_image()
        life.precompute_all_and_compare(patterns=set(PATTERNS))
    finally:
        life.teardown()


@pytest.mark.usefixtures("no_fsync")
def test_two_writers_at_once_lose_nothing_whoever_takes_which_step_and_dies_where(fakes: ModuleType) -> None:
    """The traps: a shard or a commit that the second overwrites; a commit before its shard, which the other believes;
    bytes of a dead writer; a plan, an index or a compaction made from what the other has changed since.
    """
    Life.fakes = fakes

    @settings(max_examples=100, deadline=None, suppress_health_check=NO_CHECKS)
    @given(held=st.none() | ASKED, changed=st.booleans(), **PAIR)
    def any_two(held: set[str] | None, changed: bool, **pair: Any) -> None:
        life = Life()
        try:
            life.begin()
            if held is not None:
                life.precompute(sorted(held), sorted(life.versions))
            life.write(IDS[2], SIZES[0])
            if changed:
                life.write(IDS[0], SIZES[3])
            life.two_at_once(**pair)
            life.every_row_is_of_one_version_of_its_image()
        finally:
            life.teardown()

    any_two()
