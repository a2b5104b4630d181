"""Toyama (MICT): 14 Kodak photographs under JPEG and JPEG2000; the list scores the references too."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.datasets.layout import Layout, mirror
from harness.datasets.scale import ScoreScale
from harness.datasets.spec import UNVERIFIED, DatasetSpec, sourced

if TYPE_CHECKING:
    import pandas as pd


def _references(table: pd.DataFrame) -> pd.DataFrame:
    """28 of the 196 scored files are undistorted: `jpeg2000/kp01_00_jp2.bmp`, `jpeg/kp01.bmp`. They are references."""
    plain = [re.search(r"/kp\d\d(_00_jp2)?\.bmp$", name) is not None for name in table["name"]]
    return table.assign(is_reference=plain)


READ = Layout(
    dataset="toyama",
    sources=(replace(mirror("Toyama"), change=_references),),
    pattern=r"(?P<distortion>jpeg2000|jpeg)/(?P<photo>kp\d\d)(?:_\d+_\w+)?\.bmp",
    example="jpeg2000/kp01_12_jp2.bmp",
    lower=True,
    reference="{photo}.bmp",
    images=("{name}",),
    references=("ref_imgs/{reference}",),
    types={"jpeg": "JPEG compression", "jpeg2000": "JPEG2000 compression"},
)

SPEC = DatasetSpec(
    name="toyama",
    title="Toyama (MICT)",
    year=2000,
    count=168,
    references=14,
    distortions=2,
    scale=ScoreScale("MOS", 1.0, 5.0, True, "MOS"),
    label_variant="score of the mirror table Toyama.txt; its 28 scored references are kept as references",
    group_rule="reference",
    official_split="",
    tree="jpeg/kp01_55_jpg.bmp ...\njpeg2000/kp01_12_jp2.bmp ...\nref_imgs/kp01.bmp ...\nToyama.txt (mirror table)",
    shares={"Kodak": "photographs among its references"},
    beware="The list has 196 rows, of which 28 are undistorted: a score over all of them is easier.",
    terms="not stated",
    licence_thumbnails=False,
    citation="Y. Horita, K. Shibata, Y. Kawayoke, Z. M. Parvez Sazzad: MICT Image Quality Evaluation Database.",
    obtain="mict.eng.u-toyama.ac.jp/mictdb.html",
    sources=sourced(
        "mirror table Toyama.txt, counted", "count", "references", "distortions", "label_variant", "group_rule"
    )
    | {
        "scale": f"{UNVERIFIED}: 1-4.88 in the mirror table; the ends 1-5 are assumed",
        "year": f"{UNVERIFIED}: the 2000s",
        "shares": "names kp01 ...",
        "tree": f"{UNVERIFIED}: paths of the mirror table; the authors' label file was not read and is not supported",
        "obtain": "readme of icbcbicc/IQA-Dataset",
    },
    reader="harness.datasets.toyama:READ",
)
