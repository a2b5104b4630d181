"""BIQ2021: 12,000 photographs of three sources, scored in a laboratory; the official split has no validation
part.
"""

from __future__ import annotations

from harness.datasets.layout import Layout, Source, mirror
from harness.datasets.scale import ScoreScale
from harness.datasets.spec import UNVERIFIED, DatasetSpec

TRAIN, TEST = "Train (Images and MOS).csv", "Test (Images and MOS).csv"


READ = Layout(
    dataset="biq2021",
    sources=(
        # The train list ends every line with two empty columns.
        Source(parts={TRAIN: "train", TEST: "test"}, columns={"name": "Image Name", "mos": "MOS"}),
        mirror("BIQ2021"),
    ),
    # `ss01 (12).jpg` is of the source `ss01`, which alone predicts much of the MOS.
    pattern=r"(?:(?P<scene>ss\d\d) )?[^/]+",
    example="ss01 (1).jpg",
    images=("Images/{name}", "{name}"),
)

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
    tree=f"Images/ss01 (1).jpg ...\n{TRAIN}\n{TEST}",
    mirror="Images/ and BIQ2021.txt, which does not tell the split",
    shares={"Unsplash": "the photographs of source ss03"},
    beware="The source (ss01, ss02, ss03) predicts much of the MOS: report the correlation within sources too. The "
    "official split has look-alikes on both sides.",
    terms="no licence stated; offered for benchmarking research; source ss03 are Unsplash photographs",
    licence_thumbnails=True,
    citation="N. Ahmed, S. Asif: BIQ2021: a large-scale blind image quality assessment database. "
    "Journal of Electronic Imaging 31(5), 053010, 2022.",
    obtain="git clone https://github.com/nisarahmedrana/BIQ2021 (the images are in the repository).",
    sources={
        "count": "the two official lists, counted",
        "scale": "the two official lists: lowest 0, highest 1; README: scaled to 0-1",
        "label_variant": "the two official lists",
        "group_rule": "one image a name; nothing else is published",
        "official_split": "the two official lists",
        "tree": "the official repository: both lists and 2,400 images read",
        "shares": "README of the official repository",
        "terms": "README of the official repository",
        "obtain": "the official repository",
        "scene": "the first four letters of each name; the README describes three subsets",
        "citation": UNVERIFIED,
    },
    reader="harness.datasets.biq2021:READ",
)
