"""`harness stores gc | derive | export | import` as a person types them, on a store that `precompute` made."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

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


def said(folder: Path, *words: str) -> dict[str, object]:
    done = harness(folder, *words, "--json")
    assert done.returncode == 0, done.stderr
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


def test_each_verb_does_what_it_says(place: Path) -> None:
    would = said(place, "stores", "gc", "--dry-run")
    freed = said(place, "stores", "gc")
    assert (freed["plans"], freed["copied"]) == (would["plans"], would["copied"]) == (2, 12)
    assert said(place, "stores", "gc")["plans"] == 0
    assert said(place, "stores", "derive", "--what", "moments", "--what", "map8")["rows"] == 12
    dropped = said(place, "stores", "gc", "--drop", "*:map")
    assert (dropped["dropped"], dropped["left"], dropped["copied"]) == (["stage.6:map"], [], 12)
    assert said(place, "stores", "verify")["findings"] == []
    assert said(place, "stores", "export", "--out", "s.h5")["images"] == 12
    back = said(place, "stores", "import", "--file", "s.h5", "--store", "other")
    assert back["images"] == 12
    assert said(place, "stores", "verify", "--store", "other")["findings"] == []


def test_images_encoded_again_agree_and_a_changed_file_is_no_fault_of_the_store(place: Path) -> None:
    words = ("stores", "verify", "--store", "stores", "--recompute", "99", "--root", "data")
    before = said(place, *words)
    assert all((c["images"], c["equal"], c["wrong"]) == (12, 12, []) for c in before["recomputed"])
    photo = place / "data" / "3.png"
    kept = photo.read_bytes()
    photo.write_bytes((place / "data" / "4.png").read_bytes())
    try:
        after = said(place, *words)  # exit code 0
    finally:
        photo.write_bytes(kept)
    assert after["changed"] == {"3.png": "changed"}
    assert all((c["images"], c["equal"]) == (11, 11) for c in after["recomputed"])
    few = [said(place, *words[:-3], "5", *words[-2:])["recomputed"] for _ in range(2)]
    assert few[0] == few[1]
    assert {c["images"] for c in few[0]} == {5}


def test_images_are_encoded_again_as_the_store_says_that_they_were(place: Path) -> None:
    """The trap: compared with another resize, precision or view than the store's own, every row looks wrong."""
    words = ("--dataset", "folder", "--root", "data", "--encoder", "efficientnet-lite0", "--store", "halved")
    said(place, "precompute", *words, "--view", "half", "--resize", "torch", "--features", "stage.6:map8")
    found = said(place, "stores", "verify", "--store", "halved", "--recompute", "4", "--root", "data")["recomputed"]
    assert [(c["feature"], c["images"], c["equal"]) for c in found] == [("stage.6:map8", 4, 4)]


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
