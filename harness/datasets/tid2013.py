"""TID2013: 25 references, 24 distortion types, 5 levels; names in the label file come in mixed case."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from harness.datasets.errors import DatasetError
from harness.datasets.scale import ScoreScale
from harness.datasets.spec import UNVERIFIED, DatasetSpec

if TYPE_CHECKING:
    from harness.datasets.readers import Labels, Site

# Type numbers as in the authors' readme. Not every type gets worse with its level: local block-wise
# distortions get better and contrast change goes both ways, so no direction may be derived from levels.
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

SPEC = DatasetSpec(
    name="tid2013",
    title="TID2013",
    year=2015,
    count=3000,
    references=25,
    distortions=24,
    scale=ScoreScale("MOS", 0.0, 9.0, True, "MOS"),
    label_variant="mos_with_names.txt",
    group_rule="reference",
    official_split="",
    tree="distorted_images/i01_01_1.bmp ...\nreference_images/I01.BMP ... I25.BMP\n"
    "mos_with_names.txt\nmos_std.txt (optional)",
    terms="not stated",
    licence_thumbnails=False,
    citation="N. Ponomarenko et al.: Image database TID2013: Peculiarities, results and perspectives. "
    "Signal Processing: Image Communication 30, 57-77, 2015.",
    obtain="Download it from ponomarenko.info/tid2013.htm.",
    sources={
        "count": "mos_with_names.txt, counted",
        "references": "names in mos_with_names.txt",
        "distortions": "names in mos_with_names.txt",
        "scale": "declared 0-9; observed 0.24-7.21 in mos_with_names.txt",
        "terms": UNVERIFIED,
        "citation": UNVERIFIED,
    },
    reader="harness.datasets.tid2013:read",
)


def read(root: Path | None, labels: Path | None) -> Labels:
    """mos_with_names.txt; ids are the names in lower case, a group is a reference (`i01` .. `i25`)."""
    from harness.datasets import manifest, readers

    site = readers.Site(SPEC.name, root, labels)
    path = site.label_file(["mos_with_names.txt"])
    table = readers.read_words(path, ["mos", "name"])
    columns: dict[str, list[object]] = {name: [] for name in ("id", "group", "reference", "distortion", "level")}
    for name in readers.texts(table, "name"):
        match = re.fullmatch(r"(i\d\d)_(\d\d)_(\d)\.bmp", name.lower())
        if match is None or not 1 <= int(match[2]) <= len(TYPES):
            raise DatasetError(f"names like i01_01_1.bmp in {path}", repr(name), "Get the official label file.")
        row = (name.lower(), match[1], f"{match[1]}.bmp", TYPES[int(match[2]) - 1], int(match[3]))
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value)
    mos = readers.numbers(table, "mos", path).tolist()
    std = _deviations(site, len(mos))
    references = sorted({str(name) for name in columns["reference"]})
    paths = site.find_images([str(name) for name in columns["id"]], ["distorted_images", ""])
    beside = site.find_images(references, ["reference_images", ""], required=False)
    extra = {
        "id": references,
        "group": [name.partition(".")[0] for name in references],
        "reference": references,
    }
    none = [float("nan")] * len(references)
    frame = manifest.conform(
        {
            **{name: [*values, *extra.get(name, [None] * len(references))] for name, values in columns.items()},
            "mos": [*mos, *none],
            "std": [*std, *none],
            "is_reference": [False] * len(mos) + [True] * len(references),
            "path": paths + beside,
            "present": [bool(place) for place in paths + beside],
        }
    )
    return readers.Labels(frame, unlabelled=site.unlabelled(paths + beside))


def _deviations(site: Site, count: int) -> list[float]:
    """mos_std.txt, one number a line in the order of the scores, where it is there."""
    from harness.datasets import readers

    path = site.optional_label_file(["mos_std.txt"])
    if path is None:
        return [float("nan")] * count
    values = readers.numbers(readers.read_words(path, ["std"]), "std", path).tolist()
    if len(values) != count:
        raise DatasetError(f"{count} deviations in {path}", str(len(values)), "Get the official label files again.")
    return values
