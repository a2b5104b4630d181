"""The state of a store's folder at one moment: plans, commits, and where each image counts. Never writes.

Which row counts is decided here and nowhere else: an id lives in one block, that of the highest (rank, plan) that has a
commit. A plan that replaces others takes their place at once, when the last of its blocks is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

from cache import blocks, index, tables
from cache.blocks import Commit, CommitRow, Plan, PlanItem
from cache.errors import StoreError
from cache.shards import Span

LOOKS = 20  # a compaction ends in seconds; each look that met one in the middle is made again
Where = tuple[int, int]  # plan and block


class Damaged(NamedTuple):
    """A commit that cannot be read, or that stands for other images than its plan says."""

    plan: int
    block: int
    file: Path


class Snapshot:
    """One look at the disk.

    Attributes:
        plans: those that count.
        dead: plans that a finished compaction replaced and that are still there.
        unfinished: compactions that do not count yet.
        commits: of every plan that is there, by block.
        highest: number of a plan that left anything behind, its file or not.
        unindexed, indexed: commits that were read one by one, and those that the index knew.
    """

    def __init__(self, every: Mapping[int, Plan], commits: dict[Where, list[Commit]], damaged: list[Damaged]) -> None:
        finished = {n for n, plan in every.items() if plan.replaces and _is_finished(plan, commits)}
        # Once a replaced plan's file has gone, its successor was whole: damage to it since then is damage, not a
        # reason to forget all its images.
        finished |= {n for n, plan in every.items() if any(number not in every for number in plan.replaces)}
        replaced = {number for n in finished for number in every[n].replaces}
        self.dead = {n: plan for n, plan in every.items() if n in replaced}
        self.unfinished = {n: p for n, p in every.items() if p.replaces and n not in finished | replaced}
        self.plans = {n: plan for n, plan in every.items() if n not in self.dead and n not in self.unfinished}
        self.commits, self.damaged = commits, [d for d in damaged if d.plan in self.plans]
        self.highest = self.unindexed = self.indexed = 0

    @property
    def ordered(self) -> list[Plan]:
        """Plans that count, the newest last."""
        return sorted(self.plans.values(), key=lambda plan: plan.order)

    @property
    def is_torn(self) -> bool:
        """Whether a plan took the place of others without being whole: the look fell into the moment of the change,
        or something is damaged.
        """
        return any(plan.replaces and not _is_finished(plan, self.commits) for plan in self.plans.values())

    @cached_property
    def planned(self) -> dict[str, tuple[int, int, PlanItem]]:
        """id -> its newest plan, block and item."""
        return {
            item.id: (plan.number, b, item)
            for plan in self.ordered
            for b, items in enumerate(plan.blocks)
            for item in items
        }

    @cached_property
    def live(self) -> dict[str, Where]:
        """id -> plan and block that count."""
        return {
            item.id: (plan.number, b)
            for plan in self.ordered
            for b, items in enumerate(plan.blocks)
            if (plan.number, b) in self.commits
            for item in items
        }

    @cached_property
    def counting(self) -> set[Where]:
        """Blocks in which at least one image counts."""
        return set(self.live.values())

    @cached_property
    def spans(self) -> tuple[dict[str, dict[str, Span]], dict[str, str]]:
        """Where each live id's features lie, and the reasons of those that have none."""
        spans: dict[str, dict[str, Span]] = {}
        failed: dict[str, str] = {}
        for where in sorted(self.counting):
            for commit in self.commits[where]:
                forms = commit.forms
                for row in commit.rows:
                    if self.live[row.id] != where:
                        continue
                    if row.status != "ok":
                        failed.setdefault(row.id, row.reason)
                        continue
                    mine = spans.setdefault(row.id, {})
                    for i, feature in enumerate(commit.features):
                        h, w, rows = row.h[i], row.w[i], forms[i].rows(row.h[i], row.w[i])
                        mine.setdefault(feature, Span(*where, row.offset[i], h, w, row.crc32c[i], rows))
        return spans, {i: reason for i, reason in failed.items() if i not in spans}

    @cached_property
    def rows(self) -> dict[str, CommitRow]:
        """What was read of each live id, by its block's commits: a row that did not fail where there is any."""
        mine = [r for w in self.counting for commit in self.commits[w] for r in commit.rows if self.live[r.id] == w]
        return {row.id: row for row in sorted(mine, key=lambda row: row.status == "ok")}

    def features_of(self, where: Where) -> set[str]:
        """Stored features that a block has commits for."""
        return {feature for commit in self.commits.get(where, []) for feature in commit.features}


