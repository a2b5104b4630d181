"""LIVE Multiply Distorted: 15 references, two parts (blur then JPEG, blur then noise); DMOS, lower is better."""

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

PARTS = {1: "blurjpeg", 2: "blurnoise"}
TOPS = ("", "To_Release/")


def _load(site: Site, _: Path) -> pd.DataFrame:
    """Both parts' `distimgs` and `DMOSscores`; each part has its own Imagelists.mat and Scores.mat."""
    import pandas as pd

    from harness.datasets import readers

    parts: list[pd.DataFrame] = []
    for number, folder in PARTS.items():
        places = _folders(number)
        names = readers.read_mat(site.label_file(["Imagelists.mat"], places), "distimgs")
        path = site.label_file(["Scores.mat"], places)
        scores = readers.read_mat(path, "DMOSscores")
        if len(names) != len(scores):
            raise DatasetError(
                f"livemd: as many names as scores in part {number} ({path})", f"{len(names)} and {len(scores)}", ""
            )
        parts.append(pd.DataFrame({"name": [f"{folder}/{name}" for name in names], "mos": scores}))
    return pd.concat(parts, ignore_index=True)


def _folders(number: int) -> tuple[str, ...]:
    return tuple(f"{top}Part{space}{number}" for top in TOPS for space in (" ", "_", ""))


READ = Layout(
    dataset="livemd",
    sources=(Source(files=("Imagelists.mat",), folders=_folders(1), load=_load), mirror("LIVE_MD")),
    # Images of blur alone stand in both parts under one name: the part's folder belongs to the id.
    pattern=r"(?P<distortion>blurjpeg|blurnoise)/(?P<photo>[^/_]+)_[^/]+\.bmp",
    example="blurjpeg/babygirl_blur1_jpeg1.bmp",
    lower=True,
    reference="{photo}.bmp",
    images=tuple(
        tuple(f"{top}Part{space}{number}/{{name}}" for number in PARTS) for top in TOPS for space in (" ", "_", "")
    ),
    references=tuple(
        f"{top}{place}/{{reference}}"
        for top in TOPS
        for place in ("Ref_Images", "Part 1/blurjpeg", "Part 2/blurnoise", "Part_1/blurjpeg")
    ),
    types={"blurjpeg": "blur, then JPEG", "blurnoise": "blur, then noise"},
)

SPEC = DatasetSpec(
    name="livemd",
    title="LIVE Multiply Distorted",
    year=2012,
    count=450,
    references=15,
    distortions=2,
    scale=ScoreScale("DMOS", None, None, False, "DMOS"),
    label_variant="DMOSscores of both parts",
    group_rule="reference",
    official_split="",
    tree="Part 1/blurjpeg/babygirl_blur1.bmp ..., Part 1/Imagelists.mat, Part 1/Scores.mat\n"
    "Part 2/blurnoise/... and the same two files",
    mirror="To_Release/Part_1/blurjpeg/, To_Release/Part_2/blurnoise/, To_Release/Ref_Images/ and LIVE_MD.txt",
    beware="Lower is better. 45 images of blur alone have one name in both parts and a score in each.",
    terms="copyright notice of the Laboratory for Image and Video Engineering, UT Austin",
    licence_thumbnails=False,
    citation="D. Jayaraman, A. Mittal, A. K. Moorthy, A. C. Bovik: Objective Quality Assessment of Multiply Distorted "
    "Images. Asilomar Conference on Signals, Systems and Computers 2012.",
    obtain="Request it from the Laboratory for Image and Video Engineering, live.ece.utexas.edu.",
    sources=sourced("mirror table LIVE_MD.txt, counted", "count", "references", "distortions", "group_rule")
    | {
        "scale": "readme of icbcbicc/IQA-Dataset: DMOS; mirror table: 0.6-84.7; no declared ends known",
        "label_variant": "script of chaofengc/IQA-PyTorch",
        "tree": f"{UNVERIFIED}: names of files and variables as a script of chaofengc/IQA-PyTorch reads them",
        "terms": f"{UNVERIFIED}: from memory",
        "obtain": "readme of icbcbicc/IQA-Dataset",
    },
    reader="harness.datasets.livemd:READ",
)
