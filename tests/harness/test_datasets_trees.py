"""Trees on a disk: the official one and the mirror's give one manifest, and a wrong one says what was looked for.

The trees here are made up (empty files at the places that pages of the registry name): they prove the code path, not
that the official downloads look so. Where no official file was read, the page says "tree unverified".
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from harness.datasets.conformance import check_dataset
from harness.datasets.dataset import open_dataset
from harness.datasets.errors import DatasetError
from harness.datasets.readers import read_mat
from harness.registry import datasets

MIRRORED = "dis_img_path,dis_type,ref_img_path,score\n"

# dataset: mirror table, row of it (image, reference), images of the official tree, images of the mirror's tree
TREES = {
    "csiq": (
        "CSIQ",
        [("CSIQ/dst_imgs/AWGN/1600.AWGN.1.png", "CSIQ/src_imgs/1600.png", 0.1)],
        ["dst_imgs/awgn/1600.AWGN.1.png", "src_imgs/1600.png"],
        ["dst_imgs/AWGN/1600.AWGN.1.png", "src_imgs/1600.png"],
    ),
    "live": (
        "LIVE",
        [("LIVE/jp2k/img2.bmp", "LIVE/refimgs/rapids.bmp", 30)],
        ["jp2k/img2.bmp", "refimgs/rapids.bmp"],
        ["jp2k/img2.bmp", "refimgs/rapids.bmp"],
    ),
    "livemd": (
        "LIVE_MD",
        [("LIVE_MD/To_Release/Part_1/blurjpeg/cows_blur1.bmp", "LIVE_MD/To_Release/Ref_Images/cows.bmp", 30)],
        ["Part 1/blurjpeg/cows_blur1.bmp", "Part 1/blurjpeg/cows.bmp"],
        ["To_Release/Part_1/blurjpeg/cows_blur1.bmp", "To_Release/Ref_Images/cows.bmp"],
    ),
    "kadid10k": (
        "KADID-10k",
        [("KADID-10k/images/I01_01_01.png", "KADID-10k/images/I01.png", 4.5)],
        ["images/I01_01_01.png", "images/I01.png"],
        ["I01_01_01.png", "images/I01.png"],
    ),
    "mdivl": (
        "MDIVL",
        [("M/M/Data_Noise_JPEG/bus_noise_3_jpg_30.jpg", "M/M/MD_IVLreference/OCEreferenceMD/bus.png", 40)],
        ["Data_Noise_JPEG/bus_noise_3_jpg_30.jpg", "MD_IVLreference/OCEreferenceMD/bus.png"],
        ["MDIVL/Data_Noise_JPEG/bus_noise_3_jpg_30.jpg", "MDIVL/MD_IVLreference/OCEreferenceMD/bus.png"],
    ),
    "cidiq50": (
        "CIDIQ_MOS50",
        [("C/Images/Reproduction/4_Gaussian_Blur/final01_d4_l1.bmp", "C/Images/Original/final01.bmp", 4.4)],
        ["Reproduction/4_Gaussian_Blur/final01_d4_l1.bmp", "Original/final01.bmp"],
        ["Images/Reproduction/4_Gaussian_Blur/final01_d4_l1.bmp", "Images/Original/final01.bmp"],
    ),
    "pipal": (
        "PIPAL",
        [("PIPAL/Distortion_3/A0001_00_00.bmp", "PIPAL/Train_Ref/A0001.bmp", 1500)],
        ["Train_Dist/Distortion_3/A0001_00_00.bmp", "Train_Ref/A0001.bmp"],
        ["Distortion_3/A0001_00_00.bmp", "Train_Ref/A0001.bmp"],
    ),
    "pdaphdds": (
        "PDAP-HDDS",
        [
            (
                "P/distorted_image/awgn/Plants_type5_awgn_1.bmp",
                "P/reference_image/all_reference_image/Plants_type5.bmp",
                3,
            )
        ],
        ["distorted_image/awgn/Plants_type5_awgn_1.bmp", "reference_image/Plants_type5.bmp"],
        ["distorted_image/awgn/Plants_type5_awgn_1.bmp", "reference_image/all_reference_image/Plants_type5.bmp"],
    ),
    "a57": (
        "A57",
        [("A57/images/dst_imgs/horse/A/horse.FLT.bmp", "A57/images/src_imgs/horse.bmp", 0.5)],
        ["dst_imgs/horse/A/horse.FLT.bmp", "src_imgs/horse.bmp"],
        ["images/dst_imgs/horse/A/horse.FLT.bmp", "images/src_imgs/horse.bmp"],
    ),
    "toyama": (
        "Toyama",
        [("Toyama/jpeg/kp01_55_jpg.bmp", "Toyama/ref_imgs/kp01.bmp", 3)],
        ["jpeg/kp01_55_jpg.bmp", "ref_imgs/kp01.bmp"],
        ["jpeg/kp01_55_jpg.bmp", "ref_imgs/kp01.bmp"],
    ),
    "tid2008": (
        "TID2008",
        [("TID2008/distorted_images/I01_01_1.bmp", "TID2008/reference_images/I01.BMP", 5)],
        ["distorted_images/I01_01_1.bmp", "reference_images/I01.BMP"],
        ["distorted_images/i01_01_1.bmp", "reference_images/i01.bmp"],
    ),
}


def tree(folder: Path, files: list[str], table: str, text: str) -> Path:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    (folder / f"{table}.txt").write_text(text)
    return folder


@pytest.mark.parametrize("name", TREES)
def test_both_trees_give_the_same_ids_and_their_references_have_rows(tmp_path: Path, name: str) -> None:
    table, rows, *trees = TREES[name]
    text = MIRRORED + "".join(f"{image},x,{reference},{score}\n" for image, reference, score in rows)
    read = [
        check_dataset(datasets().get(name), tree(tmp_path / str(number), files, table, text))
        for number, files in enumerate(trees)
    ]
    for data in read:
        assert data.present == len(rows) + 1
        assert data.manifest["is_reference"].sum() == 1
        assert data.unlabelled == 0
        # An image and its reference never stand on two sides of a split.
        assert data.manifest["group"].nunique() == 1
    assert read[0].manifest["id"].tolist() == read[1].manifest["id"].tolist()
    assert read[0].label_digest == read[1].label_digest


def test_an_unverified_tree_says_what_was_looked_for_what_is_there_and_that_the_reader_may_be_wrong(
    tmp_path: Path,
) -> None:
    (tmp_path / "ScoresAndImages").mkdir()
    (tmp_path / "mos.csv").write_text("a,1\n")
    with pytest.raises(DatasetError) as caught:
        open_dataset("gfiqa20k", tmp_path)
    message = str(caught.value)
    for part in (
        "'mos_val_rating.csv' or 'GFIQA.txt'",
        "ScoresAndImages/",
        "mos.csv",
        "the reader is wrong",
        "--labels",
    ):
        assert part in message
    with pytest.raises(DatasetError) as verified:
        open_dataset("spaq", tmp_path)
    assert "the reader is wrong" not in str(verified.value)


def test_names_of_another_dataset_are_refused_with_an_example(tmp_path: Path) -> None:
    (tmp_path / "TID2013.txt").write_text(f"{MIRRORED}KADID-10k/images/I01_01_01.png,x,KADID-10k/images/I01.png,4\n")
    with pytest.raises(
        DatasetError, match=r"names such as 'i01_01_1\.bmp'.*'KADID-10k/images/I01_01_01\.png' in row 1"
    ):
        open_dataset("tid2013", None, tmp_path)


def test_a_type_that_the_dataset_does_not_have_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mos_with_names.txt").write_text("5.1 i01_01_1.bmp\n5.0 i01_18_1.bmp\n")
    with pytest.raises(DatasetError, match=r"a distortion type of 01, .*'18'"):
        open_dataset("tid2008", None, tmp_path)


def test_one_of_several_needed_lists_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "imgListTrainRegression_score.txt").write_text("a.jpg 0.5\nb.jpg 0.4\n")
    with pytest.raises(DatasetError, match=r"'imgListValidationRegression_score\.txt'"):
        open_dataset("aadb", None, tmp_path)


def test_trees_of_other_sizes_are_not_mixed(tmp_path: Path) -> None:
    for place in ("1024x768/a.jpg", "512x384/a.jpg", "512x384/b.jpg"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).touch()
    (tmp_path / "koniq10k_scores_and_distributions.csv").write_text(
        "image_name,MOS,MOS_zscore\na.jpg,3,60\nb.jpg,2,40\n"
    )
    data = open_dataset("koniq10k", tmp_path)
    assert data.manifest["path"].tolist() == ["1024x768/a.jpg", ""]
    assert "images of 1024x768" in data.note


# --- made-up label files: each proves that the page reads what it says it reads, and no more


def made(name: str, folder: Path, **files: str) -> pd.DataFrame:
    for file, text in files.items():
        (folder / file.replace("__", ".")).write_text(text)
    return check_dataset(datasets().get(name), None, folder).labelled


def test_code_path_of_ava_counts_ratings(tmp_path: Path) -> None:
    lines = ["1 953619 0 1 5 17 38 36 15 6 5 1 1 22 1396", "2 953958 10 7 15 26 26 21 10 8 1 2 15 21 1396"]
    (tmp_path / "aesthetics_image_lists").mkdir()
    (tmp_path / "aesthetics_image_lists" / "generic_test.jpgl").write_text("953958\n")
    rows = made("ava", tmp_path, AVA__txt="\n".join(lines) + "\n")
    assert rows["mos"].tolist() == pytest.approx([5.637096774193548, 4.698412698412699])
    assert rows["votes"].tolist() == [124, 126]
    assert rows["official_part"].tolist() == ["train", "test"]
    assert (rows["std"] > 1).all()


def test_code_path_of_uhdiqa_metadata(tmp_path: Path) -> None:
    text = (
        "image_name,quality_mos,set,user_name\n1.jpg,0.7,training,ann\n2.jpg,0.5,validation,bob\n3.jpg,0.4,test,ann\n"
    )
    rows = made("uhdiqa", tmp_path, **{"uhd-iqa-metadata__csv": text})
    assert rows["official_part"].tolist() == ["train", "valid", "test"]
    assert rows["scene"].tolist() == ["ann", "bob", "ann"]


def test_code_path_of_gfiqa_groups_faces_of_one_photograph(tmp_path: Path) -> None:
    text = "img_name,mos,variance\n831_0.png,0.5,0.04\n831_1.png,0.4,0.09\n99_0.png,0.1,0.01\n"
    rows = made("gfiqa20k", tmp_path, mos_val_rating__csv=text)
    assert rows["group"].tolist() == ["831", "831", "99"]
    assert rows["std"].tolist() == pytest.approx([0.2, 0.3, 0.1])


def test_code_path_of_koniqplusplus(tmp_path: Path) -> None:
    rows = made("koniqplusplus", tmp_path, **{"koniq++database__csv": "filename,qmos,blur\na.jpg,3.5,0\nb.jpg,2,1\n"})
    assert rows["mos"].tolist() == [3.5, 2]


def test_code_path_of_the_mat_lists_of_livemd(tmp_path: Path) -> None:
    for number, kind in ((1, "jpeg"), (2, "noise")):
        part = tmp_path / f"Part {number}"
        part.mkdir()
        names = np.array([["cows_blur1.bmp"], [f"cows_blur1_{kind}1.bmp"]], dtype=object)
        savemat(part / "Imagelists.mat", {"distimgs": names})
        savemat(part / "Scores.mat", {"DMOSscores": np.array([[20.0, 40.0 + number]])})
    rows = check_dataset(datasets().get("livemd"), None, tmp_path).labelled
    assert rows["mos"].tolist() == [20, 41, 20, 42]
    assert rows["id"].iloc[0] == "blurjpeg/cows_blur1.bmp"
    assert set(rows["group"]) == {"cows"}


def workbook(path: Path, sheet: str, rows: list[list[object]]) -> None:
    """A workbook of one sheet, as small as Excel's format allows."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    kind, rels = "application/vnd.openxmlformats-officedocument.spreadsheetml", "application/vnd.openxmlformats-package"
    cells = "".join(
        "<row>"
        + "".join(
            f'<c t="inlineStr"><is><t>{v}</t></is></c>' if isinstance(v, str) else f"<c><v>{v}</v></c>" for v in row
        )
        + "</row>"
        for row in rows
    )
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        f'<Default Extension="rels" ContentType="{rels}.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>'
        f'<Override PartName="/xl/s.xml" ContentType="{kind}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets><sheet name="{sheet}" sheetId="1" '
        f'r:id="s"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="s" '
        f'Type="{office}/worksheet" Target="s.xml"/></Relationships>',
        "xl/s.xml": f'<worksheet xmlns="{main}"><sheetData>{cells}</sheetData></worksheet>',
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)