def _is_finished(plan: Plan, commits: Mapping[Where, list[Commit]]) -> bool:
    return all(
        set(copied) <= {f for commit in commits.get((plan.number, b), []) for f in commit.features}
        and (plan.number, b) in commits
        for b, copied in enumerate(plan.copied)
    )


class Disk:
    """Looks at a store's folder. Plans and commits never change, so each is read once.

    Args:
        believe: take what the index says of a commit, rather than reading it.
    """

    def __init__(self, path: Path, believe: bool = True) -> None:
        self.path, self._believe = path, believe
        self._plans: dict[Path, Plan] = {}
        self._commits: dict[Path, Commit] = {}
        self._index: dict[str, tuple[index.Stamp, Commit]] | None = None
        self._named: set[Path] = set()  # commits that the index on the disk knows
        self._stamps: dict[Path, index.Stamp] = {}  # of each commit file when it was read

    def look(self) -> Snapshot:
        """What is there now.

        Raises:
            StoreError: a damaged plan.
        """
        for _ in range(LOOKS):
            found = self._look()
            if found is not None and not found.is_torn:
                return found
        return self._look(settle=True) or Snapshot({}, {}, [])

    def _look(self, settle: bool = False) -> Snapshot | None:
        """One look; None where a file vanished in the middle of it (unless told to `settle` for that)."""
        if self._index is None:
            self._index = index.read(self.path / "index") if self._believe else {}
        files = blocks.listed(self.path / "blocks")  # before the plans, so that the plan of each is among them
        vanished = False
        plans: dict[int, Plan] = {}
        for file in (self.path / "plan").glob("*.parquet"):
            if file.stem.isdecimal():
                plan = _kept(self._plans, file, blocks.read_plan)
                vanished |= plan is None
                if plan is not None:
                    plans[plan.number] = plan
        commits: dict[Where, list[Commit]] = {}
        damaged: list[Damaged] = []
        read: list[Path] = []
        for number, block, _, file in files:
            if number not in plans:  # a commit without its plan does not exist
                continue
            read.append(file)
            try:
                commit = _kept(self._commits, file, partial(self._read, plan=plans[number]))
            except StoreError:
                damaged.append(Damaged(number, block, file))
                continue
            vanished |= commit is None
            if commit is not None:
                commits.setdefault((number, block), []).append(commit)
        if vanished and not settle:
            return None
        found = Snapshot(plans, commits, damaged)
        found.highest = max([*plans, *(plan for plan, *_ in files)], default=0)
        found.indexed = sum(file in self._named for file in read)
        found.unindexed = len(read) - found.indexed
        return found

    def _read(self, file: Path, plan: Plan) -> Commit:
        """A commit, as the index has it or from its file.

        Raises:
            StoreError: damaged, or of other images than its plan says.
        """
        now = index.stamp(file)
        if now is not None:
            self._stamps[file] = now
        stamp, commit = (self._index or {}).get(file.name, (None, None))
        named = commit is not None and now == stamp
        if commit is None or not named:
            commit = blocks.read_commit(file)
        if not _fits(commit, plan):
            raise StoreError(tables.damaged(file, "other images than its plan puts there"))
        if named:
            self._named.add(file)
        return commit

    def keep(self, file: Path, commit: Commit, plan: Plan) -> None:
        """Takes a commit that was just written, or found in its place, as read."""
        now = index.stamp(file)
        if now is not None and _fits(commit, plan):
            self._stamps[file], self._commits[file] = now, commit

    def write_index(self) -> None:
        """Writes an index of the commits that this object has read."""
        index.write(
            self.path / "index", {f: (self._stamps[f], c) for f, c in self._commits.items() if f in self._stamps}
        )
        self._named = set(self._commits)

    def forget(self) -> None:
        """Reads everything from its own file at the next look; what an index said is not believed any more."""
        self._plans, self._commits, self._index, self._named = {}, {}, {}, set()


def _kept[T](kept: dict[Path, T], file: Path, read: Callable[[Path], T]) -> T | None:
    """What a file says, read once; None where it vanished since it was listed."""
    if file not in kept:
        try:
            kept[file] = read(file)
        except FileNotFoundError:
            return None
    return kept[file]


def _fits(commit: Commit, plan: Plan) -> bool:
    """Whether a commit lists the images that its plan puts into its block."""
    items = plan.blocks[commit.block] if commit.block < len(plan.blocks) else ()
    return [row.id for row in commit.rows] == [item.id for item in items]
