"""What a person gets wrong: each wrong tree, damaged list and odd file ends in one message or one counted
row.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.datasets.dataset import Dataset, open_dataset
from harness.datasets.errors import DatasetError
from harness.errors import UsageError

HEADER = "Image Name,MOS"


class OddError(Exception):
    """What a decoder raises: an error that carries a short reason."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def biq(root: Path, train: list[str], test: list[str], images: list[str]) -> Path:
    (root / "Images").mkdir(parents=True, exist_ok=True)
    for image in images:
        (root / "Images" / image).write_bytes(image.encode())
    (root / "Train (Images and MOS).csv").write_text("\n".join([f"{HEADER},,", *train]) + "\n")
    (root / "Test (Images and MOS).csv").write_text("\n".join([HEADER, *test]) + "\n")
    return root


TRAIN = ["ss01 (1).jpg,0.2,,", "ss01 (2).jpg,0.4,,", "ss02 (1).jpg,,,"]
TEST = ["ss03 (1).jpg,0.9"]
IMAGES = ["ss01 (1).jpg", "ss01 (2).jpg", "ss02 (1).jpg", "ss03 (1).jpg"]


@pytest.fixture
def whole(tmp_path: Path) -> Dataset:
    return open_dataset("biq2021", biq(tmp_path / "biq", TRAIN, TEST, IMAGES))


def test_a_nan_label_is_a_failed_row_with_its_reason_and_never_used(whole: Dataset) -> None:
    assert whole.failures == {"label is NaN": 1}
    assert whole.usable["id"].tolist() == ["ss01 (1).jpg", "ss01 (2).jpg", "ss03 (1).jpg"]
    assert whole.present == 4


def test_a_label_list_shorter_than_the_dataset_is_a_subset(whole: Dataset) -> None:
    assert whole.missing == 12000 - 4
    assert whole.subset


def test_an_image_without_a_label_is_counted_and_left(tmp_path: Path) -> None:
    data = open_dataset("biq2021", biq(tmp_path, TRAIN, TEST, [*IMAGES, "holiday.jpg"]))
    assert data.unlabelled == 1
    assert "holiday.jpg" not in set(data.manifest["id"])


def test_a_label_without_its_image_is_missing_not_an_error(tmp_path: Path) -> None:
    data = open_dataset("biq2021", biq(tmp_path, TRAIN, TEST, IMAGES[:1]))
    assert data.usable["id"].tolist() == ["ss01 (1).jpg"]
    with pytest.raises(DatasetError, match="a label without an image"):
        data.path("ss03 (1).jpg")
    with pytest.raises(DatasetError, match="no such id"):
        data.path("ss09 (1).jpg")


def test_the_wrong_folder_says_what_was_looked_for_and_what_is_there(tmp_path: Path) -> None:
    biq(tmp_path / "iqa" / "biq", TRAIN, TEST, IMAGES)
    with pytest.raises(DatasetError) as caught:
        open_dataset("biq2021", tmp_path / "iqa", tmp_path / "iqa" / "biq")
    message = str(caught.value)
    assert "ss01 (1).jpg" in message
    assert str(tmp_path / "iqa" / "Images") in message
    assert "1 entries: biq/" in message
    assert "--root" in message
    assert caught.value.exit_code == 3


