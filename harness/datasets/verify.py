"""Whether a dataset on this disk is whole: every file read, hashed and decoded once. Changes nothing.

How a file is decoded is not known here: the caller passes the function that work will use.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd

from harness.datasets.dataset import Dataset
from harness.datasets.files import Advance, reason_of
from harness.datasets.manifest import column, select

if TYPE_CHECKING:
    from rich.console import RenderableType

SHOWN = 5


class VerifyReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was found; drawn for people by `__rich__`.

    Attributes:
        present: files on the disk that the manifest names; `references` of them are references.
        missing: labelled images that are not here; `missing_ids` names them.
        failed: labelled rows that cannot be used, by reason ("label is NaN").
        undecodable: id -> reason.
        duplicates: groups of ids whose files have the same bytes.
        duplicates_across: those that stand in different official parts.
        labels: which of several published labels these are; `scale` what is declared of them, `lowest` and `highest`
            what is found.
        parts: labelled rows by official part, where there is one.
        level_trends: distortion -> SRCC of mos and level within it, where levels are known: near -1 where
            higher is better and levels count damage. A fact to look at, not a verdict.
        direction: what these trends say of the declared direction.
        sums: the file with the sha256 of every image; "" where none was asked for.
        problems: what makes work on this dataset untrustworthy, in words.
    """

    dataset: str
    root: str
    labelled: int
    present: int
    references: int
    missing: int
    missing_ids: list[str]
    unlabelled: int
    failed: dict[str, int]
    undecodable: dict[str, str]
    duplicates: list[list[str]]
    duplicates_across: list[list[str]]
    labels: str
    parts: dict[str, int]
    scale: str
    lowest: float
    highest: float
    level_trends: dict[str, float]
    direction: str
    sums: str
    sizes: dict[str, int]
    label_digest: str
    note: str
    problems: list[str]

    @property
    def exit_code(self) -> int:
        """3 where there is a problem; a subset is none."""
        return 3 if self.problems else 0

    def __rich__(self) -> RenderableType:
        from rich.text import Text

        sizes = [f"{size} ({count:,})" for size, count in self.sizes.items()]
        lines = [
            f"{self.dataset} in {self.root}",
            f"  labels      {self.labelled:,}; {self.scale}; found {self.lowest:g} to {self.highest:g}",
            f"  variant     {self.labels}; digest {self.label_digest[:12]}",
            f"  images      {self.present:,} here ({self.references} of them references), "
            f"{self.missing:,} missing{' (SUBSET)' if self.missing else ''}",
            f"  sizes       {', '.join(sizes[:SHOWN])}{', ...' if len(sizes) > SHOWN else ''}",
        ]
        lines += [f"  left out    {count} rows: {reason}" for reason, count in self.failed.items()]
        lines += [f"  left out    {self.unlabelled} images without a label"] * (self.unlabelled > 0)
        lines += [f"  note        {self.note}"] * bool(self.note)
        lines += [f"  same bytes  {' = '.join(ids)}" for ids in self.duplicates[:SHOWN]]
        parts = [f"{count:,} {part}" for part, count in self.parts.items()]
        lines += [f"  split       {', '.join(parts)}"] * bool(parts)
        lines += [f"  direction   {self.direction}"] * bool(self.direction)
        lines += [f"  sha256      {self.sums}"] * bool(self.sums)
        lines += [f"  PROBLEM     {problem}" for problem in self.problems]
        return Text("\n".join(lines + ["  every image here can be used"] * (not self.problems)))


class _Look(NamedTuple):
    id: str
    sha256: str
    size: str
    reason: str


