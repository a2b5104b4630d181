"""PIPAL: 200 training references under 116 restorations and distortions each; Elo scores, higher is better."""

from __future__ import annotations

from harness.datasets.layout import Layout, Source, mirror
from harness.datasets.scale import ScoreScale
from harness.datasets.spec import UNVERIFIED, DatasetSpec, sourced

READ = Layout(
    dataset="pipal",
    sources=(
        Source(files=("Train_Label/*.txt",), columns={"name": 0, "mos": 1}, header=False),
        mirror("PIPAL"),
    ),
    pattern=r"(?P<photo>A\d+)_(?P<distortion>\d\d)_\d\d\.bmp",
    example="A0001_00_00.bmp",
    reference="{photo}.bmp",
    images=(
        tuple(f"Distortion_{part}/{{name}}" for part in range(1, 5)),
        tuple(f"Train_Dist/Distortion_{part}/{{name}}" for part in range(1, 5)),
        "Train_Dist/{name}",
        "{name}",
    ),
    references=("Train_Ref/{reference}", "{reference}"),
    types={f"{number:02}": f"class {number:02}" for number in range(7)},
)

SPEC = DatasetSpec(
    name="pipal",
    title="PIPAL, training part",
    year=2020,
    count=23200,
    references=200,
    distortions=7,
    scale=ScoreScale("ELO", None, None, True, "Elo"),
    label_variant="Elo scores of Train_Label/*.txt",
    group_rule="reference",
    official_split="",
    tree="Train_Ref/A0001.bmp ...\nDistortion_1/A0001_00_00.bmp ... Distortion_4/ (or Train_Dist/)\n"
    "Train_Label/A0001.txt ... (name,score)",
    mirror="Distortion_1/ ... Distortion_4/, Train_Ref/ and PIPAL.txt",
    beware="NTIRE's validation part (1,650 images) and test part are other references whose labels are closed or "
    "elsewhere: this is the labelled part. Elo scores are won within a reference. Algorithms recur across "
    "references: a split by reference does not hide them.",
    terms="not stated",
    licence_thumbnails=False,
    citation="J. Gu, H. Cai, H. Chen, X. Ye, J. S. Ren, C. Dong: PIPAL: a Large-Scale Image Quality Assessment Dataset "
    "for Perceptual Image Restoration. ECCV 2020.",
    obtain="Links in https://github.com/HaomingCai/PIPAL-dataset.",
    sources=sourced(
        "mirror table PIPAL.txt of icbcbicc/IQA-Dataset, counted", "count", "references", "distortions", "group_rule"
    )
    | {
        "scale": "917-1836 in the mirror table; Elo",
        "label_variant": "script of chaofengc/IQA-PyTorch",
        "tree": f"{UNVERIFIED}: label files as a script of chaofengc/IQA-PyTorch reads them, folders of the mirror "
        "table",
        "citation": "README of the official repository",
        "obtain": "README of the official repository",
        "year": "README of the official repository",
    },
    reader="harness.datasets.pipal:READ",
)
