"""SPAQ: 11,125 photographs of 66 smartphones, scored in a laboratory; large images, no official split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.datasets.scale import ScoreScale
from harness.datasets.spec import UNVERIFIED, DatasetSpec

if TYPE_CHECKING:
    from harness.datasets.readers import Labels

FILE = "MOS and Image attribute scores.xlsx"

SPEC = DatasetSpec(
    name="spaq",
    title="SPAQ",
    year=2020,
    count=11125,
    references=0,
    distortions=0,
    scale=ScoreScale("MOS", 0.0, 100.0, True, "MOS"),
    label_variant=f"column MOS of {FILE}",
    group_rule="image",
    official_split="",
    tree=f"TestImage/00001.jpg ...\nAnnotations/{FILE}",
    terms="education and research only",
    licence_thumbnails=False,
    citation="Y. Fang, H. Zhu, Y. Zeng, K. Ma, Z. Wang: Perceptual Quality Assessment of Smartphone "
    "Photography. CVPR 2020, 3677-3686.",
    obtain="Links in https://github.com/h4nwei/SPAQ.",
    sources={
        "count": f"{FILE}, counted",
        "scale": f"declared 0-100; observed 2-96 in {FILE}",
        "terms": UNVERIFIED,
        "citation": UNVERIFIED,
    },
    reader="harness.datasets.spaq:read",
)


def read(root: Path | None, labels: Path | None) -> Labels:
    """The column MOS of the authors' workbook; its five attribute scores are left alone."""
    from harness.datasets import readers

    site = readers.Site(SPEC.name, root, labels)
    path = site.label_file([FILE], ["Annotations", ""])
    table = readers.read_excel(path, ["Image name", "MOS"])
    rows = {"id": readers.texts(table, "Image name"), "mos": readers.numbers(table, "MOS", path)}
    return readers.as_labels(rows, site, ["TestImage", "Dataset/TestImage", ""])
