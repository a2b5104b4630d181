"""Plans over datasets: which rows of which train, which others are tested, as exact lists of ids. Owns a plan and its
files; never opens a dataset and never scores.

A plan on the disk is a folder: `plan.json` (what it is, from where, which lists) and one split file a list, each of
which checks itself and serves `train-head --split` and `score --split` by itself.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from harness.splits.errors import SplitError
from harness.splits.split import Split

FILE = "plan.json"
VERSION = 1


class Absent(msgspec.Struct, frozen=True):
    """Rows that a plan asks for and that cannot be listed here.

    Attributes:
        role: whether they are to be trained on ("train") or tested ("test").
        counts: how many they are, by part; empty where the protocol does not say.
        why: in words, for a table's cell.
    """

    dataset: str
    role: str
    counts: dict[str, int]
    why: str


class Leg(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One thing to train, and what it is tested on.

    Attributes:
        train: one split a dataset, who trains and who chooses; its test rows, if any, are tested too.
        tests: whole other datasets; of these splits only the test part is filled.
        absent: what should stand in `train` or `tests` and is not here.

    Raises:
        SplitError: a dataset is trained on and tested as another one.
    """

    name: str
    train: tuple[Split, ...] = ()
    tests: tuple[Split, ...] = ()
    absent: tuple[Absent, ...] = ()

    def __post_init__(self) -> None:
        tested = [split.dataset for split in self.tests] + [gap.dataset for gap in self.absent]
        both = sorted({split.dataset for split in self.train} & set(tested))
        if both or len(set(tested)) < len(tested):
            what = both[0] if both else max(tested, key=tested.count)
            raise SplitError(f"{self.name}: expected every dataset once, found {what} twice. Name it once.")

    @cached_property
    def learnt(self) -> Split:
        """What a run of this leg was trained with: the split of its dataset, or those of several as one."""
        return self.train[0] if len(self.train) == 1 else together(self.train)

    def restrict(self, usable: Callable[[str], Iterable[str]]) -> Leg:
        """The same leg with those train, validation and own test rows that are here.

        Args:
            usable: dataset -> ids.
        """
        return msgspec.structs.replace(self, train=tuple(split.restrict(usable(split.dataset)) for split in self.train))


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Attributes:
    name: what a person types.
    source: where the protocol was read, and what of it is unverified.
    """

    name: str
    source: str
    legs: tuple[Leg, ...]

    @property
    def fingerprint(self) -> str:
        """sha256, hex, over the fingerprints of all lists, and over what is absent."""
        meaning = [
            [[s.fingerprint for s in leg.train], [s.fingerprint for s in leg.tests], [g.dataset for g in leg.absent]]
            for leg in self.legs
        ]
        return hashlib.sha256(json.dumps(meaning, separators=(",", ":")).encode()).hexdigest()

    def trained(self) -> list[Leg]:
        """The legs that can be trained here.

        Raises:
            SplitError: none can, and why.
        """
        legs = [leg for leg in self.legs if leg.train and not any(gap.role == "train" for gap in leg.absent)]
        if not legs:
            gap = next(gap for leg in self.legs for gap in leg.absent if gap.role == "train")
            raise SplitError(f"Plan {self.name}: nothing of it can be trained here. {gap.dataset}: {gap.why}.")
        return legs

    def save(self, folder: Path) -> list[Path]:
        """Writes the plan's folder; `plan.json` last. Returns what was written."""
        written: dict[str, Path] = {}

        def listed(split: Split) -> dict[str, Any]:
            name = re.sub(r"[^A-Za-z0-9._+-]+", "-", f"{split.dataset}-{split.name}")
            name += "-train" * (not split.test) + ".json"
            if split.fingerprint not in written:
                split.save(folder / name)
                written[split.fingerprint] = folder / name
            facts = {"dataset": split.dataset, "split": split.name, **split.counts}
            return {"file": written[split.fingerprint].name, **facts, "fingerprint": split.fingerprint}

        legs = [
            {
                "name": leg.name,
                "train": [listed(split) for split in leg.train],
                "tests": [listed(split) for split in leg.tests],
                "absent": msgspec.to_builtins(leg.absent),
            }
            for leg in self.legs
        ]
        facts = {"name": self.name, "version": VERSION, "source": self.source, "legs": legs}
        text = json.dumps({"fingerprint": self.fingerprint, **facts}, indent=1, ensure_ascii=False)
        (folder / FILE).write_text(text + "\n", encoding="utf-8")
        return [*written.values(), folder / FILE]

    @staticmethod
    def load(folder: Path) -> Plan:
        """Reads what `save` wrote.

        Raises:
            SplitError: not a plan's folder, newer, or a list that is not the one the plan names.
        """
        remedy = "Make the plan again, or get its folder again."
        splits: dict[str, Split] = {}

        def listed(entry: dict[str, Any]) -> Split:
            split = splits.get(entry["file"]) or Split.load(folder / entry["file"])
            splits[entry["file"]] = split
            if split.fingerprint != entry["fingerprint"]:
                raise SplitError(f"Expected in {folder / entry['file']} the list that {FILE} names. {remedy}")
            return split

        try:
            document = json.loads((folder / FILE).read_text(encoding="utf-8"))
            if document["version"] > VERSION:
                raise SplitError(
                    f"{folder / FILE}: expected version {VERSION}, found {document['version']}. Update the project."
                )
            legs = [
                Leg(
                    name=leg["name"],
                    train=tuple(map(listed, leg["train"])),
                    tests=tuple(map(listed, leg["tests"])),
                    absent=msgspec.convert(leg["absent"], tuple[Absent, ...]),
                )
                for leg in document["legs"]
            ]
            plan = Plan(name=document["name"], source=document["source"], legs=tuple(legs))
        except OSError as error:
            raise SplitError(f"Expected a plan in {folder}, found no {FILE} ({error.strerror}). {remedy}") from error
        except (ValueError, KeyError, TypeError, msgspec.ValidationError) as error:
            raise SplitError(f"Expected a plan in {folder / FILE}, found something else: {error}. {remedy}") from error
        if plan.fingerprint != document["fingerprint"]:
            raise SplitError(f"Expected the lists that the fingerprint of {folder / FILE} states. {remedy}")
        return plan


def together(splits: Iterable[Split]) -> Split:
    """Splits of several datasets as one, to train on all of them: ids become `<dataset>/<id>`; nothing is tested."""
    several = sorted(splits, key=lambda split: split.dataset)
    train, valid = (
        tuple(sorted(f"{split.dataset}/{name}" for split in several for name in split.part(part)))
        for part in ("train", "valid")
    )
    return Split(
        kind="all",
        name="all",
        dataset="+".join(split.dataset for split in several),
        seed=several[0].seed,
        ratios=(),
        group_rule=", ".join(f"{split.dataset}: {split.group_rule}" for split in several),
        note="; ".join(f"{split.dataset}: {split.note}" for split in several if split.note),
        train=train,
        valid=valid,
        test=(),
    )
