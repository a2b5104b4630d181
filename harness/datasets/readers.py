"""Pieces that readers are built from: finding label files, reading tables, finding images. Knows no dataset
by name.

Every failure says where was looked and what is there, because a wrong folder is the commonest mistake of all.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.datasets import manifest
from harness.datasets.errors import DatasetError
from harness.datasets.spec import DatasetSpec

IMAGE_SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".bmp",
        ".tif",
        ".tiff",
        ".webp",
        ".gif",
        ".jp2",
        ".ppm",
        ".pgm",
        ".avif",
        ".heic",
        ".heif",
        ".mpo",
    ]
)


@dataclass(frozen=True)
class Labels:
    """What a reader hands over.

    Attributes:
        frame: the manifest table (`manifest.conform`).
        note: what was decided while reading, for a person: rows left out, which of two files was taken.
        unlabelled: images on the disk that no label names; counted and left.
        spec: the dataset's facts where they depend on the files (a folder of one's own), else None.
    """

    frame: pd.DataFrame
    note: str = ""
    unlabelled: int = 0
    spec: DatasetSpec | None = None


@dataclass(frozen=True)
class Site:
    """Where one dataset is looked for: `root` holds images, `labels` the label files where they lie
    elsewhere.
    """

    name: str
    root: Path | None
    labels: Path | None
    _listed: dict[Path, dict[str, list[str]]] = field(default_factory=dict, repr=False)

    def label_file(self, names: Sequence[str], subfolders: Sequence[str] = ("",)) -> Path:
        """The first of `names` that is there, under `labels` or `root` and their `subfolders`; case is
        ignored.

        Raises:
            DatasetError: none of them is there (says what is), or two names differ in case only.
        """
        found = self.optional_label_file(names, subfolders)
        if found is not None:
            return found
        wanted = " or ".join(repr(name) for name in names)
        places = self._label_folders(subfolders)
        raise DatasetError(
            f"{self.name}: the label file {wanted}",
            "; ".join(f"{place}: {contents(place)}" for place in places) or "no folder to look in",
            f"Name the folder that holds it: --labels DIR. {self._tree()}",
        )

    def optional_label_file(self, names: Sequence[str], subfolders: Sequence[str] = ("",)) -> Path | None:
        """As `label_file`, None where nothing fits. A `labels` that is itself a file is that file."""
        if self.labels is not None and self.labels.is_file():
            fits = self.labels.name.casefold() in {Path(name).name.casefold() for name in names}
            return self.labels if fits or len(names) == 1 else None
        for folder in self._label_folders(subfolders):
            for name in names:
                match = self._match(folder, name)
                if match is not None:
                    return folder / match
        return None

    def _label_folders(self, subfolders: Sequence[str]) -> list[Path]:
        tops = [top for top in (self.labels, self.root) if top is not None]
        folders = [top / sub if sub else top for top in tops for sub in subfolders]
        return list(dict.fromkeys(folder for folder in folders if folder.is_dir())) or tops

    def find_images(self, names: Sequence[str], folders: Sequence[str], *, required: bool = True) -> list[str]:
        """Paths of images relative to the root, "" where one is not there; case is ignored.

        Args:
            names: file names as the labels give them, forward slashes for subfolders.
            folders: folders of the official tree under the root in order of preference, "" for the root
                itself; the first that holds any of the images is the one.
            required: a root without a single one of them is the wrong folder; False where they are optional.

        Raises:
            DatasetError: none of the images is there (says what is), or a name is ambiguous by case.
        """
        if self.root is None or not names:
            return [""] * len(names)
        for folder in folders:
            place = self.root / folder if folder else self.root
            found = [self._match(place, name) for name in names] if place.is_dir() else []
            if any(found):
                return [f"{folder}/{match}" if folder and match else match or "" for match in found]
        if not required:
            return [""] * len(names)
        looked = " or ".join(str(self.root / folder if folder else self.root) for folder in folders)
        raise DatasetError(
            f"{self.name}: images such as {names[0]!r} in {looked}",
            contents(self.root),
            f"Name the folder of the official download: --root DIR. {self._tree()}",
        )

    def unlabelled(self, paths: Iterable[str]) -> int:
        """How many images lie beside those of `paths`, in the same folders, that are not among them."""
        if self.root is None:
            return 0
        named = {path for path in paths if path}
        beside = 0
        for folder in {path.rpartition("/")[0] for path in named}:
            listing = self._listing(self.root / folder if folder else self.root)
            entries = [entry for same in listing.values() for entry in same]
            beside += sum(Path(entry).suffix.lower() in IMAGE_SUFFIXES for entry in entries)
        return max(beside - len(named), 0)

    def _tree(self) -> str:
        return f"`harness datasets info {self.name}` shows what it looks like."

    def _match(self, folder: Path, name: str) -> str | None:
        """The entry of `folder` that is `name` but for case; None if there is none."""
        *subfolders, last = name.split("/")
        prefix = ""
        for sub in subfolders:
            real = self._match(folder, sub)
            if real is None:
                return None
            folder, prefix = folder / real, f"{prefix}{real}/"
        matches = self._listing(folder).get(last.casefold(), [])
        if len(matches) > 1:
            raise DatasetError(
                f"{self.name}: one file {last!r} in {folder}",
                f"{len(matches)} that differ in case only: {', '.join(matches)}",
                "Remove or rename all but the right one: the labels cannot tell them apart.",
            )
        return prefix + matches[0] if matches else None

    def _listing(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self._listed:
            listing: dict[str, list[str]] = {}
            if folder.is_dir():
                for entry in sorted(path.name for path in folder.iterdir()):
                    listing.setdefault(entry.casefold(), []).append(entry)
            self._listed[folder] = listing
        return self._listed[folder]


def contents(folder: Path, most: int = 6) -> str:
    """What a folder holds, in a few words: `12 entries: Images/, a.csv, ...`."""
    if folder.is_file():
        return f"the file {folder.name}"
    if not folder.is_dir():
        return "no such folder"
    entries = sorted(f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir())
    if not entries:
        return "an empty folder"
    entries.sort(key=lambda entry: not entry.endswith("/"))
    return f"{len(entries)} entries: {', '.join(entries[:most])}{', ...' if len(entries) > most else ''}"


def read_csv(path: Path, columns: Sequence[str], **options: Any) -> pd.DataFrame:
    """A delimited text table with at least these columns; names are compared without surrounding blanks."""
    try:
        frame = pd.read_csv(path, encoding="utf-8-sig", **options)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DatasetError(f"a table in {path}", str(error).split("\n")[0], "Get the label file again.") from error
    return _with_columns(frame, path, columns)


def read_excel(path: Path, columns: Sequence[str], sheet: str | int = 0) -> pd.DataFrame:
    """One sheet of a workbook with at least these columns."""
    try:
        frame = pd.read_excel(path, sheet_name=sheet)
    except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise DatasetError(f"a workbook in {path}", str(error), "Get the label file again.") from error
    return _with_columns(frame, path, columns)


def read_mat(path: Path, variable: str) -> np.ndarray:
    """One variable of a MATLAB file, flattened; cells of text become str."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content = loadmat(path)
    except (MatReadError, ValueError, TypeError, OSError, NotImplementedError) as error:
        raise DatasetError(f"a MATLAB file in {path}", str(error) or "damage", "Get the label file again.") from error
    if variable not in content:
        there = ", ".join(sorted(key for key in content if not key.startswith("__")))
        raise DatasetError(f"the variable {variable!r} in {path}", there or "none", "Get the official label file.")
    flat = np.asarray(content[variable]).ravel()
    return np.array([str(np.asarray(cell).ravel()[0]) for cell in flat]) if flat.dtype == object else flat


