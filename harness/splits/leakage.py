"""Whether test rows can be known from train: shared ids, groups and contents. Says so; decides nothing."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import TYPE_CHECKING

import msgspec
import pandas as pd
import pyarrow as pa

from harness.datasets import texts
from harness.splits.split import PARTS, Split

if TYPE_CHECKING:
    from harness.datasets.dataset import Dataset


class Leak(msgspec.Struct, frozen=True):
    """One way in which two parts of a split share something.

    `what` is "id", "group" or "content"; `keys` the shared ids, groups or sha256; `ids` all images concerned.
    """

    what: str
    parts: tuple[str, str]
    keys: tuple[str, ...]
    ids: tuple[str, ...]

    def __str__(self) -> str:
        thing = {"id": "images", "group": "groups", "content": "files with the same bytes"}[self.what]
        some = ", ".join((self.keys if self.what != "content" else self.ids)[:3])
        more = ", ..." if len(self.keys) > 3 else ""
        return f"{' and '.join(self.parts)} share {len(self.keys)} {thing}: {some}{more}"


def across(learnt: Dataset, learnt_ids: Iterable[str], asked: Dataset, asked_ids: Iterable[str]) -> list[Leak]:
    """Files with the same bytes in rows learnt from and in asked rows of another dataset, references of both included.

    Ids and groups are names within a dataset: equal ones in two datasets say nothing. Contents are compared only where
    the sha256 is known.
    """
    (_, left), (ids, right) = (
        _with_references(*side) for side in ((learnt.manifest, learnt_ids), (asked.manifest, asked_ids))
    )
    keys = texts.common(left, right)
    concerned = texts.chosen(ids, texts.among(right, keys))
    return [Leak("content", (learnt.name, asked.name), _sorted(keys), _sorted(concerned))] if len(keys) else []


def _with_references(manifest: pd.DataFrame, ids: Iterable[str]) -> tuple[pa.LargeStringArray, pa.LargeStringArray]:
    """Ids and sha256 of some rows and of their references."""
    known, references, digests = (texts.arrow(manifest[column]) for column in ("id", "reference", "sha256"))
    here = texts.among(known, texts.arrow(ids))
    here |= texts.among(known, texts.chosen(references, here))
    return texts.chosen(known, here), texts.chosen(digests, here)


def check(split: Split, manifest: pd.DataFrame) -> list[Leak]:
    """Every leak between two parts of a split; an empty list is a clean bill.

    Args:
        manifest: rows with id, group and sha256; contents are compared only where the sha256 is known, so
            fill the manifest first for the whole answer.
    """
    known = texts.arrow(manifest["id"])
    parts = {part: texts.arrow(split.part(part)) for part in PARTS}
    here = {part: texts.among(known, ids) for part, ids in parts.items()}
    leaks: list[Leak] = []
    for one, other in combinations(PARTS, 2):
        both = _sorted(texts.common(parts[one], parts[other]))
        if both:
            leaks.append(Leak("id", (one, other), both, both))
        for what, column in (("group", "group"), ("content", "sha256")):
            values = texts.arrow(manifest[column])
            keys = texts.common(texts.chosen(values, here[one]), texts.chosen(values, here[other]))
            if len(keys):
                concerned = (here[one] | here[other]) & texts.among(values, keys)
                leaks.append(Leak(what, (one, other), _sorted(keys), _sorted(texts.chosen(known, concerned))))
    return leaks


def _sorted(values: pa.LargeStringArray) -> tuple[str, ...]:
    return tuple(sorted(values.to_pylist()))
