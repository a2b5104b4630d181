"""Pieces that readers are built from: tables of every kind as pandas, and what a reader hands over. Knows no dataset
by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from python_calamine import CalamineError
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from harness.datasets import manifest
from harness.datasets.errors import DatasetError
from harness.datasets.site import Site
from harness.datasets.spec import DatasetSpec


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


def read_csv(path: Path, columns: Sequence[str], **options: Any) -> pd.DataFrame:
    """A delimited text table with at least these columns; names are compared without surrounding blanks."""
    try:
        frame = pd.read_csv(path, encoding="utf-8-sig", **options)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DatasetError(f"a table in {path}", str(error).split("\n")[0], "Get the label file again.") from error
    return _with_columns(frame, path, columns)


def read_excel(path: Path, columns: Sequence[str], sheet: str | int = 0, skip: int = 0) -> pd.DataFrame:
    """One sheet of a workbook, .xls or .xlsx, with at least these columns; `skip` lines stand above its header."""
    try:
        frame = pd.read_excel(path, sheet_name=sheet, header=skip, engine="calamine")
    except (CalamineError, ValueError, OSError) as error:
        raise DatasetError(f"a workbook in {path}", str(error), "Get the label file again.") from error
    return _with_columns(frame, path, columns)


def read_mat(path: Path, variable: str) -> np.ndarray:
    """One variable of a MATLAB file of either generation (5-7.2, or 7.3, which is HDF5), flattened; cells of text
    become str.

    Raises:
        DatasetError: damaged, or no such variable.
    """
    remedy = "Get the label file again."
    try:
        with path.open("rb") as file:
            hdf5 = file.read(128).startswith(b"MATLAB 7.3") or h5py.is_hdf5(path)
        content = _mat73(path) if hdf5 else _mat5(path)
    # scipy raises NotImplementedError for a version, or a kind of variable, that it cannot read.
    except (MatReadError, ValueError, TypeError, OSError, KeyError, NotImplementedError) as error:
        raise DatasetError(f"a MATLAB file in {path}", str(error) or "damage", remedy) from error
    if variable not in content:
        there = ", ".join(sorted(content)) or "none"
        raise DatasetError(f"the variable {variable!r} in {path}", there, "Get the official label file.")
    return content[variable]


def _mat5(path: Path) -> dict[str, np.ndarray]:
    return {
        name: _flat(np.asarray(value).ravel(order="F"))
        for name, value in loadmat(path).items()
        if not name.startswith("__")
    }


def _flat(values: np.ndarray) -> np.ndarray:
    return np.array([str(np.asarray(cell).ravel()[0]) for cell in values]) if values.dtype == object else values


def _mat73(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        return {name: _of_h5(file, data) for name, data in file.items() if isinstance(data, h5py.Dataset)}


def _of_h5(file: h5py.File, data: h5py.Dataset) -> np.ndarray:
    # HDF5 holds MATLAB's columns as rows, so this order is that of `ravel(order="F")`. A cell is a reference to
    # its content, and text is an array of code units.
    values = np.asarray(data[()]).ravel()
    if values.dtype != object:
        return values
    cells = [np.asarray(cast("h5py.Dataset", file[reference])[()]).ravel() for reference in values]
    return np.array(["".join(map(chr, cell.tolist())) for cell in cells])


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


def numbers(frame: pd.DataFrame, column: str | int, path: Path) -> NDArray[np.float64]:
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


def texts(frame: pd.DataFrame, column: str | int) -> list[str]:
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
