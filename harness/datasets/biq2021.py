"""BIQ2021: 12,000 photographs of three sources, scored in a laboratory; the official split has no validation
part.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.datasets.scale import ScoreScale
from harness.datasets.spec import UNVERIFIED, DatasetSpec

if TYPE_CHECKING:
    from harness.datasets.readers import Labels

FILES = {"train": "Train (Images and MOS).csv", "test": "Test (Images and MOS).csv"}

SPEC = DatasetSpec(
    name="biq2021",
    title="BIQ2021",
    year=2022,
    count=12000,
    references=0,
    distortions=0,
    scale=ScoreScale("MOS", 0.0, 1.0, True, "MOS"),
    label_variant="MOS of the two official lists",
    group_rule="image",
    official_split="10,000 train, 2,000 test; no validation part",
    tree="Images/ss01 (1).jpg ...\nTrain (Images and MOS).csv\nTest (Images and MOS).csv",
    terms="no licence stated; offered for benchmarking research; source ss03 are Unsplash photographs",
    licence_thumbnails=True,
    citation="N. Ahmed, S. Asif: BIQ2021: a large-scale blind image quality assessment database. "
    "Journal of Electronic Imaging 31(5), 053010, 2022.",
    obtain="git clone https://github.com/nisarahmedrana/BIQ2021 (the images are in the repository).",
    sources={
        "count": "the two official lists, counted",
        "scale": "the two official lists: lowest 0, highest 1",
        "official_split": "the two official lists",
        "terms": "README of the official repository",
        "scene": "the first four letters of each name; the README describes three subsets",
        "citation": UNVERIFIED,
    },
    reader="harness.datasets.biq2021:read",
)


def read(root: Path | None, labels: Path | None) -> Labels:
    """Both official lists; `scene` is the source (`ss01`, `ss02`, `ss03`), which alone predicts much of the
    MOS.
    """
    import pandas as pd

    from harness.datasets import readers

    site = readers.Site(SPEC.name, root, labels)
    parts: list[pd.DataFrame] = []
    for part, file in FILES.items():
        path = site.label_file([file])
        # The train list ends every line with two empty columns.
        table = readers.read_csv(path, ["Image Name", "MOS"])
        parts.append(
            pd.DataFrame(
                {
                    "id": readers.texts(table, "Image Name"),
                    "mos": readers.numbers(table, "MOS", path),
                    "official_part": part,
                }
            )
        )
    rows = pd.concat(parts, ignore_index=True)
    rows["scene"] = [name.split(" ")[0] if " " in name else "" for name in rows["id"]]
    return readers.as_labels(rows, site, ["Images", ""])
