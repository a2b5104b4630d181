"""Leaks are found whichever way they come: the same id, the same group, the same bytes under another name."""

from __future__ import annotations

import pandas as pd
import pytest

from harness.datasets.manifest import conform
from harness.splits.leakage import check
from harness.splits.split import Split


def split(train: str, valid: str, test: str) -> Split:
    return Split(
        kind="random",
        name="random:0",
        dataset="lab",
        seed=0,
        ratios=(),
        train=tuple(train),
        valid=tuple(valid),
        test=tuple(test),
        group_rule="image",
    )


@pytest.fixture
def manifest() -> pd.DataFrame:
    return conform(
        {
            "id": list("abcdef"),
            "group": list("ggxyzz"),
            "sha256": ["1", "2", "3", "4", "", ""],
            "mos": range(6),
        }
    )


def test_a_clean_split_has_no_leaks_and_unknown_hashes_are_not_equal_to_each_other(
    manifest: pd.DataFrame,
) -> None:
    assert check(split("abc", "d", "ef"), manifest) == []


def test_a_shared_id_is_found_even_if_the_manifest_does_not_know_it(manifest: pd.DataFrame) -> None:
    leaks = check(split("cq", "", "dq"), manifest)
    assert [(leak.what, leak.parts, leak.keys) for leak in leaks] == [("id", ("train", "test"), ("q",))]


def test_a_group_on_two_sides_names_the_group_and_its_images(manifest: pd.DataFrame) -> None:
    (leak,) = check(split("ac", "b", "d"), manifest)
    assert (leak.what, leak.parts, leak.keys, leak.ids) == ("group", ("train", "valid"), ("g",), ("a", "b"))
    assert str(leak) == "train and valid share 1 groups: g"


def test_the_same_bytes_under_two_names_are_found(manifest: pd.DataFrame) -> None:
    manifest = manifest.assign(sha256=["1", "2", "3", "3", "", ""])
    (leak,) = check(split("c", "", "d"), manifest)
    assert (leak.what, leak.ids) == ("content", ("c", "d"))
    assert "files with the same bytes: c, d" in str(leak)
