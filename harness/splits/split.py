"""One split: the ids of train, valid and test, with a fingerprint. Owns its file; never decides who goes
where.

The file is JSON that a person can read and another program can use without this project; loading it checks
that its fingerprint is that of its content.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import batched, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.splits.errors import SplitError

if TYPE_CHECKING:
    from heads.base import FitPlan

VERSION = 1
PARTS = ("train", "valid", "test")


class Split(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """Who trains, who chooses, who is tested.

    Attributes:
        kind: "official", "official:device", "random", "leave-one-out".
        name: what a person types or reads: "official", "random:3", "leave-one-out:i04".
        dataset: the dataset whose ids these are.
        seed: what the hashing was salted with.
        ratios: asked shares of train, valid and test; () where the kind has none.
        train, valid, test: sorted ids, no id in two of them; valid may be empty.
        group_rule: the unit that was kept on one side ("image", "reference").
        note: in words, how the parts came about.
    """

    kind: str
    name: str
    dataset: str
    seed: int
    ratios: tuple[float, ...]
    train: tuple[str, ...]
    valid: tuple[str, ...]
    test: tuple[str, ...]
    group_rule: str
    note: str = ""
    version: int = VERSION

    def __post_init__(self) -> None:
        for part in PARTS:
            ids = self.part(part)
            if any(one >= other for one, other in pairwise(ids)):
                raise SplitError(
                    f"Split {self.name}: expected sorted ids, each once, in {part}; found others. Sort them."
                )
        if self.version > VERSION:
            raise SplitError(
                f"Split {self.name}: expected version {VERSION}, found {self.version}. Update the project."
            )

    def part(self, name: str) -> tuple[str, ...]:
        """The ids of "train", "valid" or "test"."""
        return {"train": self.train, "valid": self.valid, "test": self.test}[name]

    @property
    def ids(self) -> tuple[str, ...]:
        """All ids, sorted."""
        return tuple(sorted({*self.train, *self.valid, *self.test}))

    @property
    def counts(self) -> dict[str, int]:
        """How many ids each part has."""
        return {part: len(self.part(part)) for part in PARTS}

    @cached_property
    def fingerprint(self) -> str:
        """sha256, hex, of what this split means: everything but `name` and `note`, as canonical JSON."""
        # A struct built in Python is not validated: through JSON, 1 and 1.0 cannot give two fingerprints.
        bare = msgspec.structs.replace(self, train=(), valid=(), test=())
        checked = msgspec.json.decode(msgspec.json.encode(bare), type=Split)
        meaning: dict[str, Any] = msgspec.to_builtins(checked)
        meaning["ratios"] = [float(ratio) for ratio in checked.ratios]
        del meaning["name"], meaning["note"]
        digest = hashlib.sha256()
        for number, key in enumerate(sorted(meaning)):
            digest.update(f"{',' if number else '{'}{_json(key)}:".encode())
            for text in _list(self.part(key)) if key in PARTS else (_json(meaning[key]),):
                digest.update(text.encode())
        digest.update(b"}")
        return digest.hexdigest()

    def restrict(self, ids: Iterable[str]) -> Split:
        """The same split with only these ids; nobody changes sides, and the note says how many are left."""
        kept = set(ids)
        parts = {part: tuple(i for i in self.part(part) if i in kept) for part in PARTS}
        before, after = sum(self.counts.values()), sum(map(len, parts.values()))
        if after == before:
            return self
        note = f"{self.note}; " if self.note else ""
        return msgspec.structs.replace(self, **parts, note=f"{note}{after} of {before} rows are here")

    def rows(self, part: str, ids: Sequence[str]) -> NDArray[np.int64]:
        """Positions in `ids` of the images of one part, in ascending order; ids that are not there are left
        out.
        """
        wanted = set(self.part(part))
        return np.asarray([row for row, name in enumerate(ids) if name in wanted], dtype=np.int64)

    def plan(
        self, ids: Sequence[str], seed: int | None = None, settings: Mapping[str, object] | None = None
    ) -> FitPlan:
        """What a head is given: train and valid as positions in `ids` (an Examples' ids), never test rows.

        Raises:
            SplitError: no train row is among `ids`.
        """
        from heads.base import FitPlan

        train, valid = self.rows("train", ids), self.rows("valid", ids)
        if not len(train):
            raise SplitError(
                f"Split {self.name} of {self.dataset}: expected train rows among {len(ids)} examples, found "
                f"none of {len(self.train)}. Encode more images, or use the split of this dataset."
            )
        return FitPlan(
            train=train, valid=valid, seed=self.seed if seed is None else seed, settings=dict(settings or {})
        )

    def save(self, path: Path) -> None:
        """Writes the split as JSON, fingerprint first. Atomic."""
        document: dict[str, Any] = {"fingerprint": self.fingerprint, **msgspec.to_builtins(self)}
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        part.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        part.replace(path)

    @staticmethod
    def load(path: Path) -> Split:
        """Reads what `save` wrote.

        Raises:
            SplitError: not there, not a split, newer, or changed since it was written.
        """
        remedy = "Make the split again, or get the file again."
        try:
            document: Any = json.loads(path.read_text(encoding="utf-8"))
            stated = document.pop("fingerprint")
            split = msgspec.convert(document, Split, strict=True)
        except OSError as error:
            raise SplitError(
                f"Expected a split in {path}, found nothing to read ({error.strerror}). {remedy}"
            ) from error
        except (ValueError, KeyError, AttributeError, TypeError, msgspec.ValidationError) as error:
            raise SplitError(f"Expected a split in {path}, found something else: {error}. {remedy}") from error
        if not hmac.compare_digest(str(stated), split.fingerprint):
            raise SplitError(f"Expected the content that the fingerprint of {path} states, found another. {remedy}")
        return split


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _list(ids: tuple[str, ...]) -> Iterator[str]:
    """The canonical JSON of many ids, some thousands at a time: all at once they are there three times over."""
    yield "["
    for number, some in enumerate(batched(ids, 10_000)):
        checked = msgspec.convert(some, tuple[str, ...])
        yield ("," if number else "") + _json(checked)[1:-1]
    yield "]"
