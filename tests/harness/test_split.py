"""A split is a statement that can be checked: sorted ids, one fingerprint, a file that notices any change."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.splits.errors import SplitError
from harness.splits.split import Split


def split(**changes: object) -> Split:
    facts: dict[str, object] = {
        "kind": "random",
        "name": "random:3",
        "dataset": "lab",
        "seed": 3,
        "ratios": (0.7, 0.1, 0.2),
        "train": ("a", "b", "é"),
        "valid": ("c",),
        "test": ("d", "e"),
        "group_rule": "image",
        "note": "by hand",
    }
    return Split(**{**facts, **changes})


def test_the_fingerprint_is_the_same_today_and_on_every_machine() -> None:
    """Written out by hand: if this changes, every run that names a split by its fingerprint has lost it."""
    text = (
        '{"dataset":"lab","group_rule":"image","kind":"random","ratios":[0.7,0.1,0.2],"seed":3,'
        '"test":["d","e"],"train":["a","b","é"],"valid":["c"],"version":1}'
    )
    assert split().fingerprint == hashlib.sha256(text.encode()).hexdigest()


@settings(max_examples=30)
@given(
    seed=st.integers(0, 99),
    test=st.lists(st.text(max_size=5), unique=True, max_size=5),
    ratio=st.floats(0, 1),
)
def test_a_split_comes_back_from_its_file_with_its_fingerprint(
    tmp_path_factory: pytest.TempPathFactory, seed: int, test: list[str], ratio: float
) -> None:
    path = tmp_path_factory.mktemp("split") / "split.json"
    try:
        made = split(seed=seed, test=tuple(sorted(test)), ratios=(ratio, 1 - ratio))
        made.save(path)
    except UnicodeEncodeError:
        return
    assert Split.load(path) == made
    assert json.loads(path.read_text(encoding="utf-8"))["fingerprint"] == made.fingerprint


def test_the_fingerprint_ignores_words_and_number_types_but_no_row() -> None:
    same = split(name="mine", note="other words", ratios=(0.7, 0.1, 0.2))
    assert same.fingerprint == split().fingerprint
    assert split(ratios=(1, 0, 0)).fingerprint == split(ratios=(1.0, 0.0, 0.0)).fingerprint
    changes = [
        {"seed": 4},
        {"test": ("d",)},
        {"dataset": "x"},
        {"group_rule": "reference"},
        {"kind": "official"},
    ]
    # Moving an id between parts must show, even where the union stays.
    changes.append({"valid": (), "train": ("a", "b", "c", "é")})
    assert len({split(**change).fingerprint for change in changes} | {split().fingerprint}) == 7


@pytest.mark.parametrize("ids", [("b", "a"), ("a", "a")])
def test_ids_must_be_sorted_and_unique_because_the_fingerprint_is_over_them(ids: tuple[str, ...]) -> None:
    with pytest.raises(SplitError, match="sorted ids"):
        split(train=ids)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace('"d"', '"dd"'),
        lambda text: text.replace('"seed": 3', '"seed": 4'),
        lambda text: text.replace('"kind"', '"kid"'),
        lambda text: text.replace('"fingerprint"', '"finger"'),
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
    ],
)
def test_a_changed_file_is_not_loaded(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "split.json"
    split().save(path)
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(SplitError, match="Make the split again"):
        Split.load(path)


def test_a_missing_file_and_a_newer_version_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match="Make the split again"):
        Split.load(tmp_path / "none.json")
    with pytest.raises(SplitError, match="Update the project"):
        split(version=2)


def test_a_plan_has_positions_of_train_and_valid_and_never_of_test() -> None:
    ids = ["e", "c", "a", "zz", "b"]
    plan = split().plan(ids, seed=7, settings={"epochs": 2})
    assert (plan.train.tolist(), plan.valid.tolist(), plan.seed) == ([2, 4], [1], 7)
    assert plan.train.dtype == np.int64
    assert split().rows("test", ids).tolist() == [0]
    assert split().plan(ids).seed == 3


def test_a_plan_without_train_rows_is_refused() -> None:
    with pytest.raises(SplitError, match="found none of 3"):
        split().plan(["c", "d"])


def test_restricting_moves_nobody_and_says_how_many_are_left() -> None:
    part = split().restrict(["a", "d", "unknown"])
    assert (part.train, part.valid, part.test) == (("a",), (), ("d",))
    assert part.note == "by hand; 2 of 6 rows are here"
    assert split().restrict("abcdeé") is not None
    assert split().restrict("abcdeé") == split()
