"""MDID2013 and MDID (2016/17): two databases of multiply distorted images with nearly one name."""

from __future__ import annotations

from harness.datasets.layout import Layout, mirror
from harness.datasets.scale import ScoreScale
from harness.datasets.spec import UNVERIFIED, DatasetSpec, sourced

READ_2013 = Layout(
    dataset="mdid2013",
    sources=(mirror("MDID2013"),),
    pattern=r"img\d{3}\.png",
    example="img001.png",
    lower=True,
    images=("MDID2013/{name}", "{name}"),
    references=("Ref/{reference}", "{reference}"),
)

READ_2016 = Layout(
    dataset="mdid",
    sources=(mirror("MDID2016"),),
    pattern=r"(?P<photo>img\d\d)_\d\d\.bmp",
    example="img01_01.bmp",
    lower=True,
    reference="{photo}.bmp",
    images=("distortion_images/{name}", "{name}"),
    references=("reference_images/{reference}", "{reference}"),
)

MDID2013 = DatasetSpec(
    name="mdid2013",
    title="MDID2013",
    year=2014,
    count=324,
    references=12,
    distortions=1,
    scale=ScoreScale("DMOS", None, None, False, "DMOS"),
    label_variant="score of the mirror table MDID2013.txt",
    group_rule="reference",
    official_split="",
    tree="MDID2013/img001.png ... img324.png\nRef/org001.png ... org012.png\nMDID2013.txt (mirror table)",
    beware="Lower is better, and the scores span no more than 0.32-0.55. It is not MDID (2016/17).",
    terms="not stated",
    licence_thumbnails=False,
    citation="K. Gu, G. Zhai, X. Yang, W. Zhang: Hybrid No-Reference Quality Metric for Singly and Multiply Distorted "
    "Images. IEEE Transactions on Broadcasting 60(3), 555-567, 2014.",
    obtain="The paper's page (ieeexplore.ieee.org/document/6879255) or the archives of icbcbicc/IQA-Dataset.",
    sources=sourced("mirror table MDID2013.txt, counted", "count", "references", "label_variant", "group_rule")
    | {
        "scale": "readme of icbcbicc/IQA-Dataset: DMOS; no declared ends known",
        "tree": f"{UNVERIFIED}: paths of the mirror table; the authors' label file was not read and is not supported",
        "obtain": "readme of icbcbicc/IQA-Dataset",
    },
    reader="harness.datasets.mdid:READ_2013",
)

MDID = DatasetSpec(
    name="mdid",
    title="MDID (multiply distorted, 2016/17)",
    year=2017,
    count=1600,
    references=20,
    distortions=1,
    scale=ScoreScale("MOS", None, None, True, "MOS"),
    label_variant="score of the mirror table MDID2016.txt",
    group_rule="reference",
    official_split="",
    tree="distortion_images/img01_01.bmp ...\nreference_images/img01.bmp ... img20.bmp\nMDID2016.txt (mirror table)",
    beware="Higher is better, unlike in MDID2013.",
    terms="not stated",
    licence_thumbnails=False,
    citation="W. Sun, F. Zhou, Q. Liao: MDID: A multiply distorted image database for image quality assessment. "
    "Pattern Recognition 61, 153-168, 2017.",
    obtain="The paper's page (Pattern Recognition 61, 2017) or the archives of icbcbicc/IQA-Dataset.",
    sources=sourced("mirror table MDID2016.txt, counted", "count", "references", "label_variant", "group_rule")
    | {
        "scale": "readme of icbcbicc/IQA-Dataset: MOS; mirror table: 0.08-7.92; no declared ends known",
        "tree": f"{UNVERIFIED}: paths of the mirror table; the authors' label file was not read and is not supported",
        "obtain": "readme of icbcbicc/IQA-Dataset",
    },
    reader="harness.datasets.mdid:READ_2016",
)
