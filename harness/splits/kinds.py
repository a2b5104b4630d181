"""The kinds of split. Decides who goes where by sha256 alone: the same for any row order, process, platform
and version.

A random generator's order, a set's order and `hash()` all differ between processes or releases; a digest of a
name does not. Every decision is made on the whole labelled dataset and then restricted to the images that are
here, so that a subset is split as the whole is, and an image never changes sides when more images arrive.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.datasets.manifest import official_names, parts_of
from harness.splits.errors import SplitError, SplitUsageError
from harness.splits.split import PARTS, Split

if TYPE_CHECKING:
    import pandas as pd

    from harness.datasets.dataset import Dataset

RATIOS = (0.7, 0.1, 0.2)
VALID_SHARE = 0.2
MOST_LEFT_OUT = 100
STRATUM = 10


def parse_split(text: str, dataset: Dataset, seed: int = 0) -> list[Split]:
    """The splits that a text names, with the images that are here; see `whole_splits`.

    `leave-one-out` is of the groups that are here: one that is not could not be tested.

    Raises:
        SplitError: no image of train or of test is here; else as `whole_splits`.
    """
    if text == "leave-one-out":
        return leave_one_out(replace(dataset, manifest=dataset.usable), seed)
    return [here(split, dataset) for split in whole_splits(text, dataset, seed)]


def whole_splits(text: str, dataset: Dataset, seed: int = 0) -> list[Split]:
    """The splits that a text names: `official`, `official:NAME`, `random:K`, `stratified:K`, `leave-one-out`, `all`, or
    a split file.

    They are made of all labelled images, here or not: what is attached to a paper.

    Raises:
        SplitUsageError: no such kind, or a K that is no positive number.
        SplitError: this dataset cannot be split so, or a file that cannot be trusted or is of another dataset.
    """
    if text.endswith(".json"):
        return [of_file(Path(text), dataset)]
    kind, _, count = text.partition(":")
    if kind == "official" and (not count or count in official_names(dataset.manifest)):
        return [official(dataset, seed, count)]
    if kind == "all" and not count:
        return [learnt_whole(dataset, seed)]
    if kind == "leave-one-out" and not count:
        return leave_one_out(dataset, seed)
    if kind in ("random", "stratified") and ((count.isdecimal() and int(count) > 0) or not count):
        return (random if kind == "random" else stratified)(dataset, int(count or 1), seed)
    named = [f"official:{name}" for name in official_names(dataset.manifest)]
    raise SplitUsageError(
        f"Unknown split {text!r}. Expected {', '.join(['official', *named])}, random:K (K of them), stratified:K, "
        "leave-one-out, all (nothing is tested), or FILE.json."
    )


def of_file(path: Path, dataset: Dataset) -> Split:
    """A split file of this dataset.

    Raises:
        SplitError: damaged, of another dataset, or with ids that this dataset does not have.
    """
    return checked(Split.load(path), dataset, str(path))


def checked(split: Split, dataset: Dataset, where: str) -> Split:
    """The split, once it is found to be one of this dataset and of these labels.

    Args:
        where: what the message names.

    Raises:
        SplitError: of another dataset, or with ids that this dataset does not have.
    """
    if split.dataset != dataset.name:
        raise SplitError(
            f"{where}: expected a split of {dataset.name}, found one of {split.dataset}. Use that dataset."
        )
    strangers = sorted(set(split.ids) - set(dataset.manifest["id"]))
    if strangers:
        raise SplitError(
            f"{where}: expected ids of {dataset.name}, found {len(strangers)} that it does not have, such as "
            f"{strangers[0]!r}. Was the split made from other label files?"
        )
    return split


def here(whole: Split, dataset: Dataset) -> Split:
    """The split with the images that are here.

    Raises:
        SplitError: none of train is, or none of a test part.
    """
    split = whole.restrict(dataset.usable["id"])
    empty = [part for part in ("train", "test") if whole.part(part) and not split.part(part)]
    if empty:
        raise SplitError(
            f"{dataset.name}, split {whole.name}: expected images in {' and '.join(empty)}, found none of "
            f"{', '.join(str(len(whole.part(part))) for part in empty)} here. Get more of the images, "
            "or use another split."
        )
    return split


def official(dataset: Dataset, seed: int = 0, which: str = "") -> Split:
    """The published split; its test rows are the published ones. A missing validation part is carved from
    train.

    Carving: a train group goes to valid if sha256("<seed>:valid:<group>"), read as a fraction, is below 0.2.
    Each group decides for itself, so the share is 20% give or take chance, and no other row can change it.

    Args:
        which: its name, where several are published ("device"); "" is the one of the column `official_part`. Kind and
            name of the split say which it is, so that two of them are never put together.

    Raises:
        DatasetError: none of this name is published.
        SplitError: none is published.
    """
    rows = dataset.labelled
    names = official_names(rows)
    if not which and names and np.array_equal(parts_of(rows, names[0]), parts_of(rows)):
        which = names[0]
    ids: dict[str, list[str]] = {part: [] for part in (*PARTS, "")}
    for name, part in zip(rows["id"], parts_of(rows, which), strict=True):
        ids[part].append(name)
    if not ids["train"] or not ids["test"]:
        raise SplitError(
            f"{dataset.name}: expected a published split, found none"
            + "".join(f" (but official:{name})" for name in names[:1])
            + f". {_instead(1 < len(_members(rows)) <= MOST_LEFT_OUT)}"
        )
    others = [f"official:{name}" for name in names if name != which]
    notes = ["the published split" + f" by {which}" * bool(which)]
    if not ids["valid"]:
        ids["train"], ids["valid"] = _carved(rows, ids["train"], seed)
        notes.append(f"which has no validation part: {VALID_SHARE:.0%} of its train groups are it, by sha256")
    if ids[""]:
        notes.append(f"{len(ids[''])} labelled rows are in no part of it and are left out")
    if others:
        notes.append(f"also published: {', '.join(others)}")
    kind = f"official:{which}" if which else "official"
    return _made(dataset, kind, kind, seed, (), ids, ", ".join(notes))


def learnt_whole(dataset: Dataset, seed: int = 0) -> Split:
    """All labelled rows train but those that choose, carved as in `official`; none is tested: that is for other
    datasets.
    """
    rows = dataset.labelled
    train, valid = _carved(rows, [str(name) for name in rows["id"]], seed)
    note = f"all rows; {VALID_SHARE:.0%} of the groups are the validation part, by sha256; nothing is tested"
    return _made(dataset, "all", "all", seed, (), {"train": train, "valid": valid, "test": []}, note)


def tested_whole(dataset: Dataset) -> Split:
    """All rows but references are tested, whatever is wrong with them; none trains."""
    ids = {"train": [], "valid": [], "test": dataset.judged}
    return _made(dataset, "all", "all", 0, (), ids, "all rows are tested")


def random(dataset: Dataset, count: int = 1, seed: int = 0, ratios: Sequence[float] = RATIOS) -> list[Split]:
    """`count` random splits with seeds `seed`, `seed + 1`, ...; groups stay whole.

    Groups stand in the order of sha256("<seed>:<group>"); the first go to test and the next to valid until
    each part is as near to its share of the labelled rows as whole groups allow (test, and valid where there
    are three groups, gets one at least); the rest trains.

    Args:
        ratios: shares of train, valid and test, in this order, adding up to 1; valid may be 0.

    Raises:
        SplitUsageError: ratios that are not shares.
        SplitError: fewer than two groups, or a part of which no image is here.
    """
    _check_ratios(ratios)
    members = _members(dataset.labelled)
    if len(members) < 2:
        raise SplitError(
            f"{dataset.name}: expected two groups at least, found {len(members)}. A split needs more images."
        )
    made: list[Split] = []
    for number in range(seed, seed + count):
        groups = _hashed(members, number)
        total = sum(map(len, members.values()))
        test, rest = _first(groups, members, ratios[2] * total, keep=1)
        wanted = ratios[1] * total if len(rest) > 1 else 0.0
        valid, train = _first(rest, members, wanted, keep=1) if wanted else ([], rest)
        ids = {part: _ids(members, chosen) for part, chosen in zip(PARTS, (train, valid, test), strict=True)}
        note = f"random {_shares(ratios)} train/valid/test by sha256 of the group names"
        made.append(_made(dataset, "random", f"random:{number}", number, tuple(map(float, ratios)), ids, note))
    return made


def stratified(dataset: Dataset, count: int = 1, seed: int = 0, ratios: Sequence[float] = RATIOS) -> list[Split]:
    """`count` splits with alike label distributions; they *read the labels*, test labels among them, and say so.

    Groups stand in the order of their mean label and are cut into strata of ten; inside a stratum sha256 decides, as in
    `random`. Groups stay whole.

    Raises:
        SplitUsageError: as `random`.
        SplitError: fewer than ten groups.
    """
    _check_ratios(ratios)
    members = _members(dataset.labelled)
    if len(members) < STRATUM:
        raise SplitError(
            f"{dataset.name}: stratified needs {STRATUM} groups or more, found {len(members)}. {_instead()}"
        )
    labels = _members(dataset.labelled, "mos")
    # fsum, as the sum of a group's labels must not depend on the order of rows.
    means = {group: math.fsum(some) / len(some) for group, some in labels.items()}
    made: list[Split] = []
    for number in range(seed, seed + count):
        ordered = sorted(members, key=lambda group: (means[group], group))
        ids: dict[str, list[str]] = {part: [] for part in PARTS}
        for start in range(0, len(ordered), STRATUM):
            stratum = _hashed(ordered[start : start + STRATUM], number)
            test = round(ratios[2] * len(stratum))
            valid = round(ratios[1] * len(stratum))
            ids["test"] += _ids(members, stratum[:test])
            ids["valid"] += _ids(members, stratum[test : test + valid])
            ids["train"] += _ids(members, stratum[test + valid :])
        note = f"stratified {_shares(ratios)} train/valid/test; reads the labels, test labels among them"
        made.append(_made(dataset, "stratified", f"stratified:{number}", number, tuple(map(float, ratios)), ids, note))
    return made


def leave_one_out(dataset: Dataset, seed: int = 0) -> list[Split]:
    """One split a group: that group is tested, the next one in the order of sha256 chooses, the rest trains.

    For few groups of labelled rows (a handful of photographs with many distortions each). With two groups there is no
    validation part.

    Raises:
        SplitError: one group only, or more than 100.
    """
    members = _members(dataset.labelled)
    if not 2 <= len(members) <= MOST_LEFT_OUT:
        raise SplitError(
            f"{dataset.name}: leave-one-out expects 2 to {MOST_LEFT_OUT} groups, found {len(members)}. "
            + (_instead() if len(members) > 1 else "It needs images of more groups.")
        )
    groups = _hashed(members, seed)
    made: list[Split] = []
    for position, group in enumerate(groups):
        after = [groups[(position + 1) % len(groups)]] if len(groups) > 2 else []
        train = [other for other in groups if other != group and other not in after]
        ids = {part: _ids(members, chosen) for part, chosen in zip(PARTS, (train, after, [group]), strict=True)}
        note = f"{group} is tested" + (f", {after[0]} is the validation part" if after else ", no validation part")
        made.append(_made(dataset, "leave-one-out", f"leave-one-out:{group}", seed, (), ids, note))
    return sorted(made, key=lambda split: split.name)


def _instead(leave_one_out: bool = False) -> str:
    """What to type for another kind of split, whichever verb asked."""
    return f"Use --split random:10{' or --split leave-one-out' * leave_one_out} (splits make: --kind random --seed 0)."


def _carved(rows: pd.DataFrame, ids: list[str], seed: int) -> tuple[list[str], list[str]]:
    """Train ids -> those that train and those that choose."""
    group = dict(zip(rows["id"], rows["group"], strict=True))
    valid = [i for i in ids if fraction(f"{seed}:valid:{group[i]}") < VALID_SHARE]
    return sorted(set(ids) - set(valid)), valid


def _check_ratios(ratios: Sequence[float]) -> None:
    if len(ratios) != 3 or abs(sum(ratios) - 1) > 1e-9 or min(ratios) < 0 or ratios[0] == 0 or ratios[2] == 0:
        raise SplitUsageError(f"Expected shares of train, valid and test that add up to 1, found {tuple(ratios)}.")


def _shares(ratios: Sequence[float]) -> str:
    return "/".join(f"{ratio:.0%}"[:-1] for ratio in ratios)


def fraction(text: str) -> float:
    """A text -> a number in [0, 1), evenly spread: the first eight bytes of its sha256, big-endian, over
    2^64.
    """
    return (int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 11) * 2.0**-53


def _members(rows: pd.DataFrame, column: str = "id") -> dict[str, list[Any]]:
    """Group -> what its rows have in a column, in the order of rows."""
    members: dict[str, list[Any]] = {}
    for value, group in zip(rows[column].tolist(), rows["group"].tolist(), strict=True):
        members.setdefault(group, []).append(value)
    return members


def _hashed(groups: Iterable[str], seed: int) -> list[str]:
    return sorted(groups, key=lambda group: (hashlib.sha256(f"{seed}:{group}".encode()).digest(), group))


def _first(
    groups: list[str], members: Mapping[str, list[str]], wanted: float, keep: int
) -> tuple[list[str], list[str]]:
    """Takes groups from the front while that brings the count nearer to `wanted`; at least one, and leaves
    `keep`.
    """
    taken, count = 0, 0
    while taken < len(groups) - keep:
        size = len(members[groups[taken]])
        if taken and abs(count + size - wanted) >= abs(count - wanted):
            break
        count += size
        taken += 1
    return groups[:taken], groups[taken:]


def _ids(members: Mapping[str, list[str]], groups: Iterable[str]) -> list[str]:
    return [name for group in groups for name in members[group]]


def _made(
    dataset: Dataset,
    kind: str,
    name: str,
    seed: int,
    ratios: tuple[float, ...],
    ids: Mapping[str, list[str]],
    note: str,
) -> Split:
    return Split(
        kind=kind,
        name=name,
        dataset=dataset.name,
        seed=seed,
        ratios=ratios,
        group_rule=dataset.spec.group_rule,
        note=note,
        train=tuple(sorted(ids["train"])),
        valid=tuple(sorted(ids["valid"])),
        test=tuple(sorted(ids["test"])),
    )
