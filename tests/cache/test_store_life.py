"""A store's life: made, filled, grown, changed, damaged, moved; every row is what its image gives, bit for bit."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from cache import blocks
from cache.encode import Item, encode_items
from cache.errors import StoreError, UsageError
from cache.features import FeatureName
from cache.store import FeatureStore
from cache.summaries import SUMMARIES
from cache.views import parse_view

SIZES = [(20, 30), (33, 17), (20, 30), (64, 64), (1, 1), (17, 33), (20, 30)]


@pytest.fixture
def images(tmp_path: Path, fakes: ModuleType) -> Path:
    fakes.write_images(tmp_path / "images", SIZES)
    return tmp_path / "images"


def names(images: Path) -> list[str]:
    return sorted(p.name for p in images.iterdir())


def assert_true(fakes: ModuleType, store: FeatureStore, images: Path, ids: list[str], *patterns: str) -> None:
    """The store holds exactly these images, and each value is the right one."""
    store.refresh()
    assert store.ids() == sorted(ids)
    for name in fakes.features(*(patterns or ("*:map", "*:moments"))):
        found = fakes.stored(store, name)
        assert sorted(found) == sorted(ids)
        for image_id, values in found.items():
            np.testing.assert_array_equal(values, fakes.truth(images / image_id, name), strict=True)


def test_what_was_written_is_read_bit_for_bit(tmp_path: Path, images: Path, fakes: ModuleType) -> None:
    store = fakes.fill(tmp_path, images, names(images))
    assert_true(fakes, store, images, names(images))
    again = FeatureStore.open(store.path)
    assert_true(fakes, again, images, names(images))
    assert again.status().pending == 0
    assert [str(f) for f in again.features()] == ["fine:map", "coarse:map", "fine:moments", "coarse:moments"]


def test_a_second_run_encodes_nothing_and_writes_nothing(tmp_path: Path, images: Path, fakes: ModuleType) -> None:
    store = fakes.fill(tmp_path, images, names(images))
    before = fakes.files(store.path)
    encoder = fakes.FakeEncoder()
    fakes.fill(tmp_path, images, names(images), encoder=encoder)
    assert encoder.calls == []
    assert fakes.files(store.path) == before


def test_two_stores_of_the_same_images_have_the_same_bytes(tmp_path: Path, images: Path, fakes: ModuleType) -> None:
    """Whatever order the images and the features were named in."""
    one = fakes.fill(tmp_path / "a", images, names(images), ["*:moments", "neck*:map", "*:map"][::2])
    other = fakes.fill(tmp_path / "b", images, names(images)[::-1], ["*:map", "*:moments"])
    assert fakes.files(one.path) == fakes.files(other.path)


def test_new_images_append_and_touch_nothing(tmp_path: Path, images: Path, fakes: ModuleType) -> None:
    first = names(images)[:3]
    store = fakes.fill(tmp_path, images, first)
    before = fakes.files(store.path)
    store = fakes.fill(tmp_path, images, names(images))
    assert before.items() <= fakes.files(store.path).items()
    assert store.status().plans == 2
    assert_true(fakes, store, images, names(images))


def test_a_tap_and_a_summary_can_be_added_later(tmp_path: Path, images: Path, fakes: ModuleType) -> None:
    store = fakes.fill(tmp_path, images, names(images), ["coarse:map"])
    before = fakes.files(store.path)
    encoder = fakes.FakeEncoder()
    store = fakes.fill(tmp_path, images, names(images), ["coarse:map", "*:moments"], encoder=encoder)
    assert before.items() <= fakes.files(store.path).items()
    assert sum(call[0] for call in encoder.calls) == len(SIZES)
    assert_true(fakes, store, images, names(images), "coarse:map", "*:moments")


def test_a_bug_fix_in_one_summary_makes_that_summary_only(
    tmp_path: Path, images: Path, fakes: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trap: an identity that covers every formula, and one corrected formula that throws all maps away."""
    every = ["coarse:map", "coarse:moments", "coarse:gram"]
    store = fakes.fill(tmp_path, images, names(images), every)
    before, gram = fakes.files(store.path), fakes.stored(store, FeatureName("coarse", "gram"))
    old = SUMMARIES["moments"]
    fixed = old._replace(revision=old.revision + 1, compute=lambda maps: 2 * old.compute(maps))
    wrong = fakes.stored(store, FeatureName("coarse", "moments"))
    monkeypatch.setitem(SUMMARIES, "moments", fixed)
    store = FeatureStore.open(store.path)
    tasks = store.pending(fakes.features(*every), names(images))
    assert {str(f) for task in tasks for f in task.features} == {"coarse:moments"}
    store = fakes.fill(tmp_path, images, names(images), every)
    new = fakes.files(store.path).keys() - before.keys()
    assert before.items() <= fakes.files(store.path).items()
    assert {name.split("/")[2] for name in new if name.startswith("features/")} == {f"moments.{fixed.revision}"}
    for image_id, values in fakes.stored(store, FeatureName("coarse", "moments")).items():
        np.testing.assert_array_equal(values, 2 * wrong[image_id])
        np.testing.assert_array_equal(fakes.stored(store, FeatureName("coarse", "gram"))[image_id], gram[image_id])