def test_code_path_of_the_workbook_of_cid2013(tmp_path: Path) -> None:
    rows = [["Source_ID", "Realigned MOS"], ["IS_I_C01_D01", 41.5], ["IS_VI_C08_D03", 60]]
    workbook(tmp_path / "CID2013 data - version 12112014.xlsx", "CID2013 MOS", rows)
    found = check_dataset(datasets().get("cid2013"), None, tmp_path).labelled
    assert found["id"].tolist() == ["IS_I_C01_D01.jpg", "IS_VI_C08_D03.jpg"]
    assert found["mos"].tolist() == [41.5, 60]
    assert found["scene"].tolist() == ["IS_I", "IS_VI"]


def test_code_path_of_the_three_workbooks_of_aigiqa20k(tmp_path: Path) -> None:
    for score, (part, name) in enumerate((("train", "a.png"), ("val", "b.png"), ("test", "c.png"))):
        workbook(tmp_path / f"info_{part}.xlsx", "Sheet1", [["name", "prompt", "mos"], [name, f"a {part}", score]])
    found = check_dataset(datasets().get("aigiqa20k"), None, tmp_path).labelled
    assert dict(zip(found["id"], found["official_part"], strict=True)) == {
        "a.png": "train",
        "b.png": "valid",
        "c.png": "test",
    }
    assert found["group"].tolist() == ["a train", "a val", "a test"]


