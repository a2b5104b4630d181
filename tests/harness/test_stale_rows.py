"""Rows of images that are others now: found by `stores verify`, made by the next `precompute`, and never a trap that
lasts.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import harness
from cache.store import FeatureStore, bytes_below
from harness.verbs.stores_verify import StoreReports, verify

NAMES = [f"{i}.png" for i in range(6)]
FEATURES = ["luma:moments"]


def draw(path: Path, seed: int) -> None:
    """Noise, stored plain, so that every picture has as many bytes."""
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, compress_level=0)


def swap(path: Path, seed: int = 99) -> None:
    """Another picture with the size and time of the one before."""
    before = path.stat()
    draw(path, seed)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data"
    folder.mkdir()
    for i, name in enumerate(NAMES):
        draw(folder / name, i)
    (folder / "labels.csv").write_text("id,mos\n" + "".join(f"{name},{i}\n" for i, name in enumerate(NAMES)))
    return folder


def encode(**more: Any) -> tuple[int, FeatureStore]:
    """How many images were encoded, and the store of the first view."""
    made = harness.precompute(dataset="folder", root=Path("data"), encoder="pixel-spectrum", features=FEATURES, **more)
    return made.encoded, harness.open_store(made.stores[0].path)


def looked(root: str | None = "data", **more: Any) -> StoreReports:
    return verify(root=Path(root) if root else None, **more)


def table(store: FeatureStore) -> np.ndarray:
    return store.select(FEATURES).table(FEATURES[0])


def fresh(tmp_path: Path) -> np.ndarray:
    """What a store that knows of nothing before holds of the images as they are now."""
    return table(encode(store=tmp_path / "fresh")[1])


def test_a_changed_image_is_found_though_size_and_time_are_the_same_and_precompute_makes_just_it(
    data: Path, tmp_path: Path
) -> None:
    """The trap: size and time are believed by whoever looks, so a stale row stays for ever."""
    encode()
    assert looked()[0].findings == []
    assert looked()[0].images == 6
    swap(data / "0.png")
    draw(data / "1.png", 98)
    [report] = looked()
    assert [(f["id"], f["problem"]) for f in report.findings] == [
        ("0.png", "another image file than was encoded"),
        ("1.png", "another image file than was encoded"),
    ]
    assert report.exit_code == 3
    size = bytes_below(Path(encode()[1].path))
    again, store = encode()
    assert (again, bytes_below(store.path)) == (0, size)
    assert looked()[0].findings == []
    assert (table(store) == fresh(tmp_path)).all()


def test_what_verify_found_is_planned_once_and_all_of_it_is_encoded_once(data: Path) -> None:
    encode()
    swap(data / "0.png")
    draw(data / "1.png", 98)
    looked()
    size = bytes_below(Path("stores"))
    assert len(looked()[0].findings) == 2  # until they are made
    assert bytes_below(Path("stores")) == size
    assert encode()[0] == 2
    assert encode()[1].failures() == []


def test_a_new_store_fails_a_file_that_the_manifest_knows_wrong_once_and_no_store_grows_by_running_again(
    data: Path, tmp_path: Path
) -> None:
    """The trap: the kept manifest has the old sha256 and believes size and time; each run plans the image in vain."""
    encode()
    swap(data / "0.png")
    encoded, store = encode(view=["half"])
    assert (encoded, store.failures()) == (6, [("0.png", "changed")])
    encoded, store = encode(view=["half"])
    assert (encoded, store.failures()) == (1, [])
    size = bytes_below(store.path)
    for _ in range(3):
        assert encode(view=["half"])[0] == 0
    assert bytes_below(store.path) == size
    assert encode()[0] == 1  # the first store is mended by what the other met
    assert (table(encode()[1]) == fresh(tmp_path)).all()


def test_a_feature_that_a_changed_file_never_got_is_made_by_the_next_run(data: Path) -> None:
    """The trap: the image has some features and fails for others, in one block; no verb says that it failed."""
    encode()
    swap(data / "0.png")
    more = {"dataset": "folder", "root": Path("data"), "encoder": "pixel-spectrum"}
    harness.precompute(**more, features=["luma:spectrum"])
    made = harness.precompute(**more, features=["luma:spectrum"])
    store = harness.open_store(made.stores[0].path)
    assert len(store.select(["luma:moments", "luma:spectrum"])) == 6


def test_recompute_everything_believes_no_manifest(data: Path, tmp_path: Path) -> None:
    """The trap: what was asked for anew is planned as the old file, and good rows become failed ones."""
    encode()
    swap(data / "0.png")
    encoded, store = encode(if_exists="recompute")
    assert (encoded, store.failures()) == (6, [])
    assert (table(store) == fresh(tmp_path)).all()


def test_a_file_that_cannot_be_read_any_more_is_planned_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trap: size and time are as they were and the row says otherwise, so each run plans it in vain."""
    encode()
    whole = Path.read_bytes

    def refused(path: Path) -> bytes:
        if path.name == "0.png":
            raise PermissionError(13, "Permission denied")
        return whole(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refused)
        encode(view=["half"])
        _, store = encode(view=["half"])
        size = bytes_below(store.path)
        assert encode(view=["half"])[1].failures() == [("0.png", "cannot be read")]
        assert bytes_below(store.path) == size
    encoded, store = encode(view=["half"])
    assert (encoded, store.failures()) == (1, [])


def test_a_damaged_row_whose_image_changed_too_is_planned_as_the_image_is_now(data: Path, tmp_path: Path) -> None:
    _, store = encode()
    shard = next(store.path.glob("features/luma/moments*/1/c.0.0"))
    content = bytearray(shard.read_bytes())
    content[0] ^= 1
    shard.write_bytes(content)
    for name in NAMES:
        swap(data / name)
    assert len(looked()[0].findings) == 7
    assert encode()[0] == 6
    assert (table(encode()[1]) == fresh(tmp_path)).all()


def test_verify_says_what_it_did_not_look_at(data: Path) -> None:
    """The trap: "right" of rows whose images nobody looked at, or which are not there."""
    encode()
    swap(data / "0.png")
    [unknown] = looked(root=None)
    assert (unknown.findings, unknown.images, unknown.exit_code) == ([], 0, 0)
    assert "not looked at: where they are is not known (--root DIR)" in unknown.__rich__()
    (data / "0.png").unlink()
    [some] = looked()
    assert (some.findings, some.images, some.unseen) == ([], 5, 1)
    assert "5 image files read; 1 of its images are not on this disk" in some.__rich__()
    Path("harness.toml").write_text('[datasets.data]\nroot = "gone"\n')
    [gone] = looked(root=None)  # the images went away; the store did not
    assert (gone.findings, gone.exit_code) == ([], 0)
    assert "expected the dataset's folder at" in gone.unknown


def test_several_stores_are_verified_each_with_its_line_and_one_that_is_closed_hides_no_other(data: Path) -> None:
    encode()
    _, half = encode(view=["half"])
    swap(data / "0.png")
    both = looked()
    assert [len(report.findings) for report in both] == [1, 1]
    assert both.exit_code == 3
    encode(view=["native", "half"])
    assert looked().exit_code == 0
    shutil.copytree(half.path, "stores/data/pixel-spectrum@half-00000000")
    header = Path("stores/data/pixel-spectrum@half-00000000/features/zarr.json")
    header.write_text(json.dumps({"attributes": {}}))
    three = looked()
    assert (len(three), three.exit_code) == (3, 3)
    assert [r.store for r in three if r.findings] == ["data pixel-spectrum@half-00000000"]
    assert "damaged header" in three.__rich__()
    assert looked(view="native").exit_code == 0