def test_p24_a_changed_image_is_made_anew_with_all_that_it_had(tmp_path: Path, images: Path, fakes: ModuleType) -> None:
    """The trap: made anew with only the features asked for now, the store would lose the others for all images."""
    store = fakes.fill(tmp_path, images, names(images))
    fakes.write_image(images / "i001.png", 40, 9, seed=99)
    encoder = fakes.FakeEncoder()
    store = fakes.fill(tmp_path, images, names(images), ["coarse:map"], encoder=encoder)
    assert encoder.calls == [(1, 3, 9, 40)]
    assert_true(fakes, store, images, names(images))


def test_until_a_changed_image_is_made_the_old_row_counts(tmp_path: Path, images: Path, fakes: ModuleType) -> None:
    store = fakes.fill(tmp_path, images, names(images))
    old = fakes.stored(store, FeatureName("coarse", "map"))["i001.png"].copy()
    fakes.write_image(images / "i001.png", 40, 9, seed=99)
    assert store.plan(fakes.look(images, names(images)), heavy=True) == 1
    assert store.status().pending == 0
    np.testing.assert_array_equal(fakes.stored(store, FeatureName("coarse", "map"))["i001.png"], old)


def test_an_image_that_changes_between_look_and_read_fails_and_is_made_next_time(
    tmp_path: Path, images: Path, fakes: ModuleType
) -> None:
    store = fakes.new_store(tmp_path)
    store.plan(fakes.look(images, names(images)), heavy=True)
    fakes.write_image(images / "i002.png", 20, 30, seed=5)
    fakes.work(store, images, fakes.features("*:map"), names(images))
    assert store.failures() == [("i002.png", "changed")]
    store = fakes.fill(tmp_path, images, names(images), ["*:map"])
    assert_true(fakes, store, images, names(images), "*:map")


def test_an_image_that_changed_and_changed_back_is_made_next_time(
    tmp_path: Path, images: Path, fakes: ModuleType
) -> None:
    """The trap: its plan has the right sha256 again, so only the failed row tells that it was never encoded."""
    store, whole = fakes.new_store(tmp_path), (images / "i002.png").read_bytes()
    store.plan(fakes.look(images, names(images)), heavy=True)
    (images / "i002.png").write_bytes(b"half an upload")
    fakes.work(store, images, fakes.features("*:map"), names(images))
    (images / "i002.png").write_bytes(whole)
    store = fakes.fill(tmp_path, images, names(images), ["*:map"])
    assert_true(fakes, store, images, names(images), "*:map")


