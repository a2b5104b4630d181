"""Who goes where depends on names alone: not on rows' order, the process, or which other images are here."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.datasets.dataset import Dataset, open_dataset
from harness.datasets.folder import SPEC
from harness.datasets.manifest import conform
from harness.splits import leakage
from harness.splits.errors import SplitError, SplitUsageError
from harness.splits.kinds import fraction, leave_one_out, official, parse_split, random, stratified


def dataset(rows: list[tuple[str, str, str, bool]]) -> Dataset:
    """Rows of (id, group, official part, present); an image's label hangs on its name, not on its row."""
    columns = {
        "id": [row[0] for row in rows],
        "mos": [float(zlib.crc32(row[0].encode())) for row in rows],
        "group": [row[1] for row in rows],
        "official_part": [row[2] for row in rows],
        "present": [row[3] for row in rows],
    }
    spec = msgspec.structs.replace(SPEC, name="lab", group_rule="reference")
    return Dataset(spec, None, conform(columns))


@st.composite
def many(draw: st.DrawFn) -> list[tuple[str, str, str, bool]]:
    """Between 3 and 12 groups of 1 to 6 images; about a third of the images is not here."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=3, max_size=12))
    rows: list[tuple[str, str, str, bool]] = []
    for group, size in enumerate(sizes):
        part = draw(st.sampled_from(["train", "train", "test"]))
        rows += [(f"g{group} ({i}).png", f"g{group}", part, draw(st.integers(0, 2)) > 0) for i in range(size)]
    return draw(st.permutations(rows))


def attempt(make: object) -> object:
    try:
        return make()
    except SplitError as error:
        return str(error)


@settings(max_examples=20)
@given(rows=many(), seed=st.integers(0, 3))
def test_p10_no_split_depends_on_the_order_of_rows(rows: list[tuple[str, str, str, bool]], seed: int) -> None:
    for text in ("official", "random:3", "stratified:2", "leave-one-out"):
        assert attempt(lambda text=text: parse_split(text, dataset(rows), seed)) == attempt(
            lambda text=text: parse_split(text, dataset(sorted(rows)), seed)
        )


@settings(max_examples=20)
@given(rows=many(), seed=st.integers(0, 3))
def test_groups_never_cross_and_parts_never_share(rows: list[tuple[str, str, str, bool]], seed: int) -> None:
    data = dataset([(name, group, part, True) for name, group, part, _ in rows])
    made = [*random(data, 3, seed), *leave_one_out(data, seed)]
    made += stratified(data, 1, seed) if len({group for _, group, _, _ in rows}) >= 10 else []
    made += [one for one in [attempt(lambda: official(data, seed))] if not isinstance(one, str)]
    for split in made:
        assert leakage.check(split, data.manifest) == []
        assert sorted([*split.train, *split.valid, *split.test]) == sorted(data.labelled["id"])


@settings(max_examples=20)
@given(rows=many(), seed=st.integers(0, 3))
def test_a_split_of_the_images_that_are_here_is_the_whole_split_without_the_others(
    rows: list[tuple[str, str, str, bool]], seed: int
) -> None:
    here = [name for name, _, _, present in rows if present]
    complete = dataset([(name, group, part, True) for name, group, part, _ in rows])
    for text in ("official", "random"):
        whole, part = (
            attempt(lambda text=text: parse_split(text, complete, seed)[0]),
            attempt(lambda text=text: parse_split(text, dataset(rows), seed)[0]),
        )
        if not isinstance(whole, str) and not isinstance(part, str):
            left = whole.restrict(here)
            assert (part.train, part.valid, part.test) == (left.train, left.valid, left.test)
            assert part.fingerprint == left.fingerprint


def lab() -> list[tuple[str, str, str, bool]]:
    return [
        (f"ss{i % 3:02} ({i}).jpg", f"g{i // 4}", "test" if i // 4 % 5 == 0 else "train", i % 7 > 0) for i in range(400)
    ]


PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from test_split_kinds import dataset, lab
from harness.splits.kinds import parse_split
for text in ("official", "random:4", "stratified:2", "leave-one-out"):
    print([split.fingerprint for split in parse_split(text, dataset(lab()), 5)])
"""


