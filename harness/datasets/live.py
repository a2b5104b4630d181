"""LIVE release 2: 29 references, 5 distortion types; two label files (`dmos` and the later, realigned `dmos_new`), two
datasets here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.datasets.errors import DatasetError
from harness.datasets.layout import Layout, Source, mirror
from harness.datasets.scale import ScoreScale
from harness.datasets.spec import UNVERIFIED, DatasetSpec, sourced

if TYPE_CHECKING:
    import pandas as pd

    from harness.datasets.site import Site

# The .mat lists name no file: rows stand in the order of these folders, img1.bmp, img2.bmp ...
FOLDERS = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}
ROWS = sum(FOLDERS.values())
TYPES = {
    "jp2k": "JPEG2000 compression",
    "jpeg": "JPEG compression",
    "wn": "white noise",
    "gblur": "Gaussian blur",
    "fastfading": "JPEG2000 over a fast-fading channel",
}


def _mat(variable: str, deviations: str = "") -> Source:
    def load(site: Site, path: Path) -> pd.DataFrame:
        import pandas as pd

        from harness.datasets import readers
        from harness.datasets.manifest import select

        originals = readers.read_mat(path, "orgs")
        if len(originals) != ROWS:
            raise DatasetError(
                f"{site.name}: the variable 'orgs' with {ROWS} entries in {path}; it tells the 203 undistorted copies "
                "from the 779 distorted images",
                f"{len(originals)}: the file was cut, and which score belongs to which image is lost",
                "Get the official file from live.ece.utexas.edu.",
            )
        columns = {
            "name": [f"{folder}/img{number + 1}.bmp" for folder, count in FOLDERS.items() for number in range(count)],
            "mos": readers.read_mat(path, variable),
            "reference": readers.read_mat(site.label_file(["refnames_all.mat"]), "refnames_all"),
            **({"std": readers.read_mat(path, deviations)} if deviations else {}),
        }
        lengths = {column: len(values) for column, values in columns.items()}
        if set(lengths.values()) != {ROWS}:
            raise DatasetError(f"{site.name}: lists of {ROWS} rows beside {path}", str(lengths), "Get them again.")
        return select(pd.DataFrame(columns), originals == 0)

    return Source(files=(f"{'dmos_realigned' if deviations else 'dmos'}.mat",), load=load)


def _without_copies(table: pd.DataFrame) -> pd.DataFrame:
    """MOS_NAME_REF.txt marks the undistorted copies by DMOS 0, which no distorted image has."""
    from harness.datasets.manifest import column, select

    return select(table, column(table, "mos") != 0).reset_index(drop=True)


def _layout(dataset: str, *sources: Source) -> Layout:
    return Layout(
        dataset=dataset,
        sources=sources,
        pattern=rf"(?P<distortion>{'|'.join(FOLDERS)})/img\d+\.bmp",
        example="jp2k/img2.bmp",
        lower=True,
        images=("{name}",),
        references=("refimgs/{reference}",),
        types=TYPES,
    )


REALIGNED = _layout("live", _mat("dmos_new", "dmos_std"), mirror("LIVE"))
OLDER = _layout(
    "live-dmos",
    _mat("dmos"),
    Source(
        files=("MOS_NAME_REF.txt",),
        columns={"mos": 0, "name": 1, "reference": 2},
        separator="",
        header=False,
        change=_without_copies,
        note="labels from MOS_NAME_REF.txt of Baoliang93/FPR, which restates dmos.mat",
    ),
)

SPEC = DatasetSpec(
    name="live",
    title="LIVE release 2, realigned DMOS",
    year=2006,
    count=779,
    references=29,
    distortions=5,
    scale=ScoreScale("DMOS", None, None, False, "DMOS (realigned)"),
    label_variant="dmos_new of dmos_realigned.mat without the 203 undistorted copies that orgs marks",
    spread="std: dmos_std of the same file (not in the mirror table)",
    group_rule="reference",
    official_split="",
    tree="jp2k/img1.bmp ... img227.bmp, jpeg/ (233), wn/, gblur/, fastfading/ (174 each)\n"
    "refimgs/bikes.bmp ...\ndmos_realigned.mat, refnames_all.mat",
    mirror="the same folders and LIVE.txt",
    shares={
        "live-dmos": "the same images with the older labels",
        "Kodak": "photographs among its references",
    },
    beware="Two label files differ: SRCC .957 between dmos and dmos_new over the 779 images, so say which was used. "
    "The 203 undistorted copies in the folders are no test images. Lower is better.",
    terms="copyright notice of the Laboratory for Image and Video Engineering, UT Austin; some photographs are of "
    "third parties",
    licence_thumbnails=False,
    citation="H. R. Sheikh, M. F. Sabir, A. C. Bovik: A Statistical Evaluation of Recent Full Reference Image Quality "
    "Assessment Algorithms. IEEE Transactions on Image Processing 15(11), 3440-3451, 2006.",
    obtain="Request it from the Laboratory for Image and Video Engineering, live.ece.utexas.edu.",
    sources=sourced("mirror table LIVE.txt, counted", "count", "references", "distortions")
    | sourced("dmos_new of a copy of dmos_realigned.mat (cut, refused): -2.64 to 111.8, no declared ends", "scale")
    | sourced("dmos_new and the mirror table agree to 1e-13 on all 779 images", "label_variant")
    | {
        "spread": "a copy of dmos_realigned.mat",
        "tree": f"{UNVERIFIED}: folders and order of rows checked against two restatements, no whole .mat was read",
        "shares": "second-hand; reference names",
        "terms": "second-hand; form of the notice: README of LIVE In the Wild",
        "obtain": "readme of icbcbicc/IQA-Dataset",
        "group_rule": "reference names in refnames_all.mat",
    },
    reader="harness.datasets.live:REALIGNED",
)

DMOS = msgspec.structs.replace(
    SPEC,
    name="live-dmos",
    title="LIVE release 2, older DMOS",
    scale=ScoreScale("DMOS", None, None, False, "DMOS (not realigned)"),
    label_variant="dmos of dmos.mat without the 203 undistorted copies that orgs marks",
    spread="",
    tree=SPEC.tree.replace("dmos_realigned.mat", "dmos.mat"),
    mirror="the same folders and MOS_NAME_REF.txt of Baoliang93/FPR",
    shares={"live": "the same images with the realigned labels"}
    | {name: what for name, what in SPEC.shares.items() if name != "live-dmos"},
    sources=SPEC.sources
    | sourced("MOS_NAME_REF.txt: up to 84.5, 0 for the copies, no declared ends", "scale", "label_variant"),
    reader="harness.datasets.live:OLDER",
)
