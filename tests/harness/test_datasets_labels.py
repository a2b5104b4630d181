"""Every dataset whose label file is at hand, read whole: counts, extremes, groups, parts; the same from each list."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.datasets.conformance import check_dataset
from harness.datasets.dataset import Dataset, open_dataset
from harness.registry import datasets

# dataset: folder of its files, labelled rows, lowest, highest, groups, references, distortion types
OFFICIAL = {
    "biq2021": ("biq2021", 12000, 0.0, 1.0, 12000, 0, 0),
    "koniq10k": ("koniq10k", 10073, 3.911764705882, 88.388888888889, 10073, 0, 0),
    "spaq": ("spaq", 11125, 2.0, 96.0, 11125, 0, 0),
    "livec": ("livec", 1162, 3.42, 92.4319526627219, 1162, 0, 0),
    "csiq": ("csiq", 866, 0.0, 1.0, 30, 30, 6),
    "tid2013": ("tid2013", 3000, 0.24242, 7.21429, 25, 25, 24),
    "bid": ("bid", 586, 0.1638057263157895, 4.919752378181818, 586, 0, 0),
    "flive": ("flive", 39810, 0.0, 94.3332343725568, 39810, 0, 0),
    "piq23-overall": ("piq23", 5116, -7.127653803892399, 4.968121557795561, 50, 0, 0),
    "agiqa3k": ("agiqa3k", 2982, 0.0, 4.488740784, 300, 0, 0),
    "agiqa1k": ("agiqa1k", 1078, 0.0, 5.0, 720, 0, 0),
    # Restatements by others; no file of the authors is at hand.
    "kadid10k": ("kadid10k", 10125, 1.0, 4.93, 81, 81, 25),
    "live-dmos": ("live", 779, 17.902424, 84.488972, 29, 29, 5),
}
# dataset: rows of the table, labelled rows, lowest, highest, groups, references, distortion types
MIRROR = {
    "a57": (54, 54, 0.089, 1.0, 3, 3, 6),
    "cid2013": (474, 474, -9.54906308259536, 87.8820712380424, 36, 0, 0),
    "cidiq100": (690, 690, 1.0, 7.76, 23, 23, 6),
    "cidiq50": (690, 690, 1.18, 7.65, 23, 23, 6),
    "csiq": (866, 866, 0.0, 1.0, 30, 30, 6),
    "kadid10k": (10125, 10125, 1.0, 4.93, 81, 81, 25),
    "live": (779, 779, -2.6400150164096132, 111.77469352631448, 29, 29, 5),
    "livec": (1161, 1161, 3.42, 92.432, 1161, 0, 0),
    "livemd": (450, 450, 0.61111, 84.6667, 15, 15, 2),
    "mdid2013": (324, 324, 0.31971, 0.55271, 12, 12, 0),
    "mdid": (1600, 1600, 0.078, 7.9184, 20, 20, 0),
    "mdivl": (750, 750, 1.4105, 97.9742, 10, 10, 2),
    "sdivl": (380, 380, 8.16670000000001, 87.7308, 20, 20, 2),
    "spaq": (11125, 11125, 2.0, 96.0, 11125, 0, 0),
    "tid2008": (1700, 1700, 0.0, 7.7143, 25, 25, 17),
    "tid2013": (3000, 3000, 0.24242, 7.2143, 25, 25, 24),
    # 28 of the 196 rows are undistorted: they are references here.
    "toyama": (196, 168, 1.0, 4.88, 14, 14, 2),
    "uhdiqa": (6073, 6073, 0.2865, 0.889, 6073, 0, 0),
    "vclfer": (552, 552, 1.5659, 96.5232, 23, 23, 4),
}


def check(data: Dataset, labelled: int, low: float, high: float, groups: int, references: int, types: int) -> None:
    rows = data.labelled
    assert len(rows) == labelled
    assert (rows["mos"].min(), rows["mos"].max()) == pytest.approx((low, high), abs=1e-5)
    assert rows["group"].nunique() == groups
    kept = data.manifest[data.manifest["is_reference"] & data.manifest["mos"].isna()]
    assert len(kept) == references
    assert set(rows["reference"]) - {""} == set(kept["id"])
    assert len(set(rows["distortion"]) - {""}) == types
    spec = data.spec
    assert spec.references == references
    assert spec.distortions in (types, 1)


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_label_file_is_read_whole(data_root: Path, name: str) -> None:
    folder, *expected = OFFICIAL[name]
    check(check_dataset(datasets().get(name), None, data_root / "labels" / folder), *expected)


@pytest.mark.parametrize("name", MIRROR)
def test_the_mirror_table_is_read_whole(data_root: Path, name: str) -> None:
    rows, *expected = MIRROR[name]
    data = check_dataset(datasets().get(name), None, data_root / "labels" / "unified")
    check(data, *expected)
    hidden = int(np.count_nonzero(data.manifest["is_reference"] & data.manifest["mos"].notna()))
    assert len(data.labelled) + hidden == rows
    assert "mirror table" in data.note


def test_every_table_of_the_mirror_archives_at_hand_has_a_reader(data_root: Path) -> None:
    tables = {path.stem for path in (data_root / "labels" / "unified").glob("*.txt")}
    named = {"livec": "LIVE_Challenge", "livemd": "LIVE_MD", "mdid": "MDID2016", "kadid10k": "KADID-10k"}
    named |= {"cidiq50": "CIDIQ_MOS50", "cidiq100": "CIDIQ_MOS100", "uhdiqa": "UHD-IQA", "toyama": "Toyama"}
    assert {named.get(name, name.upper()) for name in MIRROR} == tables


# How far the mirror's labels are from those of the other list: tables were rounded to four digits or fewer.
@pytest.mark.parametrize(
    ("name", "folder", "off"),
    [("csiq", "csiq", 5e-6), ("tid2013", "tid2013", 6e-5), ("kadid10k", "kadid10k", 0), ("spaq", "spaq", 0)],
)
def test_an_image_has_the_same_id_from_the_authors_list_and_from_the_mirror(
    data_root: Path, name: str, folder: str, off: float
) -> None:
    one = open_dataset(name, None, data_root / "labels" / folder).manifest
    other = open_dataset(name, None, data_root / "labels" / "unified").manifest
    for column in ("id", "group", "reference", "distortion", "level", "is_reference"):
        assert one[column].tolist() == other[column].tolist(), column
    np.testing.assert_allclose(one["mos"], other["mos"], atol=off, rtol=0)


def test_p12_livec_has_the_same_ids_in_the_mirror_but_for_one(data_root: Path) -> None:
    one = open_dataset("livec", None, data_root / "labels" / "livec").labelled
    other = open_dataset("livec", None, data_root / "labels" / "unified").labelled
    assert set(one["id"]) - set(other["id"]) == {"100.bmp"}
    assert set(other["id"]) <= set(one["id"])


@pytest.mark.parametrize(
    ("name", "folder", "parts"),
    [
        ("biq2021", "biq2021", {"train": 10000, "test": 2000}),
        ("koniq10k", "koniq10k", {"train": 7058, "valid": 1000, "test": 2015}),
        ("uhdiqa", "unified", {"train": 4269, "valid": 904, "test": 900}),
        ("piq23-overall", "piq23", {"train": 3630, "test": 1486}),
    ],
)
def test_official_splits_have_their_published_sizes(
    data_root: Path, name: str, folder: str, parts: dict[str, int]
) -> None:
    rows = open_dataset(name, None, data_root / "labels" / folder).labelled
    assert rows["official_part"].value_counts().to_dict() == parts


def test_votes_and_deviations_are_carried_where_they_are_published(data_root: Path) -> None:
    labels = data_root / "labels"
    for name, folder, std, votes in (
        ("livec", "livec", True, False),
        ("csiq", "csiq", True, False),
        ("bid", "bid", True, True),
        ("piq23-overall", "piq23", True, True),
        ("agiqa3k", "agiqa3k", True, False),
        ("koniq10k", "koniq10k", False, True),
        ("spaq", "spaq", False, False),
    ):
        data = open_dataset(name, None, labels / folder)
        assert (data.labelled["std"].notna().all(), data.labelled["votes"].notna().all()) == (std, votes), name
        assert bool(data.spec.spread) == (std or votes)


def test_bid_votes_are_the_number_of_grades(data_root: Path) -> None:
    row = open_dataset("bid", None, data_root / "labels" / "bid").labelled.set_index("id").loc["DatabaseImage0001.JPG"]
    assert (row["votes"], row["mos"]) == (13, pytest.approx(4.516640224615385))


def test_bid_averages_and_numbers_of_grades_are_not_always_those_of_its_grades(data_root: Path) -> None:
    """So the published average is the label, and the page says where it disagrees."""
    file = data_root / "labels" / "bid" / "DatabaseGrades.xls"
    table = pd.read_excel(file, engine="calamine")
    grades = table[[name for name in table.columns if str(name).startswith("Grade #")]]
    off = (grades.mean(axis=1) - table["Average Subjective Grade"]).abs()
    assert (int((off > 1e-9).sum()), off.max()) == (7, pytest.approx(0.322, abs=1e-3))
    assert int((grades.notna().sum(axis=1) != table["Number of Grades"]).sum()) == 5
    spread = open_dataset("bid", None, file.parent).spec.spread
    assert "7 of 586 averages" in spread
    assert "5 numbers of grades" in spread


def test_the_images_at_hand_are_found_where_the_official_tree_has_them(data_root: Path) -> None:
    for name, present in (("csiq", 10), ("flive", 3), ("tid2013", 3), ("livec", 172), ("koniq10k", 1)):
        data = open_dataset(name, data_root / "images" / name, data_root / "labels" / name)
        assert (data.present, data.unlabelled) == (present, 0), name


def test_generators_and_sources_are_scenes(data_root: Path) -> None:
    scenes = {
        name: set(open_dataset(name, None, data_root / "labels" / folder).labelled["scene"])
        for name, folder in (("agiqa3k", "agiqa3k"), ("agiqa1k", "agiqa1k"), ("flive", "flive"), ("cid2013", "unified"))
    }
    assert scenes["agiqa3k"] == {"AttnGAN", "glide", "DALLE2", "midjourney", "sd1.5", "xl2.2"}
    assert scenes["agiqa1k"] == {"deepai", "dreamStudio"}
    assert scenes["flive"] == {"voc_emotic_ava", "blur_dataset", "EE371R"}
    assert scenes["cid2013"] == {f"IS_{number}" for number in ("I", "II", "III", "IV", "V", "VI")}
