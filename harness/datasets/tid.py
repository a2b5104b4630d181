"""TID2008 and TID2013: the same 25 references under 17 and 24 distortion types; names come in mixed case."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.datasets.errors import DatasetError
from harness.datasets.layout import Layout, Source, mirror
from harness.datasets.scale import ScoreScale
from harness.datasets.spec import UNVERIFIED, DatasetSpec, sourced

if TYPE_CHECKING:
    import pandas as pd

    from harness.datasets.site import Site

# Type numbers as in the authors' readme of TID2013; the first 17 are TID2008's. Not every type gets worse with its
# level: local block-wise distortions get better and contrast change goes both ways, so no direction may be derived
# from levels.
TYPES = (
    "additive Gaussian noise",
    "noise in colour components",
    "spatially correlated noise",
    "masked noise",
    "high frequency noise",
    "impulse noise",
    "quantisation noise",
    "Gaussian blur",
    "image denoising",
    "JPEG compression",
    "JPEG2000 compression",
    "JPEG transmission errors",
    "JPEG2000 transmission errors",
    "non-eccentricity pattern noise",
    "local block-wise distortions",
    "mean shift",
    "contrast change",
    "change of colour saturation",
    "multiplicative Gaussian noise",
    "comfort noise",
    "lossy compression of noisy images",
    "colour quantisation with dither",
    "chromatic aberrations",
    "sparse sampling and reconstruction",
)


def _load(site: Site, path: Path) -> pd.DataFrame:
    """mos_with_names.txt and, where it is there, mos_std.txt: one number a line in the order of the scores."""
    from harness.datasets import readers

    table = readers.read_words(path, ["mos", "name"])
    table["mos"] = readers.numbers(table, "mos", path)
    beside = site.optional_label_file(["mos_std.txt"])
    if beside is not None:
        values = readers.numbers(readers.read_words(beside, ["std"]), "std", beside)
        if len(values) != len(table):
            raise DatasetError(
                f"{len(table)} deviations in {beside}", str(len(values)), "Get the official label files again."
            )
        table["std"] = values
    return table


def _layout(dataset: str, types: int) -> Layout:
    return Layout(
        dataset=dataset,
        sources=(Source(files=("mos_with_names.txt",), load=_load), mirror(dataset.upper())),
        pattern=r"(?P<photo>i\d\d)_(?P<distortion>\d\d)_(?P<level>\d)\.bmp",
        example="i01_01_1.bmp",
        lower=True,
        reference="{photo}.bmp",
        images=("distorted_images/{name}", "{name}"),
        references=("reference_images/{reference}", "{reference}"),
        types={f"{number + 1:02}": TYPES[number] for number in range(types)},
    )


TID2008 = _layout("tid2008", 17)
TID2013 = _layout("tid2013", 24)

SPEC2008 = DatasetSpec(
    name="tid2008",
    title="TID2008",
    year=2009,
    count=1700,
    references=25,
    distortions=17,
    scale=ScoreScale("MOS", 0.0, 9.0, True, "MOS"),
    label_variant="mos_with_names.txt",
    group_rule="reference",
    official_split="",
    tree="distorted_images/I01_01_1.bmp ...\nreference_images/I01.BMP ... I25.BMP\nmos_with_names.txt",
    mirror="the same folders and TID2008.txt",
    shares={
        "tid2013": "the same 25 references, and its distortions are among those of TID2013",
        "Kodak": "photographs among its references",
    },
    beware="The case of names differs between lists. Levels do not all count damage.",
    terms="not stated",
    licence_thumbnails=False,
    citation="N. Ponomarenko et al.: TID2008 - A Database for Evaluation of Full-Reference Visual Quality Assessment "
    "Metrics. Advances of Modern Radioelectronics 10, 30-45, 2009.",
    obtain="Download it from ponomarenko.info/tid2008.htm.",
    sources=sourced("mirror table TID2008.txt, counted", "count", "references", "distortions", "group_rule")
    | {
        "scale": "declared 0-9; observed 0-7.71 in the mirror table",
        "label_variant": "mirror table TID2008.txt restates it",
        "tree": f"{UNVERIFIED}: as that of TID2013, whose label file was read",
        "shares": "same reference names in both mirror tables; Kodak: second-hand",
        "obtain": "readme of icbcbicc/IQA-Dataset",
    },
    reader="harness.datasets.tid:TID2008",
)

SPEC2013 = DatasetSpec(
    name="tid2013",
    title="TID2013",
    year=2015,
    count=3000,
    references=25,
    distortions=24,
    scale=ScoreScale("MOS", 0.0, 9.0, True, "MOS"),
    label_variant="mos_with_names.txt",
    spread="std: mos_std.txt, where it is there",
    group_rule="reference",
    official_split="",
    tree="distorted_images/i01_01_1.bmp ...\nreference_images/I01.BMP ... I25.BMP\n"
    "mos_with_names.txt\nmos_std.txt (optional)",
    mirror="the same folders and TID2013.txt",
    shares={
        "tid2008": "the same 25 references, and TID2008's distortions are among these",
        "Kodak": "photographs among its references",
    },
    beware="The case of names differs between lists. Levels do not all count damage: local block-wise distortions "
    "get better with theirs, contrast goes both ways. The mirror table merges types 21 and 24; here the type comes "
    "from the name.",
    terms="not stated",
    licence_thumbnails=False,
    citation="N. Ponomarenko et al.: Image database TID2013: Peculiarities, results and perspectives. "
    "Signal Processing: Image Communication 30, 57-77, 2015.",
    obtain="Download it from ponomarenko.info/tid2013.htm.",
    sources=sourced("mos_with_names.txt, counted", "count", "references", "distortions", "label_variant", "group_rule")
    | {
        "scale": "declared 0-9; observed 0.24-7.21 in mos_with_names.txt",
        "spread": "second-hand: loader of chaofengc/IQA-PyTorch",
        "tree": "mos_with_names.txt and three images read; names of folders second-hand",
        "shares": "same reference names in both mirror tables; Kodak: second-hand",
        "obtain": "readme of icbcbicc/IQA-Dataset",
    },
    reader="harness.datasets.tid:TID2013",
)