def verify(
    dataset: Dataset,
    decode: Callable[[bytes], Any] | None = None,
    progress: Advance | None = None,
    threads: int | None = None,
    out: Path | None = None,
) -> VerifyReport:
    """Reads every image of a dataset that is here and looks at its labels.

    Args:
        decode: bytes -> (H, W, 3) array; an exception that carries a `reason` is a finding, any other a bug
            and raised.
            None: files are hashed only.
        progress: called with 1 after each file.
        threads: files at a time, default one a core; decoding releases Python's lock.
        out: where to write the sha256 of every file, in the form that `sha256sum -c` reads.
    """
    rows = select(dataset.manifest, column(dataset.manifest, "present"))
    names = [str(name) for name in rows["id"]] if dataset.root is not None else []

    def look(name: str) -> _Look:
        found = _look(dataset, name, decode)
        if progress is not None:
            progress(1)
        return found

    with ThreadPoolExecutor(max(threads or os.cpu_count() or 1, 1)) as pool:
        looks = list(pool.map(look, names))
    if out is not None:
        _write_sums(dataset, looks, out)
    undecodable = {look.id: look.reason for look in looks if look.reason}
    parts = dict(zip(dataset.manifest["id"], dataset.manifest["official_part"], strict=True))
    duplicates = _duplicates(looks)
    across = [ids for ids in duplicates if len({parts[name] for name in ids}) > 1]
    mos = column(dataset.labelled, "mos")
    judged = select(dataset.manifest, ~column(dataset.manifest, "is_reference"))
    gone = select(judged, ~column(judged, "present"))
    trends = level_trends(dataset.labelled)
    counts = Counter(part for part in dataset.labelled["official_part"] if part)
    return VerifyReport(
        dataset=dataset.name,
        root=str(dataset.root or ""),
        labelled=len(mos),
        present=dataset.present,
        references=len(rows) - len(select(rows, ~column(rows, "is_reference"))),
        missing=dataset.missing,
        missing_ids=[str(name) for name in gone["id"]],
        unlabelled=dataset.unlabelled,
        failed=dataset.failures,
        undecodable=undecodable,
        duplicates=duplicates,
        duplicates_across=across,
        labels=dataset.spec.label_variant,
        parts={part: counts[part] for part in ("train", "valid", "test") if counts[part]},
        scale=str(dataset.scale),
        lowest=float(mos.min()),
        highest=float(mos.max()),
        level_trends=trends,
        direction=direction_in_words(trends, dataset.scale.higher_is_better),
        sums=str(out or ""),
        sizes=dict(Counter(look.size for look in looks if look.size).most_common()),
        label_digest=dataset.label_digest,
        note=dataset.note,
        problems=_problems(dataset, undecodable, across),
    )


def _look(dataset: Dataset, name: str, decode: Callable[[bytes], Any] | None) -> _Look:
    try:
        data = dataset.path(name).read_bytes()
    except OSError as error:
        return _Look(name, "", "", f"cannot be read: {error.strerror}")
    digest, size, reason = hashlib.sha256(data).hexdigest(), "", ""
    if decode is not None:
        try:
            height, width = decode(data).shape[:2]
            size = f"{width}x{height}"
        except Exception as error:
            reason = reason_of(error)
    return _Look(name, digest, size, reason)


def _duplicates(looks: Iterable[_Look]) -> list[list[str]]:
    same: dict[str, list[str]] = {}
    for look in looks:
        if look.sha256:
            same.setdefault(look.sha256, []).append(look.id)
    return sorted(sorted(ids) for ids in same.values() if len(ids) > 1)


def level_trends(labelled: pd.DataFrame) -> dict[str, float]:
    """Distortion -> SRCC of mos and level, for distortions with at least two levels and differing labels."""
    trends: dict[str, float] = {}
    for name in sorted(set(labelled["distortion"]) - {""}):
        rows = select(labelled, (column(labelled, "distortion") == name) & (column(labelled, "level") > 0))
        levels, mos = pd.Series(column(rows, "level")).rank(), pd.Series(column(rows, "mos")).rank()
        if levels.nunique() > 1 and mos.nunique() > 1:
            trends[str(name)] = float(np.corrcoef(levels, mos)[0, 1])
    return trends


def direction_in_words(trends: dict[str, float], higher_is_better: bool) -> str:
    """Whether labels get worse with the level, as most types of most datasets do; a doubt, never a proof."""
    if not trends:
        return ""
    sign = -1 if higher_is_better else 1
    worse = sum(value * sign > 0 for value in trends.values())
    middle = float(np.median(list(trends.values())))
    weak = [f"{name} {value:+.2f}" for name, value in trends.items() if abs(value) < 0.5 or value * sign < 0]
    told = f"labels get worse with the level in {worse} of {len(trends)} types (median SRCC {middle:+.2f})"
    if worse * 2 < len(trends):
        return f"LOOK: {told}: are they turned round, or does the level count quality?"
    return told + (f"; weak or otherwise: {', '.join(weak[:SHOWN])}" if weak else "")


def _write_sums(dataset: Dataset, looks: Iterable[_Look], out: Path) -> None:
    paths = dict(zip(dataset.manifest["id"], dataset.manifest["path"], strict=True))
    lines = sorted((paths[look.id], look.sha256) for look in looks if look.sha256)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f"{out.name}.{os.getpid()}.part")
    part.write_text("".join(f"{digest}  {path}\n" for path, digest in lines), encoding="utf-8")
    part.replace(out)


def _problems(dataset: Dataset, undecodable: dict[str, str], across: list[list[str]]) -> list[str]:
    problems: list[str] = []
    if undecodable:
        reasons = Counter(undecodable.values())
        some = ", ".join(list(undecodable)[:SHOWN])
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        problems.append(f"{len(undecodable)} images cannot be decoded ({why}): {some}. Get these files again.")
    if across:
        problems.append(
            f"{len(across)} files stand in two official parts, e.g. {' = '.join(across[0])}: test rows are "
            "known from train. Say so beside every score."
        )
    return problems