def test_p10_a_process_with_another_string_hash_makes_the_same_splits() -> None:
    """`random.shuffle(list(set(names)))` with a fixed seed differs between processes: string hashing is
    salted.
    """
    ours = "".join(
        f"{[split.fingerprint for split in parse_split(text, dataset(lab()), 5)]}\n"
        for text in ("official", "random:4", "stratified:2", "leave-one-out")
    )
    here = Path(__file__).resolve()
    path = os.pathsep.join([str(here.parents[2]), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(here.parent)],
        env={**os.environ, "PYTHONHASHSEED": "4242", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ours


def test_splits_are_the_same_today_and_on_every_machine() -> None:
    """Constants: a change here moves every split that was ever made."""
    names = [split.fingerprint[:12] for text in ("official", "random:2") for split in parse_split(text, dataset(lab()))]
    assert names == ["d888f442454b", "dc56361f5cb7", "0d62dedaa782"]


def test_a_carved_validation_part_is_a_fifth_of_train_by_the_documented_rule() -> None:
    data = dataset([(f"{i}.png", f"{i}.png", "test" if i % 5 == 0 else "train", True) for i in range(5000)])
    split = official(data, seed=2)
    assert len(split.test) == 1000
    assert len(split.valid) / 4000 == pytest.approx(0.2, abs=0.02)
    assert set(split.valid) == {f"{i}.png" for i in range(5000) if i % 5 and fraction(f"2:valid:{i}.png") < 0.2}
    assert "no validation part" in split.note
    assert "20%" in split.note


def test_a_published_validation_part_is_kept_and_rows_in_no_part_are_left_out() -> None:
    rows = [
        ("a", "a", "train", True),
        ("b", "b", "valid", True),
        ("c", "c", "test", True),
        ("d", "d", "", True),
    ]
    split = official(dataset(rows))
    assert (split.train, split.valid, split.test) == (("a",), ("b",), ("c",))
    assert "1 labelled rows are in no part" in split.note
    assert official(dataset(rows), seed=9).train == split.train


def test_a_dataset_without_a_published_split_offers_the_others() -> None:
    with pytest.raises(SplitError, match=r"random:10 or --split leave-one-out"):
        official(dataset([(f"{i}", f"g{i % 3}", "", True) for i in range(9)]))


def test_random_splits_have_their_shares_and_differ() -> None:
    data = dataset([(f"{i}.png", f"{i}.png", "", True) for i in range(1000)])
    splits = random(data, 5)
    assert {tuple(split.counts.values()) for split in splits} == {(700, 100, 200)}
    assert len({split.test for split in splits}) == 5
    assert [split.name for split in splits] == [f"random:{i}" for i in range(5)]
    assert random(data, 1, seed=3)[0] == splits[3]
    assert random(data, 1, ratios=(0.8, 0.0, 0.2))[0].counts == {"train": 800, "valid": 0, "test": 200}


def test_few_large_groups_still_give_every_part_one() -> None:
    data = dataset([(f"{g}-{i}", f"{g}", "", True) for g in range(3) for i in range(30)])
    assert random(data)[0].counts == {"train": 30, "valid": 30, "test": 30}
    two = dataset([(f"{g}-{i}", f"{g}", "", True) for g in range(2) for i in range(30)])
    assert random(two)[0].counts == {"train": 30, "valid": 0, "test": 30}
    with pytest.raises(SplitError, match="two groups"):
        random(dataset([(f"{i}", "g", "", True) for i in range(9)]))


def test_leave_one_out_tests_each_group_once_and_chooses_on_another() -> None:
    data = dataset([(f"{g}-{i}", f"{g}", "", True) for g in "abcde" for i in range(4)])
    splits = leave_one_out(data)
    assert [split.name for split in splits] == [f"leave-one-out:{g}" for g in "abcde"]
    assert sorted(name for split in splits for name in split.test) == sorted(data.labelled["id"])
    assert sorted(name for split in splits for name in split.valid) == sorted(data.labelled["id"])
    assert {tuple(split.counts.values()) for split in splits} == {(12, 4, 4)}
    assert "a is tested" in splits[0].note


def test_leave_one_out_of_two_groups_has_no_validation_part_and_of_one_or_many_is_refused() -> None:
    two = leave_one_out(dataset([("a", "a", "", True), ("b", "b", "", True)]))
    assert [split.counts for split in two] == [{"train": 1, "valid": 0, "test": 1}] * 2
    with pytest.raises(SplitError, match="2 to 100 groups, found 1"):
        leave_one_out(dataset([("a", "g", "", True), ("b", "g", "", True)]))
    with pytest.raises(SplitError, match="random:10"):
        leave_one_out(dataset([(f"{i}", f"{i}", "", True) for i in range(101)]))


@pytest.mark.parametrize("text", ["offical", "random:0", "random:-1", "random:x", "official:2", "leave-one-out:a", ""])
def test_an_unknown_split_lists_the_kinds_and_is_a_usage_error(text: str) -> None:
    with pytest.raises(SplitUsageError, match="official, random:K") as caught:
        parse_split(text, dataset(lab()))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("ratios", [(0.5, 0.5), (0.7, 0.1, 0.1), (1.0, 0.0, 0.0), (-0.1, 0.9, 0.2)])
def test_ratios_that_are_no_shares_are_refused(ratios: tuple[float, ...]) -> None:
    with pytest.raises(SplitUsageError, match="add up to 1"):
        random(dataset(lab()), ratios=ratios)


def test_a_split_none_of_whose_test_images_is_here_is_refused() -> None:
    rows = [("a", "a", "train", True), ("b", "b", "test", False), ("c", "c", "train", True)]
    with pytest.raises(SplitError, match="expected images in test"):
        parse_split("official", dataset(rows))


def test_nan_labels_and_references_are_in_no_part() -> None:
    data = dataset(lab())
    table = data.manifest.copy()
    table.loc[table["id"] == "ss01 (1).jpg", ["mos", "failure"]] = [np.nan, "label is NaN"]
    table = pd.concat(
        [table, pd.DataFrame({"id": ["ref"], "group": ["g0"], "present": [True], "is_reference": [True]})]
    )
    data = Dataset(data.spec, None, conform(table))
    for split in parse_split("random:2", data):
        assert not {"ref", "ss01 (1).jpg"} & set(split.ids)


def test_biq2021_splits_officially_and_its_test_rows_are_the_published_ones(data_root: Path) -> None:
    data = open_dataset("biq2021", data_root / "images" / "biq2021", data_root / "labels" / "biq2021")
    split = data.split("official")
    assert len(split.test) == 720
    published = pd.read_csv(data_root / "labels" / "biq2021" / "Test (Images and MOS).csv")["Image Name"]
    assert set(split.test) <= set(published)
    assert len(split.train) + len(split.valid) == 1680
    assert len(split.valid) / 1680 == pytest.approx(0.2, abs=0.03)
    assert "2400 of 12000 rows are here" in split.note


def test_tid2013_keeps_each_reference_on_one_side(data_root: Path) -> None:
    labels = open_dataset("tid2013", None, data_root / "labels" / "tid2013")
    table = labels.manifest.assign(present=True)
    data = Dataset(labels.spec, None, table)
    for split in data.splits("random:3"):
        assert split.counts == {"train": 2160, "valid": 240, "test": 600}
        assert leakage.check(split, data.manifest) == []
    assert len(data.splits("leave-one-out")) == 25
    with pytest.raises(SplitUsageError, match="25 splits"):
        data.split("leave-one-out")
