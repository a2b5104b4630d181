"""AADB: about 10,000 photographs with aesthetic scores 0-1 and eleven attributes; 127 are listed twice."""

from __future__ import annotations

from harness.datasets.layout import Layout, Source, mirror
from harness.datasets.scale import ScoreScale
from harness.datasets.spec import UNVERIFIED, DatasetSpec, sourced

READ = Layout(
    dataset="aadb",
    sources=(
        # In this order: a name that is listed again belongs to the later part, so it never trains.
        Source(
            parts={
                "imgListTrainRegression_score.txt": "train",
                "imgListValidationRegression_score.txt": "valid",
                "imgListTestNewRegression_score.txt": "test",
            },
            folders=("", "imgListFiles_label"),
            columns={"name": 0, "mos": 1},
            separator="",
            header=False,
        ),
        mirror("AADB"),
    ),
    pattern=r"[^/]+\.\w+",
    example="farm1_286_20013434330_d99ab6b9a0_b.jpg",
    images=(
        ("datasetImages_originalSize/{name}", "AADB_newtest_originalSize/{name}"),
        ("datasetImages_warp256/{name}", "AADB_newtest/{name}"),
        "{name}",
    ),
    name_tree=True,
    repeats="equal labels in an early and a late block of the list; the later one counts",
)

SPEC = DatasetSpec(
    name="aadb",
    title="AADB (aesthetics)",
    year=2016,
    count=9831,
    references=0,
    distortions=0,
    scale=ScoreScale("MOS", 0.0, 1.0, True, "aesthetic score"),
    label_variant="score; the eleven attributes are left alone",
    group_rule="image",
    official_split="train, valid and test, one list each; sizes unverified",
    tree="datasetImages_originalSize/farm1_286_20013434330_d99ab6b9a0_b.jpg ...\nAADB_newtest_originalSize/...\n"
    "imgListFiles_label/imgListTrainRegression_score.txt, imgListValidationRegression_score.txt, "
    "imgListTestNewRegression_score.txt",
    mirror="datasetImages_originalSize/ and AADB.txt, which does not tell the split",
    beware="Aesthetics, not quality. 127 of the 9,958 rows of the mirror table repeat a path: each image counts once, "
    "and one that is in train and in another list is not trained on.",
    terms="not stated",
    licence_thumbnails=False,
    citation="S. Kong, X. Shen, Z. Lin, R. Mech, C. Fowlkes: Photo Aesthetics Ranking Network with Attributes and "
    "Content Adaptation. ECCV 2016.",
    obtain="Links in https://github.com/aimerykong/deepImageAestheticsAnalysis.",
    sources=sourced("mirror table AADB.txt of icbcbicc/IQA-Dataset: 9,958 rows, 9,831 paths; 0-1", "count", "scale")
    | {
        "label_variant": "mirror table AADB.txt",
        "official_split": f"{UNVERIFIED}: names of the lists as several projects read them",
        "tree": f"{UNVERIFIED}: names of lists and folders as several projects read them",
        "obtain": "readme of icbcbicc/IQA-Dataset",
    },
    reader="harness.datasets.aadb:READ",
)
