"""`verify` reads every file once and says what is wrong; a subset alone is no problem."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.console import Console

from harness.datasets.dataset import Dataset, open_dataset
from harness.datasets.verify import direction_in_words, verify


class OddError(Exception):
    """What a decoder raises: an error that carries a short reason."""

    reason = "truncated"


def decode(data: bytes) -> np.ndarray:
    if data == b"bad":
        raise OddError
    return np.zeros((3, 4, 3), dtype=np.uint8)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Dataset]:
    def made(files: dict[str, bytes], table: str) -> Dataset:
        (tmp_path / "images").mkdir()
        for name, data in files.items():
            (tmp_path / "images" / name).write_bytes(data)
        (tmp_path / "labels.csv").write_text(table)
        return open_dataset("lab", tmp_path)

    return made


TABLE = "id,mos,official_part\na.png,1,train\nb.png,2,train\nc.png,3,test\nd.png,,test\ne.png,4,test\n"


def printed(report: object) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(report)
    return capture.get()


def test_a_whole_subset_is_no_problem_but_is_said(make: Callable[..., Dataset]) -> None:
    steps: list[int] = []
    report = verify(make({"a.png": b"1", "b.png": b"2", "c.png": b"3", "x.png": b""}, TABLE), decode, steps.append)
    assert (report.present, report.missing, report.missing_ids) == (3, 2, ["d.png", "e.png"])
    assert report.failed == {"label is NaN": 1}
    assert report.unlabelled == 1
    assert report.sizes == {"4x3": 3}
    assert (report.problems, report.exit_code, sum(steps)) == ([], 0, 3)
    assert "SUBSET" in printed(report)
    assert "1 images without a label" in printed(report)
    assert msgspec.json.decode(msgspec.json.encode(report))["dataset"] == "lab"


def test_an_image_that_cannot_be_decoded_is_a_problem_with_its_reason(make: Callable[..., Dataset]) -> None:
    report = verify(make({"a.png": b"1", "b.png": b"bad"}, TABLE), decode)
    assert report.undecodable == {"b.png": "truncated"}
    assert report.exit_code == 3
    assert "1 truncated" in printed(report)


def test_the_same_bytes_in_train_and_test_are_a_problem_and_within_train_are_not(
    make: Callable[..., Dataset],
) -> None:
    report = verify(make({"a.png": b"1", "b.png": b"1", "c.png": b"3", "e.png": b"4"}, TABLE), decode)
    assert report.duplicates == [["a.png", "b.png"]]
    assert (report.duplicates_across, report.exit_code) == ([], 0)


def test_the_same_bytes_on_both_official_sides_are_named(make: Callable[..., Dataset]) -> None:
    report = verify(make({"a.png": b"1", "c.png": b"1"}, TABLE))
    assert report.duplicates_across == [["a.png", "c.png"]]
    assert "a.png = c.png" in report.problems[0]


def test_a_bug_in_the_decoder_is_not_taken_for_a_damaged_image(make: Callable[..., Dataset]) -> None:
    def buggy(data: bytes) -> np.ndarray:
        raise TypeError

    with pytest.raises(TypeError):
        verify(make({"a.png": b"1"}, TABLE), buggy)


def test_level_trends_tell_a_type_that_gets_better_with_its_level(make: Callable[..., Dataset]) -> None:
    table = "id,mos,distortion,level\n" + "".join(
        f"{name}{level}.png,{level if name == 'x' else 9 - level},{name},{level}\n"
        for name in "xy"
        for level in (1, 2, 3)
    )
    report = verify(make({"x1.png": b"1"}, table))
    assert report.level_trends == pytest.approx({"x": 1.0, "y": -1.0})


def test_the_direction_of_labels_is_held_against_their_levels(make: Callable[..., Dataset]) -> None:
    table = "id,mos,distortion,level\n" + "".join(
        f"{name}{level}.png,{level},{name},{level}\n" for name in "xyz" for level in (1, 2, 3)
    )
    report = verify(make({"x1.png": b"1"}, table))
    assert report.direction.startswith("LOOK: labels get worse with the level in 0 of 3 types")
    assert direction_in_words(report.level_trends, higher_is_better=False).startswith("labels get worse")
    assert "turned round" in printed(report)
    # It is a doubt: the level may count quality.
    assert report.exit_code == 0


def test_every_sha256_is_written_as_sha256sum_reads_it(make: Callable[..., Dataset], tmp_path: Path) -> None:
    out = tmp_path / "sums" / "lab.sha256"
    report = verify(make({"a.png": b"1", "b c.png": b"2"}, "id,mos\na.png,1\nb c.png,2\ngone.png,3\n"), out=out)
    lines = [line.split("  ", 1) for line in out.read_text().splitlines()]
    assert lines == [
        [hashlib.sha256(b"1").hexdigest(), "images/a.png"],
        [hashlib.sha256(b"2").hexdigest(), "images/b c.png"],
    ]
    assert report.sums == str(out)
    assert [path.name for path in out.parent.iterdir()] == ["lab.sha256"]
    # The standard tool agrees, from the root on.
    if shutil.which("sha256sum"):
        done = subprocess.run(["sha256sum", "-c", str(out)], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_the_report_names_the_label_variant_and_the_parts(make: Callable[..., Dataset]) -> None:
    report = verify(make({"a.png": b"1"}, TABLE))
    assert report.labels == "column mos of labels.csv"
    assert report.parts == {"train": 2, "test": 2}
    assert "digest" in printed(report)
    assert "2 train, 2 test" in printed(report)


def test_tid2013_levels_do_not_all_count_damage(data_root: Path) -> None:
    """Why no direction may be derived from levels: one of the 24 types gets better with its own."""
    data = open_dataset("tid2013", data_root / "images" / "tid2013", data_root / "labels" / "tid2013")
    trends = verify(data).level_trends
    assert len(trends) == 24
    assert [name for name, value in trends.items() if value > 0] == ["local block-wise distortions"]
    assert [name for name, value in trends.items() if -0.5 < value < 0] == ["contrast change"]
    assert trends["Gaussian blur"] < -0.8
