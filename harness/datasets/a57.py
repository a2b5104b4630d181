"""A57: 3 references, 6 distortion types at 3 contrasts: 54 images; DMOS 0-1, lower is better."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from harness.datasets.layout import Layout, mirror
from harness.datasets.scale import ScoreScale
from harness.datasets.spec import UNVERIFIED, DatasetSpec, sourced

if TYPE_CHECKING:
    import pandas as pd


def _levels(table: pd.DataFrame) -> pd.DataFrame:
    """The folders A, B and C are rising contrasts of the distortion."""
    return table.assign(level=["ABC".index(name.split("/")[-2].upper()) + 1 for name in table["name"]])


READ = Layout(
    dataset="a57",
    sources=(replace(mirror("A57"), change=_levels),),
    pattern=r"(?P<photo>[^/]+)/[ABC]/[^/.]+\.(?P<distortion>\w{3})\.bmp",
    example="horse/A/horse.FLT.bmp",
    lower=True,
    reference="{photo}.bmp",
    images=("dst_imgs/{name}", "images/dst_imgs/{name}"),
    references=("src_imgs/{reference}", "images/src_imgs/{reference}"),
    types={
        "flt": "FLT (quantised subbands)",
        "jpg": "JPEG compression",
        "jp2": "JPEG2000 compression",
        "dcq": "DCQ (JPEG2000 with another quantisation)",
        "blr": "Gaussian blur",
        "noz": "white noise",
    },
)

SPEC = DatasetSpec(
    name="a57",
    title="A57",
    year=2007,
    count=54,
    references=3,
    distortions=6,
    scale=ScoreScale("DMOS", 0.0, 1.0, False, "DMOS"),
    label_variant="score of the mirror table A57.txt",
    group_rule="reference",
    official_split="",
    tree="dst_imgs/horse/A/horse.FLT.bmp ...\nsrc_imgs/horse.bmp, harbour.bmp, baby.bmp\nA57.txt (mirror table)",
    beware="Lower is better. Three references: no interval over references is worth printing.",
    terms="not stated",
    licence_thumbnails=False,
    citation="D. M. Chandler, S. S. Hemami: VSNR: A Wavelet-Based Visual Signal-to-Noise Ratio for Natural Images. "
    "IEEE Transactions on Image Processing 16(9), 2284-2298, 2007.",
    obtain="vision.eng.shizuoka.ac.jp",
    sources=sourced("mirror table A57.txt, counted", "count", "references", "label_variant", "group_rule")
    | {
        "scale": "readme of icbcbicc/IQA-Dataset: DMOS; mirror table: 0.09-1, rising from A to C; the low end 0 is "
        "assumed",
        "distortions": f"mirror table A57.txt, counted; what FLT and DCQ stand for is {UNVERIFIED}",
        "tree": f"{UNVERIFIED}: paths of the mirror table; the authors' label file was not read and is not supported",
        "obtain": "readme of icbcbicc/IQA-Dataset",
    },
    reader="harness.datasets.a57:READ",
)
