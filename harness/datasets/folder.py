"""A folder of one's own: images and a CSV with the columns id and mos, under a name of its own.

What the labels mean may be declared beside them in `dataset.toml`; without it the scale is open and higher is
better.

    name = "my-photos"
    low = 1                     # leave both ends out for an open scale
    high = 5
    better = "higher"           # or "lower"
    kind = "MOS"                # MOS, DMOS, JOD, ELO or proxy
    csv = "labels.csv"          # default: labels.csv, mos.csv, or the only CSV there is
    images = "photos"           # default: images, Images, or the folder itself

    [columns]                   # column of the manifest = column of the CSV, where the names differ
    id = "image"
    mos = "score"
"""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from harness.datasets.errors import DatasetError
from harness.datasets.scale import Kind, ScoreScale
from harness.datasets.spec import DatasetSpec

if TYPE_CHECKING:
    import pandas as pd

    from harness.datasets.dataset import Dataset
    from harness.datasets.readers import Labels, Site

FILE = "dataset.toml"
CSVS = ("labels.csv", "mos.csv")
FOLDERS = ("images", "Images", "")
TEXTS = ("id", "path", "group", "reference", "distortion", "scene", "official_part")
NUMBERS = ("mos", "std", "votes", "level")
PART_NAMES = {"training": "train", "validation": "valid", "val": "valid", "testing": "test"}


