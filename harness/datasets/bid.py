"""BID: 586 blurred photographs, graded 0-5 in a laboratory; the workbook holds every grade."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.datasets.layout import Layout, Source
from harness.datasets.scale import ScoreScale
from harness.datasets.spec import UNVERIFIED, DatasetSpec, sourced

if TYPE_CHECKING:
    import pandas as pd

    from harness.datasets.site import Site


def _load(_: Site, path: Path) -> pd.DataFrame:
    """Average, number and deviation of the grades; images are told by number."""
    import pandas as pd

    from harness.datasets import readers

    table = readers.read_excel(path, ["Image Number", "Average Subjective Grade", "Number of Grades"])
    grades = table[[name for name in table.columns if str(name).startswith("Grade #")]]
    return pd.DataFrame(
        {
            "name": [f"DatabaseImage{int(number):04}.JPG" for number in readers.numbers(table, "Image Number", path)],
            "mos": readers.numbers(table, "Average Subjective Grade", path),
            "votes": readers.numbers(table, "Number of Grades", path),
            "std": grades.std(axis=1, ddof=1),
        }
    )


READ = Layout(
    dataset="bid",
    sources=(Source(files=("DatabaseGrades.xls", "DatabaseGrades.xlsx"), folders=("", "ImageDatabase"), load=_load),),
    pattern=r"DatabaseImage\d+\.JPG",
    example="DatabaseImage0001.JPG",
    images=("ImageDatabase/{name}", "{name}"),
)

SPEC = DatasetSpec(
    name="bid",
    title="BID (blurred image database)",
    year=2011,
    count=586,
    references=0,
    distortions=0,
    scale=ScoreScale("MOS", 0.0, 5.0, True, "MOS"),
    label_variant="Average Subjective Grade of DatabaseGrades.xls",
    spread="votes: Number of Grades; std: of the single grades (7 of 586 averages are not the mean of theirs, up to "
    "0.32 off; 5 numbers of grades are not how many there are)",
    group_rule="image",
    official_split="",
    tree="ImageDatabase/DatabaseImage0001.JPG ...\nDatabaseGrades.xls (or .xlsx)",
    terms="not stated; available from mirrors only",
    licence_thumbnails=False,
    citation="A. Ciancio et al.: No-Reference Blur Assessment of Digital Pictures Based on Multifeature Classifiers. "
    "IEEE Transactions on Image Processing 20(1), 64-75, 2011.",
    obtain="Link in the readme of https://github.com/zwx8981/UNIQUE.",
    sources=sourced("DatabaseGrades.xls, counted", "count", "label_variant", "spread")
    | {
        "scale": "grades in DatabaseGrades.xls: 0-5; averages 0.16-4.92",
        "tree": "DatabaseGrades.xls read; names of images second-hand",
        "group_rule": UNVERIFIED,
        "obtain": "readme of zwx8981/UNIQUE",
    },
    reader="harness.datasets.bid:READ",
)
