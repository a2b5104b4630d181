"""Saved heads: the same head again, whichever it is, or a message that says what is wrong with the files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from heads.base import Examples, FitPlan
from heads.checkpoint import builtin, load_head
from heads.errors import DataError, HeadError
from heads.ridge import RidgeHead

Make = Callable[..., Examples]


@pytest.fixture
def rows(make_examples: Make) -> Examples:
    random = np.random.default_rng(0)
    return make_examples(random.random(20), {"a:moments": random.random((20, 4)).astype(np.float32)})


@pytest.fixture
def saved(rows: Examples, tmp_path: Path) -> Path:
    folder = tmp_path / "run" / "head"
    RidgeHead({"alphas": 5}).fit(rows, FitPlan(np.arange(20), np.arange(0))).save(folder)
    return folder


def edit(folder: Path, **changes: object) -> None:
    card = json.loads((folder / "head.json").read_text())
    (folder / "head.json").write_text(json.dumps(card | changes))


def test_a_folder_alone_says_which_head_it_holds(saved: Path, rows: Examples) -> None:
    head = load_head(saved)
    assert isinstance(head, RidgeHead)
    assert head.settings.alphas == 5
    assert head.features == ["a:moments"]
    assert head.history[0]["note"].startswith("alpha")
    assert np.isfinite(head.predict(rows)).all()


def test_the_arrays_are_plain_safetensors(saved: Path) -> None:
    assert {name: a.shape for name, a in load_file(saved / "head.safetensors").items()} == {
        "weights": (4,),
        "intercept": (1,),
        "alpha": (1,),
    }


def test_a_plugins_head_is_found_by_who_knows_it(saved: Path, rows: Examples) -> None:
    class Other(RidgeHead):
        """A plugin's head."""

        variant = "other"

    edit(saved, variant="other")
    with pytest.raises(HeadError, match=r"one of the heads fft, spatial, sam-iqa, mlp, ridge, found 'other'"):
        load_head(saved)
    assert isinstance(load_head(saved, {"other": Other}.__getitem__), Other)
    with pytest.raises(HeadError, match=r"Expected a head ridge .* found other"):
        RidgeHead.load(saved)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"revision": 99}, "revision 1 or older of the head ridge .* found 99.*newer"),
        ({"format": 99}, "format 1 or older .* found 99.*newer"),
        ({"format": 99, "settings": "of some other form"}, "format 1 or older"),
        ({"widths": "four"}, "damaged"),
        ({"widths": [5]}, "Expected the arrays"),
        ({"sha256": "0" * 64}, "damaged"),
    ],
)
def test_what_cannot_be_trusted_is_refused(saved: Path, changes: dict[str, object], match: str) -> None:
    edit(saved, **changes)
    with pytest.raises(DataError, match=match):
        load_head(saved)


@pytest.mark.parametrize("name", ["head.json", "head.safetensors"])
@pytest.mark.parametrize("left", [0.0, 0.5, 0.99])
def test_a_torn_file_is_refused(saved: Path, name: str, left: float) -> None:
    data = (saved / name).read_bytes()
    (saved / name).write_bytes(data[: int(left * len(data))])
    with pytest.raises(DataError):
        load_head(saved)


@pytest.mark.parametrize("name", ["head.json", "head.safetensors"])
def test_a_missing_file_is_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(DataError, match=name):
        load_head(saved)


def test_settings_that_this_code_does_not_know_are_refused(saved: Path) -> None:
    edit(saved, settings={"alphas": 5, "beta": 1})
    with pytest.raises(HeadError, match="Unknown setting 'beta'"):
        load_head(saved)


def test_networks_refuse_arrays_of_another_shape(make_examples: Make, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = make_examples(random.random(6), {"a:moments": random.random((6, 4)).astype(np.float32)})
    head = builtin("mlp")({"epochs": 1, "hidden": 4}).fit(rows, FitPlan(np.arange(6), np.arange(0)))
    arrays = head.state()
    arrays.pop("readout.out.bias")
    with pytest.raises(DataError, match="weights of a mlp head"):
        head.restore(arrays)


def test_an_unfitted_head_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(HeadError, match="never fitted"):
        RidgeHead().save(tmp_path / "head")
    assert not (tmp_path / "head").exists()


def test_nothing_in_a_folder_is_executed(saved: Path) -> None:
    """The trap: a pickle runs code when it is read. A pickle in the arrays' place is only a damaged file."""
    import hashlib
    import pickle

    data = pickle.dumps({"weights": np.zeros(4)})
    (saved / "head.safetensors").write_bytes(data)
    edit(saved, sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(DataError, match="Expected arrays"):
        load_head(saved)


def test_extra_arrays_are_refused_as_another_heads(saved: Path) -> None:
    import hashlib

    arrays = load_file(saved / "head.safetensors") | {"extra": np.zeros(1)}
    save_file(arrays, saved / "head.safetensors")
    edit(saved, sha256=hashlib.sha256((saved / "head.safetensors").read_bytes()).hexdigest())
    with pytest.raises(DataError, match="Expected the arrays"):
        load_head(saved)
