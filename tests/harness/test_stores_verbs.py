"""`harness stores gc | derive | export | import` as a person types them, on a store that `precompute` made."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
import timm
from PIL import Image
from safetensors.torch import save_file

from cache.store import FeatureStore
from harness import cli, console


class Done(NamedTuple):
    """What one command left: its exit code, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def harness(folder: Path, *words: str) -> Done:
    """The command line in this process: torch is imported once."""
    out, err, suppressed = io.StringIO(), io.StringIO(), pytest.raises(SystemExit)
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), suppressed as end:
        cli.main(words)
    console.loud(False)
    return Done(int(end.value.code or 0), out.getvalue(), err.getvalue())


def said(folder: Path, *words: str, code: int = 0) -> Any:
    done = harness(folder, *words, "--json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photographs of noise with labels, encoded in two steps."""
    top = tmp_path_factory.mktemp("stores")
    random = np.random.default_rng(0)
    rows = ["id,mos"]
    for i in range(12):
        (top / "data").mkdir(exist_ok=True)
        pixels = random.integers(0, 256, (40, 48 + i % 2, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(top / "data" / f"{i}.png")
        rows.append(f"{i}.png,{i % 5}")
    (top / "data" / "labels.csv").write_text("\n".join(rows) + "\n")
    words = ("precompute", "--dataset", "folder", "--root", "data", "--encoder", "efficientnet-lite0")
    for more in (("--limit", "5"), ()):
        done = harness(top, *words, "--features", "stage.6:map", *more)
        assert done.returncode == 0, done.stderr
    assert "images/s" in done.stdout
    assert "the encoder waited" in done.stdout
    return top


@pytest.fixture(scope="module")
def halved(place: Path) -> Path:
    """The same photographs at half their size in a folder of stores of their own, `halved`."""
    words = ("--dataset", "folder", "--root", "data", "--encoder", "efficientnet-lite0", "--store", "halved")
    said(place, "precompute", *words, "--view", "half", "--resize", "torch", "--features", "stage.6:map8")
    return place


def test_each_verb_does_what_it_says(place: Path) -> None:
    would = said(place, "stores", "gc", "--dry-run")
    freed = said(place, "stores", "gc")
    assert (freed["plans"], freed["copied"]) == (would["plans"], would["copied"]) == (2, 12)
    assert said(place, "stores", "gc")["plans"] == 0
    assert said(place, "stores", "derive", "--what", "moments", "--what", "map8")["rows"] == 12
    dropped = said(place, "stores", "gc", "--drop", "*:map")
    assert (dropped["dropped"], dropped["left"], dropped["copied"]) == (["stage.6:map"], [], 12)
    assert [found["findings"] for found in said(place, "stores", "verify")] == [[]]
    assert said(place, "stores", "export", "--out", "s.h5")["images"] == 12
    back = said(place, "stores", "import", "--file", "s.h5", "--store", "other")
    assert back["images"] == 12
    assert [found["findings"] for found in said(place, "stores", "verify", "--store", "other")] == [[]]


def test_images_encoded_again_agree_and_a_stale_one_is_a_finding_and_not_compared(place: Path) -> None:
    """The trap: "its file is changed since", exit code 0, and no run ever makes it again."""
    shutil.copytree(place / "stores", place / "copied")
    words = ("stores", "verify", "--store", "copied", "--root", "data", "--recompute")
    [before] = said(place, *words, "99")
    assert all((c["images"], c["equal"], c["wrong"]) == (12, 12, []) for c in before["recomputed"])
    few = [said(place, *words, "5")[0]["recomputed"] for _ in range(2)]
    assert few[0] == few[1]
    assert {c["images"] for c in few[0]} == {5}
    photo = place / "data" / "3.png"
    kept = photo.read_bytes()
    photo.write_bytes((place / "data" / "4.png").read_bytes())
    try:
        [after] = said(place, *words, "99", code=3)
    finally:
        photo.write_bytes(kept)
    assert [f["id"] for f in after["findings"]] == ["3.png"]
    assert all((c["images"], c["equal"]) == (11, 11) for c in after["recomputed"])


def test_images_are_encoded_again_as_the_store_says_that_they_were(halved: Path) -> None:
    """The trap: compared with another resize, precision or view than the store's own, every row looks wrong."""
    [found] = said(halved, "stores", "verify", "--store", "halved", "--recompute", "4", "--root", "data")
    assert [(c["feature"], c["images"], c["equal"]) for c in found["recomputed"]] == [("stage.6:map8", 4, 4)]


def test_weights_that_are_not_here_hide_no_other_stores_findings(place: Path, tmp_path: Path) -> None:
    """The trap: `verify --recompute` over all stores ended at the first whose weights file is elsewhere, with nothing
    said of those that it had read.
    """
    weights = tmp_path / "own.safetensors"
    save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), weights)
    shutil.copytree(place / "stores", tmp_path / "two")
    data, store = str(place / "data"), ("--store", str(tmp_path / "two"))
    words = ("--dataset", "folder", "--root", data, "--encoder", "timm.test_resnet", "--weights", str(weights))
    said(place, "precompute", *words, *store, "--limit", "3")
    found = said(place, "stores", "verify", *store, "--root", data, "--recompute", "2", code=3)
    told = {one["store"].split()[1].partition("@")[0]: one for one in found}
    assert "--weights" in told["timm.test_resnet"]["without"]
    assert [c["images"] for c in told["efficientnet-lite0"]["recomputed"]][:1] == [2]
    assert told["efficientnet-lite0"]["without"] == ""
    done = harness(place, "stores", "verify", *store, "--root", data, "--recompute", "2")
    assert "nothing encoded again" in done.stdout


def test_mistakes_are_told_apart(place: Path) -> None:
    for words, code, text in (
        (("derive", "--what", "nothing"), 2, "Unknown nothing"),
        (("derive", "--what", "moments", "--tap", "neck"), 2, "none of neck"),
        (("import", "--file", "gone.h5"), 3, "gone.h5"),
        (("export", "--out", "data/labels.csv"), 2, "nothing is overwritten"),
    ):
        done = harness(place, "stores", *words)
        assert done.returncode == code, done.stderr
        assert text in done.stderr.replace("\n", " ")


def test_stores_that_differ_by_the_key_alone_are_told_apart_where_names_are_listed(place: Path, tmp_path: Path) -> None:
    """The trap: two precisions of one encoder and view, and no flag named that could tell which is meant."""
    one, header = _another_precision(place, tmp_path)
    rows = said(tmp_path, "stores", "ls")
    assert {row["differs"]["encoder.precision"] for row in rows} == {"fp32", "bf16"}
    listed = harness(tmp_path, "stores", "ls").stdout
    assert "precision bf16" in listed
    assert "precision fp32" in listed
    done = harness(tmp_path, "stores", "info")
    assert done.returncode == 2
    assert "2 stores are there; say which by --store stores/DATASET/STORE:" in done.stderr
    assert "(precision bf16)" in done.stderr
    assert "--encoder" not in done.stderr
    assert said(tmp_path, "stores", "info", "--store", str(one))["facts"]["identity"]["encoder.precision"] == "bf16"
    header.write_text("{}")  # one that is damaged hides no other
    assert "2 stores are there" in harness(tmp_path, "stores", "info").stderr


def test_what_deletes_asks_for_one_store_and_names_the_flags_that_help(
    place: Path, halved: Path, tmp_path: Path
) -> None:
    shutil.copytree(place / "stores", tmp_path / "stores")
    shutil.copytree(halved / "halved", tmp_path / "stores", dirs_exist_ok=True)
    done = harness(tmp_path, "stores", "gc")
    assert done.returncode == 2
    assert "2 stores are there; say which by --view, or by --store stores/DATASET/STORE:" in done.stderr
    assert len(said(tmp_path, "stores", "verify")) == 2


def test_each_failed_image_is_listed_with_its_reason(place: Path, tmp_path: Path) -> None:
    """The trap: `precompute` says that `stores info` lists them, and that gives reasons and counts."""
    shutil.copytree(place / "data", tmp_path / "data")
    names = [f"broken-{i:02}.png" for i in range(23)]
    for name in names:
        (tmp_path / "data" / name).write_bytes(b"no picture")
    with (tmp_path / "data" / "labels.csv").open("a") as file:
        file.writelines(f"{name},1\n" for name in names)
    words = ("--dataset", "folder", "--root", "data", "--encoder", "pixel-spectrum")
    said(tmp_path, "precompute", *words, "--features", "luma:moments")
    facts = said(tmp_path, "stores", "info")["facts"]
    assert facts["failures"] == {"not an image": 23}
    assert facts["failed images"] == dict.fromkeys(names, "not an image")
    shown = harness(tmp_path, "stores", "info").stdout
    assert "broken-19.png: not an image" in shown
    assert "broken-20.png" not in shown
    assert "3 more (--json lists all)" in shown


def _another_precision(place: Path, folder: Path) -> tuple[Path, Path]:
    """Copies the store with an identity of another precision; the copy, and its header's file."""
    shutil.copytree(place / "stores", folder / "stores")
    [path] = (folder / "stores").glob("*/*@*")
    store = FeatureStore.open(path)
    encoder = msgspec.structs.replace(store.identity.encoder, precision="bf16")
    identity = msgspec.structs.replace(store.identity, encoder=encoder)
    made = FeatureStore.create(folder / "stores", store.dataset, identity, store.provenance, store.taps)
    return made.path, made.path / "features" / "zarr.json"
