"""LIVE In the Wild Image Quality Challenge: 1,162 mobile photographs, crowdsourced scores with deviations."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from harness.datasets.scale import ScoreScale
from harness.datasets.spec import UNVERIFIED, DatasetSpec

if TYPE_CHECKING:
    from harness.datasets.readers import Labels

PRACTICE = 7
VARIABLES = {"id": "AllImages_release", "mos": "AllMOS_release", "std": "AllStdDev_release"}

SPEC = DatasetSpec(
    name="livec",
    title="LIVE In the Wild Challenge",
    year=2016,
    count=1162,
    references=0,
    distortions=0,
    scale=ScoreScale("MOS", 0.0, 100.0, True, "MOS"),
    label_variant="AllMOS_release without the 7 training images",
    group_rule="image",
    official_split="",
    tree="Images/100.bmp, Images/1002.JPG ...\nImages/trainingImages/t1.bmp ...\n"
    "Data/AllImages_release.mat, Data/AllMOS_release.mat, Data/AllStdDev_release.mat",
    terms="use, copy, modify and distribute for any purpose with the copyright notice and acknowledgement",
    licence_thumbnails=True,
    citation="D. Ghadiyaram, A. C. Bovik: Massive Online Crowdsourced Study of Subjective and Objective "
    "Picture Quality. IEEE Transactions on Image Processing 25(1), 372-387, 2016.",
    obtain="Request it from the Laboratory for Image and Video Engineering, live.ece.utexas.edu.",
    sources={
        "count": "the official .mat lists, counted",
        "scale": "the authors' readme: MOS 0-100; observed 3.4-92.4",
        "terms": "the authors' readme",
        "official_split": "none in the release",
        "citation": UNVERIFIED,
    },
    reader="harness.datasets.livec:read",
)


def read(root: Path | None, labels: Path | None) -> Labels:
    """The three .mat lists; the first seven of their 1,169 rows (`t1` .. `t7`) trained the viewers and are
    left out.
    """
    from harness.datasets import readers
    from harness.datasets.errors import DatasetError

    site = readers.Site(SPEC.name, root, labels)
    columns = {
        column: readers.read_mat(site.label_file([f"{variable}.mat"], ["", "Data"]), variable)
        for column, variable in VARIABLES.items()
    }
    lengths = {VARIABLES[column]: len(values) for column, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise DatasetError("livec: three lists of one length", str(lengths), "Get the official files again.")
    training = [re.fullmatch(r"t\d+\.\w+", name) is not None for name in columns["id"]]
    if sum(training) != PRACTICE or not all(training[:PRACTICE]):
        raise DatasetError(
            f"livec: the {PRACTICE} training images t1 .. t7 first in AllImages_release.mat",
            f"{sum(training)} of them, first row {columns['id'][0]!r}",
            "Get the official file: this is another list, and its order may not be that of the scores.",
        )
    rows = {column: values[PRACTICE:] for column, values in columns.items()}
    note = f"{PRACTICE} training images (t1 .. t7), shown to the viewers for practice, are left out"
    return readers.as_labels(rows, site, ["Images", "images", ""], note=note)
