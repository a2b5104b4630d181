"""AVA: about 255,500 photographs of a contest site, each with the histogram of its 1-10 ratings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.datasets.errors import DatasetError
from harness.datasets.layout import Layout, Source
from harness.datasets.scale import ScoreScale
from harness.datasets.spec import UNVERIFIED, DatasetSpec, sourced

if TYPE_CHECKING:
    import pandas as pd

    from harness.datasets.site import Site

FOLDERS = ("", "AVA_dataset")
TEST = "generic_test.jpgl"
LISTS = ("", "aesthetics_image_lists", "AVA_dataset", "AVA_dataset/aesthetics_image_lists")


def _load(site: Site, path: Path) -> pd.DataFrame:
    """Mean, deviation and number of the ratings; columns 3 to 12 count ratings 1 to 10."""
    import numpy as np
    import pandas as pd

    from harness.datasets import readers

    table = readers.read_csv(path, [], sep=r"\s+", header=None)
    if table.shape[1] < 12:
        raise DatasetError(f"12 columns or more in {path}: index, image, counts of ratings 1-10", str(table.shape[1]))
    counts = table[list(range(2, 12))].to_numpy(dtype=np.float64)
    votes = counts.sum(axis=1)
    ratings = np.arange(1, 11)
    mean = counts @ ratings / votes
    variance = (counts * (ratings - mean[:, None]) ** 2).sum(axis=1) / votes
    made = pd.DataFrame(
        {"name": [f"{word}.jpg" for word in table[1]], "mos": mean, "std": np.sqrt(variance), "votes": votes}
    )
    beside = site.optional_label_file([TEST], LISTS)
    if beside is None:
        return made
    test = {f"{word}.jpg" for word in readers.read_csv(beside, [], sep=r"\s+", header=None)[0]}
    return made.assign(official_part=["test" if name in test else "train" for name in made["name"]])


READ = Layout(
    dataset="ava",
    sources=(Source(files=("AVA.txt",), folders=FOLDERS, load=_load),),
    pattern=r"\d+\.jpg",
    example="953619.jpg",
    images=("images/{name}", "image/{name}", "ava_images/{name}", "{name}"),
)

SPEC = DatasetSpec(
    name="ava",
    title="AVA (aesthetics)",
    year=2012,
    count=255500,
    references=0,
    distortions=0,
    scale=ScoreScale("MOS", 1.0, 10.0, True, "mean rating"),
    label_variant="mean of the ratings that AVA.txt counts",
    spread="std: of the ratings; votes: their number",
    group_rule="image",
    official_split=f"test: {TEST} (19,930 are in use); train: the rest; no validation part",
    tree="images/953619.jpg ...\nAVA_dataset/AVA.txt\nAVA_dataset/aesthetics_image_lists/generic_test.jpgl (optional)",
    shares={"flive": "photographs of AVA"},
    beware="Aesthetics, not quality. The count is about 255,500: copies differ in which images still exist.",
    terms="none stated; photographs belong to their users",
    licence_thumbnails=False,
    citation="N. Murray, L. Marchesotti, F. Perronnin: AVA: A Large-Scale Database for Aesthetic Visual Analysis. CVPR "
    "2012.",
    obtain="https://github.com/imfing/ava_downloader",
    sources=sourced("second-hand", "count", "terms")
    | sourced("script of chaofengc/IQA-PyTorch", "scale", "label_variant", "spread", "official_split")
    | {
        "tree": f"{UNVERIFIED}: columns of AVA.txt as a script of chaofengc/IQA-PyTorch reads them",
        "shares": "names of files in FLIVE's labels_image.csv",
        "obtain": "readme of icbcbicc/IQA-Dataset",
    },
    reader="harness.datasets.ava:READ",
)
