"""Names and sizes of a store's arrays: which feature lies where, how wide, how many rows a shard. Reads documents,
writes nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from cache import format
from cache.blocks import Plan, PlanItem
from cache.errors import StoreError, UsageError
from cache.features import MAPS, VECTOR, FeatureName, check_kind, parse_feature
from cache.forms import form_of

Grid = Callable[[str, int, int], tuple[int, int]]


class Tap(NamedTuple):
    """A named place in an encoder, as the header keeps it; stride 0: one vector an image."""

    name: str
    channels: int
    stride: int


def stored_name(name: FeatureName) -> str:
    """`stage.6:moments.1`: a summary's revision is part of what is on the disk. What the encoder itself gives, a map
    or a vector, has its revision in the store's identity.
    """
    if name.what in (*MAPS, VECTOR):
        return str(name)
    from cache.summaries import SUMMARIES

    return f"{name}.{SUMMARIES[name.what].revision}"


def plain_name(stored: str) -> FeatureName | None:
    """The name that stands for what is stored now; None for a summary of another revision, or an unknown one."""
    from cache.summaries import SUMMARIES

    name = parse_feature(stored)
    plain = name if name.what in (*MAPS, VECTOR) else FeatureName(name.tap, name.what.rpartition(".")[0])
    known = plain.what in (*MAPS, VECTOR, *SUMMARIES)
    return plain if known and stored_name(plain) == stored else None


class Layout:
    """Where a store's arrays lie."""

    def __init__(self, store: Path, taps: Sequence[Tap]) -> None:
        self.store, self.taps = store, list(taps)
        self.folder = store / "features"
        self._capacities: dict[tuple[int, FeatureName], int] = {}

    def order(self, name: FeatureName) -> tuple[int, bool, str]:
        """Sorts features by tap, a tap's map first: one order however they were typed."""
        return next((i for i, tap in enumerate(self.taps) if tap.name == name.tap), 0), name.what not in MAPS, name.what

    def width(self, name: FeatureName) -> int:
        """Channels of a map, numbers of a summary or a vector.

        Raises:
            UsageError: a tap that this store was not made for, a map or a summary of a vector, or a vector of a map.
        """
        channels, stride = next((tap[1:] for tap in self.taps if tap.name == name.tap), (0, 0))
        if not channels:
            raise UsageError(
                f"{self.store} was made for the taps {', '.join(tap.name for tap in self.taps)}; found {name.tap}. "
                "Choose another --store."
            )
        check_kind(name, vector=stride == 0)
        if name.what in (*MAPS, VECTOR):
            return channels
        from cache.summaries import SUMMARIES

        return SUMMARIES[name.what].width(channels)

    def inner(self, name: FeatureName) -> int:
        """Rows of an inner chunk."""
        return format.inner_rows(self.width(name), form_of(name.what))

    @staticmethod
    def tokens(name: FeatureName, items: Sequence[PlanItem], grid: Grid) -> int:
        """Rows that these images can need."""
        form = form_of(name.what)
        if not form.by_token:
            return len(items)
        return sum(form.rows(*grid(name.tap, i.width, i.height)) for i in items if i.width > 0)

    def capacity(self, plan: Plan, name: FeatureName, grid: Grid) -> int:
        """Rows of a shard: a function of plan and feature alone (the grid follows from the store's identity)."""
        if (plan.number, name) not in self._capacities:
            most = max(self.tokens(name, items, grid) for items in plan.blocks)
            computed = format.capacity(most, self.inner(name))
            self._capacities[plan.number, name] = plan.capacity.get(stored_name(name), computed)
        return self._capacities[plan.number, name]

    def array(self, stored: str, plan: int) -> Path:
        """The folder of a stored feature's array in a plan."""
        name = parse_feature(stored)
        return self.folder / format.array_path(name.tap, name.what, plan)

    def arrays(self) -> list[Path]:
        """The folders of all arrays there are, of whatever plan."""
        tops = [self.folder]
        for _ in ("tap", "what", "plan"):
            below: list[Path] = []
            for top in tops:
                with contextlib.suppress(OSError):  # taken away by a compaction, since it was listed
                    below += [Path(entry.path) for entry in os.scandir(top) if entry.is_dir()]
            tops = below
        return sorted(folder for folder in tops if folder.name.isdecimal())

    def shape_of(self, stored: str, plan: int) -> tuple[int, int, int]:
        """(rows a shard, width, rows an inner chunk), as the array's own document says."""
        file = self.array(stored, plan) / "zarr.json"
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
            rows, width = document["chunk_grid"]["configuration"]["chunk_shape"]
            return int(rows), int(width), int(document["codecs"][0]["configuration"]["chunk_shape"][0])
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise StoreError(
                f"Expected an array's document at {file}, found none that can be read ({error}). Restore it."
            ) from error
