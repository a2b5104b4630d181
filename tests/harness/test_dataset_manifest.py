"""The manifest survives a file, and its label digest is a statement about labels alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.datasets.errors import DatasetError
from harness.datasets.manifest import COLUMNS, conform, label_digest, read_manifest, write_manifest

ROWS = {
    "id": ["b.png", "a.png", "r.png"],
    "mos": [0.25, np.nan, np.nan],
    "std": [0.1, np.nan, np.nan],
    "is_reference": [False, False, True],
    "present": [True, True, False],
    "path": ["x/b.png", "x/a.png", ""],
}


def test_a_nan_label_is_a_failure_but_a_reference_without_a_label_is_not() -> None:
    frame = conform(ROWS)
    assert dict(zip(frame["id"], frame["failure"], strict=True)) == {
        "a.png": "label is NaN",
        "b.png": "",
        "r.png": "",
    }


def test_an_image_without_a_group_is_its_own_group() -> None:
    assert conform(ROWS)["group"].tolist() == ["a.png", "b.png", "r.png"]


def test_a_manifest_comes_back_from_parquet_as_it_was(tmp_path: Path) -> None:
    frame = conform({**ROWS, "width": [5, 6, 7], "votes": [3.0, np.nan, 1.0]})
    write_manifest(frame, tmp_path / "deep" / "manifest.parquet", "mine")
    back, facts = read_manifest(tmp_path / "deep" / "manifest.parquet")
    pd.testing.assert_frame_equal(back, frame)
    assert facts == {"manifest_version": "1", "dataset": "mine", "label_digest": label_digest(frame)}
    assert pq.read_table(tmp_path / "deep" / "manifest.parquet").column_names == list(COLUMNS)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["manifest.parquet"]


def test_a_manifest_whose_labels_were_edited_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.parquet"
    write_manifest(conform(ROWS), path, "mine")
    table = pq.read_table(path)
    frame = table.to_pandas()
    frame.loc[frame["id"] == "b.png", "mos"] = 0.75
    import pyarrow as pa

    pq.write_table(pa.Table.from_pandas(frame, schema=table.schema, preserve_index=False), path)
    with pytest.raises(DatasetError, match="digest"):
        read_manifest(path)


@pytest.mark.parametrize("content", [b"", b"not parquet at all"])
def test_a_damaged_manifest_is_refused_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.parquet").write_bytes(content)
    with pytest.raises(DatasetError, match="Delete the file"):
        read_manifest(tmp_path / "m.parquet")


def test_a_parquet_file_that_is_no_manifest_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "m.parquet")
    with pytest.raises(DatasetError, match="manifest of version 1"):
        read_manifest(tmp_path / "m.parquet")


@given(
    labels=st.dictionaries(st.text("ab1_. é", min_size=1, max_size=6), st.floats(0, 9), min_size=1, max_size=12),
    order=st.randoms(use_true_random=False),
)
def test_the_label_digest_does_not_depend_on_the_order_of_rows(labels: dict[str, float], order: object) -> None:
    pairs = list(labels.items())
    order.shuffle(pairs)
    one = pd.DataFrame({"id": list(labels), "mos": list(labels.values()), "std": np.nan, "is_reference": False})
    other = pd.DataFrame(pairs, columns=["id", "mos"]).assign(std=np.nan, is_reference=False)
    assert label_digest(one) == label_digest(other)
    changed = one.assign(mos=[np.nextafter(one["mos"][0], 10), *one["mos"][1:]])
    assert label_digest(changed) != label_digest(one)


def test_the_label_digest_is_the_documented_sha256() -> None:
    import hashlib

    text = "a.png\tnan\tnan\nb.png\t0.25\t0.1\n"
    assert label_digest(conform(ROWS)) == hashlib.sha256(text.encode()).hexdigest()


def test_the_label_digest_ignores_which_images_are_here() -> None:
    elsewhere = {**ROWS, "present": [False] * 3, "path": ["", "", ""]}
    assert label_digest(conform(elsewhere)) == label_digest(conform(ROWS))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["a", "a"], "mos": [1.0, 2.0]}, "every image once"),
        ({"id": ["a", ""], "mos": [1.0, 2.0]}, "an id in every row"),
        ({"id": ["a"], "mos": [1.0], "colour": ["red"]}, "manifest columns"),
        ({"id": ["a"], "mos": [1.0], "official_part": ["training"]}, "official parts"),
    ],
)
def test_rows_that_cannot_be_meant_are_refused(columns: dict[str, list[object]], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        conform(columns)
