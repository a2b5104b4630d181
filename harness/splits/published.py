"""Published splits of other projects, as lists of ids through each file's own row order. Never decides who goes where.

ARNIQA (miccunifi/ARNIQA, `datasets/<name>/splits/{train,val,test}.npy`): ten splits, one a row, of row numbers in that
project's label list; rows are padded with -1 in CSIQ and LIVE. LIQE (zwx8981/LIQE, `IQA_Database/<name>/splits2/<k>/`):
tab-separated lists of image, score, distortion and scenes; scores are not read (LIVE and CSIQ are turned round).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.splits import leakage
from harness.splits.errors import SplitError, SplitUsageError
from harness.splits.split import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.datasets.dataset import Dataset

PARTS = {"train": "train", "valid": "val", "test": "test"}


class Rows(NamedTuple):
    """Where the row numbers of an ARNIQA split count.

    Attributes:
        folder: the dataset's name in that project.
        lists: label files whose rows they count, in the form that its loader reads, or in one of the same order.
        verified: "" where that project's loader was read, else what is only supposed.
    """

    folder: str
    lists: tuple[str, ...]
    verified: str = ""


SUPPOSED = "its loader is not published: that the rows are those of this list is supposed"
ARNIQA = {
    "live": Rows("LIVE", ("LIVE.txt",)),
    "csiq": Rows("CSIQ", ("CSIQ.txt",)),
    "tid2013": Rows("TID2013", ("mos_with_names.txt",)),
    "kadid10k": Rows("KADID10K", ("dmos.csv", "names_with_mos.txt", "KADID-10k.txt")),
    "flive": Rows("FLIVE", ("labels_image.csv",)),
    "koniq10k": Rows(
        "KonIQ-10k", ("koniq10k_scores_and_distributions.csv", "koniq10k_distributions_sets.csv"), SUPPOSED
    ),
    "livec": Rows("CLIVE", ("AllImages_release.mat",), SUPPOSED),
}


def arniqa(dataset: Dataset, folder: Path, order: Sequence[str], rows_of: str, number: int = 0) -> Split:
    """One of ARNIQA's ten splits (FLIVE has one).

    Args:
        folder: holds train.npy, val.npy and test.npy of this dataset.
        order: ids in the row order of a list that `ARNIQA` names; see `harness.datasets.layout.Layout.order`.
        rows_of: the file name of that list.
        number: 0 to 9.

    Raises:
        SplitUsageError: no such split.
        SplitError: files missing, row numbers beyond the list, parts that share a group: it is another list.
    """
    known = ARNIQA[dataset.name]
    ids: dict[str, tuple[str, ...]] = {}
    for part, name in PARTS.items():
        file = folder / f"{name}.npy"
        rows = _numbers(file)
        if not 0 <= number < len(rows):
            raise SplitUsageError(f"{file} holds {len(rows)} splits, numbered from 0; found {number}.")
        chosen = rows[number][rows[number] >= 0]
        if len(chosen) and int(chosen.max()) >= len(order):
            raise SplitError(
                f"{file}: expected row numbers below {len(order)}, found {int(chosen.max())}. Is the list another one?"
            )
        ids[part] = tuple(sorted(order[int(row)] for row in chosen))
    note = f"split {number} of ARNIQA ({rows_of} row order)" + f"; {known.verified}" * bool(known.verified)
    return _apart(
        _made(dataset, f"arniqa:{number}", number, ids, note),
        dataset,
        f"with its row numbers counted in {rows_of}",
        f"Is that the list that they count? Expected {' or '.join(known.lists)}: name it by --order.",
    )


def how_many(folder: Path) -> int:
    """How many splits an ARNIQA folder holds; raises as `arniqa`."""
    return len(_numbers(folder / "train.npy"))


def _numbers(file: Path) -> NDArray[Any]:
    import numpy as np

    try:
        return np.atleast_2d(np.load(file, allow_pickle=False))
    except (OSError, ValueError) as error:
        raise SplitError(f"Expected row numbers in {file}, found none that can be read ({error}).") from error


def liqe(dataset: Dataset, folder: Path, number: int = 1) -> Split:
    """One of LIQE's ten splits; its lists name images, so no row order is needed.

    Args:
        folder: holds `*_train_clip.txt`, `*_val_clip.txt` and `*_test_clip.txt`.
        number: which of the ten, for its name.

    Raises:
        SplitError: a list is missing, or names an image that the dataset does not have; parts that share a group.
    """
    known = {_key(name): name for name in dataset.manifest["id"]}
    ids: dict[str, tuple[str, ...]] = {}
    for part, name in PARTS.items():
        files = sorted(folder.glob(f"*_{name}_clip.txt"))
        if len(files) != 1:
            raise SplitError(f"Expected one file *_{name}_clip.txt in {folder}, found {len(files)}. Name its folder.")
        lines = [line for line in files[0].read_text(encoding="utf-8").splitlines() if line.strip()]
        names = [line.split("\t")[0] for line in lines]
        strangers = [image for image in names if _key(image) not in known]
        if strangers:
            raise SplitError(
                f"{files[0]}: expected images of {dataset.name}, found {len(strangers)} others, such as "
                f"{strangers[0]!r}. Is it the list of another dataset?"
            )
        ids[part] = tuple(sorted(known[_key(image)] for image in names))
    return _apart(
        _made(dataset, f"liqe:{number}", number, ids, f"split {number} of LIQE"),
        dataset,
        f"with the lists of {folder}",
        "Are they all of one split, and as published?",
    )


def _key(name: str) -> str:
    """What a name and an id have in common: no case, no folders but the last (LIVE's images are numbered by folder)."""
    parts = name.replace("\\", "/").casefold().split("/")
    return "/".join(parts[-2:]) if parts[-1].startswith("img") else parts[-1]


def _apart(split: Split, dataset: Dataset, read: str, advice: str) -> Split:
    """The split, once its parts are found to share no image and no group, as in all published ones that were read.

    Copies of a file on both sides are in what was published, and say nothing of how it was read.
    """
    shared = [str(leak) for leak in leakage.check(split, dataset.manifest) if leak.what != "content"]
    if shared:
        raise SplitError(
            f"{split.name} of {dataset.name}: expected parts that share no {split.group_rule}; {read}, "
            f"{'; '.join(shared)}. {advice}"
        )
    return split


def _made(dataset: Dataset, name: str, seed: int, ids: dict[str, tuple[str, ...]], note: str) -> Split:
    return Split(
        kind="published",
        name=name,
        dataset=dataset.name,
        seed=seed,
        ratios=(),
        group_rule=dataset.spec.group_rule,
        note=note,
        train=ids["train"],
        valid=ids["valid"],
        test=ids["test"],
    )
