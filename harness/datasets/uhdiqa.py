"""UHD-IQA: 6,073 photographs of 4K width from Pixabay, scored twice by ten experts; official split."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from harness.datasets.layout import Layout, Source, mirror
from harness.datasets.scale import ScoreScale
from harness.datasets.spec import UNVERIFIED, DatasetSpec, sourced

if TYPE_CHECKING:
    import pandas as pd

PLACES = ("training/{name}", "validation/{name}", "test/{name}")


def _parts(table: pd.DataFrame) -> pd.DataFrame:
    """The mirror table tells the part by the folder."""
    return table.assign(official_part=[name.split("/")[-2] for name in table["name"]])


READ = Layout(
    dataset="uhdiqa",
    sources=(
        Source(
            files=("uhd-iqa-metadata.csv",),
            columns={"name": "image_name", "mos": "quality_mos", "official_part": "set", "scene": "user_name"},
        ),
        replace(mirror("UHD-IQA", scene="user_name"), change=_parts),
    ),
    pattern=r"\d+\.jpg",
    example="1.jpg",
    images=(PLACES, tuple(f"challenge/{place}" for place in PLACES), "images/{name}", "{name}"),
)

SPEC = DatasetSpec(
    name="uhdiqa",
    title="UHD-IQA",
    year=2024,
    count=6073,
    references=0,
    distortions=0,
    scale=ScoreScale("MOS", 0.0, 1.0, True, "MOS"),
    label_variant="quality_mos of uhd-iqa-metadata.csv",
    group_rule="image",
    official_split="4,269 train, 904 valid, 900 test",
    tree="training/1.jpg ..., validation/, test/\nuhd-iqa-metadata.csv (image_name, quality_mos, set, user_name ...)",
    mirror="the same folders and UHD-IQA.txt",
    shares={"Pixabay": "its photographs are from there"},
    beware="322 of 1,238 photographers (column scene) have photographs on both sides of the official split. The images "
    "are about 3840 pixels wide: 8 megapixels each.",
    terms="images CC0 (Pixabay), labels for research",
    licence_thumbnails=True,
    citation="V. Hosu, L. Agnolucci, O. Wiedemann, D. Iso, D. Saupe: UHD-IQA Benchmark Database: Pushing the "
    "Boundaries of Blind Photo Quality Assessment. ECCV Workshops 2024.",
    obtain="database.mmsp-kn.de/uhd-iqa-benchmark-database.html",
    sources=sourced("mirror table UHD-IQA.txt, counted", "count", "official_split")
    | {
        "scale": "0.287-0.889 in the mirror table; the ends 0-1 are second-hand",
        "label_variant": "readme that goes with the metadata",
        "group_rule": "photographers cross the official split (mirror table), so it cannot be theirs",
        "tree": f"{UNVERIFIED}: columns from the readme of the metadata, folders of the mirror table",
        "shares": "its authors",
        "terms": "second-hand",
        "obtain": "readme of icbcbicc/IQA-Dataset",
        "scene": "the photographer's account",
    },
    reader="harness.datasets.uhdiqa:READ",
)
