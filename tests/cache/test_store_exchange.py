"""A store as other programs see it: derived summaries, exported files, and back; plain readers of other libraries."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import zarr

from cache.compaction import compact
from cache.derive import derive, lacking, possible
from cache.errors import StoreError, UsageError
from cache.exchange import export, load
from cache.store import FeatureStore
from cache.summaries import SUMMARIES
from cache.verify import verify

pytestmark = pytest.mark.usefixtures("no_fsync")
SIZES = [(20, 30), (33, 17), (20, 30), (64, 64), (1, 1), (17, 33), (20, 30)]


@pytest.fixture
def images(tmp_path: Path, fakes: ModuleType) -> Path:
    fakes.write_images(tmp_path / "images", SIZES)
    (tmp_path / "images" / "i002.png").write_bytes(b"no image")
    return tmp_path / "images"


def names(images: Path) -> list[str]:
    return sorted(p.name for p in images.iterdir())


@pytest.fixture
def store(tmp_path: Path, images: Path, fakes: ModuleType) -> FeatureStore:
    """Two plans, the features of one image made anew, not every feature of every image."""
    fakes.fill(tmp_path, images, names(images)[:4], ["*:map", "coarse:map8", "*:moments"])
    fakes.write_image(images / "i001.png", 40, 9, seed=99)
    fakes.fill(tmp_path, images, names(images)[:4], ["coarse:map"])
    return fakes.fill(tmp_path, images, names(images), ["coarse:map", "fine:moments"])


@pytest.mark.parametrize("kinds", [list(SUMMARIES), ["map8"]])
def test_what_is_derived_has_the_same_bytes_as_what_is_made_beside_the_encoder(
    tmp_path: Path, images: Path, fakes: ModuleType, kinds: list[str]
) -> None:
    """Whatever is in a batch: beside the encoder neighbours of one block, here all of one grid, up to 16. The shards'
    sizes too, which follow from the grid that an encoder declares: derive has the header alone.
    """
    patterns = [f"*:{what}" for what in kinds]
    whole = fakes.fill(tmp_path / "a", images, names(images), ["*:map"])
    whole = fakes.fill(tmp_path / "a", images, names(images), patterns, batch_size=1)
    store = fakes.fill(tmp_path / "b", images, names(images), ["*:map"])
    encoder = fakes.FakeEncoder()
    assert derive(store, possible(store, kinds, [])).rows == len(SIZES)
    assert fakes.files(store.path) == fakes.files(whole.path)
    assert lacking(store, possible(store, kinds, [])) == []
    assert store.failures() == [("i002.png", "not an image")]
    fakes.fill(tmp_path / "b", images, names(images), ["*:map", *patterns], encoder=encoder)
    assert encoder.calls == []


def test_summaries_are_derived_from_what_was_compacted_too(tmp_path: Path, images: Path, fakes: ModuleType) -> None:
    patterns = [f"coarse:{what}" for what in SUMMARIES]
    whole = fakes.fill(tmp_path / "a", images, names(images), ["coarse:map", *patterns])
    for count in (4, len(SIZES)):
        store = fakes.fill(tmp_path / "b", images, names(images)[:count], ["coarse:map"])
    compact(store)
    derive(store, possible(store, list(SUMMARIES), ["coarse"]))
    for name in fakes.features(*patterns):
        one, other = fakes.stored(whole, name), fakes.stored(store, name)
        assert one.keys() == other.keys()
        for image_id, values in one.items():
            np.testing.assert_array_equal(other[image_id], values, strict=True)
    assert verify(store) == []


def test_what_cannot_be_derived_is_said(tmp_path: Path, images: Path, fakes: ModuleType) -> None:
    store = fakes.fill(tmp_path, images, names(images), ["fine:map"])
    with pytest.raises(UsageError, match=r"Unknown moment: what is made from a map is one of map8, moments"):
        possible(store, ["moment"], [])
    with pytest.raises(UsageError, match=r"none of coarse; there are fine.*harness precompute .*coarse:moments"):
        possible(store, ["moments"], ["coarse"])
    fakes.flip(next(store.path.glob("features/fine/map/1/c.*")), 1)
    with pytest.raises(StoreError, match="harness stores verify"):
        derive(store, possible(store, ["moments"], []))


def assert_equal(fakes: ModuleType, one: FeatureStore, other: FeatureStore) -> None:
    assert (one.identity, one.header, one.failures()) == (other.identity, other.header, other.failures())
    assert one.known() == other.known()
    assert one.features(everywhere=False) == other.features(everywhere=False)
    for name in one.features(everywhere=False):
        left, right = fakes.stored(one, name), fakes.stored(other, name)
        assert left.keys() == right.keys()
        for image_id, values in left.items():
            np.testing.assert_array_equal(values, right[image_id], strict=True)


def test_hdf5_there_and_back_bit_for_bit(tmp_path: Path, images: Path, store: FeatureStore, fakes: ModuleType) -> None:
    assert export(store, tmp_path / "s.h5", "h5") == len(SIZES)
    back = load(tmp_path / "s.h5", tmp_path / "other")
    assert_equal(fakes, store, back)
    assert verify(back) == []
    assert load(tmp_path / "s.h5", tmp_path / "other").status() == back.status()  # again: nothing to do
    export(back, tmp_path / "t.h5", "h5")
    assert_equal(fakes, store, load(tmp_path / "t.h5", tmp_path / "third"))
    encoder = fakes.FakeEncoder()
    store = fakes.fill(tmp_path / "other", images, names(images), ["coarse:map", "fine:moments"], encoder=encoder)
    assert encoder.calls == []  # an imported store is one like any other


def test_a_file_that_was_exported_before_columns_were_added_is_imported(
    tmp_path: Path, store: FeatureStore, fakes: ModuleType
) -> None:
    import h5py

    export(store, tmp_path / "s.h5", "h5")
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        del file["images/shown_width"], file["images/shown_height"]
    assert_equal(fakes, store, load(tmp_path / "s.h5", tmp_path / "other"))


def test_h5py_alone_reads_what_was_exported(tmp_path: Path, store: FeatureStore, fakes: ModuleType) -> None:
    import h5py

    export(store, tmp_path / "s.h5", "h5")
    with h5py.File(tmp_path / "s.h5") as file:
        ids = [i.decode() for i in file["images/id"][:]]
        assert json.loads(file.attrs["sam_iqa"])["identity"]["encoder"]["name"] == "fake"
        group = file["features/coarse/map"]
        for image_id, values in fakes.stored(store, fakes.features("coarse:map")[0]).items():
            i = ids.index(image_id)
            o, h, w = (int(group[field][i]) for field in ("offset", "h", "w"))
            np.testing.assert_array_equal(group["values"][o : o + h * w].reshape(h, w, -1), values)
        assert group["offset"][ids.index("i002.png")] == -1
        assert file["images/reason"][ids.index("i002.png")] == b"not an image"


def test_numpy_and_parquet_read_what_was_exported(tmp_path: Path, store: FeatureStore, fakes: ModuleType) -> None:
    import pyarrow.parquet as pq

    export(store, tmp_path / "s.npz", "npz")
    export(store, tmp_path / "s.parquet", "parquet")
    file, table = np.load(tmp_path / "s.npz"), pq.read_table(tmp_path / "s.parquet").to_pydict()
    ids = list(file["images/id"])
    assert ids == table["id"]
    sizes = store.select_any(["coarse:map"])
    columns = ("width", "height", "shown_width", "shown_height")
    for row, image_id in enumerate(sizes.ids):
        i = ids.index(image_id)
        assert [int(file[f"images/{c}"][i]) for c in columns] == sizes.sizes()[row].tolist()
        assert [table[c][i] for c in columns] == sizes.sizes()[row].tolist()
    for name in store.features(everywhere=False):
        stored = store.stored_name(name)
        for image_id, values in fakes.stored(store, name).items():
            i = ids.index(image_id)
            o, h, w = (int(file[f"{stored}/{field}"][i]) for field in ("offset", "h", "w"))
            np.testing.assert_array_equal(file[stored][o : o + h * w].reshape(values.shape), values, strict=True)
            np.testing.assert_array_equal(np.array(table[stored][i], values.dtype).reshape(values.shape), values)
        assert table[stored][ids.index("i002.png")] is None


def test_an_export_that_is_damaged_or_in_the_way_is_refused(
    tmp_path: Path, images: Path, store: FeatureStore, fakes: ModuleType
) -> None:
    import h5py

    export(store, tmp_path / "s.h5", "h5")
    with pytest.raises(UsageError, match="nothing is overwritten"):
        export(store, tmp_path / "s.h5", "h5")
    with pytest.raises(UsageError, match="h5, npz, parquet"):
        export(store, tmp_path / "s.csv", "csv")
    with pytest.raises(StoreError, match="other images"):
        load(tmp_path / "s.h5", tmp_path)
    (tmp_path / "no.h5").write_bytes(b"text")
    with pytest.raises(StoreError, match=r"no\.h5"):
        load(tmp_path / "no.h5", tmp_path / "x")
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        file["features/coarse/map/values"][0, 0] += 1
    with pytest.raises(StoreError, match="Export it again"):
        load(tmp_path / "s.h5", tmp_path / "y")
    assert sorted(p.name for p in tmp_path.glob(".*.part")) == []


def test_an_import_that_died_goes_on(
    tmp_path: Path, store: FeatureStore, fakes: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    class Death(BaseException):
        """What a killed writer looks like from outside."""

    export(store, tmp_path / "s.h5", "h5")
    real, count = os.link, 0

    def link(*args: object) -> None:
        nonlocal count
        count += 1
        if count > 9:
            raise Death
        real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", link)
        with pytest.raises(Death):
            load(tmp_path / "s.h5", tmp_path / "other")
    assert_equal(fakes, store, load(tmp_path / "s.h5", tmp_path / "other"))


def test_the_pages_reader_reads_a_store(
    tmp_path: Path, images: Path, store: FeatureStore, fakes: ModuleType, pages_reader: str
) -> None:
    """The format as the documentation gives it, run without this project's code: plain zarr and pyarrow."""
    assert len(pages_reader.splitlines()) == 20
    compact(store)  # a plan that replaced others, and a fresh one
    fakes.write_image(images / "i003.png", 31, 32, seed=1)
    store = fakes.fill(tmp_path, images, names(images), ["coarse:map", "fine:moments"])
    for name in fakes.features("coarse:map", "fine:moments"):
        ask = f"pickle.dump(dict(read({str(store.path)!r}, {store.stored_name(name)!r})), sys.stdout.buffer)"
        alone = "assert not {name.split('.')[0] for name in sys.modules} & {'cache', 'harness'}"
        script = "\n".join([pages_reader, "import pickle, sys", ask, alone])
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr.decode()
        found, expected = pickle.loads(done.stdout), fakes.stored(store, name)
        assert found.keys() == expected.keys()
        for image_id, values in expected.items():
            np.testing.assert_array_equal(found[image_id].reshape(values.shape), values, strict=True)


def test_a_map8_is_what_the_page_says(store: FeatureStore, fakes: ModuleType) -> None:
    """An image's h*w rows of codes, then eight: byte by byte first the C smallest numbers, then the C steps."""
    (name,) = fakes.features("coarse:map8")
    expected = fakes.stored(store, name)
    assert expected
    for image_id, values in expected.items():
        span = store.state.spans[0][image_id]["coarse:map8"]
        array = zarr.open_array(store.path / "features" / "coarse" / "map8" / str(span.plan), mode="r")
        rows = np.asarray(array[span.offset : span.offset + span.h * span.w + 8])
        smallest, steps = rows[-8:].reshape(-1).view("<f4").reshape(2, -1)
        found = (rows[:-8] * steps + smallest).astype("float16").reshape(span.h, span.w, -1)
        np.testing.assert_array_equal(found, values, strict=True)
