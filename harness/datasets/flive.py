"""FLIVE (LIVE-FB, PaQ-2-PiQ): 39,810 photographs of several older sets; two things are called its official test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.datasets.layout import Layout, Source
from harness.datasets.scale import ScoreScale
from harness.datasets.spec import UNVERIFIED, DatasetSpec, on_github, sourced

if TYPE_CHECKING:
    import pandas as pd

    from harness.datasets.site import Site

TEST, VALID = "labels640.csv", "labels=640_padded.csv"
FOLDERS = ("", "database")


def _load(site: Site, path: Path) -> pd.DataFrame:
    """All images, and the split where its files are here: labels640.csv is the test part, flags of the other file the
    validation part, the rest trains.
    """
    import pandas as pd

    from harness.datasets import readers

    read = readers.read_csv(path, ["name", "mos"])
    table = pd.DataFrame({"name": readers.texts(read, "name"), "mos": readers.numbers(read, "mos", path)})
    beside = site.optional_label_file([TEST], FOLDERS)
    if beside is None:
        return table
    test = set(readers.texts(readers.read_csv(beside, ["name_image"]), "name_image"))
    flags = site.optional_label_file([VALID], FOLDERS)
    valid: set[str] = set()
    if flags is not None:
        flagged = readers.read_csv(flags, ["name_image", "is_valid"])
        marks = [word.lower() in ("true", "1", "1.0") for word in readers.texts(flagged, "is_valid")]
        valid = {name for name, mark in zip(readers.texts(flagged, "name_image"), marks, strict=True) if mark}
    parts = ["test" if name in test else "valid" if name in valid else "train" for name in table["name"]]
    return table.assign(official_part=parts)


READ = Layout(
    dataset="flive",
    sources=(Source(files=("labels_image.csv",), folders=FOLDERS, load=_load),),
    # The folder tells the older set, and one name may be in two folders: both are the id.
    pattern=r"(?P<scene>[^/]+)/[^/]+",
    example="voc_emotic_ava/AVA__871768.jpg",
    images=("database/{name}", "{name}"),
)

SPEC = DatasetSpec(
    name="flive",
    title="FLIVE (LIVE-FB, PaQ-2-PiQ)",
    year=2020,
    count=39810,
    references=0,
    distortions=0,
    scale=ScoreScale("MOS", 0.0, 100.0, True, "MOS"),
    label_variant="column mos of labels_image.csv; the patches' labels are left alone",
    group_rule="image",
    official_split=f"test: the 1,827 images of {TEST}; valid: flags of {VALID}; train: the rest",
    tree="database/blur_dataset/, database/EE371R/, database/voc_emotic_ava/\n"
    f"database/labels_image.csv, database/{TEST}, database/{VALID} (optional)",
    shares={
        "ava": "photographs of AVA",
        "PASCAL VOC": "photographs of it (names of files)",
        "EMOTIC": "photographs of it (names of files)",
        "a blur detection set": "folder blur_dataset: motion, out_of_focus (which set is unverified)",
    },
    beware="Two tests are called official: the authors' 1,827 images larger than 640 pixels, and 7,308 images in other "
    f"users' hands; here it is the former, which differs from train in size. Without {VALID} the validation part is "
    "carved from train. The download notebook of the official repository has bugs.",
    terms="data: not stated; labels in baidut/PaQ-2-PiQ: CC BY-NC 4.0",
    licence_thumbnails=False,
    citation="Z. Ying, H. Niu, P. Gupta, D. Mahajan, D. Ghadiyaram, A. Bovik: From Patches to Pictures (PaQ-2-PiQ): "
    "Mapping the Perceptual Space of Picture Quality. CVPR 2020.",
    obtain="https://github.com/niu-haoran/FLIVE_Database (and https://github.com/baidut/PaQ-2-PiQ for the labels).",
    sources=sourced("labels_image.csv, counted", "count", "label_variant")
    | {
        "scale": "labels_image.csv: 0-94.3; the ends 0-100 are second-hand",
        "official_split": f"{TEST} counted; {VALID} as a script of chaofengc/IQA-PyTorch reads it, not read here",
        "tree": f"labels_image.csv, {TEST} and three images read",
        "shares": "names of folders and files",
        "group_rule": UNVERIFIED,
        "terms": "licence file of baidut/PaQ-2-PiQ",
        "citation": "script of chaofengc/IQA-PyTorch",
        "obtain": "both repositories",
        "scene": "the folder of each image",
    },
    reader="harness.datasets.flive:READ",
    label_files=on_github(
        "baidut/PaQ-2-PiQ",
        "a3ba2373a0da4e498d6e75ea2097125b5fe0fc10",
        "CC BY-NC 4.0",
        {
            "database/labels_image.csv": "667a9de3ba2633bf57c7c10f9649fd0363b6dc9b9aa34255100f1ac60b57adec",
            f"database/{TEST}": "63633696cbc425d1da4f81621797ba4410bdeb3ea02d84c83c76a4a46efcd0fb",
        },
    ),
)