@pytest.mark.parametrize("features_later", [["*:map"], ["*:moments"]])
def test_images_on_a_disk_that_went_away_are_made_when_it_is_back(
    tmp_path: Path, images: Path, fakes: ModuleType, features_later: list[str]
) -> None:
    """The trap: sizes and times are as before, so a store that tries nothing again keeps "missing" for ever."""
    fakes.fill(tmp_path, images, names(images)[:2], ["*:map"])
    store = fakes.new_store(tmp_path)
    store.plan(fakes.look(images, names(images)), heavy=True)
    fakes.work(store, tmp_path / "nowhere", fakes.features("*:map"), names(images))
    assert {reason for _, reason in store.failures()} == {"missing"}
    store = fakes.fill(tmp_path, images, names(images), features_later)
    store = fakes.fill(tmp_path, images, names(images), ["*:map", "*:moments"])
    assert_true(fakes, store, images, names(images))


def test_an_image_that_failed_by_its_bytes_is_not_tried_again(tmp_path: Path, images: Path, fakes: ModuleType) -> None:
    (images / "i003.png").write_bytes((images / "i003.png").read_bytes()[:300])
    store = fakes.fill(tmp_path, images, names(images))
    assert store.failures() == [("i003.png", "truncated")]
    encoder = fakes.FakeEncoder()
    store = fakes.fill(tmp_path, images, names(images), encoder=encoder)
    assert (encoder.calls, store.status().plans) == ([], 1)
    fakes.write_image(images / "i003.png", 30, 31, seed=8)  # mended by its owner
    store = fakes.fill(tmp_path, images, names(images))
    assert_true(fakes, store, images, names(images))


def test_what_failed_for_want_of_memory_is_tried_again(tmp_path: Path, images: Path, fakes: ModuleType) -> None:
    class Full(fakes.FakeEncoder):
        """A fake that has no room for the largest image."""

        def encode(self, pixels: Any, valid: Any, taps: Any) -> Any:
            if valid == (64, 64):
                raise MemoryError
            return super().encode(pixels, valid, taps)

    store = fakes.fill(tmp_path, images, names(images), encoder=Full())
    assert store.failures() == [("i003.png", "out of memory")]
    store = fakes.fill(tmp_path, images, names(images))
    assert_true(fakes, store, images, names(images))


def test_an_image_planned_without_being_readable_fails_instead_of_bursting_its_block(
    tmp_path: Path, images: Path, fakes: ModuleType
) -> None:
    """The trap: nothing was known of it when the block was sized, so its tokens have no room."""
    store = fakes.new_store(tmp_path)
    (tmp_path / "aside").mkdir()
    shutil.move(images / "i003.png", tmp_path / "aside")
    ids = [f"i{i:03}.png" for i in range(len(SIZES))]
    store.plan(fakes.look(images, ids), heavy=True)
    shutil.move(tmp_path / "aside" / "i003.png", images)
    fakes.work(store, images, fakes.features("*:map"), ids)
    assert store.failures() == [("i003.png", "changed")]
    store = fakes.fill(tmp_path, images, ids, ["*:map"])
    assert_true(fakes, store, images, ids, "*:map")


def test_a_moved_download_tree_encodes_nothing_again(tmp_path: Path, images: Path, fakes: ModuleType) -> None:
    """Paths are not part of what a number means; a tap added later reads the images where they lie now."""
    store = fakes.fill(tmp_path, images, names(images), ["coarse:map"])
    moved = [item._replace(path=f"deeper/{item.path}") for item in fakes.look(images, names(images))]
    shutil.copytree(images, tmp_path / "other" / "deeper")
    store = FeatureStore.open(store.path)
    assert store.plan(moved, heavy=True) == 0
    fakes.work(store, tmp_path / "other", fakes.features("*:map"), names(images))
    assert store.failures() == []
    assert_true(fakes, store, images, names(images), "*:map")


def test_more_images_than_a_block_holds(tmp_path: Path, fakes: ModuleType) -> None:
    ids = fakes.write_images(tmp_path / "images", [(5 + i % 7, 6) for i in range(70)])
    store = fakes.fill(tmp_path, tmp_path / "images", ids)
    assert store.status().blocks == 3
    assert_true(fakes, store, tmp_path / "images", ids)


def test_a_commit_without_its_plan_does_not_exist(tmp_path: Path, images: Path, fakes: ModuleType) -> None:
    store = fakes.fill(tmp_path, images, names(images))
    (store.path / "plan" / "1.parquet").unlink()
    store.refresh()
    assert (store.ids(), store.features(), store.status().blocks) == ([], [], 0)


