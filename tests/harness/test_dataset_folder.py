"""A folder of one's own: declared beside the images or from Python, under its own name, held to the same
checks.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.datasets.dataset import open_dataset
from harness.datasets.errors import DatasetError
from harness.datasets.folder import open_folder
from harness.datasets.scale import ScoreScale
from harness.errors import UsageError


def photos(root: Path, table: str, toml: str = "", images: tuple[str, ...] = ("a.jpg", "b.jpg")) -> Path:
    (root / "images").mkdir(parents=True)
    for name in images:
        (root / "images" / name).write_bytes(b"x")
    (root / "labels.csv").write_text(table)
    if toml:
        (root / "dataset.toml").write_text(toml)
    return root


PLAIN = "id,mos\na.jpg,3.5\nb.jpg,1.5\n"


def test_a_csv_with_id_and_mos_is_enough_and_its_scale_is_open(tmp_path: Path) -> None:
    data = open_dataset("folder", photos(tmp_path / "My Photos", PLAIN))
    assert (data.name, data.present, data.missing, data.subset) == ("my-photos", 2, 0, False)
    assert not data.scale.closed
    assert data.quality_map(["a.jpg", "b.jpg"]).source == "fitted on 2 train rows"


def test_a_declared_folder_has_its_own_name_scale_direction_and_columns(tmp_path: Path) -> None:
    toml = """
name = "lab"
low = 0
high = 10
better = "lower"
kind = "DMOS"
[columns]
id = "picture"
mos = "score"
group = "scene no"
"""
    table = "picture;score;scene no;std\na.jpg;2;k1;0.5\nb.jpg;8;k1;0.25\n"
    data = open_dataset("folder", photos(tmp_path, table, toml))
    assert data.name == "lab"
    assert data.quality_map().to_quality(data.labelled["mos"]).tolist() == pytest.approx([0.8, 0.2])
    assert data.labelled["group"].tolist() == ["k1", "k1"]
    assert data.labelled["std"].tolist() == [0.5, 0.25]
    assert str(data.scale) == "DMOS 0..10, lower is better"


def test_a_folder_can_be_opened_by_the_name_it_states(tmp_path: Path) -> None:
    root = photos(tmp_path, PLAIN, 'name = "lab"')
    assert open_dataset("lab", root).name == "lab"
    with pytest.raises(UsageError, match=r"Unknown dataset 'lap'.*\n.*says the name 'lab'. Type --dataset lab"):
        open_dataset("lap", root)


def test_a_folder_that_is_none_says_what_it_lacks(tmp_path: Path) -> None:
    """The trap: a new user's own CSV with other columns got nothing but a list of other people's datasets."""
    root = photos(tmp_path, "file,score\na.jpg,2\nb.jpg,3\n")
    with pytest.raises(UsageError, match=r"columns id and mos, found labels\.csv without them.*dataset\.toml"):
        open_dataset("holiday", root)
    (root / "labels.csv").unlink()
    with pytest.raises(UsageError, match="columns id and mos, found no CSV"):
        open_dataset("holiday", root)


def test_an_undeclared_folder_can_be_given_a_name_and_a_typo_is_still_a_typo(tmp_path: Path) -> None:
    assert open_dataset("holiday", photos(tmp_path / "a", PLAIN)).name == "holiday"
    with pytest.raises(UsageError, match="did you mean 'koniq10k'"):
        open_dataset("koniq10", photos(tmp_path / "b", PLAIN))


def test_a_folder_may_not_take_the_name_of_a_built_in(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no built-in dataset has"):
        open_dataset("folder", photos(tmp_path, PLAIN, 'name = "spaq"'))


@pytest.mark.parametrize("toml", ["nme = 'x'", "low = 'one'", "better = 'up'", "low = "])
def test_a_mistake_in_the_declaration_is_named(tmp_path: Path, toml: str) -> None:
    with pytest.raises(DatasetError, match=r"dataset\.toml"):
        open_dataset("folder", photos(tmp_path, PLAIN, toml))


def test_labels_outside_the_declared_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="1 of 2 labels outside"):
        open_dataset("folder", photos(tmp_path, PLAIN, "name = 'lab'\nlow = 1\nhigh = 3"))


def test_references_group_images_and_a_published_split_is_read(tmp_path: Path) -> None:
    table = (
        "id,mos,reference,distortion,level,official_part\n"
        "a.jpg,3,r1,blur,1,training\nb.jpg,2,r1,blur,2,Validation\nc.jpg,1,r2,blur,3,test\n"
    )
    data = open_dataset("folder", photos(tmp_path / "lab", table))
    rows = data.labelled
    assert rows["group"].tolist() == ["r1", "r1", "r2"]
    assert rows["official_part"].tolist() == ["train", "valid", "test"]
    assert rows["level"].tolist() == [1, 2, 3]
    assert data.spec.official_split == "column official_part"
    assert data.missing == 1


def test_images_in_subfolders_and_backslashes_are_found(tmp_path: Path) -> None:
    root = photos(tmp_path, "id,mos,path\none,1,sub\\x.PNG\ntwo,2,sub/y.png\n", images=())
    (root / "images" / "Sub").mkdir()
    for name in ("x.png", "y.png", "z.png"):
        (root / "images" / "Sub" / name).touch()
    data = open_folder(root, name="lab")
    assert data.manifest["path"].tolist() == ["images/Sub/x.png", "images/Sub/y.png"]
    assert data.unlabelled == 1


def test_python_may_declare_what_the_folder_does_not(tmp_path: Path) -> None:
    root = photos(tmp_path, "file,score\na.jpg,3.5\nb.jpg,1.5\n")
    scale = ScoreScale("MOS", 1, 5, True, "MOS")
    data = open_folder(root, name="lab", scale=scale, columns={"id": "file", "mos": "score"})
    assert data.quality_map().to_quality(data.labelled["mos"]).tolist() == pytest.approx([0.625, 0.125])


def test_numeric_looking_ids_stay_text(tmp_path: Path) -> None:
    data = open_folder(photos(tmp_path, "id,mos\n001,3\n002,1\n", images=("001", "002")), name="lab")
    assert data.manifest["id"].tolist() == ["001", "002"]
    assert data.present == 2


def test_a_csv_elsewhere_is_given_by_its_path(tmp_path: Path) -> None:
    root = photos(tmp_path / "lab", "id,mos\na.jpg,1\n")
    (tmp_path / "other.csv").write_text(PLAIN)
    assert len(open_folder(root, tmp_path / "other.csv", name="lab").labelled) == 2


def test_two_tables_without_a_declaration_are_ambiguous(tmp_path: Path) -> None:
    root = photos(tmp_path, PLAIN)
    (root / "labels.csv").rename(root / "one.csv")
    (root / "two.csv").write_text(PLAIN)
    with pytest.raises(DatasetError, match=r"'labels\.csv' or 'mos\.csv'"):
        open_folder(root, name="lab")
