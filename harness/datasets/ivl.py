"""SDIVL and MDIVL of the Imaging and Vision Laboratory, Milano-Bicocca: single and multiple distortions."""

from __future__ import annotations

from harness.datasets.layout import Layout, mirror
from harness.datasets.scale import ScoreScale
from harness.datasets.spec import UNVERIFIED, DatasetSpec, sourced

READ_SINGLE = Layout(
    dataset="sdivl",
    sources=(mirror("SDIVL"),),
    # For JPEG the number is a quality factor, not a level of damage; no level is declared.
    pattern=r"(?P<distortion>noise|jpeg)/(?P<photo>[^/]+)/[^/]+\.(?:png|jpg)",
    example="noise/arrow/arrow_STD_01.png",
    reference="{photo}.png",
    images=("{name}", "SDIVL/{name}"),
    references=("reference/{reference}", "SDIVL/reference/{reference}"),
    types={"noise": "white noise", "jpeg": "JPEG compression"},
)

READ_MULTIPLE = Layout(
    dataset="mdivl",
    sources=(mirror("MDIVL"),),
    pattern=r"(?P<photo>[^/]+)_(?P<distortion>blur|noise)_[\d.]+_jpg_\d+\.jpg",
    example="baby_blur_0.001_jpg_100.jpg",
    reference="{photo}.png",
    images=(
        ("Data_Blur_JPEG/{name}", "Data_Noise_JPEG/{name}"),
        ("MDIVL/Data_Blur_JPEG/{name}", "MDIVL/Data_Noise_JPEG/{name}"),
    ),
    references=("MD_IVLreference/OCEreferenceMD/{reference}", "MDIVL/MD_IVLreference/OCEreferenceMD/{reference}"),
    types={"blur": "blur, then JPEG", "noise": "noise, then JPEG"},
)

SDIVL = DatasetSpec(
    name="sdivl",
    title="SDIVL",
    year=2014,
    count=380,
    references=20,
    distortions=2,
    scale=ScoreScale("MOS", 0.0, 100.0, True, "MOS"),
    label_variant="score of the mirror table SDIVL.txt",
    group_rule="reference",
    official_split="",
    tree="noise/arrow/arrow_STD_01.png ...\njpeg/arrow/arrow_Q_16_PC_62.jpg ...\nreference/arrow.png ...\n"
    "SDIVL.txt (mirror table)",
    beware="The number in the name of a JPEG image is a quality factor: quality rises with it.",
    terms="not stated",
    licence_thumbnails=False,
    citation="S. Corchs, F. Gasparini, R. Schettini: No reference image quality classification for JPEG-distorted "
    "images. Digital Signal Processing 30, 86-100, 2014.",
    obtain="ivl.disco.unimib.it, activities, image quality.",
    sources=sourced(
        "mirror table SDIVL.txt, counted", "count", "references", "distortions", "label_variant", "group_rule"
    )
    | {
        "scale": f"{UNVERIFIED}: 8.2-87.7 in the mirror table; the ends 0-100 are assumed",
        "year": UNVERIFIED,
        "tree": f"{UNVERIFIED}: paths of the mirror table; the authors' label file was not read and is not supported",
        "obtain": "readme of icbcbicc/IQA-Dataset",
    },
    reader="harness.datasets.ivl:READ_SINGLE",
)

MDIVL = DatasetSpec(
    name="mdivl",
    title="MDIVL",
    year=2017,
    count=750,
    references=10,
    distortions=2,
    scale=ScoreScale("MOS", 0.0, 100.0, True, "MOS"),
    label_variant="score of the mirror table MDIVL.txt",
    group_rule="reference",
    official_split="",
    tree="Data_Blur_JPEG/baby_blur_0.001_jpg_100.jpg ... (350)\nData_Noise_JPEG/baby_noise_3_jpg_30.jpg ... (400)\n"
    "MD_IVLreference/OCEreferenceMD/baby.png ...\nMDIVL.txt (mirror table)",
    shares={"sdivl": f"photographs of the same names, such as baby and bus ({UNVERIFIED})"},
    terms="not stated",
    licence_thumbnails=False,
    citation="S. Corchs, F. Gasparini: A Multidistortion Database for Image Quality. Computational Color Imaging "
    "Workshop 2017.",
    obtain="ivl.disco.unimib.it, activities, image quality.",
    sources=sourced(
        "mirror table MDIVL.txt, counted", "count", "references", "distortions", "label_variant", "group_rule"
    )
    | {
        "scale": f"{UNVERIFIED}: 1.4-98 in the mirror table; the ends 0-100 are assumed",
        "year": UNVERIFIED,
        "shares": f"{UNVERIFIED}: names of references in both mirror tables",
        "tree": f"{UNVERIFIED}: paths of the mirror table; the authors' label file was not read and is not supported",
        "obtain": "readme of icbcbicc/IQA-Dataset",
    },
    reader="harness.datasets.ivl:READ_MULTIPLE",
)