def read_words(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Lines of words separated by blanks, without a header, as many a line as there are columns."""
    frame = read_csv(path, [], sep=r"\s+", header=None)
    if frame.shape[1] != len(columns):
        raise DatasetError(
            f"{len(columns)} words a line in {path} ({', '.join(columns)})",
            str(frame.shape[1]),
            "Get it again.",
        )
    return frame.set_axis(list(columns), axis=1)


def numbers(frame: pd.DataFrame, column: str, path: Path) -> NDArray[np.float64]:
    """A column as float64; empty cells, "NaN" and infinities are NaN, anything else that is no number is an
    error.
    """
    made: list[float] = []
    for row, cell in enumerate(frame[column].tolist()):
        try:
            value = float(cell) if cell is not None and str(cell).strip() else math.nan
        except (TypeError, ValueError) as error:
            raise DatasetError(
                f"numbers as {column!r} in {path}", f"{cell!r} in row {row + 1}", "Correct that row."
            ) from error
        made.append(value if math.isfinite(value) else math.nan)
    return np.array(made, dtype=np.float64)


def texts(frame: pd.DataFrame, column: str) -> list[str]:
    """A column as text without surrounding blanks."""
    return [str(cell).strip() for cell in frame[column].tolist()]


def _with_columns(frame: pd.DataFrame, path: Path, columns: Sequence[str]) -> pd.DataFrame:
    if columns or frame.columns.inferred_type == "string":
        frame = frame.rename(columns=lambda name: str(name).strip())
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise DatasetError(
            f"the columns {', '.join(map(repr, columns))} in {path}",
            ", ".join(map(repr, map(str, frame.columns))) or "none",
            "Get the official label file, or give the right one by --labels.",
        )
    return frame


def as_labels(columns: Mapping[str, Any] | pd.DataFrame, site: Site, folders: Sequence[str], **more: Any) -> Labels:
    """The common case: columns with ids that are file names, images in one of `folders`."""
    frame = pd.DataFrame(columns)
    paths = site.find_images([str(name) for name in frame["id"]], folders)
    frame["path"] = paths
    frame["present"] = [bool(path) for path in paths]
    return Labels(manifest.conform(frame), unlabelled=site.unlabelled(paths), **more)
