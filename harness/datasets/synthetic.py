"""Two small datasets made on the spot from photographs that installed packages carry; labels are SSIM, never
opinions.

`synthetic` is for training, `synthetic-cross` for testing elsewhere: no photograph and no distortion family
is in both. They show that the machinery works from end to end without a download; what is learnt on them is a
formula.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness.datasets.errors import DatasetError
from harness.datasets.scale import ScoreScale
from harness.datasets.spec import DatasetSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.datasets.readers import Labels

LONG_SIDE = 256
LABELS = "labels.csv"
IMAGES = "images"
COLUMNS = ("id", "mos", "group", "reference", "distortion", "level")

# photograph -> file in an installed package
PHOTOGRAPHS: dict[str, dict[str, str]] = {
    "synthetic": {
        "astronaut": "skimage/data/astronaut.png",
        "coffee": "skimage/data/coffee.png",
        "china": "sklearn/datasets/images/china.jpg",
        "camera": "skimage/data/camera.png",
        "brick": "skimage/data/brick.png",
        "coins": "skimage/data/coins.png",
    },
    "synthetic-cross": {
        "chelsea": "skimage/data/chelsea.png",
        "flower": "sklearn/datasets/images/flower.jpg",
        "rocket": "skimage/data/rocket.jpg",
        "gravel": "skimage/data/gravel.png",
        "grass": "skimage/data/grass.png",
        "hubble": "skimage/data/hubble_deep_field.jpg",
    },
}
FAMILIES: dict[str, tuple[str, ...]] = {
    "synthetic": ("Gaussian blur", "white noise", "JPEG", "contrast"),
    "synthetic-cross": ("motion blur", "impulse noise", "downsampling", "quantisation"),
}
LEVELS = (1, 2, 3, 4, 5)
QUICK_PHOTOGRAPHS = 4
QUICK_LEVELS = (1, 3, 5)


class Copy(NamedTuple):
    """One image of a set; family "" and level 0 for the reference itself."""

    photograph: str
    family: str
    level: int

    @property
    def id(self) -> str:
        """Its file name."""
        slug = self.family.lower().replace(" ", "-")
        return f"{self.photograph}_{slug}_{self.level}.png" if self.family else f"{self.photograph}.png"


def copies(kind: str, quick: bool = False) -> Iterator[Copy]:
    """All images of a set, each photograph's reference first."""
    for photograph in list(PHOTOGRAPHS[kind])[: QUICK_PHOTOGRAPHS if quick else None]:
        yield Copy(photograph, "", 0)
        for family in FAMILIES[kind]:
            for level in QUICK_LEVELS if quick else LEVELS:
                yield Copy(photograph, family, level)


def generate(
    kind: str, folder: Path | str, progress: Callable[[int], object] | None = None, *, quick: bool = False
) -> Path:
    """Makes a set in a folder, or what is missing of it; labels are written last.

    Args:
        kind: "synthetic" or "synthetic-cross".
        folder: where to; images lie in its `images/`.
        progress: called with 1 after each image.
        quick: fewer photographs and levels; a whole set that is there already is left whole.

    Returns:
        The folder, to be opened as the root of the dataset `kind`.

    Raises:
        DatasetError: unknown kind, the folder holds something else, or a photograph is not in its package.
    """
    from PIL import Image

    from harness.datasets import distortions

    if kind not in PHOTOGRAPHS:
        raise DatasetError(f"one of {', '.join(PHOTOGRAPHS)}", repr(kind), "Correct the name.")
    root, images = Path(folder), Path(folder) / IMAGES
    wanted = list(copies(kind, quick))
    there = _labelled(root / LABELS)
    strangers = sorted(there - {copy.id for copy in copies(kind)})
    if strangers:
        raise DatasetError(
            f"an empty folder or a {kind} set in {root}",
            f"labels of {strangers[0]!r}",
            "Choose another folder.",
        )
    if all(copy.id in there and (images / copy.id).is_file() for copy in wanted):
        return root
    images.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[object, ...]] = []
    sources = {name: photograph(PHOTOGRAPHS[kind][name]) for name in {copy.photograph for copy in wanted}}
    for copy in wanted:
        rgb = reference = sources[copy.photograph]
        if copy.family:
            rgb = distortions.distort(reference, copy.family, copy.level, copy.photograph)
        if not (images / copy.id).is_file():
            buffer = io.BytesIO()
            Image.fromarray(rgb).save(buffer, "PNG", compress_level=1)
            _write(images / copy.id, buffer.getvalue())
        # Six decimals: far below what a label means, far above what platforms' rounding differs by.
        label = f"{distortions.ssim(reference, rgb):.6f}" if copy.family else ""
        rows.append((copy.id, label, copy.photograph, f"{copy.photograph}.png", copy.family, copy.level))
        if progress is not None:
            progress(1)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
    _write(root / LABELS, text.getvalue().encode())
    return root


