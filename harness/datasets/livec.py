"""LIVE In the Wild Image Quality Challenge: 1,162 mobile photographs, crowdsourced scores with deviations."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from harness.datasets.errors import DatasetError
from harness.datasets.layout import Layout, Source, mirror
from harness.datasets.scale import ScoreScale
from harness.datasets.spec import UNVERIFIED, DatasetSpec

if TYPE_CHECKING:
    import pandas as pd

    from harness.datasets.site import Site

PRACTICE = 7
FOLDERS = ("", "Data")
VARIABLES = {"name": "AllImages_release", "mos": "AllMOS_release", "std": "AllStdDev_release"}


def _load(site: Site, _: Path) -> pd.DataFrame:
    """The three .mat lists; the first seven of their 1,169 rows (`t1` .. `t7`) trained the viewers and are left out."""
    import pandas as pd

    from harness.datasets import readers

    columns = {
        column: readers.read_mat(site.label_file([f"{variable}.mat"], FOLDERS), variable)
        for column, variable in VARIABLES.items()
    }
    lengths = {VARIABLES[column]: len(values) for column, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise DatasetError("livec: three lists of one length", str(lengths), "Get the official files again.")
    training = [re.fullmatch(r"t\d+\.\w+", name) is not None for name in columns["name"]]
    if sum(training) != PRACTICE or not all(training[:PRACTICE]):
        raise DatasetError(
            f"livec: the {PRACTICE} training images t1 .. t7 first in AllImages_release.mat",
            f"{sum(training)} of them, first row {columns['name'][0]!r}",
            "Get the official file: this is another list, and its order may not be that of the scores.",
        )
    return pd.DataFrame({column: values[PRACTICE:] for column, values in columns.items()})


READ = Layout(
    dataset="livec",
    sources=(
        Source(
            files=("AllImages_release.mat",),
            folders=FOLDERS,
            load=_load,
            note=f"{PRACTICE} training images (t1 .. t7), shown to the viewers for practice, are left out",
        ),
        mirror("LIVE_Challenge"),
    ),
    pattern=r"\d+\.\w+",
    example="101.bmp",
    images=("Images/{name}", "images/{name}", "{name}"),
)

SPEC = DatasetSpec(
    name="livec",
    title="LIVE In the Wild Challenge",
    year=2016,
    count=1162,
    references=0,
    distortions=0,
    scale=ScoreScale("MOS", 0.0, 100.0, True, "MOS"),
    label_variant="AllMOS_release without the 7 training images",
    spread="std: AllStdDev_release (not in the mirror table)",
    group_rule="image",
    official_split="",
    tree="Images/100.bmp, Images/1002.JPG ...\nImages/trainingImages/t1.bmp ...\n"
    "Data/AllImages_release.mat, Data/AllMOS_release.mat, Data/AllStdDev_release.mat",
    mirror="Images/ and LIVE_Challenge.txt, which lacks 100.bmp",
    beware="The .mat lists have 1,169 rows, of which the first 7 are training images; the mirror table has 1,161.",
    terms="use, copy, modify and distribute for any purpose with the copyright notice and acknowledgement",
    licence_thumbnails=True,
    citation="D. Ghadiyaram, A. C. Bovik: Massive Online Crowdsourced Study of Subjective and Objective "
    "Picture Quality. IEEE Transactions on Image Processing 25(1), 372-387, 2016.",
    obtain="Request it from the Laboratory for Image and Video Engineering, live.ece.utexas.edu.",
    sources={
        "count": "the official .mat lists, counted",
        "scale": "the authors' readme: MOS 0-100; observed 3.4-92.4",
        "label_variant": "the official .mat lists",
        "spread": "the official .mat lists",
        "tree": "the official .mat lists, the authors' readme and 172 images read",
        "terms": "the authors' readme",
        "obtain": "the authors' readme",
        "official_split": "none in the release",
        "citation": UNVERIFIED,
    },
    reader="harness.datasets.livec:READ",
)
