"""CIDIQ: 23 references, 6 distortion types, seen from 50 and from 100 cm: two label sets, two datasets here."""

from __future__ import annotations

from harness.datasets.layout import Layout, mirror
from harness.datasets.scale import ScoreScale
from harness.datasets.spec import UNVERIFIED, DatasetSpec, sourced

FOLDERS = {
    "1": "1_JPEG2000_Compression",
    "2": "2_JPEG_Compression",
    "3": "3_Poisson_Noise",
    "4": "4_Gaussian_Blur",
    "5": "5_SGCK_Gamut_Mapping",
    "6": "6_DeltaE_Gamut_Mapping",
}


def _layout(distance: int) -> Layout:
    return Layout(
        dataset=f"cidiq{distance}",
        sources=(mirror(f"CIDIQ_MOS{distance}"),),
        pattern=r"(?P<photo>final\d\d)_d(?P<distortion>\d)_l(?P<level>\d)\.bmp",
        example="final01_d1_l1.bmp",
        lower=True,
        reference="{photo}.bmp",
        images=(
            tuple(f"Reproduction/{folder}/{{name}}" for folder in FOLDERS.values()),
            tuple(f"Images/Reproduction/{folder}/{{name}}" for folder in FOLDERS.values()),
        ),
        references=("Original/{reference}", "Images/Original/{reference}"),
        types={number: folder[2:].replace("_", " ") for number, folder in FOLDERS.items()},
    )


READ_50, READ_100 = _layout(50), _layout(100)


def _spec(distance: int, other: int, low: float, high: float) -> DatasetSpec:
    return DatasetSpec(
        name=f"cidiq{distance}",
        title=f"CIDIQ, seen from {distance} cm",
        year=2014,
        count=690,
        references=23,
        distortions=6,
        scale=ScoreScale("MOS", 1.0, 9.0, True, "MOS"),
        label_variant=f"scores at a distance of {distance} cm (mirror table CIDIQ_MOS{distance}.txt)",
        group_rule="reference",
        official_split="",
        tree="Images/Reproduction/1_JPEG2000_Compression/final01_d1_l1.bmp ...\nImages/Original/final01.bmp ...\n"
        f"CIDIQ_MOS{distance}.txt (mirror table)",
        shares={f"cidiq{other}": "the same images, seen from another distance"},
        beware="Two label sets of the same images, for 50 and 100 cm: say which.",
        terms="not stated",
        licence_thumbnails=False,
        citation="X. Liu, M. Pedersen, J. Y. Hardeberg: CID:IQ - A New Image Quality Database. ICISP 2014, LNCS 8509, "
        "193-202.",
        obtain="ntnu.edu, colourlab, software.",
        sources=sourced(
            f"mirror table CIDIQ_MOS{distance}.txt, counted",
            *("count", "references", "distortions", "label_variant", "group_rule", "shares"),
        )
        | {
            "scale": f"{UNVERIFIED}: {low:g}-{high:g} in the mirror table; the ends 1-9 are assumed",
            "tree": f"{UNVERIFIED}: paths of the mirror table; the authors' label file was not read and is not "
            "supported",
            "obtain": "readme of icbcbicc/IQA-Dataset",
        },
        reader=f"harness.datasets.cidiq:READ_{distance}",
    )


CIDIQ50 = _spec(50, 100, 1.18, 7.65)
CIDIQ100 = _spec(100, 50, 1.0, 7.76)
