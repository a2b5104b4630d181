"""Each trap of the field's label files, by name: the number that it would silently change is pinned here."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.io import loadmat, savemat
from scipy.stats import spearmanr

from harness.datasets.dataset import Dataset, open_dataset
from harness.datasets.errors import DatasetError
from harness.datasets.manifest import official_names, parts_of
from harness.datasets.verify import level_trends
from harness.fit import asked_test
from harness.registry import datasets
from harness.splits import leakage
from harness.splits.errors import SplitUsageError
from harness.splits.kinds import whole_splits


def labels(data_root: Path, name: str, folder: str = "") -> Dataset:
    return open_dataset(name, None, data_root / "labels" / (folder or name))


def quality(data: Dataset, image: str) -> float:
    row = data.labelled.set_index("id").loc[image]
    return float(data.quality_map(data.labelled["id"]).to_quality(row["mos"]))


# 1 --- KADID-10k


def test_p07_kadid_dmos_is_higher_is_better(data_root: Path) -> None:
    data = labels(data_root, "kadid10k")
    assert (data.scale.kind, data.scale.higher_is_better, data.scale.low, data.scale.high) == ("DMOS", True, 1, 5)
    trends = level_trends(data.labelled)
    assert sum(trend < -0.2 for trend in trends.values()) == 24
    assert abs(trends["contrast change"]) < 0.2
    assert quality(data, "i01_01_01.png") > quality(data, "i01_01_05.png")


def test_kadid_fourth_column_is_a_variance(tmp_path: Path) -> None:
    """Proves the code path only: this dmos.csv is made up, no official one is at hand."""
    (tmp_path / "dmos.csv").write_text(
        "dist_img,ref_img,dmos,var\nI01_01_01.png,I01.png,4.57,0.49\nI01_01_02.png,I01.png,4.33,0.81\n"
    )
    data = open_dataset("kadid10k", None, tmp_path)
    assert data.labelled["std"].tolist() == pytest.approx([0.7, 0.9])
    assert "variance" in data.spec.spread


# 2 --- KonIQ-10k


def test_p08_koniq_has_two_columns_called_mos(data_root: Path, tmp_path: Path) -> None:
    data = labels(data_root, "koniq10k")
    sets = pd.read_csv(data_root / "labels" / "koniq10k" / "koniq10k_distributions_sets.csv").set_index("image_name")
    raw = sum(k * sets[f"c{k}"] for k in range(1, 6)).loc[data.labelled["id"]]
    assert (data.labelled.set_index("id").loc["10004473376.jpg", "mos"], raw["10004473376.jpg"]) == pytest.approx(
        (77.38, 3.829), abs=0.01
    )
    assert spearmanr(data.labelled["mos"], raw).statistic == pytest.approx(0.9919, abs=5e-5)
    # The mirror archive's table has the raw one: refused, not mixed in.
    pd.DataFrame({"dis_img_path": [f"KonIQ-10k/1024x768/{name}" for name in raw.index], "score": raw}).to_csv(
        tmp_path / "KonIQ-10k.txt", index=False
    )
    with pytest.raises(DatasetError, match="the raw scale 1-5"):
        open_dataset("koniq10k", None, tmp_path)


# 3 --- LIVE


def whole_live(data_root: Path, folder: Path, realigned: bool = True, hdf5: bool = False) -> Path:
    """The official lists, put together again: scores from the cut copy, flags and names from the restated list."""
    source = data_root / "labels" / "live"
    names = pd.read_csv(source / "MOS_NAME_REF.txt", sep=r"\s+", header=None)
    flags = (names[0] == 0).astype(float).to_numpy()
    scores = loadmat(source / "dmos_realigned.mat")
    content = {"dmos_new": scores["dmos_new"].ravel(), "dmos_std": scores["dmos_std"].ravel(), "orgs": flags}
    if not realigned:
        content = {"dmos": names[0].to_numpy(), "orgs": flags}
    path = folder / ("dmos_realigned.mat" if realigned else "dmos.mat")
    references = names[2].tolist()
    if not hdf5:
        savemat(path, content)
        savemat(folder / "refnames_all.mat", {"refnames_all": np.array([references], dtype=object)})
        return folder
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in content.items():
            file[name] = values[:, None]
    with h5py.File(folder / "refnames_all.mat", "w", userblock_size=512) as file:
        cells = [file.create_dataset(f"#refs#/{i}", data=[[ord(c)] for c in name]) for i, name in enumerate(references)]
        file.create_dataset("refnames_all", data=[[cell.ref] for cell in cells], dtype=h5py.ref_dtype)
    for name in (path, folder / "refnames_all.mat"):
        with name.open("r+b") as file:
            file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return folder


def test_p09_live_has_two_label_files_whose_orders_differ(data_root: Path) -> None:
    realigned, older = labels(data_root, "live", "unified"), labels(data_root, "live-dmos", "live")
    assert realigned.labelled["id"].tolist() == older.labelled["id"].tolist()
    assert spearmanr(realigned.labelled["mos"], older.labelled["mos"]).statistic == pytest.approx(0.9575, abs=5e-5)
    assert realigned.label_digest != older.label_digest
    assert not realigned.scale.closed
    assert not realigned.scale.higher_is_better
    assert "live-dmos" in realigned.spec.shares


def test_live_orgs_must_have_982_entries_and_the_file_cut_to_779_is_refused(data_root: Path) -> None:
    with pytest.raises(DatasetError, match=r"'orgs' with 982 entries.*found 779: the file was cut"):
        labels(data_root, "live")


@pytest.mark.parametrize("hdf5", [False, True], ids=["MATLAB 5", "MATLAB 7.3"])
def test_live_orgs_leave_779_images_which_are_those_of_the_mirror_table(
    data_root: Path, tmp_path: Path, hdf5: bool
) -> None:
    data = open_dataset("live", None, whole_live(data_root, tmp_path, hdf5=hdf5))
    mirror = labels(data_root, "live", "unified")
    for column in ("id", "group", "reference", "distortion"):
        assert data.manifest[column].tolist() == mirror.manifest[column].tolist()
    np.testing.assert_allclose(data.manifest["mos"], mirror.manifest["mos"], rtol=0, atol=1e-12)
    assert data.labelled["distortion"].value_counts().tolist() == [175, 169, 145, 145, 145]
    assert data.labelled["std"].gt(0).all()


def test_p04_live_hidden_references_are_no_test_images(data_root: Path, tmp_path: Path) -> None:
    older = open_dataset("live-dmos", None, whole_live(data_root, tmp_path, realigned=False))
    assert len(older.labelled) == 779
    assert older.labelled["mos"].min() > 0
    assert older.label_digest == labels(data_root, "live-dmos", "live").label_digest


# 4 --- CSIQ


def test_csiq_is_lower_is_better(data_root: Path) -> None:
    data = labels(data_root, "csiq")
    assert str(data.scale) == "DMOS 0..1, lower is better"
    assert quality(data, "1600.awgn.1.png") > quality(data, "1600.awgn.5.png")
    trends = level_trends(data.labelled)
    assert all(trend > 0.8 for trend in trends.values()), trends


def test_csiq_text_and_workbook_are_equal_and_have_116_contrast_images(data_root: Path, tmp_path: Path) -> None:
    shutil.copy(data_root / "labels" / "csiq" / "csiq.beta.txt", tmp_path)
    text = open_dataset("csiq", None, tmp_path)
    workbook = labels(data_root, "csiq")
    assert len(text.labelled) == len(workbook.labelled) == 866
    for column in ("id", "group", "distortion", "level"):
        assert text.manifest[column].tolist() == workbook.manifest[column].tolist()
    for column in ("mos", "std"):
        np.testing.assert_allclose(text.labelled[column], workbook.labelled[column], atol=5.01e-4, rtol=0)
    counts = workbook.labelled["distortion"].value_counts()
    assert counts["contrast change"] == 116
    assert set(counts.drop("contrast change")) == {150}
    assert "rounded" in text.note


def test_p06_a_list_whose_contrast_labels_are_those_of_the_noise_is_refused(data_root: Path, tmp_path: Path) -> None:
    """The trap: a widely copied CSIQ list has 750 rows, no blur, and contrast rows with the labels of white noise."""
    rows = labels(data_root, "csiq").labelled
    noise = rows[rows["distortion"] == "additive Gaussian noise"]
    copied = noise.assign(id=noise["id"].str.replace(".awgn.", ".contrast.", regex=False))
    left = rows[~rows["distortion"].isin(["Gaussian blur", "contrast change"])]
    told = pd.concat([left, copied])[["id", "mos"]]
    assert len(told) == 750
    told.to_csv(tmp_path / "csiq_label.txt", sep=" ", header=False, index=False)
    with pytest.raises(DatasetError, match="150 labels of 'contrast change' are those of 'additive Gaussian noise'"):
        open_dataset("csiq", None, tmp_path)


# 5 --- TID


def test_tid_names_come_in_mixed_case_and_levels_are_no_direction(data_root: Path) -> None:
    text = (data_root / "labels" / "tid2013" / "mos_with_names.txt").read_text()
    assert (text.count(" I"), text.count(" i")) == (75, 2925)
    data = labels(data_root, "tid2013")
    assert len(data.labelled) == 3000
    assert (data.labelled["id"] == data.labelled["id"].str.lower()).all()
    assert level_trends(data.labelled)["local block-wise distortions"] > 0.5
    for name, folder in (("tid2013", ""), ("tid2008", "unified")):
        assert labels(data_root, name, folder).scale.higher_is_better


def test_tid2013_has_24_types_though_the_mirror_table_names_23(data_root: Path) -> None:
    table = pd.read_csv(data_root / "labels" / "unified" / "TID2013.txt")
    assert table["dis_type"].nunique() == 23
    assert labels(data_root, "tid2013", "unified").labelled["distortion"].nunique() == 24


def test_tid2008_is_contained_in_tid2013_and_the_registry_says_so(data_root: Path) -> None:
    eight, thirteen = labels(data_root, "tid2008", "unified"), labels(data_root, "tid2013")
    assert set(eight.labelled["group"]) == set(thirteen.labelled["group"])
    assert set(eight.labelled["distortion"]) < set(thirteen.labelled["distortion"])
    assert "tid2013" in eight.spec.shares
    assert "tid2008" in thirteen.spec.shares


# 6 --- LIVE Challenge


def test_p05_livec_has_1169_rows_of_which_seven_are_training_images(data_root: Path) -> None:
    folder = data_root / "labels" / "livec"
    assert loadmat(folder / "AllMOS_release.mat")["AllMOS_release"].size == 1169
    assert len(labels(data_root, "livec").labelled) == 1162
    assert len(labels(data_root, "livec", "unified").labelled) == 1161


# 7, 14 --- SPAQ; the declared range


def test_p17_spaq_labels_are_mapped_by_the_declared_range_not_by_the_observed_one(data_root: Path) -> None:
    data = labels(data_root, "spaq")
    worst, best = data.labelled.loc[data.labelled["mos"].isin([2.0, 96.0])].sort_values("mos")["id"].iloc[[0, -1]]
    assert quality(data, worst) == pytest.approx(0.02)
    assert quality(data, best) == pytest.approx(0.96)
    assert data.quality_map(data.labelled["id"].iloc[:5]) == data.quality_map()


# 8 --- FLIVE


def test_p13_flive_official_test_is_1827_images_not_the_7308_of_others(data_root: Path) -> None:
    data = labels(data_root, "flive")
    parts = data.labelled["official_part"].value_counts().to_dict()
    assert parts == {"train": 39810 - 1827, "test": 1827}
    sizes = pd.read_csv(data_root / "labels" / "flive" / "labels640.csv")
    assert (np.maximum(sizes["width_image"], sizes["height_image"]) > 640).all()
    assert "7,308" in data.spec.beware
    assert "1,827" in data.spec.official_split


def test_flive_validation_flags_are_read_where_they_are(data_root: Path, tmp_path: Path) -> None:
    """Proves the code path only: the flags are made up, the official file is not at hand."""
    for file in ("labels_image.csv", "labels640.csv"):
        shutil.copy(data_root / "labels" / "flive" / file, tmp_path)
    names = pd.read_csv(tmp_path / "labels_image.csv")["name"].iloc[:6]
    flags = pd.DataFrame({"name_image": names, "is_valid": [True, False] * 3})
    flags.to_csv(tmp_path / "labels=640_padded.csv", index=False)
    rows = open_dataset("flive", None, tmp_path).labelled.set_index("id")
    assert rows.loc[names.iloc[[0, 2, 4]], "official_part"].tolist() == ["valid"] * 3


# 9 --- PIPAL


def test_pipal_elo_has_no_declared_range_and_its_references_are_groups(tmp_path: Path) -> None:
    """Proves the code path only: labels are made up in the form that other projects read."""
    (tmp_path / "Train_Label").mkdir()
    for photo in ("A0001", "A0002"):
        lines = [f"{photo}_00_0{i}.bmp,{1400 + 10 * i}" for i in range(3)]
        (tmp_path / "Train_Label" / f"{photo}.txt").write_text("\n".join(lines) + "\n")
    data = open_dataset("pipal", None, tmp_path)
    assert (len(data.labelled), data.labelled["group"].nunique()) == (6, 2)
    assert (data.scale.kind, data.scale.closed, data.scale.higher_is_better) == ("ELO", False, True)
    with pytest.raises(DatasetError, match="train rows for the open scale"):
        data.quality_map()


# 10 --- PIQ23


def test_p22_piq23_scenes_are_groups_for_the_per_scene_median(data_root: Path) -> None:
    data = labels(data_root, "piq23-overall", "piq23")
    rows = data.labelled
    assert rows["scene"].nunique() == 50
    assert (rows["group"] == rows["scene"]).all()
    # The labels of each scene are centred on their own: across scenes they say nothing.
    assert rows.groupby("scene")["mos"].mean().abs().max() < 1e-12
    assert "median over scenes" in data.spec.beware
    assert not data.scale.closed


def test_piq23_has_two_official_splits_and_the_device_one_shares_its_scenes(data_root: Path) -> None:
    rows = labels(data_root, "piq23-overall", "piq23").labelled
    scene, device = parts_of(rows), parts_of(rows, "device")
    count = {name: (int((p == "train").sum()), int((p == "test").sum())) for name, p in (("s", scene), ("d", device))}
    assert count == {"s": (3630, 1486), "d": (3604, 1512)}
    sides = [set(rows["scene"][scene == part]) for part in ("train", "test")]
    assert not sides[0] & sides[1]
    assert set(rows["scene"][device == "train"]) == set(rows["scene"][device == "test"])
    assert official_names(rows) == ["scene", "device"]
    assert (parts_of(rows, "scene") == scene).all()
    with pytest.raises(DatasetError, match="found scene, device"):
        parts_of(rows, "camera")


def test_piq23_official_alone_says_which_split_it_is_and_the_other_has_a_name(data_root: Path) -> None:
    """The trap: two published splits under one name, put into one row of a table."""
    data = labels(data_root, "piq23-overall", "piq23")
    (default,), (scene,), (device,) = (whole_splits(f"official{name}", data) for name in ("", ":scene", ":device"))
    assert default == scene
    assert (default.name, default.kind) == ("official:scene", "official:scene")
    assert "also published: official:device" in default.note
    table = pd.read_csv(data_root / "labels/piq23/Device Split.csv")
    tested = table.loc[table["SPLIT"] == "Test", "IMAGE"]
    assert set(device.test) == set(tested)
    assert asked_test(data, device) == sorted(tested)
    assert device.kind != scene.kind
    assert len({*device.train, *device.valid}) == 3604
    with pytest.raises(SplitUsageError, match="official:scene, official:device, random"):
        whole_splits("official:camera", data)


def test_piq23_device_split_shares_scenes_and_is_refused_until_that_is_allowed(data_root: Path) -> None:
    data = labels(data_root, "piq23-overall", "piq23")
    scene, device = (whole_splits(f"official:{name}", data)[0] for name in ("scene", "device"))
    assert leakage.check(scene, data.manifest) == []
    assert {leak.what for leak in leakage.check(device, data.manifest)} == {"group"}


def test_piq23_three_attributes_are_three_datasets_that_share_their_photographs() -> None:
    for name in ("piq23-details", "piq23-exposure", "piq23-overall"):
        assert len([other for other in datasets().get(name).shares if other.startswith("piq23")]) == 2


# 11 --- AGIQA


def test_agiqa3k_quality_reaches_4_49(data_root: Path) -> None:
    data = labels(data_root, "agiqa3k")
    assert data.labelled["mos"].max() == pytest.approx(4.489, abs=1e-3)
    assert data.scale.high == 5


def test_p23_agiqa_images_of_one_prompt_stay_on_one_side(data_root: Path) -> None:
    """The trap: images of one prompt resemble each other, whichever generator made them."""
    for name, prompts in (("agiqa3k", 300), ("agiqa1k", 720)):
        data = labels(data_root, name)
        assert data.labelled["group"].nunique() == prompts
        assert data.spec.group_rule == "prompt"
        group = dict(zip(data.labelled["id"], data.labelled["group"], strict=True))
        for split in whole_splits("random:3", data):
            sides = [{group[image] for image in split.part(part)} for part in ("train", "valid", "test")]
            assert sum(map(len, sides)) == prompts


def test_agiqa1k_name_with_two_labels_counts_for_neither(data_root: Path) -> None:
    table = pd.read_excel(data_root / "labels" / "agiqa1k" / "AIGC_MOS_Zscore.xlsx", engine="calamine")
    assert len(table) == 1080
    data = labels(data_root, "agiqa1k")
    assert len(data.manifest) == 1079
    assert data.failures == {"two labels: 0.441416 and 2.08412": 1}
    assert "dreamStudio_8_9_1_1.jpg" not in set(data.labelled["id"])


def test_agiqa1k_has_two_label_files_and_the_z_scored_one_is_meant(data_root: Path, tmp_path: Path) -> None:
    shutil.copy(data_root / "labels" / "agiqa1k" / "AIGC_all.csv", tmp_path)
    with pytest.raises(DatasetError, match=r"AIGC_MOS_Zscore\.xlsx.*AIGC_all\.csv"):
        open_dataset("agiqa1k", None, tmp_path)


# 12 --- directions, CID2013's sets, CIDIQ's distances


def test_p07_directions_of_sets_with_levels_fit_their_levels(data_root: Path) -> None:
    lower = {"live", "live-dmos", "csiq", "livemd", "mdid2013", "a57"}
    for name in datasets().names():
        assert datasets().get(name).scale.higher_is_better == (name not in lower), name
    for name, sign in (("a57", 1), ("vclfer", -1), ("cidiq50", -1), ("cidiq100", -1), ("tid2008", -1)):
        trends = list(level_trends(labels(data_root, name, "unified").labelled).values())
        assert float(np.median(trends)) * sign > 0.5, (name, trends)


def test_sdivl_jpeg_number_is_a_quality_factor_not_a_level(data_root: Path) -> None:
    rows = labels(data_root, "sdivl", "unified").labelled
    assert (rows["level"] == 0).all()
    jpeg = rows[rows["distortion"] == "JPEG compression"]
    factor = jpeg["id"].str.extract(r"_q_(\d+)_", flags=2)[0].astype(int)
    assert spearmanr(factor, jpeg["mos"]).statistic > 0.6


def test_cid2013_has_six_sets_scored_apart(data_root: Path) -> None:
    data = labels(data_root, "cid2013", "unified")
    assert (data.labelled["scene"].nunique(), data.labelled["group"].nunique()) == (6, 36)
    assert data.missing == 480
    assert not data.scale.closed


def test_cidiq_has_two_label_sets_of_the_same_images(data_root: Path) -> None:
    near, far = labels(data_root, "cidiq50", "unified"), labels(data_root, "cidiq100", "unified")
    assert near.manifest["id"].tolist() == far.manifest["id"].tolist()
    assert near.label_digest != far.label_digest
    assert "cidiq100" in near.spec.shares
    assert "cidiq50" in far.spec.shares


def test_livemd_gives_one_name_in_two_parts_two_ids(data_root: Path) -> None:
    rows = labels(data_root, "livemd", "unified").labelled
    names = rows["id"].str.rpartition("/")[2]
    assert (len(rows), names.nunique()) == (450, 405)


def test_p04_toyama_scored_references_are_not_tested(data_root: Path) -> None:
    data = labels(data_root, "toyama", "unified")
    hidden = data.manifest[data.manifest["is_reference"] & data.manifest["mos"].notna()]
    assert len(hidden) == 28
    assert not set(hidden["id"]) & set(data.labelled["id"])


# 13 --- AADB


def test_aadb_duplicate_paths_are_one_image_each_and_never_train(tmp_path: Path) -> None:
    """Proves the code path only: the lists are made up in the form that other projects read."""
    lists = {"Train": ("a.jpg", "b.jpg", "twice.jpg"), "Validation": ("c.jpg", "twice.jpg"), "TestNew": ("d.jpg",)}
    for part, names in lists.items():
        lines = [f"{name} {0.1 * (ord(name[0]) - 96) % 1:.2f}" for name in names]
        (tmp_path / f"imgList{part}Regression_score.txt").write_text("\n".join(lines) + "\n")
    data = open_dataset("aadb", None, tmp_path)
    assert dict(zip(data.labelled["id"], data.labelled["official_part"], strict=True)) == {
        "a.jpg": "train",
        "b.jpg": "train",
        "c.jpg": "valid",
        "d.jpg": "test",
        "twice.jpg": "valid",
    }
    assert "names that stand twice: 1" in data.note


def test_aadb_mirror_table_has_one_row_an_image(tmp_path: Path) -> None:
    """Proves the code path only: the real table has 9,958 rows and 9,831 paths."""
    rows = ["AADB/datasetImages_originalSize/a.jpg,x,0.6", "AADB/datasetImages_originalSize/b.jpg,x,0.2"]
    (tmp_path / "AADB.txt").write_text("\n".join(["dis_img_path,dis_type,score", *rows, rows[0]]) + "\n")
    data = open_dataset("aadb", None, tmp_path)
    assert data.labelled["mos"].tolist() == [0.6, 0.2]
    assert datasets().get("aadb").count == 9831
