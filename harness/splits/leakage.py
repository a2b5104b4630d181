"""Whether test rows can be known from train: shared ids, groups and contents. Says so; decides nothing."""

from __future__ import annotations

from itertools import combinations

import msgspec
import pandas as pd

from harness.splits.split import PARTS, Split


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


def check(split: Split, manifest: pd.DataFrame) -> list[Leak]:
    """Every leak between two parts of a split; an empty list is a clean bill.

    Args:
        manifest: rows with id, group and sha256; contents are compared only where the sha256 is known, so
            fill the manifest first for the whole answer.
    """
    rows = manifest.set_index("id", drop=False)
    here = {part: rows.loc[rows.index.intersection(list(split.part(part)))] for part in PARTS}
    leaks: list[Leak] = []
    for one, other in combinations(PARTS, 2):
        both = sorted(set(split.part(one)) & set(split.part(other)))
        if both:
            leaks.append(Leak("id", (one, other), tuple(both), tuple(both)))
        for what, column in (("group", "group"), ("content", "sha256")):
            left, right = here[one], here[other]
            keys = sorted((set(left[column]) & set(right[column])) - {""})
            if keys:
                concerned = {*left[left[column].isin(keys)]["id"], *right[right[column].isin(keys)]["id"]}
                leaks.append(Leak(what, (one, other), tuple(keys), tuple(sorted(concerned))))
    return leaks
