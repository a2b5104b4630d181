"""The bytes on the disk: shards written by hand are what zarr-python and tensorstore read, and many sizes cost
little.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import google_crc32c
import numpy as np
import pytest
import tensorstore as ts
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from cache import format as fmt
from cache.forms import form_of


def write_array(folder: Path, shards: list[list[np.ndarray]], width: int, inner: int, what: str) -> int:
    """An array as the store writes it: one shard a block; returns rows a shard."""
    rows = fmt.capacity(max(sum(len(a) for a in shard) for shard in shards), inner)
    folder.mkdir(parents=True)
    (folder / "zarr.json").write_bytes(fmt.array_document(len(shards), rows, width, inner, form_of(what)))
    for block, shard in enumerate(shards):
        parts = fmt.shard_parts(shard, width, rows, inner, form_of(what))
        (folder / fmt.shard_name(block)).write_bytes(b"".join(parts))
    return rows


def with_zarr(folder: Path) -> np.ndarray:
    return np.asarray(zarr.open_array(folder, mode="r")[:])


def with_tensorstore(folder: Path) -> np.ndarray:
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{folder}/"}}
    return ts.open(spec, open=True, read=True).result().read().result()


@given(
    counts=st.lists(st.lists(st.integers(0, 9), max_size=5), min_size=1, max_size=4),
    width=st.integers(1, 5),
    inner=st.sampled_from([1, 2, 8]),
    what=st.sampled_from(["map", "map8", "moments"]),
    seed=st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_zarr_python_and_tensorstore_read_what_was_written(
    counts: list[list[int]],
    width: int,
    inner: int,
    what: str,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Blocks of any fill, empty ones too: rows in order from the block's first row, the fill value behind them."""
    dtype = {"map": "float16", "map8": "uint8", "moments": "float32"}[what]
    random = np.random.default_rng(seed)
    shards = [[random.uniform(0, 256, (n, width)).astype(dtype) for n in block] for block in counts]
    folder = tmp_path_factory.mktemp("array") / "1"
    rows = write_array(folder, shards, width, inner, what)
    expected = np.full((len(shards) * rows, width), np.nan if what == "moments" else 0, dtype)
    for block, shard in enumerate(shards):
        if shard:
            values = np.concatenate(shard)
            expected[block * rows : block * rows + len(values)] = values
    for read in (with_zarr, with_tensorstore):
        found = read(folder)
        assert found.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(found, expected)


def test_a_mapped_shard_is_the_array(tmp_path: Path) -> None:
    values = np.arange(40, dtype=np.float16).reshape(20, 2)
    write_array(tmp_path / "1", [[values]], 2, 8, "map")
    raw = np.memmap(tmp_path / "1" / "c.0.0", mode="r")
    assert raw[: values.nbytes].tobytes() == values.tobytes()


def test_a_whole_store_is_plain_zarr(tmp_path: Path, fakes: ModuleType) -> None:
    """Groups, names and values of every feature, without this project's code; -W error: no foreign folder warns."""
    names = fakes.write_images(tmp_path / "images", [(20, 30), (33, 17), (64, 64)])
    (tmp_path / "images" / "i001.png").write_bytes(b"")  # one image failed: a hole
    store = fakes.fill(tmp_path, tmp_path / "images", names)
    group = zarr.open_group(store.path / "features", mode="r")
    assert group.attrs["sam_iqa"]["identity"]["encoder"]["name"] == "fake"
    moments = store.stored_name(fakes.features("fine:moments")[0]).replace(":", "/")
    assert {"fine/map/1", f"{moments}/1", "coarse/map/1"} <= {name for name, _ in group.members(max_depth=None)}
    for name in store.features():
        stored = store.stored_name(name).replace(":", "/")
        for read in (with_zarr, with_tensorstore):
            values = read(store.path / "features" / stored / "1")
            for image_id, expected in fakes.stored(store, name).items():
                span = store._spans[0][image_id][store.stored_name(name)]
                found = values[span.offset : span.offset + span.h * span.w].reshape(expected.shape)
                np.testing.assert_array_equal(found, expected)


def test_several_hundred_sizes_cost_hardly_more_than_one(tmp_path: Path) -> None:
    """The trap: an array a size made 674 objects of 31. Same tokens, one size against 600: bytes within 5%, files
    equal.
    """
    width, inner, n = 96, fmt.inner_rows(96, form_of("map")), 600
    random = np.random.default_rng(0)
    one = [(24, 24)] * n
    many = [(int(h), int(w)) for h, w in zip(random.integers(8, 41, n), random.integers(8, 41, n), strict=True)]
    assert len(set(many)) > 400
    used = {}
    for name, grids in (("one", one), ("many", sorted(many))):
        blocks = [grids[i : i + 256] for i in range(0, n, 256)]
        shards = [[np.ones((h * w, width), np.float16) for h, w in block] for block in blocks]
        write_array(tmp_path / name, shards, width, inner, "map")
        sizes = [p.stat().st_size for p in (tmp_path / name).iterdir()]
        payload = sum(h * w for h, w in grids) * width * 2
        used[name] = (sum(sizes) / payload, len(sizes))
    assert used["many"][0] <= 1.05 * used["one"][0]
    assert used["many"][1] == used["one"][1] == 4


@pytest.mark.parametrize("width", [1, 3, 16, 64, 256, 768, 1280, 70_000, 1_000_000])
def test_inner_chunks_of_maps_are_powers_of_two_near_128_kib(width: int) -> None:
    for what, size in (("map", 2), ("map8", 1)):
        rows = fmt.inner_rows(width, form_of(what))
        assert rows & (rows - 1) == 0
        assert rows == 1 or 2**-0.5 <= rows * width * size / fmt.CHUNK_BYTES <= 2**0.5
    assert fmt.inner_rows(width, form_of("moments")) == 8


@given(st.integers(0, 10**9), st.sampled_from([1, 8, 64, 256]))
def test_capacity_is_whole_chunks_and_never_nothing(most: int, inner: int) -> None:
    rows = fmt.capacity(most, inner)
    assert rows % inner == 0
    assert max(most, 1) <= rows < max(most, 1) + inner


def test_crc32c_is_the_published_one() -> None:
    assert fmt.crc32c(np.frombuffer(b"123456789", np.uint8)) == 0xE3069283
    columns = np.arange(6, dtype=np.float16).reshape(2, 3)
    assert fmt.crc32c(columns.T) == fmt.crc32c(np.ascontiguousarray(columns.T))


@given(size=st.integers(0, 300_000), at=st.integers(0, 300_000), skip=st.integers(0, 70), seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_crc32c_is_zarrs_at_any_length_and_place(size: int, at: int, skip: int, seed: int) -> None:
    """zarr-python takes its checksums by Google's library: instructions chosen by length, start or processor must not
    show. In two pieces it is that of the whole.
    """
    values = np.random.default_rng(seed).integers(0, 256, size + skip, np.uint8)[skip:]
    assert fmt.crc32c(values) == google_crc32c.value(values.tobytes())
    assert fmt.crc32c(values[at:], fmt.crc32c(values[:at])) == fmt.crc32c(values)


def test_other_codecs_do_not_creep_in(tmp_path: Path) -> None:
    """A mapped row is the stored row only while inner chunks are uncompressed and follow each other."""
    write_array(tmp_path / "1", [[np.ones((3, 2), np.float32)]], 2, 8, False)
    codec = zarr.open_array(tmp_path / "1", mode="r").metadata.codecs
    assert [type(c).__name__ for c in codec] == ["ShardingCodec"]
    assert [type(c).__name__ for c in codec[0].codecs] == ["BytesCodec"]
