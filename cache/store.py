"""One feature store: a dataset x an encoder x a view, and its life: create, plan, write, read. Knows no labels.

A commit is the truth: a block whose commit is missing does not exist, one that is there is complete. Nothing is ever
overwritten; what changes (a new image, a changed one, one to be made again) is planned anew with a higher number, and
an id counts where its highest plan with a commit has it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from cache import blocks, format, objects
from cache.blocks import BlockTask, Commit, CommitRow, Plan, PlanItem
from cache.errors import StoreError, UsageError
from cache.features import MAP, FeatureName, parse_feature
from cache.identity import Identity, differences, key8
from cache.rows import Features, Span

Grid = Callable[[str, int, int], tuple[int, int]]
PASSING = ("out of memory", "encoder failed")  # reasons that say nothing about the image's bytes: tried again


class Tap(NamedTuple):
    """A named place in an encoder, as the header keeps it."""

    name: str
    channels: int
    stride: int


class Row(Protocol):
    """An encoded image, as `cache.encode.Encoded` gives it."""

    @property
    def id(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def status(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def features(self) -> Mapping[str, NDArray[Any]]: ...


class Status(msgspec.Struct, frozen=True):
    """How far a store is: images, blocks, bytes, and commits that cannot be read."""

    ok: int
    failed: int
    pending: int
    plans: int
    blocks: int
    damaged_commits: int
    bytes: int


class _Failed(NamedTuple):
    """A row that became a failed one while it was written."""

    id: str
    sha256: str
    width: int
    height: int
    status: str
    reason: str
    features: Mapping[str, NDArray[Any]]


class _State(NamedTuple):
    """One look at the disk: plans, commits by block, and where each id stands."""

    plans: dict[int, Plan]
    commits: dict[tuple[int, int], list[Commit]]
    damaged: list[tuple[int, int, Path]]  # plan, block, file
    highest: int  # number of a plan that left anything behind, its file or not
    planned: dict[str, tuple[int, int, PlanItem]]  # id -> its highest plan, block, item
    live: dict[str, tuple[int, int]]  # id -> plan and block that count


class FeatureStore:
    """A store that is open. Reading looks at the disk once; `write` and `plan` look again."""

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self.path = path
        self.dataset: str = header["dataset"]
        self.identity: Identity = msgspec.convert(header["identity"], Identity)
        self.provenance: dict[str, Any] = header["provenance"]
        self.taps: list[Tap] = [Tap(*tap) for tap in header["taps"]]
        self._plans: dict[Path, Plan] = {}  # plans and commits never change: each is read once
        self._commits: dict[Path, Commit] = {}
        self._capacities: dict[tuple[int, FeatureName], int] = {}
        self._paths: dict[str, str] = {}  # where images lie now; a plan may remember another download tree

    @staticmethod
    def create(
        root: Path, dataset: str, identity: Identity, provenance: dict[str, Any], taps: Sequence[Any]
    ) -> FeatureStore:
        """Makes a store below `root`, or opens the one that has this identity.

        Args:
            taps: things with name, channels and stride.

        Raises:
            StoreError: the place is taken by another identity, a newer format, or something damaged.
        """
        name = f"{identity.encoder.name}@{identity.view.name}-{key8(identity)}"
        header = {
            "format": format.FORMAT,
            "dataset": dataset,
            "identity": msgspec.to_builtins(identity),
            "provenance": provenance,
            "taps": [[tap.name, tap.channels, tap.stride] for tap in taps],
        }
        path = root / dataset / name
        objects.put_once(path / "features" / "zarr.json", [format.group_document({"sam_iqa": header})], aside=path)
        store = FeatureStore.open(path)
        if store.identity != identity:
            found = "; ".join(differences(store.identity, identity))
            raise StoreError(f"{path} holds features of another identity ({found}). Choose another --store.")
        return store

    @staticmethod
    def open(path: Path) -> FeatureStore:
        """Opens a store by its folder.

        Raises:
            StoreError: no store there, a damaged header, or a newer format.
        """
        file = path / "features" / "zarr.json"
        try:
            header = json.loads(file.read_text(encoding="utf-8"))["attributes"]["sam_iqa"]
            if header["format"] > format.FORMAT:
                raise StoreError(
                    f"{path} has format {header['format']}; this version reads up to {format.FORMAT}. Install a "
                    "newer sam-iqa-harness."
                )
            return FeatureStore(path, header)
        except OSError as error:
            raise StoreError(
                f"Expected a feature store at {path}, found no features/zarr.json there ({error.strerror})."
            ) from error
        except (ValueError, KeyError, TypeError, msgspec.ValidationError) as error:
            raise StoreError(
                f"Expected a feature store at {path}, found a damaged header ({error}). Restore {file}."
            ) from error

    @property
    def name(self) -> str:
        """`<encoder>@<view>-<key8>`."""
        return f"{self.identity.encoder.name}@{self.identity.view.name}-{self.key8}"

    @property
    def key8(self) -> str:
        """Eight letters of the identity."""
        return key8(self.identity)

    # --- what is there ----------------------------------------------------------------------------------------------

    @cached_property
    def _state(self) -> _State:
        files = blocks.listed(self.path / "blocks")  # before the plans, so that the plan of each is among them
        plans: dict[int, Plan] = {}
        for file in (self.path / "plan").glob("*.parquet"):
            if file.stem.isdecimal():
                plan = self._kept(self._plans, file, blocks.read_plan)
                if plan is not None:
                    plans[plan.number] = plan
        highest = max([*plans, *(plan for plan, *_ in files)], default=0)
        commits: dict[tuple[int, int], list[Commit]] = {}
        damaged: list[tuple[int, int, Path]] = []
        for number, block, _, file in files:
            if number not in plans:  # a commit without its plan does not exist
                continue
            try:
                commit = self._kept(self._commits, file, blocks.read_commit)
            except StoreError:
                damaged.append((number, block, file))
                continue
            if commit is not None and _fits(commit, plans[number]):
                commits.setdefault((number, block), []).append(commit)
            elif commit is not None:
                damaged.append((number, block, file))
        planned: dict[str, tuple[int, int, PlanItem]] = {}
        live: dict[str, tuple[int, int]] = {}
        for number in sorted(plans):
            for b, items in enumerate(plans[number].blocks):
                for item in items:
                    planned[item.id] = (number, b, item)
                    if (number, b) in commits:
                        live[item.id] = (number, b)
        return _State(plans, commits, damaged, highest, planned, live)

    @staticmethod
    def _kept[T](kept: dict[Path, T], file: Path, read: Callable[[Path], T]) -> T | None:
        """What a file says, read once; None where it vanished since it was listed."""
        if file not in kept:
            try:
                kept[file] = read(file)
            except FileNotFoundError:
                return None
        return kept[file]

    def refresh(self) -> None:
        """Looks at the disk again."""
        self.__dict__.pop("_state", None)
        self.__dict__.pop("_spans", None)

    @cached_property
    def _spans(self) -> tuple[dict[str, dict[str, Span]], dict[str, str]]:
        """Where each live id's features lie, and the reasons of those that have none."""
        spans: dict[str, dict[str, Span]] = {}
        failed: dict[str, str] = {}
        live = self._state.live
        for where in sorted(set(live.values())):
            for commit in self._state.commits[where]:
                for row in commit.rows:
                    if live[row.id] != where:
                        continue
                    if row.status != "ok":
                        failed.setdefault(row.id, row.reason)
                        continue
                    mine = spans.setdefault(row.id, {})
                    for i, feature in enumerate(commit.features):
                        mine.setdefault(feature, Span(*where, row.offset[i], row.h[i], row.w[i], row.crc32c[i]))
        return spans, {i: reason for i, reason in failed.items() if i not in spans}

    def ids(self) -> list[str]:
        """Images that have at least one feature, sorted."""
        return sorted(self._spans[0])

    def failures(self) -> list[tuple[str, str]]:
        """Images that have none: (id, reason), sorted."""
        return sorted(self._spans[1].items())

    def features(self, everywhere: bool = True) -> list[FeatureName]:
        """Features that every block that counts has (or, not `everywhere`, any of them), maps first, in the order of
        the taps.
        """
        have = [
            {f for commit in self._state.commits[where] for f in commit.features}
            for where in set(self._state.live.values())
        ]
        if not have:
            return []
        names = (self._plain(name) for name in (set.intersection(*have) if everywhere else set.union(*have)))
        order = {tap.name: i for i, tap in enumerate(self.taps)}
        return sorted((n for n in names if n is not None), key=lambda n: (n.what, order.get(n.tap, 0)))

    def damaged(self) -> list[Path]:
        """Commits that cannot be read and whose features have not been made again."""
        return [file for plan, block, file in self._state.damaged if self._missed(plan, block)]

    def _missed(self, plan: int, block: int) -> bool:
        """Whether images still stand in a block that has no commit, or shards that no commit covers."""
        if plan not in self._state.plans or block >= len(self._state.plans[plan].blocks):
            return False
        if all(self._state.planned[item.id][:2] != (plan, block) for item in self._state.plans[plan].blocks[block]):
            return False
        commits = self._state.commits.get((plan, block), [])
        covered = {self.path / "features" / f.replace(":", "/") / f"{plan}" for c in commits for f in c.features}
        shards = (self.path / "features").glob(f"*/*/{plan}/{format.shard_name(block)}")
        return not commits or any(shard.parent not in covered for shard in shards)

    def known(self) -> dict[str, PlanItem]:
        """Each planned image as its newest plan has it; what has the same size and time is not read again."""
        return {image_id: item for image_id, (_, _, item) in self._state.planned.items()}

    def status(self) -> Status:
        """Counts; walks the folder for its bytes."""
        spans, failed = self._spans
        return Status(
            ok=len(spans),
            failed=len(failed),
            pending=len(set(self._state.planned) - set(spans) - set(failed)),
            plans=len(self._state.plans),
            blocks=len(self._state.commits),
            damaged_commits=len(self.damaged()),
            bytes=_bytes(self.path),
        )

    def select(self, names: Sequence[str]) -> Features:
        """Rows that have all the named features, by id.

        Raises:
            UsageError: a feature that the store does not have.
        """
        available = [str(f) for f in self.features()]
        unknown = [n for n in names if n not in available]
        if unknown:
            raise UsageError(
                f"{self.path} has no {', '.join(unknown)} of all its images; it has "
                f"{', '.join(available) or 'nothing yet'}. "
                f"Make it: harness precompute --dataset {self.dataset} --encoder {self.identity.encoder.name} "
                f"--features {' '.join(unknown)}"
            )
        return self.select_any(names)

    def select_any(self, names: Sequence[str]) -> Features:
        """As `select`, also for features that only some blocks have."""
        stored = [self.stored_name(parse_feature(n)) for n in names]
        spans = {i: mine for i, mine in sorted(self._spans[0].items()) if all(s in mine for s in stored)}
        return Features(
            folder=self.path / "features",
            ids=list(spans),
            names=list(names),
            spans={n: [mine[s] for mine in spans.values()] for n, s in zip(names, stored, strict=True)},
            arrays={n: (parse_feature(s).tap, parse_feature(s).what) for n, s in zip(names, stored, strict=True)},
            widths={n: self.width(parse_feature(n)) for n in names},
            capacities=self._capacity_of,
            identity=self.key8,
        )

    # --- names and sizes --------------------------------------------------------------------------------------------

    def stored_name(self, name: FeatureName) -> str:
        """`stage.6:moments.1`: a summary's revision is part of what is on the disk."""
        if name.what == MAP:
            return str(name)
        from cache.summaries import SUMMARIES

        return f"{name}.{SUMMARIES[name.what].revision}"

    def _plain(self, stored: str) -> FeatureName | None:
        """The name that stands for what is stored now; None for a summary of another revision."""
        name = parse_feature(stored)
        plain = name if name.what == MAP else FeatureName(name.tap, name.what.rpartition(".")[0])
        return plain if self.stored_name(plain) == stored else None

    def width(self, name: FeatureName) -> int:
        """Channels of a map, numbers of a summary."""
        channels = next((tap.channels for tap in self.taps if tap.name == name.tap), 0)
        if not channels:
            raise UsageError(
                f"{self.path} was made for the taps {', '.join(tap.name for tap in self.taps)}; found {name.tap}. "
                "Choose another --store."
            )
        if name.what == MAP:
            return channels
        from cache.summaries import SUMMARIES

        return SUMMARIES[name.what].width(channels)

    def _inner(self, name: FeatureName) -> int:
        return format.inner_rows(self.width(name), name.what == MAP)

    def _tokens(self, name: FeatureName, items: Sequence[PlanItem], grid: Grid) -> int:
        if name.what != MAP:
            return len(items)
        return sum(h * w for h, w in (grid(name.tap, i.width, i.height) for i in items if i.width > 0))

    def _capacity(self, plan: int, name: FeatureName, grid: Grid) -> int:
        """Rows of a shard: a function of plan and feature alone (the grid follows from the store's identity)."""
        if (plan, name) not in self._capacities:
            most = max(self._tokens(name, items, grid) for items in self._state.plans[plan].blocks)
            self._capacities[plan, name] = format.capacity(most, self._inner(name))
        return self._capacities[plan, name]

    def _capacity_of(self, plan: int, tap: str, what: str) -> int:
        """Rows of a shard, as the array's own document says."""
        file = self.path / "features" / format.array_path(tap, what, plan) / "zarr.json"
        try:
            return int(json.loads(file.read_text(encoding="utf-8"))["chunk_grid"]["configuration"]["chunk_shape"][0])
        except (OSError, ValueError, KeyError) as error:
            raise StoreError(
                f"Expected an array's document at {file}, found none that can be read ({error}). Restore it."
            ) from error

    def predicted_bytes(self, task: BlockTask, grid: Grid) -> int:
        """Bytes of features that a task will write."""
        return sum(
            self._tokens(f, task.items, grid) * self.width(f) * (2 if f.what == MAP else 4) for f in task.features
        )

    # --- planning and writing ---------------------------------------------------------------------------------------

    def plan(self, items: Iterable[PlanItem], heavy: bool, anew: bool = False) -> int:
        """Plans the images that are new or changed, or that failed for a reason that may have passed; returns how many.

        Args:
            heavy: the encoder takes more than 100 GFLOP an image: smaller blocks.
            anew: plan them all again, also those that are there.
        """
        wanted = list(items)
        self._paths |= {i.id: i.path for i in wanted}
        while True:
            left = (
                self._array_plans()
            )  # before the look: a plan that another writer adds meanwhile is no reason for a gap
            self.refresh()
            known = self.known()
            again = set[str]() if anew else self._passing()
            new = [i for i in wanted if anew or i.id not in known or known[i.id].sha256 != i.sha256 or i.id in again]
            if not new:
                return 0
            number = 1 + max(self._state.highest, left)
            if blocks.write_plan(self.path / "plan", Plan(number, blocks.cut(new, heavy))):
                self.refresh()
                return len(new)

    def _array_plans(self) -> int:
        """The highest plan that has arrays; its file may have been moved away, its number is not used again."""
        folders = (self.path / "features").glob("*/*/*")
        return max((int(folder.name) for folder in folders if folder.name.isdecimal()), default=0)

    def _passing(self) -> set[str]:
        """Images that failed although their bytes were never judged (unreadable, changed while read), or for want of
        memory.
        """
        return {
            row.id
            for where in set(self._state.live.values())
            for commit in self._state.commits[where]
            for row in commit.rows
            if row.status != "ok"
            and self._state.live[row.id] == where
            and self._state.planned[row.id][:2] == where
            and (row.sha256 != self._state.planned[row.id][2].sha256 or row.reason.startswith(PASSING))
        }

    def replan(self, ids: Iterable[str]) -> int:
        """Plans images again whose stored features are damaged, unless that is done already; returns how many."""
        planned, live = self._state.planned, self._state.live
        items = [planned[i][2] for i in sorted(set(ids)) if i in live and planned[i][:2] == live[i]]
        return self.plan(items, heavy=self._small(live[item.id][0] for item in items), anew=True) if items else 0

    def _small(self, plans: Iterable[int]) -> bool:
        """Whether these plans are cut into small blocks."""
        return all(len(items) <= blocks.MOST_ROWS_HEAVY for p in set(plans) for items in self._state.plans[p].blocks)

    def pending(self, features: Sequence[FeatureName], ids: Iterable[str]) -> list[BlockTask]:
        """Blocks that some of the ids stand in and that have no commit for all the features yet.

        A block that takes over images from an older one is asked for what they have there, too: a changed image loses
        no feature that an earlier run made.
        """
        planned, live = self._state.planned, self._state.live
        places = sorted({planned[i][:2] for i in ids if i in planned})
        order = {tap.name: i for i, tap in enumerate(self.taps)}
        tasks: list[BlockTask] = []
        for plan, block in places:
            items = self._state.plans[plan].blocks[block]
            older = {live[i.id] for i in items if planned[i.id][:2] == (plan, block) and i.id in live} - {(plan, block)}
            theirs = {
                self._plain(f) for where in older for commit in self._state.commits[where] for f in commit.features
            }
            have = {f for commit in self._state.commits.get((plan, block), []) for f in commit.features}
            wanted = {*features, *(name for name in theirs if name is not None)}
            lacking = sorted(
                (f for f in wanted if self.stored_name(f) not in have),
                key=lambda f: (order.get(f.tap, 0), f.what != MAP, f.what),
            )  # in one order however they were typed, so that a commit has the same bytes
            if lacking:
                now = tuple(item._replace(path=self._paths.get(item.id, item.path)) for item in items)
                tasks.append(BlockTask(plan, block, now, tuple(lacking)))
        return tasks

    def write(self, task: BlockTask, rows: Sequence[Row], grid: Grid) -> None:
        """Writes a block's shards, then its commit. Equal bytes that are there already are adopted.

        Different bytes without a commit (a writer with another batch size was killed here) are left as an orphan, and
        the images are planned anew: look at `pending` again. A row that is not what was planned becomes a failed one.

        Raises:
            StoreError: the disk is full, or an array of this name has another shape.
        """
        if [row.id for row in rows] != [item.id for item in task.items]:
            raise StoreError(
                f"{self.path}: expected one row an image of block {task.plan}-{task.block}, in its order; found "
                f"{len(rows)} others."
            )
        rows = [_as_planned(row, item) for row, item in zip(rows, task.items, strict=True)]
        placed: list[list[tuple[int, int, int, int]]] = [[] for _ in rows]
        for feature in task.features:
            capacity = self._capacity(task.plan, feature, grid)
            shard, spans = self._shard(task, feature, rows, capacity, grid)
            file = self._array(task.plan, feature, capacity) / format.shard_name(task.block)
            if not objects.put_once(file, shard) and not objects.same(file, shard):
                self.refresh()
                here = [i for i in task.items if self._state.planned[i.id][:2] == (task.plan, task.block)]
                if here and self.pending(task.features, [here[0].id]):
                    self.plan(here, heavy=self._small([task.plan]), anew=True)
                return
            for mine, span in zip(placed, spans, strict=True):
                mine.append(span)
            objects.sync_folder(file.parent)
        commit_rows = tuple(
            CommitRow(
                row.id,
                row.sha256,
                row.width,
                row.height,
                row.status,
                row.reason,
                i,
                *([list(column) for column in zip(*mine, strict=True)] if row.status == "ok" else [[], [], [], []]),
            )
            for i, (row, mine) in enumerate(zip(rows, placed, strict=True))
        )
        names = tuple(self.stored_name(f) for f in task.features)
        blocks.write_commit(self.path / "blocks", Commit(task.plan, task.block, names, commit_rows))
        self.refresh()

    def _shard(
        self, task: BlockTask, feature: FeatureName, rows: Sequence[Row], capacity: int, grid: Grid
    ) -> tuple[list[bytes | memoryview], list[tuple[int, int, int, int]]]:
        """A shard's bytes, and (offset, h, w, crc32c) of each row."""
        is_map, width = feature.what == MAP, self.width(feature)
        arrays: list[NDArray[Any]] = []
        spans: list[tuple[int, int, int, int]] = []
        used = 0
        for row in rows:
            if row.status != "ok":
                value = np.empty((0, width), np.float16) if is_map else np.full((1, width), np.nan, np.float32)
                h = w = crc = 0
            else:
                value = np.ascontiguousarray(row.features[str(feature)], dtype=np.float16 if is_map else np.float32)
                h, w = value.shape[:2] if is_map else (1, 1)
                most = grid(feature.tap, row.width, row.height) if is_map else (1, 1)
                if value.shape[-1] != width or h > most[0] or w > most[1]:
                    raise StoreError(
                        f"{self.path}, {feature} of {row.id!r}: expected {width} channels and a grid of at most "
                        f"{most[0]}x{most[1]}, as the encoder declares; found {value.shape}."
                    )
                value = value.reshape(-1, width)
                crc = format.crc32c(value)
            spans.append((task.block * capacity + used, h, w, crc))
            arrays.append(value)
            used += len(value)
        return format.shard_parts(arrays, width, capacity, self._inner(feature), is_map), spans

    def _array(self, plan: int, feature: FeatureName, capacity: int) -> Path:
        """The folder of a feature's array in a plan; its documents are written first, put-once."""
        stored = parse_feature(self.stored_name(feature))
        top = self.path / "features"
        empty = format.group_document({})
        for group in (top / stored.tap, top / stored.tap / stored.what):
            if objects.put_once(group / "zarr.json", [empty], aside=self.path):  # zarr warns of a part in a group
                objects.sync_folder(group.parent)
        folder = top / format.array_path(stored.tap, stored.what, plan)
        count = len(self._state.plans[plan].blocks)
        document = format.array_document(
            count, capacity, self.width(feature), self._inner(feature), feature.what == MAP
        )
        if not objects.put_once(folder / "zarr.json", [document]) and not objects.same(
            folder / "zarr.json", [document]
        ):
            raise StoreError(
                f"{folder} has another shape than its plan. Was the store written by a changed encoder? Use "
                "another --store."
            )
        return folder


def _fits(commit: Commit, plan: Plan) -> bool:
    """Whether a commit lists the images that its plan puts into its block."""
    items = plan.blocks[commit.block] if commit.block < len(plan.blocks) else ()
    return [row.id for row in commit.rows] == [item.id for item in items]


def _as_planned(row: Row, item: PlanItem) -> Row:
    """The row, failed as "changed" where it is of other bytes or another size: its plan has no room for it."""
    if row.status != "ok" or (row.sha256, row.width, row.height) == (item.sha256, item.width, item.height):
        return row
    return _Failed(row.id, row.sha256, row.width, row.height, "failed", "changed", {})


def _bytes(folder: Path) -> int:
    """Bytes of all files below a folder; one that a writer takes away meanwhile counts nothing."""
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += file.stat().st_size if file.is_file() else 0
    return total