def test_missing_label_files_say_their_names_and_where_was_looked(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(DatasetError, match=r"Train \(Images and MOS\)\.csv.*1 entries: a\.jpg.*--labels"):
        open_dataset("biq2021", tmp_path)


@pytest.mark.parametrize("place", ["root", "labels"])
def test_a_folder_that_is_not_there_is_named(tmp_path: Path, place: str) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        open_dataset("biq2021", **{place: tmp_path / "nowhere"})


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'biq2021'"):
        open_dataset("biq2012", Path())


def test_names_that_differ_in_case_only_are_refused_because_labels_cannot_tell_them_apart(
    tmp_path: Path,
) -> None:
    root = biq(tmp_path, TRAIN, TEST, [*IMAGES, "SS01 (1).JPG"])
    if len(list((root / "Images").iterdir())) != 5:
        pytest.skip("this file system ignores case: the two names are one file")
    with pytest.raises(DatasetError, match="differ in case only"):
        open_dataset("biq2021", root)


def test_an_image_that_differs_from_its_label_in_case_is_found(tmp_path: Path) -> None:
    data = open_dataset("biq2021", biq(tmp_path, TRAIN, TEST, ["SS01 (1).JPG", *IMAGES[1:]]))
    assert data.path("ss01 (1).jpg").is_file()


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (["a.jpg,0.9,,", "b.jpg,0.9,,"], "labels that differ"),
        (["a.jpg,0.5,,", "b.jpg,7.5,,"], "1 of 3 labels outside"),
        (["a.jpg,good,,", "b.jpg,0.5,,"], "'good' in row 1"),
        (["a.jpg,0.5,,", "a.jpg,0.6,,"], "every image once"),
        (["ss03 (1).jpg,0.5,,", "a.jpg,0.6,,"], "every image once"),
    ],
)
def test_labels_that_cannot_be_right_are_refused_before_work_starts(
    tmp_path: Path, train: list[str], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        open_dataset("biq2021", biq(tmp_path, train, TEST, ["a.jpg"]))


def test_a_renamed_column_lists_what_is_there(tmp_path: Path) -> None:
    root = biq(tmp_path, TRAIN, TEST, IMAGES)
    (root / "Test (Images and MOS).csv").write_text("name,score\nss03 (1).jpg,0.9\n")
    with pytest.raises(DatasetError, match=r"'Image Name', 'MOS'.*found 'name', 'score'"):
        open_dataset("biq2021", root)


def test_a_damaged_mat_or_workbook_is_a_dataset_error(tmp_path: Path) -> None:
    for name in ("AllImages_release", "AllMOS_release", "AllStdDev_release"):
        (tmp_path / f"{name}.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    with pytest.raises(DatasetError, match="MATLAB file"):
        open_dataset("livec", None, tmp_path)
    (tmp_path / "MOS and Image attribute scores.xlsx").write_bytes(b"PK not a workbook")
    with pytest.raises(DatasetError, match="a workbook in"):
        open_dataset("spaq", None, tmp_path)


def test_filling_reads_each_file_once_and_takes_unchanged_rows_from_an_earlier_manifest(
    whole: Dataset,
) -> None:
    import hashlib

    seen: list[bytes] = []

    def probe(data: bytes) -> tuple[int, int]:
        seen.append(data)
        return 4, 3

    steps: list[int] = []
    filled = whole.filled(probe, progress=steps.append)
    assert sum(steps) == len(seen) == 4
    row = filled.manifest.set_index("id").loc["ss01 (1).jpg"]
    assert row["sha256"] == hashlib.sha256(b"ss01 (1).jpg").hexdigest()
    assert (row["size"], row["width"], row["height"]) == (12, 4, 3)
    seen.clear()
    path = whole.path("ss01 (2).jpg")
    path.write_bytes(b"another picture")
    again = whole.filled(probe, known=filled.manifest)
    assert seen == [b"another picture"]
    other = again.manifest.set_index("id")["sha256"] != filled.manifest.set_index("id")["sha256"]
    assert other[other].index.tolist() == ["ss01 (2).jpg"]


def test_a_file_that_cannot_be_probed_fails_with_its_reason_but_a_failed_label_keeps_its_own(
    whole: Dataset,
) -> None:
    def probe(data: bytes) -> tuple[int, int]:
        raise OddError("truncated")

    filled = whole.filled(probe)
    assert filled.failures == {"label is NaN": 1, "truncated": 3}
    assert filled.usable.empty
    assert whole.failures == {"label is NaN": 1}


def test_a_bug_in_the_probe_is_not_taken_for_a_damaged_image(whole: Dataset) -> None:
    def probe(data: bytes) -> tuple[int, int]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        whole.filled(probe)


def test_an_unreadable_file_is_a_row_with_a_reason(whole: Dataset) -> None:
    path = whole.path("ss01 (1).jpg")
    path.unlink()
    path.symlink_to(path.parent / "gone")
    assert whole.filled().failures["cannot be read: No such file or directory"] == 1


def test_what_a_store_plans_is_read_once_and_odd_files_are_planned_too(tmp_path: Path) -> None:
    from PIL import Image

    from cache.images import probe

    root = biq(tmp_path, TRAIN, TEST, IMAGES)
    Image.new("RGB", (6, 4)).save(root / "Images" / "ss01 (1).jpg")
    data = open_dataset("biq2021", root)
    names = ["ss01 (1).jpg", "ss01 (2).jpg"]
    filled = data.filled(probe, ids=names)
    items = filled.plan_items(names)
    assert [(item.path, item.width, item.height) for item in items] == [
        ("Images/ss01 (1).jpg", 6, 4),
        ("Images/ss01 (2).jpg", 0, 0),
    ]
    assert all(len(item.sha256) == 64 for item in items)
    known = filled.manifest.assign(sha256="known")
    again = data.filled(probe, ids=names, known=known).plan_items(names)
    assert [item.sha256 == "known" for item in again] == [True, False]
    elsewhere = data.filled(probe, ids=names, known=known.assign(path="other/tree.jpg"))
    assert elsewhere.plan_items(names) == items


def test_only_the_asked_files_are_read(whole: Dataset) -> None:
    filled = whole.filled(ids=["ss01 (1).jpg"]).manifest
    assert filled.loc[filled["sha256"] != "", "id"].tolist() == ["ss01 (1).jpg"]


def test_the_quality_map_of_a_closed_dataset_is_its_declared_one(whole: Dataset) -> None:
    assert whole.quality_map(["ss01 (1).jpg"]).source == "declared"
    assert whole.quality_map().to_quality(whole.labelled["mos"]).tolist() == [0.2, 0.4, 0.9]


def test_a_dataset_error_survives_a_process_boundary() -> None:
    error = DatasetError("a", "b", "C.")
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == "Expected a; found b. C."


def test_opening_does_not_change_with_the_order_of_the_label_file(tmp_path: Path) -> None:
    one = open_dataset("biq2021", biq(tmp_path / "a", TRAIN, TEST, IMAGES))
    other = open_dataset("biq2021", biq(tmp_path / "b", TRAIN[::-1], TEST, IMAGES))
    pd.testing.assert_frame_equal(one.manifest, other.manifest)
    assert one.label_digest == other.label_digest
    assert np.isnan(one.manifest["std"]).all()
