"""Other projects' splits become lists of ids that reproduce what was counted in their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.datasets.dataset import Dataset, open_dataset, reader_of
from harness.splits import leakage, published
from harness.splits.errors import SplitError, SplitUsageError
from harness.splits.split import Split
from harness.verbs import splits

LISTS = {
    "live": "unified/LIVE.txt",
    "csiq": "unified/CSIQ.txt",
    "tid2013": "tid2013/mos_with_names.txt",
    "kadid10k": "kadid10k/names_with_mos.txt",
    "flive": "flive/labels_image.csv",
    "koniq10k": "koniq10k/koniq10k_distributions_sets.csv",
    "livec": "livec/AllImages_release.mat",
}

pytestmark = pytest.mark.data


def labelled(name: str, data_root: Path) -> tuple[Dataset, list[str]]:
    file = data_root / "labels" / LISTS[name]
    data = open_dataset(name, None, file.parent)
    return data, reader_of(data.spec).order(file)


def arniqa(name: str, data_root: Path, number: int = 0) -> tuple[Dataset, Split]:
    data, order = labelled(name, data_root)
    folder, rows_of = data_root / "splits/arniqa" / published.ARNIQA[name].folder, Path(LISTS[name]).name
    return data, published.arniqa(data, folder, order, rows_of, number)


@pytest.mark.parametrize("name", ["live", "csiq", "tid2013", "kadid10k"])
def test_arniqas_splits_share_no_reference_when_rows_are_counted_in_the_right_list(name: str, data_root: Path) -> None:
    """The trap: row numbers read against another order look like a split and leak."""
    for number in range(10):
        data, split = arniqa(name, data_root, number)
        assert leakage.check(split, data.manifest) == []
        assert set(split.ids) <= set(data.judged)


def test_arniqas_tid_and_kadid_have_the_references_that_its_paper_states(data_root: Path) -> None:
    for name, expected in (("tid2013", (18, 2, 5)), ("kadid10k", (57, 8, 16))):
        data, split = arniqa(name, data_root)
        group = dict(zip(data.manifest["id"], data.manifest["group"], strict=True))
        assert tuple(len({group[i] for i in split.part(p)}) for p in ("train", "valid", "test")) == expected


def test_another_order_of_rows_leaks_and_is_refused(data_root: Path) -> None:
    """The trap: the authors' list of CSIQ has the same rows in another order, and made a split that named CSIQ.txt."""
    labels, files = data_root / "labels/csiq", data_root / "splits/arniqa/CSIQ"
    order = labels / "csiq.beta.txt"
    with pytest.raises(SplitError, match=r"counted in csiq\.beta\.txt.* share 25 groups.*Expected CSIQ\.txt"):
        splits.import_published("csiq", "arniqa", files, Path("x.json"), order=order, labels=labels)
    assert not Path("x.json").exists()


def test_lists_of_liqe_that_share_groups_are_refused(data_root: Path, tmp_path: Path) -> None:
    data = open_dataset("csiq", None, data_root / "labels/csiq")
    lists = {file.name: file.read_text(encoding="utf-8") for file in (data_root / "splits/liqe/CSIQ/1").glob("*.txt")}
    lists["csiq_test_clip.txt"] += lists["csiq_train_clip.txt"].splitlines()[0]
    for name, text in lists.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(SplitError, match="share"):
        published.liqe(data, tmp_path)


def test_the_note_names_the_list_that_was_read(data_root: Path) -> None:
    assert "koniq10k_distributions_sets.csv row order" in arniqa("koniq10k", data_root)[1].note


def test_padding_is_no_row(data_root: Path) -> None:
    for name, folder in (("csiq", "CSIQ"), ("live", "LIVE")):
        train = np.load(data_root / f"splits/arniqa/{folder}/train.npy")
        for number in range(10):
            _, split = arniqa(name, data_root, number)
            assert len(split.train) == int((train[number] >= 0).sum())


def test_arniqas_koniq_split_is_not_the_official_one(data_root: Path) -> None:
    data, split = arniqa("koniq10k", data_root)
    assert split.counts == {"train": 7051, "valid": 1007, "test": 2015}
    official = data.manifest.loc[data.manifest["official_part"] == "test", "id"]
    assert set(split.test) != set(official)
    assert "supposed" in split.note


def test_arniqas_flive_split_is_the_official_test_and_leaves_three_rows_out(data_root: Path) -> None:
    data, split = arniqa("flive", data_root)
    assert split.counts == {"train": 30253, "valid": 7727, "test": 1827}
    assert len(data.judged) - len(split.ids) == 3
    with pytest.raises(SplitUsageError, match="holds 1 splits"):
        arniqa("flive", data_root, 1)


@pytest.mark.parametrize(
    ("name", "labels", "folder", "counts"),
    [
        ("bid", "bid", "BID", (410, 59, 117)),
        ("csiq", "csiq", "CSIQ", (607, 87, 172)),
        ("livec", "livec", "ChallengeDB_release", (813, 116, 233)),
        ("live", "unified", "databaserelease2", (538, 81, 160)),
    ],
)
def test_liqes_lists_are_found_image_by_image(
    name: str, labels: str, folder: str, counts: tuple[int, int, int], data_root: Path
) -> None:
    data = open_dataset(name, None, data_root / "labels" / labels)
    split = published.liqe(data, data_root / f"splits/liqe/{folder}/1")
    assert tuple(split.counts.values()) == counts
    assert leakage.check(split, data.manifest) == []


def test_liqes_live_and_csiq_scores_are_turned_round(data_root: Path) -> None:
    """Which is why its lists are read for names only: their second column is no label of ours."""
    for name, labels, folder in (("live", "unified", "databaserelease2"), ("csiq", "csiq", "CSIQ")):
        data = open_dataset(name, None, data_root / "labels" / labels)
        mos = {published._key(i): m for i, m in zip(data.labelled["id"], data.labelled["mos"], strict=True)}
        lines = next((data_root / f"splits/liqe/{folder}/1").glob("*_test_clip.txt")).read_text().splitlines()
        pairs = [(mos[published._key(line.split("\t")[0])], float(line.split("\t")[1])) for line in lines]
        assert np.corrcoef(np.array(pairs).T)[0, 1] < -0.99


def test_the_command_writes_a_file_that_checks_itself(data_root: Path) -> None:
    labels = data_root / "labels/unified"
    splits.import_published("csiq", "arniqa", data_root / "splits/arniqa/CSIQ", Path("a.json"), labels=labels)
    checked = splits.check(Path("a.json"), "csiq", labels=labels)
    assert checked.leaks == []
    splits.import_published(
        "bid", "liqe", data_root / "splits/liqe/BID/1", Path("l.json"), 1, labels=data_root / "labels/bid"
    )
    assert Split.load(Path("l.json")).counts["test"] == 117
    with pytest.raises(SplitError, match="Expected row numbers"):
        splits.import_published("csiq", "arniqa", Path("nowhere"), Path("x.json"), labels=labels)