class Description(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `dataset.toml` may say; see the head of this module."""

    name: str = ""
    title: str = ""
    low: float | None = None
    high: float | None = None
    better: Literal["higher", "lower"] = "higher"
    kind: Kind = "MOS"
    label: str = ""
    csv: str = ""
    images: str = ""
    terms: str = "yours"
    thumbnails: bool = True
    columns: dict[str, str] = {}

    def scale(self) -> ScoreScale:
        """The declared scale."""
        return ScoreScale(self.kind, self.low, self.high, self.better == "higher", self.label or self.kind)


SPEC = DatasetSpec(
    name="folder",
    title="A folder of your own: images and a CSV",
    year=0,
    count=0,
    references=0,
    distortions=0,
    scale=ScoreScale("MOS", None, None, True, "MOS"),
    label_variant="column mos of the CSV",
    group_rule="column group, else reference, else image",
    official_split="",
    tree=f"images/a.jpg ... (or beside the CSV)\nlabels.csv with the columns id, mos and, where known, "
    f"{', '.join((*TEXTS[2:], *NUMBERS[1:]))}\n"
    f"{FILE} (optional): name, low, high, better, kind, csv, images, [columns]",
    terms="yours",
    licence_thumbnails=True,
    citation="",
    obtain="Write a CSV: one row an image, id (file name) and mos.",
    sources={"tree": "docs/datasets.md", "terms": "yours", "obtain": "docs/datasets.md"}
    | dict.fromkeys(("scale", "label_variant", "group_rule"), f"{FILE}, or the defaults"),
    reader="harness.datasets.folder:read",
)


def read(root: Path | None, labels: Path | None) -> Labels:
    """A folder as its `dataset.toml` declares it, or by the defaults."""
    return read_as(describe(root, labels), root, labels)


def described(name: str, root: Path | None, labels: Path | None) -> Dataset | None:
    """The folder dataset of this name, or None where the folder is none.

    A folder is one if its `dataset.toml` states this name or none, or if it has no such file but a CSV with
    the columns id and mos.
    """
    from harness.datasets.dataset import from_labels

    if not any(place is not None and place.exists() for place in (root, labels)):
        return None
    own = describe(root, labels)
    if own.name not in ("", name):
        return None
    if _toml(root, labels) is None and (_is_typo(name) or not _is_plain_table(root, labels)):
        return None
    own = msgspec.structs.replace(own, name=name)
    return from_labels(SPEC, root, read_as(own, root, labels))


def why_none(name: str, root: Path | None, labels: Path | None) -> str:
    """What keeps a place that is there from being a folder dataset of this name; "" where no place is there."""
    place = next((str(place) for place in (root, labels) if place is not None and place.exists()), "")
    if not place:
        return ""
    declared = describe(root, labels).name
    if declared not in ("", name):
        return f"{place}: its {FILE} says the name {declared!r}. Type --dataset {declared}."
    if _is_plain_table(root, labels):
        return ""  # the name is what is wrong: nearly that of another dataset
    tables = [path.name for path in _tables(root, labels)]
    found = f"found {', '.join(tables)} without them" if tables else "found no CSV"
    return (
        f"{place}: expected a {FILE} or a CSV whose first line names the columns id and mos, {found}. Columns of other "
        f"names are told in {FILE} (docs/datasets.md)."
    )


def open_folder(
    root: Path | str,
    labels: Path | str | None = None,
    *,
    name: str = "",
    scale: ScoreScale | None = None,
    columns: dict[str, str] | None = None,
) -> Dataset:
    """A folder of one's own from Python.

    Args:
        root: the folder of the images.
        labels: the CSV or its folder, where it lies elsewhere.
        name: what the dataset is called; default: `dataset.toml`, then the folder's own name.
        scale: what the labels mean; default: `dataset.toml`, then open and higher is better.
        columns: manifest column -> CSV column, where the names differ.

    Raises:
        DatasetError: no CSV, no such column, no image, labels that are not as declared.
    """
    from harness.datasets.dataset import from_labels

    top, beside = Path(root), None if labels is None else Path(labels)
    own = describe(top, beside)
    own = msgspec.structs.replace(own, name=name or own.name, columns={**own.columns, **(columns or {})})
    return from_labels(SPEC, top, read_as(own, top, beside, scale))


def describe(root: Path | None, labels: Path | None) -> Description:
    """What `dataset.toml` says; the defaults where there is none.

    Raises:
        DatasetError: not TOML, or a key or value that nobody knows.
    """
    path = _toml(root, labels)
    if path is None:
        return Description()
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Description)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        keys = ", ".join(Description.__struct_fields__)
        raise DatasetError(f"the keys {keys} in {path}", str(error), "Correct that line.") from error


def read_as(own: Description, root: Path | None, labels: Path | None, scale: ScoreScale | None = None) -> Labels:
    """A folder as `own` describes it; `scale` overrides the described one."""
    from harness.datasets import readers

    name = _name(own, root, labels)
    site = readers.Site(name, root, labels)
    path = _csv(own, site)
    unknown = sorted(set(own.columns) - {*TEXTS, *NUMBERS})
    if unknown:
        raise DatasetError(f"manifest columns {', '.join((*TEXTS, *NUMBERS))} in [columns]", ", ".join(unknown), "")
    column = {key: own.columns.get(key, key) for key in (*TEXTS, *NUMBERS)}
    needed = {column["id"], column["mos"], *own.columns.values()}
    table = readers.read_csv(path, sorted(needed), dtype={column["id"]: str}, sep=None, engine="python")
    rows: dict[str, Any] = {
        key: _texts(table, column[key]) for key in TEXTS if column[key] in table.columns and key != "path"
    }
    rows |= {key: readers.numbers(table, column[key], path) for key in NUMBERS if column[key] in table.columns}
    if "group" not in rows and "reference" in rows:
        rows["group"] = rows["reference"]
    if "official_part" in rows:
        words = [word.lower() for word in rows["official_part"]]
        rows["official_part"] = [PART_NAMES.get(word, word) for word in words]
    files = _texts(table, column["path"]) if column["path"] in table.columns else rows["id"]
    paths = site.find_images([file.replace("\\", "/") for file in files], [own.images] if own.images else FOLDERS)
    rows["path"], rows["present"] = paths, [bool(place) for place in paths]
    frame = readers.manifest.conform(rows)
    spec = msgspec.structs.replace(
        SPEC,
        name=name,
        title=own.title or name,
        count=len(frame),
        scale=scale or own.scale(),
        label_variant=f"column {column['mos']} of {path.name}",
        group_rule=f"column {column['group']}"
        if column["group"] in table.columns
        else "reference"
        if "reference" in rows
        else "image",
        official_split=f"column {column['official_part']}" if any(frame["official_part"] != "") else "",
        terms=own.terms,
        licence_thumbnails=own.thumbnails,
    )
    return readers.Labels(frame, unlabelled=site.unlabelled(paths), spec=spec)


def _texts(table: pd.DataFrame, column: str) -> list[str]:
    return [str(cell).strip() for cell in table[column].fillna("").tolist()]


def _toml(root: Path | None, labels: Path | None) -> Path | None:
    folders = [place.parent if place.is_file() else place for place in (labels, root) if place is not None]
    return next((folder / FILE for folder in folders if (folder / FILE).is_file()), None)


def _name(own: Description, root: Path | None, labels: Path | None) -> str:
    from harness.datasets import DATASETS

    place = root or labels
    name = own.name or (place.resolve().stem.lower().replace(" ", "-") if place else "")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise DatasetError("a dataset name of letters, digits, '.', '_' and '-'", repr(name), f"Set name in {FILE}.")
    if name in DATASETS:
        raise DatasetError("a name that no built-in dataset has", repr(name), f"Set another name in {FILE}.")
    return name


def _csv(own: Description, site: Site) -> Path:
    if own.csv:
        return site.label_file([own.csv])
    if site.labels is not None and site.labels.is_file():
        return site.labels
    found = site.optional_label_file(CSVS)
    if found is not None:
        return found
    tables = _tables(site.root, site.labels)
    return tables[0] if len(tables) == 1 else site.label_file(CSVS)


def _tables(root: Path | None, labels: Path | None) -> list[Path]:
    folders = [place for place in (labels, root) if place is not None and place.is_dir()]
    return sorted(path for folder in folders for path in folder.glob("*.csv"))


def _is_typo(name: str) -> bool:
    from harness.registry import datasets

    return bool(difflib.get_close_matches(name, datasets().names(), n=1, cutoff=0.75))


def _is_plain_table(root: Path | None, labels: Path | None) -> bool:
    """Whether there is a CSV whose first line names the columns id and mos."""
    tables = [labels] if labels is not None and labels.is_file() else _tables(root, labels)
    for path in tables:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            names = {name.strip().strip('"') for name in re.split(r"[,;\t]", file.readline())}
        if {"id", "mos"} <= names:
            return True
    return False
