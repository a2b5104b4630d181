"""Split files: made from labels alone, refused when they were touched or belong elsewhere, used by training."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import harness
from harness.datasets.dataset import open_dataset
from harness.errors import NotFoundError, UsageError
from harness.splits.errors import SplitError
from harness.splits.kinds import of_file, stratified, whole_splits
from harness.verbs import splits


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A folder dataset of 60 labels in 20 groups; no image is needed to split it."""
    root = tmp_path / "lab"
    root.mkdir()
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"id": [f"{i:02}.png" for i in range(60)], "mos": rng.uniform(1, 5, 60)})
    frame["group"] = [f"g{i // 3}" for i in range(60)]
    frame.to_csv(root / "labels.csv", index=False)
    (root / "dataset.toml").write_text('name = "lab"\nlow = 1\nhigh = 5\n', encoding="utf-8")
    return root


def test_a_split_file_is_made_from_labels_alone_and_is_of_the_whole_dataset(lab: Path) -> None:
    splits.make("lab", Path("s.json"), seed=3, labels=lab)
    checked = splits.check(Path("s.json"), "lab", labels=lab)
    assert (checked.leaks, checked.missing, checked.exit_code) == ([], 60, 0)
    assert sum(checked.counts.values()) == 60
    assert splits.show(Path("s.json")).facts["fingerprint"] == checked.fingerprint


def test_ls_lists_only_the_kinds_that_the_dataset_has(lab: Path) -> None:
    assert [row.name for row in splits.ls("lab", labels=lab)] == ["random", "stratified", "leave-one-out"]
    pd.read_csv(lab / "labels.csv").assign(group="one").to_csv(lab / "labels.csv", index=False)
    assert splits.ls("lab", labels=lab) == []


def test_what_is_said_of_another_kind_can_be_typed(lab: Path) -> None:
    """The trap: `splits make` named --split, which it does not have, and counted images where only labels are asked."""
    with pytest.raises(SplitError, match=r"--split leave-one-out \(splits make: --kind random --seed 0\)"):
        splits.make("lab", Path("s.json"), kind="official", labels=lab)
    with pytest.raises(UsageError, match=r"names 20 splits.*--kind random --seed N"):
        splits.make("lab", Path("s.json"), kind="leave-one-out", labels=lab)


def test_what_was_not_compared_is_not_said_to_differ(lab: Path) -> None:
    """The trap: from labels alone, "its parts share no file", and a group rule of look-alikes that nobody looked at."""
    with pytest.raises(NotFoundError, match=r"none of 60 is here.*--root DIR"):
        splits.make("lab", Path("s.json"), avoid_lookalikes=True, labels=lab)
    splits.make("lab", Path("s.json"), labels=lab)
    none = splits.check(Path("s.json"), "lab", labels=lab)
    assert (none.images, none.files, none.looks) == (60, 0, 0)
    assert "no file" not in none.__rich__()
    assert "files: 0 of 60 images compared" in none.__rich__()
    (lab / "images").mkdir()
    for i in range(20):
        Image.fromarray(np.full((32, 32), 12 * i, np.uint8)).save(lab / "images" / f"{i:02}.png")
    (lab / "images/07.png").write_bytes(b"no image")
    some = splits.check(Path("s.json"), "lab", root=lab)
    assert (some.files, some.looks) == (20, 19)
    assert "files: 20 of 60 images compared" in some.__rich__()
    assert "look-alikes: 19 of 60 images compared" in some.__rich__()
    made = splits.make("lab", Path("apart.json"), avoid_lookalikes=True, root=lab)
    assert "look-alikes together: 19 of 60 images compared" in str(made.facts["how"])


@pytest.mark.parametrize(("name", "how"), [("koniq10k", "prepare koniq10k --to DIR"), ("spaq", "datasets info")])
def test_labels_are_asked_for_where_they_are_enough(name: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trap: "where are its images? Type --root" of a verb that never reads one."""
    monkeypatch.delenv("IQA_DATA", raising=False)
    with pytest.raises(NotFoundError, match=rf"where are its labels\?.*--labels DIR[\s\S]*{how}"):
        splits.ls(name)


def test_a_split_of_another_dataset_or_of_other_labels_is_refused(lab: Path) -> None:
    splits.make("lab", Path("s.json"), labels=lab)
    text = Path("s.json").read_text(encoding="utf-8")
    Path("s.json").write_text(text.replace('"lab"', '"other"'), encoding="utf-8")
    with pytest.raises(SplitError, match="fingerprint"):
        splits.show(Path("s.json"))
    splits.make("lab", Path("s.json"), labels=lab)
    frame = pd.read_csv(lab / "labels.csv")
    frame["id"] = frame["id"].str.replace("07", "77", regex=False)
    frame.to_csv(lab / "labels.csv", index=False)
    with pytest.raises(SplitError, match=re.escape("'07.png'")):
        splits.check(Path("s.json"), "lab", labels=lab)


def test_groups_that_cross_are_a_leak_with_exit_code_3(lab: Path) -> None:
    splits.make("lab", Path("s.json"), labels=lab)
    frame = pd.read_csv(lab / "labels.csv")
    frame["group"] = "one"
    frame.to_csv(lab / "labels.csv", index=False)
    checked = splits.check(Path("s.json"), "lab", labels=lab)
    assert checked.exit_code == 3
    assert any("groups" in leak for leak in checked.leaks)


def test_a_stratified_split_says_that_it_reads_labels_and_balances_them(lab: Path) -> None:
    data = open_dataset("lab", None, lab)
    split = stratified(data)[0]
    assert "reads the labels" in split.note
    mos = dict(zip(data.labelled["id"], data.labelled["mos"], strict=True))
    middle = {part: np.mean([mos[i] for i in split.part(part)]) for part in ("train", "test")}
    assert abs(middle["train"] - middle["test"]) < 0.5
    pd.read_csv(lab / "labels.csv").iloc[:12].to_csv(lab / "labels.csv", index=False)
    few = open_dataset("lab", None, lab)
    with pytest.raises(SplitError, match="10 groups"):
        stratified(few)


def test_a_file_names_what_a_kind_makes(lab: Path) -> None:
    data = open_dataset("lab", None, lab)
    made = whole_splits("random:2", data, 5)[0]
    made.save(Path("s.json"))
    assert of_file(Path("s.json"), data) == made
    assert whole_splits("s.json", data) == [made]
    assert json.loads(Path("s.json").read_text(encoding="utf-8"))["fingerprint"] == made.fingerprint


@pytest.mark.data
def test_training_takes_a_split_file(data_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "biq2021"
    (root / "Images").mkdir(parents=True)
    for image in sorted((data_root / "images/biq2021").glob("*.jpg"))[::100]:
        (root / "Images" / image.name).symlink_to(image)
    labels = data_root / "labels/biq2021"
    harness.precompute(
        dataset="biq2021", root=root, labels=labels, encoder="efficientnet-lite0", features=["stage.2:moments"]
    )
    splits.make("biq2021", Path("mine.json"), seed=7, labels=labels)
    from_file = harness.train_head(variant="ridge", split="mine.json", labels=labels, root=root)[0]
    assert from_file.split == "random:7"
