"""gc: what no longer counts goes, what counts is the same bit for bit, and no moment of it can lose an image."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from cache import compaction, index, sweep
from cache.compaction import compact, stored_of
from cache.derive import derive, possible
from cache.errors import StoreError, UsageError
from cache.features import FeatureName
from cache.store import FeatureStore
from cache.verify import verify

pytestmark = pytest.mark.usefixtures("no_fsync")
SIZES = [(20, 30), (33, 17), (20, 30), (64, 64), (1, 1), (17, 33), (20, 30), (9, 9)]
Held = dict[tuple[str, str], np.ndarray]


class Death(BaseException):
    """What a killed writer looks like from outside."""


@pytest.fixture
def images(tmp_path: Path, fakes: ModuleType) -> Path:
    fakes.write_images(tmp_path / "images", SIZES)
    (tmp_path / "images" / "i006.png").write_bytes(b"no image")
    return tmp_path / "images"


def names(images: Path) -> list[str]:
    return sorted(p.name for p in images.iterdir())


def held(fakes: ModuleType, store: FeatureStore) -> Held:
    found: Held = {}
    for name in store.features(everywhere=False):
        found |= {(i, str(name)): np.array(v) for i, v in fakes.stored(store, name).items()}
    return found


def assert_same(one: Held, other: Held) -> None:
    assert one.keys() == other.keys()
    for key, values in one.items():
        np.testing.assert_array_equal(values, other[key], strict=True, err_msg=str(key))


@pytest.fixture
def grown(tmp_path: Path, images: Path, fakes: ModuleType) -> FeatureStore:
    """Four plans: a few images, then all, one of them changed, and some with more features than others."""
    fakes.fill(tmp_path, images, names(images)[:3], ["coarse:map"])
    fakes.fill(tmp_path, images, names(images)[:5], ["coarse:map", "*:moments"])
    fakes.write_image(images / "i001.png", 40, 9, seed=99)
    fakes.fill(tmp_path, images, names(images)[:5], ["coarse:map"])
    return fakes.fill(tmp_path, images, names(images), ["coarse:map"])


def test_what_counts_is_the_same_and_the_rest_is_gone(
    tmp_path: Path, images: Path, grown: FeatureStore, fakes: ModuleType
) -> None:
    before, failed = held(fakes, grown), grown.failures()
    size = grown.status().bytes
    said = compact(grown, dry_run=True)
    assert grown.status().bytes == size
    freed = compact(grown)
    assert (freed.plans, freed.rows, freed.copied) == (said.plans, said.rows, said.copied) == (4, 1, 8)
    assert freed.bytes == size - grown.status().bytes
    for store in (grown, FeatureStore.open(grown.path)):
        assert_same(held(fakes, store), before)
        assert store.failures() == failed == [("i006.png", "not an image")]
        assert verify(store) == []
    assert [p.name for p in (grown.path / "plan").iterdir()] == ["5.parquet"]
    assert {p.name for p in grown.path.glob("features/*/*/*") if p.is_dir()} == {"5"}
    assert compact(grown) == compaction.Freed(0, 0, 0, 0)  # nothing left to do
    encoder = fakes.FakeEncoder()
    fakes.fill(tmp_path, images, names(images), ["coarse:map"], encoder=encoder)
    assert encoder.calls == []


def test_maps_that_are_dropped_go_and_nothing_else(
    tmp_path: Path, images: Path, grown: FeatureStore, fakes: ModuleType
) -> None:
    """How a store of maps becomes half as large: derive map8, drop map."""
    derive(grown, possible(grown, ["map8"], []))
    gone = [FeatureName("coarse", "map")]
    assert stored_of(grown, ["*:map"]) == gone
    before, failed, said = held(fakes, grown), grown.failures(), compact(grown, dry_run=True, drop=gone)
    freed = compact(grown, drop=gone)
    assert (freed.plans, freed.rows, freed.copied) == (said.plans, said.rows, said.copied) == (4, 1, 8)
    for store in (grown, FeatureStore.open(grown.path)):
        assert_same(held(fakes, store), {key: v for key, v in before.items() if key[1] != "coarse:map"})
        assert store.failures() == failed
        assert verify(store) == []
    assert not list(grown.path.glob("features/coarse/map/*/c.*"))
    assert compact(grown) == compaction.Freed(0, 0, 0, 0)
    encoder = fakes.FakeEncoder()
    fakes.fill(tmp_path, images, names(images), ["coarse:map8"], encoder=encoder)
    assert encoder.calls == []
    with pytest.raises(UsageError, match=r"has no fine:map; it has coarse:map8"):
        stored_of(grown, ["fine:map"])


def test_an_image_is_never_left_without_any_feature(grown: FeatureStore, fakes: ModuleType) -> None:
    before = held(fakes, grown)
    for dry_run in (True, False):
        with pytest.raises(UsageError, match=r"[1-9] images have nothing else than coarse:map\. .* derive"):
            compact(grown, dry_run, [FeatureName("coarse", "map")])
    assert_same(held(fakes, grown), before)


def test_what_a_writer_may_be_at_work_on_keeps_what_was_to_go(tmp_path: Path, images: Path, fakes: ModuleType) -> None:
    """Its block in flight would commit the feature after all; the next gc takes it, when that is done."""
    gone = [FeatureName("fine", "map")]
    store = fakes.fill(tmp_path, images, names(images)[:4])
    store.plan(fakes.look(images, names(images)), heavy=True)
    compact(store, drop=gone)
    assert gone[0] not in store.features(everywhere=False)
    fakes.work(store, images, fakes.features("*:map", "*:moments"), names(images))
    assert gone[0] in store.features(everywhere=False)
    compact(store, drop=gone)
    assert gone[0] not in store.features(everywhere=False)
    assert len(store.ids()) == len(SIZES) - 1
    assert verify(store) == []


def test_plain_zarr_reads_what_was_compacted(grown: FeatureStore) -> None:
    import zarr

    compact(grown)
    rows = grown.select(["coarse:map"])
    values = zarr.open_array(grown.path / "features/coarse/map/5", mode="r")[:]
    for i, image_id in enumerate(rows.ids):
        span = grown.state.spans[0][image_id]["coarse:map"]
        found = values[span.offset : span.offset + span.h * span.w].reshape(span.h, span.w, -1)
        np.testing.assert_array_equal(found, rows.map("coarse:map", i))


def test_what_was_compacted_grows_on(tmp_path: Path, images: Path, grown: FeatureStore, fakes: ModuleType) -> None:
    """Features that some blocks of a compaction have and others not, larger ones last: they find room or a new plan."""
    compact(grown)
    fakes.write_image(images / "i003.png", 64, 60, seed=5)
    store = fakes.fill(tmp_path, images, names(images))
    for name in fakes.features("*:map", "*:moments"):
        for image_id, values in fakes.stored(store, name).items():
            np.testing.assert_array_equal(values, fakes.truth(images / image_id, name), strict=True)
    assert len(store.ids()) == len(SIZES) - 1
    before = held(fakes, store)
    compact(store)
    assert_same(held(fakes, store), before)


def test_a_map_that_only_small_images_had_finds_room_for_large_ones(tmp_path: Path, fakes: ModuleType) -> None:
    """The trap: the array of a compaction is as large as what was copied, and a later image needs more."""
    folder = tmp_path / "images"
    ids = fakes.write_images(folder, [(4, 4), (5, 5), (640, 640)])
    fakes.fill(tmp_path, folder, ids[:2], ["fine:map"])
    store = fakes.fill(tmp_path, folder, ids[2:], ["coarse:map"])
    compact(store)
    store = fakes.fill(tmp_path, folder, ids, ["fine:map"])
    assert sorted(fakes.stored(store, FeatureName("fine", "map"))) == ids
    assert sorted(fakes.stored(store, FeatureName("coarse", "map"))) == ids[2:]
    assert verify(store) == []


def test_recomputing_all_of_a_store_frees_the_old_half_and_copies_nothing(
    tmp_path: Path, images: Path, fakes: ModuleType
) -> None:
    store = fakes.fill(tmp_path, images, names(images))
    store.plan(fakes.look(images, names(images)), heavy=True, anew=True)
    fakes.work(store, images, fakes.features("*:map", "*:moments"), names(images))
    before, inode = held(fakes, store), next(store.path.glob("features/fine/map/2/c.0.0")).stat().st_ino
    freed = compact(store)
    assert (freed.plans, freed.rows, freed.copied) == (1, len(SIZES), 0)
    assert_same(held(fakes, store), before)
    assert next(store.path.glob("features/fine/map/2/c.0.0")).stat().st_ino == inode


def test_a_plan_that_is_not_done_is_left_alone(tmp_path: Path, images: Path, fakes: ModuleType) -> None:
    """What is pending must find its rank above what is compacted: the new version of an image counts when it comes."""
    fakes.fill(tmp_path, images, names(images)[:2])
    fakes.fill(tmp_path, images, names(images)[:4])
    fakes.write_image(images / "i000.png", 31, 30, seed=77)
    store = fakes.new_store(tmp_path)
    assert store.plan(fakes.look(images, names(images)), heavy=True) == 5
    freed = compact(store)
    assert (freed.plans, freed.copied) == (2, 4)
    assert store.status().pending == 4
    fakes.work(store, images, fakes.features("*:map", "*:moments"), names(images))
    for name in fakes.features("*:map", "*:moments"):
        for image_id, values in fakes.stored(store, name).items():
            np.testing.assert_array_equal(values, fakes.truth(images / image_id, name), strict=True)


def test_a_damaged_row_is_not_copied(grown: FeatureStore, fakes: ModuleType) -> None:
    fakes.flip(grown.path / "features/coarse/map/4/c.0.0", 1)
    before = set(fakes.files(grown.path / "plan")) | {"5.parquet"}
    with pytest.raises(StoreError, match=r"c\.0\.0.*harness stores verify.*harness precompute.*stores gc"):
        compact(grown)
    assert set(fakes.files(grown.path / "plan")) == before


def test_after_mending_a_damaged_row_gc_ends(
    tmp_path: Path, images: Path, grown: FeatureStore, fakes: ModuleType
) -> None:
    fakes.flip(grown.path / "features/coarse/map/4/c.0.0", 1)
    with pytest.raises(StoreError):
        compact(grown)
    assert len(verify(grown)) == 1
    store = fakes.fill(tmp_path, images, names(images), ["coarse:map"])
    before = held(fakes, store)
    compact(store)
    compact(store)  # the plan that mended it is a small one beside the first compaction's
    assert_same(held(fakes, store), before)
    assert verify(store) == []
    assert len(list((store.path / "plan").iterdir())) == 1


def test_a_reader_goes_on_where_files_vanish(grown: FeatureStore, fakes: ModuleType) -> None:
    """Opened before the compaction, read after it: listed again, the same bytes; nothing of it is mapped yet."""
    rows = FeatureStore.open(grown.path).select(["coarse:map"])
    some = rows.take(np.arange(3))
    before = held(fakes, FeatureStore.open(grown.path))
    compact(grown)
    for features in (rows, some):
        for i, image_id in enumerate(features.ids):
            np.testing.assert_array_equal(features.map("coarse:map", i), before[image_id, "coarse:map"])


def test_a_reader_of_what_changed_meanwhile_gets_no_other_version(
    tmp_path: Path, images: Path, grown: FeatureStore, fakes: ModuleType
) -> None:
    rows = FeatureStore.open(grown.path).select(["coarse:map"])
    fakes.write_image(images / "i000.png", 20, 30, seed=123)
    compact(fakes.fill(tmp_path, images, names(images), ["coarse:map"]))
    with pytest.raises(StoreError, match=r"encoded anew since.*Open the store again"):
        rows.map("coarse:map", 0)
    rows.map("coarse:map", 1)


def death_at(step: int, work: Callable[[], object], patch: pytest.MonkeyPatch) -> bool:
    """Whether `work` died before its step-th link or unlink."""
    count = 0

    def counted(real: Any) -> Any:
        def call(*args: Any, **more: Any) -> Any:
            nonlocal count
            if ".part" in str(args[0]) and real is unlink:
                return real(*args, **more)
            count += 1
            if count > step:
                raise Death
            return real(*args, **more)

        return call

    link, unlink, rmdir = os.link, os.unlink, os.rmdir
    with patch.context() as inner:
        inner.setattr(os, "link", counted(link))
        inner.setattr(os, "unlink", counted(unlink))
        inner.setattr(os, "rmdir", counted(rmdir))
        try:
            work()
        except Death:
            return True
    return False


def test_death_at_every_step_loses_nothing(
    tmp_path: Path, grown: FeatureStore, fakes: ModuleType, monkeypatch: pytest.MonkeyPatch, pages_reader: str
) -> None:
    """Before every link, unlink and rmdir of a compaction: the store reads the same then, also by the documentation's
    reader, which knows nothing of plans that replace others; and the next gc ends it.
    """
    before, failed = held(fakes, grown), grown.failures()
    exec(pages_reader, page := {})
    ends = set()
    for step in range(1000):
        path = tmp_path / f"{step}" / "store"
        shutil.copytree(grown.path, path)
        died = death_at(step, lambda path=path: compact(FeatureStore.open(path)), monkeypatch)
        store = FeatureStore.open(path)
        assert_same(held(fakes, store), before)
        assert store.failures() == failed
        for name in store.features(everywhere=False):
            stored = store.stored_name(name)
            found = {(i, str(name)): v for i, v in page["read"](path, stored)}
            expected = {key: v for key, v in before.items() if key[1] == str(name)}
            assert_same({key: v.reshape(expected[key].shape) for key, v in found.items()}, expected)
        compact(store)
        assert_same(held(fakes, FeatureStore.open(path)), before)
        ends.add(tuple(sorted((n, d) for n, d in fakes.files(path).items() if not n.endswith(".part"))))
        shutil.rmtree(path.parent)
        if not died:
            break
    assert step > 30
    assert len(ends) == 1  # whoever died where: the same bytes


def test_two_at_once_lose_nothing(tmp_path: Path, images: Path, grown: FeatureStore, fakes: ModuleType) -> None:
    """Two compactions, two writers and a reader on one store, again and again."""
    errors: list[BaseException] = []
    before = held(fakes, grown)

    def again(work: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            try:
                for _ in range(6):
                    work()
            except BaseException as error:
                errors.append(error)

        return run

    def read() -> None:
        for (image_id, name), values in held(fakes, FeatureStore.open(grown.path)).items():
            if (image_id, name) in before:
                np.testing.assert_array_equal(values, before[image_id, name])

    def change() -> None:
        store = fakes.new_store(tmp_path)
        store.plan(fakes.look(images, names(images)[:2]), heavy=True, anew=True)
        fakes.work(store, images, fakes.features("coarse:map"), names(images))

    works = [lambda: compact(FeatureStore.open(grown.path))] * 2 + [change, read]
    threads = [threading.Thread(target=again(work)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    store = fakes.fill(tmp_path, images, names(images), ["coarse:map", "*:moments"])
    compact(store)
    for name in fakes.features("coarse:map", "*:moments"):
        found = fakes.stored(store, name)
        assert len(found) == len(SIZES) - 1
        for image_id, values in found.items():
            np.testing.assert_array_equal(values, fakes.truth(images / image_id, name))
    assert verify(store) == []


def test_damage_to_a_finished_compaction_costs_its_block_alone(tmp_path: Path, images: Path, fakes: ModuleType) -> None:
    """The trap: "counts when all its blocks are committed" would take all its images away with one flipped bit."""
    ids = fakes.write_images(tmp_path / "many", [(5, 6)] * 70)
    fakes.fill(tmp_path, tmp_path / "many", ids[:40], ["coarse:map"])
    store = fakes.fill(tmp_path, tmp_path / "many", ids, ["coarse:map"])
    compact(store)
    fakes.tear(store.path / "blocks/3-1.0.parquet", 9)
    store = FeatureStore.open(store.path)
    assert len(store.ids()) == 70 - 32
    assert [p.name for p in store.damaged()] == ["3-1.0.parquet"]
    store = fakes.fill(tmp_path, tmp_path / "many", ids, ["coarse:map"])
    assert store.ids() == ids
    assert verify(store) == []


def test_what_no_plan_stands_for_goes_and_a_working_writers_part_stays(
    grown: FeatureStore, fakes: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = held(fakes, grown)
    shutil.copytree(grown.path / "features/coarse/map/1", grown.path / "features/coarse/map/77")
    shutil.copy(grown.path / "blocks/1-0.0.parquet", grown.path / "blocks/77-0.0.parquet")
    part = grown.path / "blocks" / ".1-0.9.parquet.1-ab.part"
    part.write_bytes(b"x")
    compact(grown)
    assert not list(grown.path.rglob("*77*"))
    assert part.exists()
    assert grown.add_plan(lambda number: None) is None
    os.utime(part, (1, 1))
    compact(grown)
    assert not part.exists()
    assert_same(held(fakes, grown), before)
    assert sweep.PART_AGE >= 3600


def test_the_index_is_never_the_truth(
    tmp_path: Path, grown: FeatureStore, images: Path, fakes: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made, believed, damaged, deleted, out of date, of a commit that was replaced: nothing that is read changes."""
    before = held(fakes, grown)
    grown.disk.write_index()
    file = grown.path / "index" / "1.parquet"

    def looked() -> FeatureStore:
        store = FeatureStore.open(grown.path)
        assert_same(held(fakes, store), before)
        return store

    assert looked().state.unindexed == 0
    whole = file.read_bytes()
    for position in range(0, len(whole), 97):
        fakes.flip(file, position)
        looked()
        file.write_bytes(whole)
    fakes.tear(file, 30)
    assert looked().state.indexed == 0
    file.write_bytes(b"")
    assert looked().state.indexed == 0
    file.write_bytes(whole)
    commits = sorted((grown.path / "blocks").iterdir())
    shutil.copy(commits[-1], tmp_path / "copy")
    commits[-1].unlink()
    shutil.copy(tmp_path / "copy", commits[-1])  # the same name, another file: read for itself
    assert looked().state.unindexed == 1
    commits[-1].unlink()
    assert len(FeatureStore.open(grown.path).ids()) < len(grown.ids())
    shutil.copy(tmp_path / "copy", commits[-1])
    monkeypatch.setattr(index, "FEWEST", 1)
    fakes.fill(tmp_path, images, names(images), ["*:map", "*:moments"])
    assert [p.name for p in (grown.path / "index").iterdir()] != ["1.parquet"]
    assert FeatureStore.open(grown.path).state.indexed > 0


def test_verify_is_not_deceived_by_the_index(
    tmp_path: Path, images: Path, grown: FeatureStore, fakes: ModuleType
) -> None:
    """A commit that rotted unseen (same size, same time): the index still knows what it said."""
    grown.disk.write_index()
    commit = grown.path / "blocks/4-0.0.parquet"
    stat = commit.stat()
    fakes.flip(commit, 40)
    os.utime(commit, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert len(FeatureStore.open(grown.path).ids()) == len(grown.ids())
    assert [f.path.name for f in verify(grown)] == ["4-0.0.parquet"]
    store = fakes.fill(tmp_path, images, names(images), ["coarse:map"])
    assert verify(store) == []
