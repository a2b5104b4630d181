"""SPAQ: 11,125 photographs of 66 smartphones, scored in a laboratory; large images, no official split."""

from __future__ import annotations

from harness.datasets.layout import Layout, Source, mirror
from harness.datasets.scale import ScoreScale
from harness.datasets.spec import UNVERIFIED, DatasetSpec

FILE = "MOS and Image attribute scores.xlsx"

READ = Layout(
    dataset="spaq",
    sources=(
        Source(files=(FILE,), folders=("Annotations", ""), columns={"name": "Image name", "mos": "MOS"}),
        mirror("SPAQ"),
    ),
    pattern=r"\d+\.jpg",
    example="00001.jpg",
    images=("TestImage/{name}", "Dataset/TestImage/{name}", "{name}"),
)

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
    mirror="Dataset/TestImage/ and SPAQ.txt",
    beware="12-megapixel photographs: most papers shrink the short side to 448 or 512 first. The workbook has no "
    "deviations; five further columns are attribute scores.",
    terms="education and research only",
    licence_thumbnails=False,
    citation="Y. Fang, H. Zhu, Y. Zeng, K. Ma, Z. Wang: Perceptual Quality Assessment of Smartphone "
    "Photography. CVPR 2020, 3677-3686.",
    obtain="Links in https://github.com/h4nwei/SPAQ.",
    sources={
        "count": f"{FILE}, counted",
        "scale": f"declared 0-100; observed 2-96 in {FILE}",
        "label_variant": f"{FILE}",
        "tree": f"{FILE} read; names of folders second-hand",
        "terms": "second-hand",
        "obtain": "readme of icbcbicc/IQA-Dataset",
        "citation": UNVERIFIED,
    },
    reader="harness.datasets.spaq:READ",
)
