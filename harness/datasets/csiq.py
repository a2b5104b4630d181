"""CSIQ: 30 references, 6 distortion types at up to 5 levels; DMOS 0-1, lower is better."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.datasets.layout import Layout, Source, mirror
from harness.datasets.scale import ScoreScale
from harness.datasets.spec import UNVERIFIED, DatasetSpec, sourced

if TYPE_CHECKING:
    import pandas as pd

# The lists call white noise `noise`; folders and file names call it `awgn`.
TYPES = {
    "awgn": "additive Gaussian noise",
    "blur": "Gaussian blur",
    "contrast": "contrast change",
    "fnoise": "additive pink noise",
    "jpeg": "JPEG compression",
    "jpeg2000": "JPEG2000 compression",
}
LISTED = {"noise": "awgn", "jpeg 2000": "jpeg2000"}


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """File names, which the authors' list spells as image, type and level."""
    types = [LISTED.get(word.lower(), word.lower()) for word in table["type"]]
    names = [
        f"{image}.{kind}.{level}.png" for image, kind, level in zip(table["name"], types, table["step"], strict=True)
    ]
    return table.assign(name=names).drop(columns=["type", "step"])


READ = Layout(
    dataset="csiq",
    sources=(
        Source(
            files=("csiq.DMOS.xlsx", "csiq.beta.xlsx"),
            columns={"name": "image", "type": "dst_type", "step": "dst_lev", "std": "dmos_std", "mos": "dmos"},
            sheet="all_by_image",
            skip=3,
            change=_named,
        ),
        Source(
            files=("csiq.beta.txt",),
            columns={"name": 0, "type": 2, "step": 3, "std": 4, "mos": 5},
            separator="\t",
            header=False,
            change=_named,
            note="scores of csiq.beta.txt, which the authors rounded to three decimals",
        ),
        Source(files=("csiq_label.txt",), columns={"name": 0, "mos": 1}, separator="", header=False),
        mirror("CSIQ"),
    ),
    pattern=r"(?P<photo>[^/.]+)\.(?P<distortion>\w+)\.(?P<level>\d)\.png",
    example="1600.AWGN.1.png",
    lower=True,
    reference="{photo}.png",
    images=("dst_imgs/{distortion}/{name}", "dst_imgs/{name}", "{name}"),
    references=("src_imgs/{reference}", "{reference}"),
    types=TYPES,
)

SPEC = DatasetSpec(
    name="csiq",
    title="CSIQ",
    year=2010,
    count=866,
    references=30,
    distortions=6,
    scale=ScoreScale("DMOS", 0.0, 1.0, False, "DMOS"),
    label_variant="dmos of the sheet all_by_image (the text list has it to three decimals)",
    spread="std: dmos_std of the same list",
    group_rule="reference",
    official_split="",
    tree="src_imgs/1600.png ...\ndst_imgs/awgn/1600.AWGN.1.png ..., blur/, contrast/, fnoise/, jpeg/, jpeg2000/\n"
    "csiq.DMOS.xlsx (or csiq.beta.xlsx, csiq.beta.txt, csiq_label.txt)",
    mirror="dst_imgs/AWGN/ ..., src_imgs/ and CSIQ.txt",
    beware="Lower is better; some lists hold 1 - DMOS. Contrast has 116 images, not 150. A list with 750 rows and no "
    "blur, or with 150 contrast rows, is a damaged copy.",
    terms="not stated",
    licence_thumbnails=False,
    citation="E. C. Larson, D. M. Chandler: Most apparent distortion: full-reference image quality assessment and the "
    "role of strategy. Journal of Electronic Imaging 19(1), 011006, 2010.",
    obtain="vision.eng.shizuoka.ac.jp (also s2.smu.edu/~eclarson).",
    sources=sourced(
        "csiq.beta.txt and csiq.beta.xlsx, counted; they agree", "count", "references", "distortions", "label_variant"
    )
    | {
        "scale": "declared 0-1; observed 0.003-1 in csiq.beta.xlsx",
        "spread": "csiq.beta.xlsx",
        "tree": "csiq.beta.txt, csiq.beta.xlsx and ten images read; names of folders second-hand",
        "obtain": "readme of icbcbicc/IQA-Dataset",
        "group_rule": "names in csiq.beta.txt",
        "terms": UNVERIFIED,
    },
    reader="harness.datasets.csiq:READ",
)
