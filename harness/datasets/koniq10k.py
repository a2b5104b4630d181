"""KonIQ-10k: 10,073 photographs, crowdsourced; two label files whose columns called MOS are not the same
thing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.datasets.errors import DatasetError
from harness.datasets.scale import ScoreScale
from harness.datasets.spec import UNVERIFIED, DatasetSpec

if TYPE_CHECKING:
    from harness.datasets.readers import Labels

SETS = "koniq10k_distributions_sets.csv"
SCORES = "koniq10k_scores_and_distributions.csv"
PARTS = {"training": "train", "validation": "valid", "test": "test"}
RAW_TOP = 5.0

SPEC = DatasetSpec(
    name="koniq10k",
    title="KonIQ-10k",
    year=2020,
    count=10073,
    references=0,
    distortions=0,
    scale=ScoreScale("MOS", 1.0, 100.0, True, "MOS (z-scored)"),
    label_variant=f"z-scored MOS, 1-100: `MOS` of {SETS} = `MOS_zscore` of {SCORES}",
    group_rule="image",
    official_split="7,058 train, 1,000 valid, 2,015 test",
    tree=f"1024x768/10004473376.jpg ... (or 512x384/)\n{SETS} or metadata/{SETS}\nor {SCORES} (without the split)",
    terms="freely available to the research community; photographs from YFCC100M",
    licence_thumbnails=False,
    citation="V. Hosu, H. Lin, T. Sziranyi, D. Saupe: KonIQ-10k: An Ecologically Valid Database for Deep "
    "Learning of Blind Image Quality Assessment. IEEE Transactions on Image Processing 29, 4041-4056, 2020.",
    obtain=f"Images: database.mmsp-kn.de. {SETS}: https://github.com/subpic/koniq, folder metadata.",
    sources={
        "count": f"{SETS}, counted",
        "official_split": f"column `set` of {SETS}, counted",
        "scale": f"observed 3.9-88.4 in {SETS}; the ends 1-100 are the authors'",
        "terms": UNVERIFIED,
        "citation": UNVERIFIED,
    },
    reader="harness.datasets.koniq10k:read",
)


def read(root: Path | None, labels: Path | None) -> Labels:
    """The z-scored MOS from either file, the official split from the one that has it.

    The two orderings differ (SRCC .992 over all images), so a mix-up costs more than most methods gain. The
    published deviation is that of the raw 1-5 votes, not of the z-scored MOS: it is left out rather than
    given in a wrong unit.
    """
    import pandas as pd

    from harness.datasets import readers

    site = readers.Site(SPEC.name, root, labels)
    path = site.label_file([SETS, SCORES], ["", "metadata"])
    table = readers.read_csv(path, ["image_name", "MOS"])
    column = "MOS_zscore" if "MOS_zscore" in table.columns else "MOS"
    mos = readers.numbers(table, column, path)
    if column == "MOS" and mos.size and pd.Series(mos).max() <= RAW_TOP:
        raise DatasetError(
            f"the z-scored MOS (1-100) in {path}",
            f"a column `MOS` that ends at {pd.Series(mos).max():g}: the raw scale 1-5",
            f"Use {SETS}, or {SCORES} with its column `MOS_zscore`.",
        )
    notes = [
        f"z-scored MOS from `{column}` of {path.name}",
        "deviations left out: they are those of the raw votes",
    ]
    parts = [""] * len(table)
    if "set" in table.columns:
        words = readers.texts(table, "set")
        unknown = sorted(set(words) - set(PARTS))
        if unknown:
            raise DatasetError(f"{', '.join(PARTS)} as `set` in {path}", ", ".join(unknown), "Get the official file.")
        parts = [PARTS[word] for word in words]
    else:
        notes.append(f"no official split: it is in {SETS} only")
    rows = {"id": readers.texts(table, "image_name"), "mos": mos, "official_part": parts}
    if "c_total" in table.columns:
        rows["votes"] = readers.numbers(table, "c_total", path)
    found = readers.as_labels(rows, site, ["1024x768", "512x384", ""], note="; ".join(notes))
    tree = next((place for place in found.frame["path"] if place), "")
    if "/" in tree:
        notes.append(f"images of {tree.partition('/')[0]}")
    return readers.Labels(found.frame, "; ".join(notes), found.unlabelled)