def test_a_plans_number_is_never_used_twice(tmp_path: Path, images: Path, fakes: ModuleType) -> None:
    """The trap: a damaged plan was moved away, as the message says. Its commits and arrays are still there; under a new
    plan of the same number they would stand for other images.
    """
    first = names(images)[:3]
    store = fakes.fill(tmp_path, images, first)
    fakes.tear(store.path / "plan" / "1.parquet", 50)
    with pytest.raises(StoreError, match=r"plan/1\.parquet.*Move that file away.*harness precompute"):
        FeatureStore.open(store.path).ids()
    (store.path / "plan" / "1.parquet").rename(store.path / "plan" / "1.parquet.damaged")
    store = fakes.fill(tmp_path, images, names(images))
    assert sorted(p.name for p in (store.path / "plan").iterdir()) == ["1.parquet.damaged", "2.parquet"]
    assert_true(fakes, store, images, names(images))


def test_a_commit_of_other_images_is_damaged(tmp_path: Path, images: Path, fakes: ModuleType) -> None:
    """A whole commit file of another store, in the right place by its name."""
    fakes.write_images(tmp_path / "others", [(9, 9)] * 3, seed=4)
    other = fakes.fill(tmp_path / "b", tmp_path / "others", names(tmp_path / "others"))
    store = fakes.fill(tmp_path / "a", images, names(images))
    shutil.copy(other.path / "blocks" / "1-0.0.parquet", store.path / "blocks")
    store = FeatureStore.open(store.path)
    assert store.ids() == []
    assert [p.name for p in store.damaged()] == ["1-0.0.parquet"]


def test_a_shard_without_a_commit_is_adopted_if_it_is_the_same(tmp_path: Path, images: Path, fakes: ModuleType) -> None:
    whole = fakes.files(fakes.fill(tmp_path / "a", images, names(images)).path)
    store = fakes.fill(tmp_path / "b", images, names(images))
    (store.path / "blocks" / "1-0.0.parquet").unlink()
    inode = next(store.path.glob("features/fine/map/1/c.0.0")).stat().st_ino
    store = fakes.fill(tmp_path / "b", images, names(images))
    assert fakes.files(store.path) == whole
    assert next(store.path.glob("features/fine/map/1/c.0.0")).stat().st_ino == inode


def test_a_shard_of_other_bytes_without_a_commit_stays_an_orphan(
    tmp_path: Path, images: Path, fakes: ModuleType
) -> None:
    """Someone may have mapped it: it is not overwritten; the images are planned anew, with all that they had."""
    fakes.fill(tmp_path, images, names(images), ["coarse:moments"])
    store = fakes.fill(tmp_path, images, names(images), ["fine:map"])
    (store.path / "blocks" / "1-0.1.parquet").unlink()
    orphan = store.path / "features/fine/map/1/c.0.0"
    fakes.flip(orphan, 3)
    left = orphan.read_bytes()
    store = fakes.fill(tmp_path, images, names(images), ["fine:map"])
    assert orphan.read_bytes() == left
    assert store.status().plans == 2
    assert_true(fakes, store, images, names(images), "fine:map", "coarse:moments")


def test_rows_must_be_the_blocks_images_in_order(tmp_path: Path, images: Path, fakes: ModuleType) -> None:
    store = fakes.new_store(tmp_path)
    store.plan(fakes.look(images, names(images)), heavy=True)
    task = store.pending(fakes.features("fine:map"), names(images))[0]
    items = [Item(i.id, images / i.path, i.sha256, i.width, i.height) for i in task.items]
    rows = list(encode_items(items, fakes.FakeEncoder(), parse_view("native"), task.features))
    for wrong in (rows[::-1], rows[:-1], []):
        with pytest.raises(StoreError, match="one row an image"):
            store.write(task, wrong, fakes.SPEC.grid_of(parse_view("native")))
    assert not (store.path / "blocks").exists()


