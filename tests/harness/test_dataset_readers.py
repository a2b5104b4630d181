"""Each reader against its official label file, and against tables that another project made from the same
files.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.datasets.dataset import Dataset, open_dataset
from harness.datasets.errors import DatasetError
from harness.registry import datasets

HAVE_IMAGES = ("biq2021", "livec", "tid2013", "koniq10k")


@pytest.fixture(scope="module")
def opened(data_root: Path) -> dict[str, Dataset]:
    places = {name: data_root / "images" / name for name in HAVE_IMAGES} | {"spaq": None}
    return {name: open_dataset(name, place, data_root / "labels" / name) for name, place in places.items()}


def other_project(data_root: Path, name: str) -> pd.Series:
    table = pd.read_csv(data_root / "labels" / "unified" / f"{name}.txt")
    names = table["dis_img_path"].str.rsplit("/", n=1).str[-1].str.lower()
    return pd.Series(table["score"].to_numpy(), index=names)


@pytest.mark.parametrize(
    ("name", "labelled", "present", "missing"),
    [
        ("biq2021", 12000, 2400, 9600),
        ("livec", 1162, 172, 990),
        ("tid2013", 3000, 3, 2998),
        ("koniq10k", 10073, 1, 10072),
        ("spaq", 11125, 0, 11125),
    ],
)
def test_every_label_has_a_row_and_every_absent_image_is_counted(
    opened: dict[str, Dataset], name: str, labelled: int, present: int, missing: int
) -> None:
    data = opened[name]
    assert (len(data.labelled), data.present, data.missing) == (labelled, present, missing)
    assert len(data.labelled) == data.spec.count
    assert data.subset
    assert data.failures == {}
    assert data.unlabelled == 0


@pytest.mark.parametrize(("name", "table"), [("tid2013", "TID2013"), ("livec", "LIVE_Challenge"), ("spaq", "SPAQ")])
def test_labels_agree_with_another_projects_tables(
    opened: dict[str, Dataset], data_root: Path, name: str, table: str
) -> None:
    theirs = other_project(data_root, table)
    ours = opened[name].labelled.set_index(opened[name].labelled["id"].str.lower())["mos"]
    # That project's table of LIVE Challenge lacks 100.bmp.
    assert set(ours.index) - set(theirs.index) <= {"100.bmp"}
    assert set(theirs.index) <= set(ours.index)
    np.testing.assert_allclose(ours.loc[theirs.index], theirs, atol=6e-5)


def test_every_present_path_is_a_file_below_the_root(opened: dict[str, Dataset]) -> None:
    for data in opened.values():
        here = data.manifest[data.manifest["present"]]
        assert all((data.root / path).is_file() for path in here["path"] if data.root)
        assert (data.manifest.loc[~data.manifest["present"], "path"] == "").all()


def test_biq2021_keeps_its_official_parts_and_its_three_sources(opened: dict[str, Dataset]) -> None:
    rows = opened["biq2021"].labelled
    assert rows["official_part"].value_counts().to_dict() == {"train": 10000, "test": 2000}
    assert set(rows["scene"]) == {"ss01", "ss02", "ss03"}
    assert (rows["group"] == rows["id"]).all()
    here = opened["biq2021"].usable
    assert here["official_part"].value_counts().to_dict() == {"train": 1680, "test": 720}


def test_livec_leaves_out_the_seven_practice_images_and_says_so(opened: dict[str, Dataset]) -> None:
    data = opened["livec"]
    assert not data.labelled["id"].str.startswith("t").any()
    assert "7 training images" in data.note
    row = data.labelled.set_index("id").loc["101.bmp"]
    assert (row["mos"], row["std"]) == pytest.approx((66.35954917, 20.21978588))


def test_tid2013_takes_type_and_level_from_the_name_whatever_its_case(opened: dict[str, Dataset]) -> None:
    data = opened["tid2013"]
    # The label file writes this one as I01_01_1.bmp, and the reference lies there as I01.BMP.
    row = data.labelled.set_index("id").loc["i01_01_1.bmp"]
    assert (row["distortion"], row["level"], row["group"]) == ("additive Gaussian noise", 1, "i01")
    assert data.labelled["distortion"].nunique() == 24
    assert data.labelled.groupby("group").size().to_dict() == {f"i{i:02}": 120 for i in range(1, 26)}
    references = data.manifest[data.manifest["is_reference"]]
    assert len(references) == 25
    assert references["mos"].isna().all()
    assert data.path("i01.bmp").name == "I01.BMP"


def test_tid2013_reads_deviations_where_they_are(data_root: Path, tmp_path: Path) -> None:
    shutil.copy(data_root / "labels" / "tid2013" / "mos_with_names.txt", tmp_path)
    (tmp_path / "mos_std.txt").write_text("".join(f"{i / 1000}\n" for i in range(3000)))
    rows = open_dataset("tid2013", data_root / "images" / "tid2013", tmp_path).manifest.set_index("id")
    assert rows.loc["i01_01_5.bmp", "std"] == 0.004
    (tmp_path / "mos_std.txt").write_text("0.1\n0.2\n")
    with pytest.raises(DatasetError, match="3000 deviations"):
        open_dataset("tid2013", data_root / "images" / "tid2013", tmp_path)


def test_koniq_has_the_z_scored_mos_and_the_official_split(opened: dict[str, Dataset]) -> None:
    data = opened["koniq10k"]
    assert data.labelled["official_part"].value_counts().to_dict() == {
        "train": 7058,
        "valid": 1000,
        "test": 2015,
    }
    # 77.38 z-scored; the raw MOS of the same image is 3.829.
    assert data.labelled.set_index("id").loc["10004473376.jpg", "mos"] == pytest.approx(77.3836206897)
    assert data.labelled["std"].isna().all()
    assert "raw votes" in data.note


def koniq_scores_file(data_root: Path) -> pd.DataFrame:
    """The other official label file, rebuilt from the vote shares: MOS is the mean of the raw 1-5 votes
    there.
    """
    sets = pd.read_csv(data_root / "labels" / "koniq10k" / "koniq10k_distributions_sets.csv")
    raw = sum(k * sets[f"c{k}"] for k in range(1, 6))
    return pd.DataFrame({"image_name": sets["image_name"], "MOS": raw, "SD": sets["SD"], "MOS_zscore": sets["MOS"]})


def test_koniqs_two_label_files_give_the_same_labels_though_their_mos_columns_differ(
    opened: dict[str, Dataset], data_root: Path, tmp_path: Path
) -> None:
    scores = koniq_scores_file(data_root)
    assert scores["MOS"].max() < 5
    scores.to_csv(tmp_path / "koniq10k_scores_and_distributions.csv", index=False)
    data = open_dataset("koniq10k", data_root / "images" / "koniq10k", tmp_path)
    assert data.label_digest == opened["koniq10k"].label_digest
    assert (data.manifest["official_part"] == "").all()
    assert "no official split" in data.note


def test_koniqs_raw_mos_is_refused_where_the_z_scored_one_is_meant(data_root: Path, tmp_path: Path) -> None:
    scores = koniq_scores_file(data_root).drop(columns="MOS_zscore")
    scores.to_csv(tmp_path / "koniq10k_scores_and_distributions.csv", index=False)
    with pytest.raises(DatasetError, match="the raw scale 1-5"):
        open_dataset("koniq10k", None, tmp_path)


def test_koniq_prefers_the_large_tree_and_names_it(data_root: Path, tmp_path: Path) -> None:
    for size in ("1024x768", "512x384"):
        (tmp_path / size).mkdir()
        shutil.copy(data_root / "images" / "koniq10k" / "10004473376.jpg", tmp_path / size)
    data = open_dataset("koniq10k", tmp_path, data_root / "labels" / "koniq10k")
    assert data.path("10004473376.jpg").parent.name == "1024x768"
    assert "images of 1024x768" in data.note


def test_the_official_tree_needs_no_labels_folder(data_root: Path, tmp_path: Path) -> None:
    source = data_root / "labels"
    (tmp_path / "livec" / "Data").mkdir(parents=True)
    for file in (source / "livec").glob("*.mat"):
        shutil.copy(file, tmp_path / "livec" / "Data")
    (tmp_path / "livec" / "Images").mkdir()
    shutil.copy(data_root / "images" / "livec" / "Images" / "353.bmp", tmp_path / "livec" / "Images")
    data = open_dataset("livec", tmp_path / "livec")
    assert (data.present, data.path("353.bmp").name) == (1, "353.bmp")


def test_every_declared_fact_that_no_source_backs_is_called_unverified() -> None:
    registry = datasets()
    for name in registry.names():
        spec = registry.get(name)
        assert spec.name == name
        assert all(spec.sources.values())
        assert set(spec.sources) <= {*type(spec).__struct_fields__, "scene"}
        assert spec.tree
        assert spec.obtain
