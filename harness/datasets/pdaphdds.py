"""PDAP-HDDS: 250 high-definition references of ten scenes, 10 distortion types; MOS 1-5, higher is better."""

from __future__ import annotations

from harness.datasets.layout import Layout, mirror
from harness.datasets.scale import ScoreScale
from harness.datasets.spec import UNVERIFIED, DatasetSpec, sourced

TYPES = (
    "awgn", "brightness", "color_distortion", "contrast", "Fast_Fading",
    "gblur", "jpeg", "jpeg2000", "mblur", "scaling",
)  # fmt: skip

READ = Layout(
    dataset="pdaphdds",
    sources=(mirror("PDAP-HDDS"),),
    pattern=rf"(?P<photo>(?P<scene>[^/]+)_type\d+)_(?P<distortion>{'|'.join(TYPES)})_(?P<level>\d)\.bmp",
    example="Animals_sky_sea_type1_awgn_1.bmp",
    reference="{photo}.bmp",
    images=("distorted_image/{distortion}/{name}", "{name}"),
    references=("reference_image/all_reference_image/{reference}", "reference_image/{reference}"),
)

SPEC = DatasetSpec(
    name="pdaphdds",
    title="PDAP-HDDS",
    year=2018,
    count=12000,
    references=250,
    distortions=10,
    scale=ScoreScale("MOS", 1.0, 5.0, True, "MOS"),
    label_variant="score of the mirror table PDAP-HDDS.txt",
    group_rule="reference",
    official_split="",
    tree="distorted_image/awgn/Animals_sky_sea_type1_awgn_1.bmp ...\n"
    "reference_image/all_reference_image/Animals_sky_sea_type1.bmp ...\nPDAP-HDDS.txt (mirror table)",
    terms="not stated",
    licence_thumbnails=False,
    citation="T.-J. Liu, H.-H. Liu, S.-C. Pei, K.-H. Liu: A High-Definition Diversity-Scene Database for Image Quality "
    "Assessment. IEEE Access 6, 45427-45438, 2018.",
    obtain="sites.google.com/site/eelab907/zi-liao-ku",
    sources=sourced(
        "mirror table PDAP-HDDS.txt of icbcbicc/IQA-Dataset, counted",
        *("count", "references", "distortions", "label_variant", "group_rule"),
    )
    | {
        "scale": "1-5 in the mirror table, reached at both ends",
        "year": UNVERIFIED,
        "tree": f"{UNVERIFIED}: paths of the mirror table; the authors' label file was not read and is not supported",
        "obtain": "readme of icbcbicc/IQA-Dataset",
    },
    reader="harness.datasets.pdaphdds:READ",
)
