"""Reading rows: checked once, always or never; by id, by batch, by grid; and damage is found, named and mended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache import rows as reading
from cache.encode import Encoded
from cache.errors import StoreError
from cache.features import FeatureName
from cache.rows import Features, InMemory
from cache.store import FeatureStore
from cache.verify import verify
from cache.views import parse_view

SIZES = [(20, 30), (33, 17), (20, 30), (64, 64), (1, 1), (17, 33), (20, 30)]
MAP, TABLE = "coarse:map", "coarse:moments"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, fakes: ModuleType) -> Path:
    folder = tmp_path_factory.mktemp("reading") / "images"
    fakes.write_images(folder, SIZES)
    return folder


@pytest.fixture
def store(tmp_path: Path, images: Path, fakes: ModuleType) -> FeatureStore:
    return fakes.fill(tmp_path, images, sorted(p.name for p in images.iterdir()))


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory, images: Path, fakes: ModuleType) -> FeatureStore:
    return fakes.fill(tmp_path_factory.mktemp("s"), images, sorted(p.name for p in images.iterdir()))


def shard(store: FeatureStore, name: str) -> Path:
    return store.path / "features" / store.stored_name(FeatureName(*name.split(":"))).replace(":", "/") / "1/c.0.0"


@pytest.mark.parametrize(
    ("view", "shown"),
    [
        ("native", lambda w, h: (w, h)),
        ("half", lambda w, h: (-(-w // 2), -(-h // 2))),
        ("square16", lambda w, h: (16, 16)),
        ("crops5x10", lambda w, h: (w, h)),
    ],
)
def test_rows_know_the_size_of_their_image_and_of_what_the_view_made_of_it(
    tmp_path: Path, images: Path, fakes: ModuleType, view: str, shown: Callable[[int, int], tuple[int, int]]
) -> None:
    """The trap: a grid alone tells neither how large an image was nor by how much it was scaled."""
    meant = msgspec.structs.replace(fakes.identity(), view=parse_view(view).identity())
    store = FeatureStore.create(tmp_path, "set", meant, {}, fakes.SPEC.taps)
    names = [f"i{i:03}.png" for i in range(len(SIZES))]
    store.plan(fakes.look(images, names), heavy=True)
    fakes.work(store, images, fakes.features(MAP), names)
    rows = store.select([MAP])
    assert rows.sizes().tolist() == [[w, h, *shown(w, h)] for w, h in SIZES]
    assert rows.take(np.array([3, 1])).sizes().tolist() == rows.sizes()[[3, 1]].tolist()
    assert rows.take(np.array([], dtype=np.int64)).sizes().shape == (0, 4)


@given(
    rows=st.lists(st.integers(0, 6), max_size=12),
    cuts=st.lists(st.integers(0, 12), max_size=4),
    together=st.sampled_from([1, 2, 256]),
)
@settings(max_examples=60, deadline=None)
def test_batches_by_grid_hold_what_reading_row_by_row_gives(
    rows: list[int], cuts: list[int], together: int, lasting: FeatureStore
) -> None:
    features = lasting.select([MAP])
    parts = [np.array(p, dtype=np.int64) for p in np.split(rows, sorted(cuts))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "TOGETHER", together)
        batches = list(features.batches(MAP, parts))
    assert len(batches) == len(parts)
    for part, batch in zip(parts, batches, strict=True):
        assert sorted(int(p) for positions, _ in batch for p in positions) == list(range(len(part)))
        grids = [maps.shape[1:3] for _, maps in batch]
        assert len(set(grids)) == len(grids)  # one group a grid
        for positions, maps in batch:
            assert maps.dtype == np.float16
            for position, found in zip(positions, maps, strict=True):
                np.testing.assert_array_equal(found, features.map(MAP, int(part[position])), strict=True)


@given(rows=st.lists(st.integers(0, 6), max_size=12))
@settings(max_examples=30, deadline=None)
def test_taken_rows_are_those_rows(rows: list[int], lasting: FeatureStore) -> None:
    features = lasting.select([MAP, TABLE])
    some = features.take(np.array(rows, dtype=np.int64))
    assert some.ids == [features.ids[i] for i in rows]
    np.testing.assert_array_equal(some.table(TABLE), features.table(TABLE)[rows].reshape(len(rows), 10))
    np.testing.assert_array_equal(some.grids(MAP), features.grids(MAP)[rows].reshape(-1, 2))
    for i, row in enumerate(rows):
        np.testing.assert_array_equal(some.map(MAP, i), features.map(MAP, row))
    assert some.digest == features.digest


def test_what_is_read_cannot_be_written_to(lasting: FeatureStore) -> None:
    """The trap: a writable map of the file would change the store."""
    features = lasting.select([MAP, TABLE])
    with pytest.raises(ValueError, match="read-only"):
        features.map(MAP, 0)[:] = 0
    with pytest.raises(ValueError, match="read-only"):
        features.summary(TABLE, 0)[:] = 0
    features.table(TABLE)[:] = 0  # a copy


def test_rows_in_memory_have_the_same_face(lasting: FeatureStore) -> None:
    there = lasting.select([MAP, TABLE])
    rows = [
        Encoded(i, "", 0, 0, "ok", "", {MAP: there.map(MAP, n), TABLE: there.summary(TABLE, n)})
        for n, i in enumerate(there.ids)
    ]
    here = InMemory(rows, [MAP, TABLE])
    some = np.array([3, 0, 3, 5])
    for a, b in ((there, here), (there.take(some), here.take(some))):
        assert (a.ids, len(a), a.names) == (b.ids, len(b), b.names)
        assert [a.channels(n) for n in (MAP, TABLE)] == [b.channels(n) for n in (MAP, TABLE)] == [5, 10]
        np.testing.assert_array_equal(a.table(TABLE), b.table(TABLE), strict=True)
        np.testing.assert_array_equal(a.grids(MAP), b.grids(MAP), strict=True)
        for one, other in zip(a.batches(MAP, [np.arange(4)]), b.batches(MAP, [np.arange(4)]), strict=True):
            for (p, m), (q, n) in zip(one, other, strict=True):
                np.testing.assert_array_equal(p, q)
                np.testing.assert_array_equal(m, n)


def test_the_digest_tells_stores_and_features_apart_but_not_rows(
    tmp_path: Path, images: Path, fakes: ModuleType, lasting: FeatureStore
) -> None:
    digests = {lasting.select(n).digest for n in ([MAP], [TABLE], [MAP, TABLE])}
    assert len(digests) == 3
    assert lasting.select([TABLE, MAP]).digest in digests
    other = fakes.fill(tmp_path, images, ["i000.png"], [MAP])
    assert other.select([MAP]).digest == lasting.select([MAP]).digest


def read(features: Features, name: str) -> None:
    for row in range(len(features)):
        features.map(name, row) if name == MAP else features.summary(name, row)


@pytest.mark.parametrize("name", [MAP, TABLE])
def test_a_flipped_byte_is_an_error_that_says_what_to_do(store: FeatureStore, fakes: ModuleType, name: str) -> None:
    fakes.flip(shard(store, name), 5)
    with pytest.raises(StoreError, match=r"c\.0\.0.*checksum.*harness stores verify.*harness precompute"):
        read(FeatureStore.open(store.path).select([name]), name)


def test_checks_are_made_first_always_or_never(store: FeatureStore, fakes: ModuleType) -> None:
    read(store.select([MAP]), MAP)  # checked now, once for this process
    fakes.flip(shard(store, MAP), 5)
    for mode in ("first", "never", "always"):
        features = FeatureStore.open(store.path).select([MAP])
        assert features.check == "first"
        features.check = mode
        if mode == "always":
            with pytest.raises(StoreError, match="checksum"):
                read(features, MAP)
        else:
            read(features, MAP)


def test_another_store_at_the_same_relative_path_is_not_taken_as_checked(
    tmp_path: Path, images: Path, fakes: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trap: what was checked is remembered by name, and `stores/...` is another place in another folder."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        store = fakes.fill(Path("stores"), images, ["i000.png"], [MAP])
        if folder == "b":
            fakes.flip(shard(store, MAP), 1)
            with pytest.raises(StoreError, match="checksum"):
                read(store.select([MAP]), MAP)
        else:
            read(store.select([MAP]), MAP)


@pytest.mark.parametrize("check", ["first", "never"])
@pytest.mark.parametrize("name", [MAP, TABLE])
@pytest.mark.parametrize("left", [None, 0, 10, 100])
def test_a_missing_or_torn_shard_is_an_error_that_says_what_to_do(
    store: FeatureStore, fakes: ModuleType, name: str, left: int | None, check: Any
) -> None:
    """Also where no checksum is asked for."""
    file = shard(store, name)
    if left is None:
        file.unlink()
    else:
        fakes.tear(file, file.stat().st_size - left)
    features = FeatureStore.open(store.path).select([name])
    features.check = check
    with pytest.raises(StoreError, match=r"c\.0\.0.*harness stores verify.*harness precompute"):
        read(features, name)
    with pytest.raises(StoreError, match="harness precompute"):
        list(features.batches(name, [np.arange(len(features))])) if name == MAP else features.table(name)


def test_a_lost_array_document_is_an_error(store: FeatureStore) -> None:
    document = shard(store, MAP).with_name("zarr.json")
    document.write_text("{}")
    with pytest.raises(StoreError, match=r"zarr\.json"):
        read(FeatureStore.open(store.path).select([MAP]), MAP)


DAMAGE: dict[str, tuple[Callable[[FeatureStore, ModuleType], object], str, int]] = {
    "flipped map": (lambda s, f: f.flip(shard(s, MAP), 5), "checksum", 1),
    "flipped summary": (lambda s, f: f.flip(shard(s, TABLE), 5), "checksum", 1),
    "flipped index": (lambda s, f: f.flip(shard(s, TABLE), shard(s, TABLE).stat().st_size - 7), "index", 7),
    "missing shard": (lambda s, f: shard(s, MAP).unlink(), "missing", 7),
    "truncated shard": (lambda s, f: f.tear(shard(s, TABLE), shard(s, TABLE).stat().st_size - 65), "shard", 7),
    "empty shard": (lambda s, f: f.tear(shard(s, MAP), shard(s, MAP).stat().st_size), "missing", 7),
    "lost document": (lambda s, f: shard(s, MAP).with_name("zarr.json").unlink(), "missing", 7),
    "damaged commit": (lambda s, f: f.tear(s.path / "blocks/1-0.0.parquet", 9), "commit cannot be read", 1),
    "missing commit": (lambda s, f: (s.path / "blocks/1-0.0.parquet").unlink(), "", 0),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_verify_finds_damage_and_precompute_mends_just_that(
    what: str, tmp_path: Path, store: FeatureStore, images: Path, fakes: ModuleType
) -> None:
    """Found by name, planned anew, made by the plain command; nothing of what is whole is made or written again."""
    act, said, count = DAMAGE[what]
    ids = store.ids()
    assert verify(store) == []
    act(store, fakes)
    found = verify(store)
    assert len(found) == count
    assert all(said in f.problem for f in found)
    assert all(f.path.is_relative_to(store.path) for f in found)
    before = fakes.files(store.path)
    assert len(verify(store)) == count  # still so, and planned no second time
    assert fakes.files(store.path) == before
    encoder = fakes.FakeEncoder()
    mended = fakes.fill(tmp_path, images, ids, encoder=encoder)
    assert before.items() <= fakes.files(store.path).items()
    assert verify(mended) == []
    assert mended.ids() == ids
    assert sum(call[0] for call in encoder.calls) == (count if "commit" not in what else len(ids))
    for name in fakes.features("*:map", "*:moments"):
        for image_id, values in fakes.stored(mended, name).items():
            np.testing.assert_array_equal(values, fakes.truth(images / image_id, name))


def test_a_damaged_commit_of_a_later_feature_is_told_until_it_is_made_again(
    tmp_path: Path, images: Path, fakes: ModuleType
) -> None:
    """The trap: the block has another commit that is whole, so it looks complete."""
    ids = ["i000.png", "i001.png"]
    fakes.fill(tmp_path, images, ids, [MAP])
    store = fakes.fill(tmp_path, images, ids, [TABLE])
    fakes.tear(store.path / "blocks/1-0.1.parquet", 9)
    assert [f.path.name for f in verify(store)] == ["1-0.1.parquet"]
    store = fakes.fill(tmp_path, images, ids, [MAP])
    assert [f.path.name for f in verify(store)] == ["1-0.1.parquet"]
    store = fakes.fill(tmp_path, images, ids, [TABLE])
    assert verify(store) == []
    assert store.status().damaged_commits == 0


def test_verify_reads_features_that_only_some_images_have(tmp_path: Path, images: Path, fakes: ModuleType) -> None:
    fakes.fill(tmp_path, images, ["i000.png"], [MAP, TABLE])
    store = fakes.fill(tmp_path, images, ["i000.png", "i001.png"], [MAP])
    store = fakes.fill(tmp_path, images, ["i002.png"], [TABLE])
    assert store.features() == []
    fakes.flip(shard(store, TABLE), 0)
    assert [f.id for f in verify(store)] == ["i000.png"]


def test_verify_believes_nothing_that_was_read_before(store: FeatureStore, fakes: ModuleType) -> None:
    read(store.select([MAP]), MAP)
    fakes.tear(store.path / "blocks/1-0.0.parquet", 9)
    assert [f.path.name for f in verify(store)] == ["1-0.0.parquet"]