def photograph(file: str) -> NDArray[np.uint8]:
    """One photograph as (H, W, 3) uint8 RGB, its longer side 256 pixels.

    Args:
        file: package, then the path inside it.
    """
    import numpy as np
    from PIL import Image

    package, _, inside = file.partition("/")
    found = find_spec(package)
    path = Path((found.submodule_search_locations or [""])[0] if found else "") / inside
    if found is None or not path.is_file():
        raise DatasetError(f"the photograph {inside} in the package {package}", "no such file", "Install it again.")
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    scale = LONG_SIDE / max(rgb.size)
    size = (round(rgb.width * scale), round(rgb.height * scale))
    return np.asarray(rgb.resize(size, Image.Resampling.LANCZOS))


def _labelled(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    with path.open(newline="", encoding="utf-8") as file:
        return {row.get("id", "") for row in csv.DictReader(file)}


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(path)


def read(root: Path | None, labels: Path | None) -> Labels:
    """What `generate("synthetic", root)` made."""
    return _read("synthetic", root, labels)


def read_cross(root: Path | None, labels: Path | None) -> Labels:
    """What `generate("synthetic-cross", root)` made."""
    return _read("synthetic-cross", root, labels)


def _read(kind: str, root: Path | None, labels: Path | None) -> Labels:
    from harness.datasets import readers

    site = readers.Site(kind, root, labels)
    path = site.label_file([LABELS])
    table = readers.read_csv(path, COLUMNS, keep_default_na=False)
    ids, families = readers.texts(table, "id"), readers.texts(table, "distortion")
    strangers = sorted(set(ids) - {copy.id for copy in copies(kind)})
    if strangers:
        raise DatasetError(f"labels of a {kind} set in {path}", f"a row {strangers[0]!r}", "Name its own folder.")
    rows = {
        "id": ids,
        "mos": readers.numbers(table, "mos", path),
        "group": readers.texts(table, "group"),
        "reference": readers.texts(table, "reference"),
        "distortion": families,
        "level": readers.numbers(table, "level", path),
        "is_reference": [not family for family in families],
    }
    note = "labels are SSIM against the reference, computed by a formula: no person has judged these images"
    return readers.as_labels(rows, site, [IMAGES, ""], note=note)


def _spec(kind: str, title: str) -> DatasetSpec:
    photographs, families = PHOTOGRAPHS[kind], FAMILIES[kind]
    reader = "read" if kind == "synthetic" else "read_cross"
    count = len(photographs) * len(families) * len(LEVELS)
    return DatasetSpec(
        name=kind,
        title=title,
        year=0,
        count=count,
        references=len(photographs),
        distortions=len(families),
        scale=ScoreScale("proxy", 0.0, 1.0, True, "proxy (SSIM)"),
        label_variant="SSIM (Wang et al. 2004) on luma against the undistorted photograph",
        group_rule="reference",
        official_split="",
        tree=f"{IMAGES}/{next(iter(photographs))}.png ...\n{LABELS}",
        terms="photographs: public domain or CC0 as scikit-image states; china and flower: CC BY 2.0, "
        "danielbuechele and vultilion (Flickr), from scikit-learn",
        licence_thumbnails=True,
        citation="S. van der Walt et al.: scikit-image: image processing in Python. PeerJ 2:e453, 2014; "
        "Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli: Image quality assessment: from error "
        "visibility to structural similarity. IEEE Transactions on Image Processing 13(4), 600-612, 2004.",
        obtain=f"Made on the spot: harness.datasets.synthetic.generate({kind!r}, DIR); `harness demo` does.",
        sources={
            "count": f"{len(photographs)} photographs x {len(families)} families x {len(LEVELS)} levels",
            "scale": "SSIM, negative values set to 0",
            "tree": "made by this project",
            "terms": "docstrings of skimage.data; README of sklearn.datasets.images",
        },
        reader=f"harness.datasets.synthetic:{reader}",
        made_here=True,
    )


SPEC = _spec("synthetic", "Synthetic, for training: blur, noise, JPEG, contrast")
CROSS = _spec("synthetic-cross", "Synthetic, for testing: other photographs, other distortions")
