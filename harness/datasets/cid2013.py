"""CID2013: photographs of 8 scenes by 79 cameras, judged in six image sets."""

from __future__ import annotations

from harness.datasets.layout import Layout, Source, mirror
from harness.datasets.scale import ScoreScale
from harness.datasets.spec import UNVERIFIED, DatasetSpec, sourced

ROMAN = {"I": 1, "II": 2, "III": 3, "IV": 4, "V": 5, "VI": 6}

READ = Layout(
    dataset="cid2013",
    sources=(
        Source(
            files=("CID2013 data*.xlsx",),
            columns={"name": "Source_ID", "mos": "Realigned MOS"},
            sheet="CID2013 MOS",
            note="realigned MOS of the authors' workbook",
        ),
        mirror("CID2013"),
    ),
    # Set and scene cluster are in the name itself: IS_I_C01_D01 is device 1 in cluster 1 of set I.
    pattern=r"(?P<scene>IS_(?P<set>[IV]+))_C(?P<cluster>\d+)_D\d+(?:\.jpg)?",
    example="IS_I_C01_D01.jpg",
    id="{stem}.jpg",
    group="{scene}_C{cluster}",
    images=(
        tuple(f"IS{number}/co{cluster}/{{stem}}.jpg" for number in ROMAN.values() for cluster in range(1, 9)),
        "{stem}.jpg",
    ),
)

SPEC = DatasetSpec(
    name="cid2013",
    title="CID2013",
    year=2015,
    count=480,
    references=0,
    distortions=0,
    scale=ScoreScale("MOS", None, None, True, "MOS (realigned)"),
    label_variant="Realigned MOS of the authors' workbook; the mirror table's scores, which reach -9.5 and 87.9",
    group_rule="image set and scene cluster",
    official_split="",
    tree="IS1/co1/IS_I_C01_D01.jpg ... (six sets, eight scene clusters)\nCID2013 data - version *.xlsx",
    mirror="the same folders and CID2013.txt, which has 474 of 480 rows",
    beware="Six sets were scored apart: report the correlation within sets (column scene) too. The mirror table has "
    "474 rows, the paper 480 images. Whether its scores are those of the workbook is unverified.",
    terms="free for research",
    licence_thumbnails=False,
    citation="T. Virtanen, M. Nuutinen, M. Vaahteranoksa, P. Oittinen, J. Hakkinen: CID2013: A Database for Evaluating "
    "No-Reference Image Quality Assessment Algorithms. IEEE Transactions on Image Processing 24(1), 390-402, 2015.",
    obtain="zenodo.org/record/2647033",
    sources=sourced("mirror table CID2013.txt: 474 rows", "group_rule", "scale")
    | {
        "count": "the paper, second-hand",
        "label_variant": f"{UNVERIFIED}: columns as another project reads them; the mirror table was read",
        "tree": f"{UNVERIFIED}: folders of the mirror table; sheet and columns as another project reads them",
        "terms": "abstract of the paper",
        "obtain": "readme of icbcbicc/IQA-Dataset",
        "scene": "the image set in each name",
    },
    reader="harness.datasets.cid2013:READ",
)
