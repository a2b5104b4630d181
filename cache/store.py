"""One feature store: a dataset x an encoder x a view, and its life: create, plan, write, read. Knows no labels.

A commit is the truth: a block whose commit is missing does not exist, one that is there is complete. Nothing is ever
overwritten; what changes (a new image, a changed one, one to be made again) is planned anew with a higher number, and an
id counts where its highest plan with a commit has it.
"""

from __future__ import annotations

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


class _State(NamedTuple):
    """One look at the disk: plans, commits by block, and where each id stands."""

    plans: dict[int, Plan]
    commits: dict[tuple[int, int], list[Commit]]
    damaged: list[Path]
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
        objects.put_once(path / "features" / "zarr.json", [format.group_document({"sam_iqa": header})])
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
                    f"{path} has format {header['format']}; this version reads up to {format.FORMAT}. Install a newer sam-iqa-harness."
                )
            return FeatureStore(path, header)
        except FileNotFoundError as error:
            raise StoreError(
                f"Expected a feature store at {path}, found no features/zarr.json there."
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

    # --- what is there -------------------------------------------------------------------------------------------------

    @cached_property
    def _state(self) -> _State:
        plans = {p.number: p for p in (blocks.read_plan(f) for f in (self.path / "plan").glob("*.parquet"))}
        commits: dict[tuple[int, int], list[Commit]] = {}
        damaged: list[Path] = []
        for plan, block, _, file in blocks.listed(self.path / "blocks"):
            if plan in plans:  # a commit without its plan does not exist
                try:
                    commits.setdefault((plan, block), []).append(blocks.read_commit(file))
                except StoreError:
                    damaged.append(file)
        planned: dict[str, tuple[int, int, PlanItem]] = {}
        live: dict[str, tuple[int, int]] = {}
        for number in sorted(plans):
            for b, items in enumerate(plans[number].blocks):
                for item in items:
                    planned[item.id] = (number, b, item)
                    if (number, b) in commits:
                        live[item.id] = (number, b)
        return _State(plans, commits, damaged, planned, live)

    def refresh(self) -> None:
        """Looks at the disk again."""
        self.__dict__.pop("_state", None)
        self.__dict__.pop("_spans", None)

    @cached_property
    def _spans(self) -> tuple[dict[str, dict[str, Span]], dict[str, str]]:
        """Where each live id's features lie, and the reasons of those that have none."""
        spans: dict[str, dict[str, Span]] = {}
        failed: dict[str, str] = {}
        for image_id, where in self._state.live.items():
            for commit in self._state.commits[where]:
                row = self._rows(commit)[image_id]
                if row.status != "ok":
                    failed.setdefault(image_id, row.reason)
                    continue
                mine = spans.setdefault(image_id, {})
                for i, feature in enumerate(commit.features):
                    mine.setdefault(feature, Span(*where, row.offset[i], row.h[i], row.w[i], row.crc32c[i]))
        return spans, {i: reason for i, reason in failed.items() if i not in spans}

    @staticmethod
    def _rows(commit: Commit) -> dict[str, CommitRow]:
        return {row.id: row for row in commit.rows}

    def ids(self) -> list[str]:
        """Images that have at least one feature, sorted."""
        return sorted(self._spans[0])

    def failures(self) -> list[tuple[str, str]]:
        """Images that have none: (id, reason), sorted."""
        return sorted(self._spans[1].items())

    def features(self) -> list[FeatureName]:
        """Features that every block that counts has, in the order of the taps."""
        blocks_that_count = set(self._state.live.values())
        if not blocks_that_count:
            return []
        have = [{f for commit in self._state.commits[b] for f in commit.features} for b in blocks_that_count]
        order = {tap.name: i for i, tap in enumerate(self.taps)}
        names = [self._plain(name) for name in set.intersection(*have)]
        return sorted((n for n in names if n is not None), key=lambda n: (n.what, order.get(n.tap, 0)))

    def damaged(self) -> list[Path]:
        """Commits that cannot be read; their blocks count as not encoded."""
        return list(self._state.damaged)

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
            damaged_commits=len(self._state.damaged),
            bytes=sum(f.stat().st_size for f in self.path.rglob("*") if f.is_file()),
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
                f"{self.path} has no {', '.join(unknown)}; it has {', '.join(available) or 'nothing yet'}."
            )
        stored = [self.stored_name(parse_feature(n)) for n in names]
        spans = {i: mine for i, mine in sorted(self._spans[0].items()) if all(s in mine for s in stored)}
        return Features(
            folder=self.path / "features",
            ids=list(spans),
            names=list(names),
            spans={n: [mine[s] for mine in spans.values()] for n, s in zip(names, stored, strict=True)},
            arrays={
                n: (parse_feature(s).tap, parse_feature(s).what) for n, s in zip(names, stored, strict=True)
            },
            widths={n: self.width(parse_feature(n)) for n in names},
            capacities=self._capacity_of,
            identity=self.key8,
        )

    # --- names and sizes ---------------------------------------------------------------------------------------------------

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
        channels = next(tap.channels for tap in self.taps if tap.name == name.tap)
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
        most = max(self._tokens(name, items, grid) for items in self._state.plans[plan].blocks)
        return format.capacity(most, self._inner(name))

    def _capacity_of(self, plan: int, tap: str, what: str) -> int:
        """Rows of a shard, as the array's own document says."""
        file = self.path / "features" / format.array_path(tap, what, plan) / "zarr.json"
        try:
            return int(
                json.loads(file.read_text(encoding="utf-8"))["chunk_grid"]["configuration"]["chunk_shape"][0]
            )
        except (OSError, ValueError, KeyError) as error:
            raise StoreError(
                f"Expected an array's document at {file}, found none that can be read ({error}). Restore it."
            ) from error

    def predicted_bytes(self, task: BlockTask, grid: Grid) -> int:
        """Bytes of features that a task will write."""
        return sum(
            self._tokens(f, task.items, grid) * self.width(f) * (2 if f.what == MAP else 4)
            for f in task.features
        )

    # --- planning and writing ----------------------------------------------------------------------------------------------

    def plan(self, items: Iterable[PlanItem], heavy: bool, anew: bool = False) -> int:
        """Plans the images that are new or changed; returns how many.

        Args:
            heavy: the encoder takes more than 100 GFLOP an image: smaller blocks.
            anew: plan them all again, also those that are there.
        """
        wanted = list(items)
        while True:
            self.refresh()
            known = self.known()
            new = [i for i in wanted if anew or i.id not in known or known[i.id].sha256 != i.sha256]
            if not new:
                return 0
            number = 1 + max(self._state.plans, default=0)
            if blocks.write_plan(self.path / "plan", Plan(number, blocks.cut(new, heavy))):
                self.refresh()
                return len(new)

    def pending(self, features: Sequence[FeatureName], ids: Iterable[str]) -> list[BlockTask]:
        """Blocks that some of the ids stand in and that have no commit for all the features yet."""
        planned = self._state.planned
        places = sorted({planned[i][:2] for i in ids if i in planned})
        tasks: list[BlockTask] = []
        for plan, block in places:
            have = {f for commit in self._state.commits.get((plan, block), []) for f in commit.features}
            lacking = tuple(f for f in features if self.stored_name(f) not in have)
            if lacking:
                tasks.append(BlockTask(plan, block, self._state.plans[plan].blocks[block], lacking))
        return tasks

    def write(self, task: BlockTask, rows: Sequence[Row], grid: Grid) -> None:
        """Writes a block's shards, then its commit. Equal bytes that are there already are adopted.

        Different bytes without a commit (a writer with another batch size was killed here) are left as an orphan, and
        the images are planned anew: look at `pending` again.

        Raises:
            StoreError: the disk is full, or an array of this name has another shape.
        """
        placed: list[list[tuple[int, int, int, int]]] = [[] for _ in rows]
        adopted = True
        for feature in task.features:
            capacity = self._capacity(task.plan, feature, grid)
            shard, spans = self._shard(task, feature, rows, capacity)
            file = self._array(task.plan, feature, capacity) / format.shard_name(task.block)
            if not objects.put_once(file, shard) and not objects.same(file, shard):
                adopted = False
                break
            for mine, span in zip(placed, spans, strict=True):
                mine.append(span)
            objects.sync_folder(file.parent)
        if not adopted:
            self.refresh()
            if self.pending(task.features, [task.items[0].id]):
                self.plan(task.items, heavy=len(task.items) <= blocks.MOST_ROWS_HEAVY, anew=True)
            return
        commit_rows = tuple(
            CommitRow(
                row.id,
                row.sha256,
                row.width,
                row.height,
                row.status,
                row.reason,
                i,
                *(
                    [list(column) for column in zip(*mine, strict=True)]
                    if row.status == "ok"
                    else [[], [], [], []]
                ),
            )
            for i, (row, mine) in enumerate(zip(rows, placed, strict=True))
        )
        names = tuple(self.stored_name(f) for f in task.features)
        blocks.write_commit(self.path / "blocks", Commit(task.plan, task.block, names, commit_rows))
        self.refresh()

    def _shard(
        self, task: BlockTask, feature: FeatureName, rows: Sequence[Row], capacity: int
    ) -> tuple[list[bytes | memoryview], list[tuple[int, int, int, int]]]:
        """A shard's bytes, and (offset, h, w, crc32c) of each row."""
        is_map, width = feature.what == MAP, self.width(feature)
        arrays: list[NDArray[Any]] = []
        spans: list[tuple[int, int, int, int]] = []
        used = 0
        for row in rows:
            if row.status != "ok":
                value = (
                    np.empty((0, width), np.float16) if is_map else np.full((1, width), np.nan, np.float32)
                )
                h = w = crc = 0
            else:
                value = np.ascontiguousarray(
                    row.features[str(feature)], dtype=np.float16 if is_map else np.float32
                )
                h, w = value.shape[:2] if is_map else (1, 1)
                value = value.reshape(-1, width)
                crc = format.crc32c(value)
            spans.append((task.block * capacity + used, h, w, crc))
            arrays.append(value)
            used += len(value)
        if used > capacity:
            raise StoreError(
                f"{self.path}, {feature}: {used} rows in a block planned for {capacity}. The encoder's declared grid is wrong."
            )
        return format.shard_parts(arrays, width, capacity, self._inner(feature), is_map), spans

    def _array(self, plan: int, feature: FeatureName, capacity: int) -> Path:
        """The folder of a feature's array in a plan; its documents are written first, put-once."""
        stored = parse_feature(self.stored_name(feature))
        top = self.path / "features"
        empty = format.group_document({})
        for group in (top / stored.tap, top / stored.tap / stored.what):
            objects.put_once(group / "zarr.json", [empty])
        folder = top / format.array_path(stored.tap, stored.what, plan)
        count = len(self._state.plans[plan].blocks)
        document = format.array_document(
            count, capacity, self.width(feature), self._inner(feature), feature.what == MAP
        )
        if not objects.put_once(folder / "zarr.json", [document]) and not objects.same(
            folder / "zarr.json", [document]
        ):
            raise StoreError(
                f"{folder} has another shape than its plan. Was the store written by a changed encoder? Use another --store."
            )
        return folder
