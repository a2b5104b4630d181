"""VCL@FER: 23 references, 4 distortion types at 6 levels; MOS, higher is better."""

from __future__ import annotations

from harness.datasets.layout import Layout, mirror
from harness.datasets.scale import ScoreScale
from harness.datasets.spec import UNVERIFIED, DatasetSpec, sourced

READ = Layout(
    dataset="vclfer",
    sources=(mirror("VCLFER"),),
    pattern=r"(?P<photo>img_\d\d)_(?P<distortion>awgn|blu|j2k|jpg)_(?P<level>\d)\.(?:bmp|jpg)",
    example="IMG_01_AWGN_1.bmp",
    lower=True,
    reference="{photo}.bmp",
    images=("vcl_fer/{name}", "{name}"),
    references=("Ref_Images/{reference}", "vcl_fer/{reference}", "{reference}"),
    types={
        "awgn": "white noise",
        "blu": "Gaussian blur",
        "j2k": "JPEG2000 compression",
        "jpg": "JPEG compression",
    },
)

SPEC = DatasetSpec(
    name="vclfer",
    title="VCL@FER",
    year=2012,
    count=552,
    references=23,
    distortions=4,
    scale=ScoreScale("MOS", 0.0, 100.0, True, "MOS"),
    label_variant="score of the mirror table VCLFER.txt",
    group_rule="reference",
    official_split="",
    tree="vcl_fer/IMG_01_AWGN_1.bmp ... (also BLU, J2K, JPG)\nRef_Images/IMG_01.bmp ...\nVCLFER.txt (mirror table)",
    terms="not stated",
    licence_thumbnails=False,
    citation="A. Zaric et al.: VCL@FER image quality assessment database. Automatika 53(4), 344-354, 2012.",
    obtain="vcl.fer.hr/quality/vclfer.html",
    sources=sourced(
        "mirror table VCLFER.txt, counted", "count", "references", "distortions", "label_variant", "group_rule"
    )
    | {
        "scale": f"{UNVERIFIED}: 1.6-96.5 in the mirror table, falling with the level; the ends 0-100 are assumed",
        "tree": f"{UNVERIFIED}: paths of the mirror table; the authors' label file was not read and is not supported",
        "obtain": "readme of icbcbicc/IQA-Dataset",
    },
    reader="harness.datasets.vclfer:READ",
)