@pytest.mark.parametrize("attribute", ["Details", "Exposure"])
def test_code_path_of_the_other_attributes_of_piq23(data_root: Path, tmp_path: Path, attribute: str) -> None:
    """The official scores and splits of one attribute under the name of another, whose own file was not read."""
    for file in ("Scene Split.csv", "Device Split.csv"):
        (tmp_path / file).write_bytes((data_root / "labels/piq23" / file).read_bytes())
    official = data_root / "labels/piq23/Scores_Overall.csv"
    (tmp_path / f"Scores_{attribute}.csv").write_bytes(official.read_bytes())
    found = open_dataset(f"piq23-{attribute.lower()}", None, tmp_path)
    whole = open_dataset("piq23-overall", None, data_root / "labels/piq23")
    assert found.name != whole.name
    assert found.labelled[["id", "mos", "official_part"]].equals(whole.labelled[["id", "mos", "official_part"]])


def test_mat_files_of_both_generations_are_read_alike(tmp_path: Path) -> None:
    numbers, names = np.array([[1.0, 2.0], [3.0, 4.0]]), ["a.bmp", "bb.bmp"]
    savemat(tmp_path / "old.mat", {"x": numbers, "names": np.array([names], dtype=object)})
    with h5py.File(tmp_path / "new.mat", "w") as file:
        file["x"] = numbers.T  # MATLAB writes columns as rows
        cells = [file.create_dataset(f"#refs#/{i}", data=[[ord(c)] for c in name]) for i, name in enumerate(names)]
        file.create_dataset("names", data=[[cell.ref] for cell in cells], dtype=h5py.ref_dtype)
    for variable in ("x", "names"):
        assert read_mat(tmp_path / "old.mat", variable).tolist() == read_mat(tmp_path / "new.mat", variable).tolist()
    with pytest.raises(DatasetError, match=r"the variable 'y'.*names, x"):
        read_mat(tmp_path / "new.mat", "y")
    (tmp_path / "new.mat").write_bytes((tmp_path / "new.mat").read_bytes()[:1000])
    with pytest.raises(DatasetError, match="MATLAB file"):
        read_mat(tmp_path / "new.mat", "x")
