"""KADID-10k: 81 references, 25 distortion types, 5 levels; its column `dmos` is higher-is-better."""

from __future__ import annotations

from harness.datasets.layout import Layout, Source, mirror
from harness.datasets.scale import ScoreScale
from harness.datasets.spec import DatasetSpec, sourced

# Names of the type numbers as the mirror table gives them.
TYPES = (
    "Gaussian blur",
    "lens blur",
    "motion blur",
    "colour diffusion",
    "colour shift",
    "colour quantisation",
    "colour saturation (HSV)",
    "colour saturation (Lab)",
    "JPEG2000 compression",
    "JPEG compression",
    "white noise",
    "white noise in colour components",
    "impulse noise",
    "multiplicative noise",
    "denoising",
    "brighten",
    "darken",
    "mean shift",
    "jitter",
    "non-eccentricity patch",
    "pixelate",
    "quantisation",
    "colour block",
    "high sharpen",
    "contrast change",
)


READ = Layout(
    dataset="kadid10k",
    sources=(
        # The fourth column is a variance; other projects rename it `std`.
        Source(
            files=("dmos.csv",),
            columns={"name": "dist_img", "reference": "ref_img", "mos": "dmos", "variance": "var"},
        ),
        Source(
            files=("names_with_mos.txt",),
            columns={"name": 0, "mos": 1},
            separator="\t",
            header=False,
            note="labels from names_with_mos.txt of Baoliang93/FPR, which restates dmos.csv",
        ),
        mirror("KADID-10k"),
    ),
    pattern=r"(?P<photo>i\d\d)_(?P<distortion>\d\d)_(?P<level>\d\d)\.png",
    example="I01_01_01.png",
    lower=True,
    reference="{photo}.png",
    images=("images/{name}", "{name}"),
    references=("images/{reference}", "{reference}"),
    types={f"{number + 1:02}": name for number, name in enumerate(TYPES)},
)

SPEC = DatasetSpec(
    name="kadid10k",
    title="KADID-10k",
    year=2019,
    count=10125,
    references=81,
    distortions=25,
    scale=ScoreScale("DMOS", 1.0, 5.0, True, "DMOS (higher is better)"),
    label_variant="dmos of dmos.csv",
    spread="std: root of the column var of dmos.csv, which is a variance",
    group_rule="reference",
    official_split="",
    tree="images/I01.png ... I81.png, images/I01_01_01.png ...\ndmos.csv (dist_img, ref_img, dmos, var)",
    mirror="images/ and KADID-10k.txt",
    shares={"Pixabay": "its photographs are from there"},
    beware="The column is called dmos, and higher is better. Its fourth column is a variance, not a deviation. "
    "An SRCC above .95 without a stated reference split is a content leak until shown otherwise.",
    terms="freely available to the research community",
    licence_thumbnails=False,
    citation="H. Lin, V. Hosu, D. Saupe: KADID-10k: A Large-scale Artificially Distorted IQA Database. QoMEX 2019.",
    obtain="database.mmsp-kn.de/kadid-10k-database.html",
    sources=sourced("names_with_mos.txt (a restatement), counted", "count", "references", "distortions", "group_rule")
    | {
        "scale": "official page as quoted in icbcbicc/IQA-Dataset#3: higher is better; observed 1-4.93, and 24 "
        "of 25 types fall with their level",
        "label_variant": "loader of chaofengc/IQA-PyTorch",
        "spread": "second-hand",
        "tree": "unverified: columns of dmos.csv as two other projects read them; no official file was read",
        "shares": "unverified: from memory",
        "terms": "second-hand",
        "obtain": "readme of icbcbicc/IQA-Dataset",
    },
    reader="harness.datasets.kadid10k:READ",
)
