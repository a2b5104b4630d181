"""KonIQ-10k: 10,073 photographs, crowdsourced; two label files whose columns called MOS are not the same
thing. KonIQ++: the same photographs scored anew, with votes on defects.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.datasets.errors import DatasetError
from harness.datasets.layout import PARTS, Layout, Source
from harness.datasets.scale import ScoreScale
from harness.datasets.spec import UNVERIFIED, DatasetSpec, on_github, sourced

if TYPE_CHECKING:
    import pandas as pd

    from harness.datasets.site import Site

SETS = "koniq10k_distributions_sets.csv"
SCORES = "koniq10k_scores_and_distributions.csv"
MIRROR = "KonIQ-10k.txt"
RAW_TOP = 5.0
TREES = ("1024x768/{name}", "512x384/{name}", "{name}")


def _load(site: Site, path: Path) -> pd.DataFrame:
    """The z-scored MOS from either file, the official split from the one that has it.

    The two orderings differ (SRCC .992 over all images), so a mix-up costs more than most methods gain. The
    published deviation is that of the raw 1-5 votes, not of the z-scored MOS: it is left out rather than
    given in a wrong unit.
    """
    import pandas as pd

    from harness.datasets import readers

    raw = path.name.casefold() == MIRROR.casefold()
    table = readers.read_csv(path, ["dis_img_path", "score"] if raw else ["image_name", "MOS"])
    column = "score" if raw else "MOS_zscore" if "MOS_zscore" in table.columns else "MOS"
    mos = readers.numbers(table, column, path)
    if column != "MOS_zscore" and mos.size and pd.Series(mos).max() <= RAW_TOP:
        raise DatasetError(
            f"the z-scored MOS (1-100) in {path}",
            f"a column {column!r} that ends at {pd.Series(mos).max():g}: the raw scale 1-5",
            f"Use {SETS}, or {SCORES} with its column `MOS_zscore`.",
        )
    made: dict[str, object] = {"name": readers.texts(table, "dis_img_path" if raw else "image_name"), "mos": mos}
    if "set" in table.columns:
        made["official_part"] = readers.texts(table, "set")
        unknown = sorted(set(readers.texts(table, "set")) - {*PARTS, "test"})
        if unknown:
            raise DatasetError(
                f"training, validation, test as `set` in {path}", ", ".join(unknown), "Get the official file."
            )
    if "c_total" in table.columns:
        made["votes"] = readers.numbers(table, "c_total", path)
    return pd.DataFrame(made)


LEFT_OUT = "deviations left out: they are those of the raw votes"

READ = Layout(
    dataset="koniq10k",
    sources=(
        Source(files=(SETS,), folders=("", "metadata"), load=_load, note=f"z-scored MOS; {LEFT_OUT}"),
        Source(
            files=(SCORES, MIRROR),
            load=_load,
            note=f"z-scored MOS from MOS_zscore; {LEFT_OUT}; no official split: it is in {SETS} only",
        ),
    ),
    pattern=r"[^/]+\.jpg",
    example="10004473376.jpg",
    images=TREES,
    name_tree=True,
)

READ_PLUSPLUS = Layout(
    dataset="koniqplusplus",
    sources=(
        Source(
            files=("koniq++database.csv", "koniq++database_distributions.csv"),
            columns={"name": "filename", "mos": "qmos"},
        ),
    ),
    pattern=r"[^/]+\.jpg",
    example="10004473376.jpg",
    images=TREES,
    name_tree=True,
)

SPEC = DatasetSpec(
    name="koniq10k",
    title="KonIQ-10k",
    year=2020,
    count=10073,
    references=0,
    distortions=0,
    scale=ScoreScale("MOS", 1.0, 100.0, True, "MOS (z-scored)"),
    label_variant=f"z-scored MOS, 1-100: `MOS` of {SETS} = `MOS_zscore` of {SCORES}",
    spread="votes: c_total; no std: the published SD is that of the raw 1-5 votes",
    group_rule="image",
    official_split="7,058 train, 1,000 valid, 2,015 test",
    tree=f"1024x768/10004473376.jpg ... (or 512x384/)\n{SETS} or metadata/{SETS}\nor {SCORES} (without the split)",
    mirror=f"1024x768/ (its table {MIRROR} has the raw MOS, 1-5: use {SETS})",
    shares={
        "koniqplusplus": "the same photographs",
        "KonX": "its photographs are some of these",
        "YFCC100M": "its photographs are from there",
    },
    beware="Two files have a column called MOS: z-scored (1-100) in one, raw (1-5) in the other; their orders differ "
    "(SRCC .992). 7,051/1,007/2,015 is not the official split.",
    terms="freely available to the research community; photographs from YFCC100M",
    licence_thumbnails=False,
    citation="V. Hosu, H. Lin, T. Sziranyi, D. Saupe: KonIQ-10k: An Ecologically Valid Database for Deep "
    "Learning of Blind Image Quality Assessment. IEEE Transactions on Image Processing 29, 4041-4056, 2020.",
    obtain=f"Images: database.mmsp-kn.de. {SETS}: https://github.com/subpic/koniq, folder metadata.",
    sources={
        "count": f"{SETS}, counted",
        "official_split": f"column `set` of {SETS}, counted",
        "scale": f"observed 3.9-88.4 in {SETS}; the ends 1-100 are the authors'",
        "label_variant": f"{SETS}: 77.38 for 10004473376.jpg, whose raw votes average 3.829",
        "spread": f"{SETS}",
        "group_rule": "one image a name; nothing else is published",
        "tree": f"{SETS} and one image read; names of folders second-hand",
        "shares": "second-hand",
        "obtain": "the repository subpic/koniq; readme of icbcbicc/IQA-Dataset",
        "terms": "second-hand",
        "citation": UNVERIFIED,
    },
    reader="harness.datasets.koniq10k:READ",
    label_files=on_github(
        "subpic/koniq",
        "1c271570ac83aeb6aa8e7ff25449f3299b0d2e53",
        "MIT",
        {f"metadata/{SETS}": "d0bd1ad54a60bc36fe172049e46ac76c83554e50ab84acebfd47b82b3e698a0a"},
    ),
)

PLUSPLUS = DatasetSpec(
    name="koniqplusplus",
    title="KonIQ++",
    year=2021,
    count=10073,
    references=0,
    distortions=0,
    scale=ScoreScale("MOS", None, None, True, "MOS"),
    label_variant="column qmos of koniq++database.csv; the shares of votes on defects (artifacts, blur, contrast, "
    "colors) are left alone",
    group_rule="image",
    official_split="",
    tree="1024x768/10004473376.jpg ... (the images of KonIQ-10k)\nkoniq++database.csv (filename, qmos, ...)",
    shares={
        "koniq10k": "the same photographs",
        "KonX": "its photographs are some of these",
        "YFCC100M": "its photographs are from there",
    },
    beware="The same photographs as KonIQ-10k: never test one with a head trained on the other. Use KonIQ-10k's "
    "split through a split file.",
    terms="free for research",
    licence_thumbnails=False,
    citation="S. Su, V. Hosu, H. Lin, Y. Zhang, D. Saupe: KonIQ++: Boosting No-Reference Image Quality Assessment in "
    "the Wild by Jointly Predicting Image Quality and Defects. BMVC 2021.",
    obtain="database.mmsp-kn.de/koniq-image-defects-database.html; the images are KonIQ-10k's.",
    sources=sourced("second-hand", "year", "terms", "shares")
    | {
        "label_variant": f"{UNVERIFIED}: column names as two other projects read them",
        "scale": f"{UNVERIFIED}: another project takes it for 1-5, so no range is declared",
        "tree": f"{UNVERIFIED}: no official file was read; name of the file from the authors' code readme",
        "obtain": "the authors' code readme",
    },
    reader="harness.datasets.koniq10k:READ_PLUSPLUS",
)