def test_an_encoder_that_gives_more_than_it_declares_is_refused(
    tmp_path: Path, images: Path, fakes: ModuleType
) -> None:
    class Liar(fakes.FakeEncoder):
        """A fake whose grid is larger than its stride says, or whose channels are others."""

        def __init__(self, axis: int) -> None:
            super().__init__()
            self.axis = axis

        def encode(self, pixels: Any, valid: Any, taps: Any) -> Any:
            maps = super().encode(pixels, valid, taps)
            return {tap: m.repeat_interleave(2, dim=self.axis) for tap, m in maps.items()}

    for axis, found in ((1, "6 and 1x1"), (2, "3 and 2x1")):
        with pytest.raises(StoreError, match=f"expected 3 channels and a grid of at most 1x1.*found {found}"):
            fakes.fill(tmp_path / f"{axis}", images, names(images), ["fine:map"], encoder=Liar(axis))
        assert not list((tmp_path / f"{axis}").rglob("blocks/*"))


def test_an_unknown_feature_says_what_to_type(tmp_path: Path, images: Path, fakes: ModuleType) -> None:
    store = fakes.fill(tmp_path, images, names(images), ["coarse:map"])
    with pytest.raises(UsageError, match=r"it has coarse:map.*harness precompute .*--features fine:moments"):
        store.select(["fine:moments"])
    with pytest.raises(UsageError, match="made for the taps fine, coarse"):
        store.width(FeatureName("third", "map"))


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda h: h | {"format": 99}, "format 99.*newer"),
        (lambda h: {k: v for k, v in h.items() if k != "identity"}, "damaged header"),
        (lambda h: h | {"identity": {"encoder": 1}}, "damaged header"),
        (lambda h: h | {"taps": [["a"]]}, "damaged header"),
    ],
)
def test_a_header_that_cannot_be_trusted_is_refused(tmp_path: Path, fakes: ModuleType, edit: Any, match: str) -> None:
    store = fakes.new_store(tmp_path)
    file = store.path / "features" / "zarr.json"
    document = json.loads(file.read_text())
    document["attributes"]["sam_iqa"] = edit(document["attributes"]["sam_iqa"])
    file.write_text(json.dumps(document))
    with pytest.raises(StoreError, match=match):
        FeatureStore.open(store.path)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"null", b"\xff\xfe", b'{"attributes": 3}'])
def test_a_torn_header_is_refused(tmp_path: Path, fakes: ModuleType, content: bytes) -> None:
    store = fakes.new_store(tmp_path)
    (store.path / "features" / "zarr.json").write_bytes(content)
    with pytest.raises(StoreError, match="damaged header"):
        FeatureStore.open(store.path)


def test_a_place_that_is_no_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path, tmp_path / "gone", tmp_path / "file"):
        with pytest.raises(StoreError, match=f"feature store at {place}"):
            FeatureStore.open(place)


def test_a_read_only_store_can_be_read(tmp_path: Path, images: Path, fakes: ModuleType) -> None:
    store = fakes.fill(tmp_path, images, names(images))
    for folder, _, found in os.walk(store.path):
        for name in found:
            (Path(folder) / name).chmod(0o444)
        Path(folder).chmod(0o555)
    try:
        assert_true(fakes, FeatureStore.open(store.path), images, names(images))
    finally:
        for folder, _, _ in os.walk(store.path):
            Path(folder).chmod(0o755)


def test_a_commit_is_read_from_the_disk_once_and_never_by_who_wrote_it(
    tmp_path: Path, fakes: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The traps: a look after every block that reads all commits again costs the square of the blocks; a writer that
    believes itself knows other things than the disk says.
    """
    ids = fakes.write_images(tmp_path / "images", [(5, 6)] * 100)
    read, real = [], blocks.read_commit
    monkeypatch.setattr(blocks, "read_commit", lambda path: read.append(path) or real(path))
    store = fakes.fill(tmp_path, tmp_path / "images", ids)
    assert len(store.ids()) == 100
    assert read == []
    reader = FeatureStore.open(store.path)
    for _ in range(2):
        reader.refresh()
        assert reader.state.commits == store.state.commits
    assert len(read) == len(set(read)) == 4
