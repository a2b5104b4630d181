"""One feature store: a dataset x an encoder x a view. Makes it, opens it, plans, writes and reads. Knows no labels.

A commit is the truth: a block whose commit is missing does not exist, one that is there is complete. Nothing is ever
overwritten; what changes (a new image, a changed one, one to be made again) is planned anew with a higher number, and
an id counts where its highest plan with a commit has it (`cache.snapshot`).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from cache import blocks, format, index, objects, planning
from cache.blocks import BlockTask, Plan, PlanItem
from cache.errors import StoreError, UsageError
from cache.features import MAPS, FeatureName, parse_feature
from cache.forms import form_of, to_lines
from cache.identity import Identity, differences, key8
from cache.layout import Grid, Layout, Tap, plain_name, stored_name
from cache.rows import Features
from cache.shards import Shards, Span
from cache.snapshot import Disk, Snapshot
from cache.writing import Given, Row, Shape, write_block

__all__ = ["FeatureStore", "Grid", "Row", "Status", "Tap"]


class Status(msgspec.Struct, frozen=True):
    """How far a store is: images, blocks, bytes, and commits that cannot be read."""

    ok: int
    failed: int
    pending: int
    plans: int
    blocks: int
    damaged_commits: int
    bytes: int


class FeatureStore:
    """A store that is open. Reading looks at the disk once; `write` and `plan` look again.

    Args:
        believe: take what the index says of a commit; `verify` reads each.
    """

    def __init__(self, path: Path, header: dict[str, Any], believe: bool = True) -> None:
        self.path = path
        self.header = header
        self.dataset: str = header["dataset"]
        self.identity: Identity = msgspec.convert(header["identity"], Identity)
        self.provenance: dict[str, Any] = header["provenance"]
        self.taps: list[Tap] = [Tap(*tap) for tap in header["taps"]]
        self.layout = Layout(path, self.taps)
        self.disk = Disk(path, believe)
        self.shards = Shards(self.layout)
        self._seen: Snapshot | None = None
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
    def open(path: Path, believe: bool = True) -> FeatureStore:
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
            return FeatureStore(path, header, believe)
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
        return f"{self.prefix}-{self.key8}"

    @property
    def prefix(self) -> str:
        """`<encoder>@<view>`: what stands before the slash in the full name of a feature."""
        return f"{self.identity.encoder.name}@{self.identity.view.name}"

    @property
    def key8(self) -> str:
        """Eight letters of the identity."""
        return key8(self.identity)

    # --- what is there ----------------------------------------------------------------------------------------------

    @property
    def state(self) -> Snapshot:
        """The last look at the disk."""
        if self._seen is None:
            self._seen = self.disk.look()
        return self._seen

    def refresh(self) -> None:
        """Looks at the disk again, when something is next asked."""
        self._seen = None

    @property
    def _spans(self) -> tuple[dict[str, dict[str, Span]], dict[str, str]]:
        return self.state.spans

    def _look_again(self) -> Mapping[str, Mapping[str, Span]]:
        self.refresh()
        return self._spans[0]

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
        have = [self.state.features_of(where) for where in self.state.counting]
        if not have:
            return []
        names = (plain_name(name) for name in (set.intersection(*have) if everywhere else set.union(*have)))
        order = {tap.name: i for i, tap in enumerate(self.taps)}
        return sorted(
            (n for n in names if n is not None), key=lambda n: (n.what not in MAPS, n.what, order.get(n.tap, 0))
        )

    def damaged(self) -> list[Path]:
        """Commits that cannot be read and whose features have not been made again."""
        return [file for plan, block, file in self.state.damaged if self._missed(plan, block)]

    def _missed(self, plan: int, block: int) -> bool:
        """Whether images still stand in a block that has no commit, or shards that no commit covers."""
        if block >= len(self.state.plans[plan].blocks):
            return False
        if all(self.state.planned[item.id][:2] != (plan, block) for item in self.state.plans[plan].blocks[block]):
            return False
        have = self.state.features_of((plan, block))
        covered = {self.layout.array(stored, plan) for stored in have}
        arrays = {folder for folder in self.layout.arrays() if folder.name == str(plan)}
        return not have or any((folder / format.shard_name(block)).exists() for folder in arrays - covered)

    def known(self) -> dict[str, PlanItem]:
        """Each planned image as its newest plan has it."""
        return {image_id: item for image_id, (_, _, item) in self.state.planned.items()}

    def seen(self) -> dict[str, str]:
        """id -> sha256 of each planned image's file as it was last found; see `cache.planning.seen`."""
        return planning.seen(self.state)

    def status(self) -> Status:
        """Counts; walks the folder for its bytes."""
        spans, failed = self._spans
        return Status(
            ok=len(spans),
            failed=len(failed),
            pending=len(set(self.state.planned) - set(spans) - set(failed)),
            plans=len(self.state.plans),
            blocks=sum(plan in self.state.plans for plan, _ in self.state.commits),
            damaged_commits=len(self.damaged()),
            bytes=bytes_below(self.path),
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
        stored = {n: stored_name(parse_feature(n)) for n in names}
        spans = {i: mine for i, mine in sorted(self._spans[0].items()) if all(s in mine for s in stored.values())}
        return Features(
            shards=self.shards,
            ids=list(spans),
            names=list(names),
            spans={n: [mine[s] for mine in spans.values()] for n, s in stored.items()},
            stored=stored,
            widths={n: self.width(parse_feature(n)) for n in names},
            identity=self.key8,
            again=self._look_again,
            images=[(row.width, row.height) for row in map(self.state.rows.__getitem__, spans)],
            shown=self.shown,
        )

    def shown(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of what the store's view makes of an image of this size, before crops or tiles are cut."""
        from cache.views import parse_view

        return parse_view(self.identity.view.name).size(width, height)

    def stored_name(self, name: FeatureName) -> str:
        """`stage.6:moments.1`: a summary's revision is part of what is on the disk."""
        return stored_name(name)

    def width(self, name: FeatureName) -> int:
        """Channels of a map, numbers of a summary."""
        return self.layout.width(name)

    def predicted_bytes(self, task: BlockTask, grid: Grid) -> int:
        """Bytes of features that a task will write."""
        return sum(
            self.layout.tokens(f, task.items, grid) * self.width(f) * form_of(f.what).dtype.itemsize
            for f in task.features
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

        def make(number: int) -> Plan | None:
            new = planning.to_plan(self.state, wanted, anew)
            return Plan(number, blocks.cut(new, heavy)) if new else None

        plan = self.add_plan(make)
        return sum(map(len, plan.blocks)) if plan else 0

    def add_plan(self, make: Any) -> Plan | None:
        """Writes a plan under the next number; whoever loses that number to another writer looks again.

        Args:
            make: number -> the plan as it follows from `state` now, or None where there is nothing to plan.
        """
        while True:
            # Before the look: a plan that another writer adds meanwhile is no reason for a gap.
            left = self._array_plans()
            self.refresh()
            plan = make(1 + max(self.state.highest, left))
            if plan is None or blocks.write_plan(self.path / "plan", plan):
                self.refresh()
                return plan

    def _array_plans(self) -> int:
        """The highest plan that has arrays; its file may have been moved away, its number is not used again."""
        return max((int(folder.name) for folder in self.layout.arrays()), default=0)

    def replan(self, ids: Iterable[str]) -> int:
        """Plans images again whose stored features are damaged, unless that is done already; returns how many."""
        planned, live = self.state.planned, self.state.live
        items = [planned[i][2] for i in sorted(set(ids)) if i in live and planned[i][:2] == live[i]]
        if not items:
            return 0
        return self.plan(items, planning.is_small(self.state, (live[i.id][0] for i in items)), anew=True)

    def pending(self, features: Sequence[FeatureName], ids: Iterable[str]) -> list[BlockTask]:
        """Blocks that some of the ids stand in and that have no commit for all the features yet."""
        return planning.pending(self.state, self.layout, features, ids, self._paths)

    def write(self, task: BlockTask, rows: Sequence[Row], grid: Grid) -> None:
        """Writes a block's shards, then its commit. Equal bytes that are there already are adopted.

        Different bytes without a commit (a writer with another batch size was killed here) are left as an orphan, and
        the images are planned anew; a block that was compacted away meanwhile is not written: look at `pending` again.
        A row that is not what was planned becomes a failed one.

        Raises:
            StoreError: the disk is full, or an array of this name has another shape.
        """
        if [row.id for row in rows] != [item.id for item in task.items]:
            raise StoreError(
                f"{self.path}: expected one row an image of block {task.plan}-{task.block}, in its order; found "
                f"{len(rows)} others."
            )
        plan = self.state.plans.get(task.plan)
        if plan is None:
            self.refresh()
            return
        given = [_given(row, item, task.features) for row, item in zip(rows, task.items, strict=True)]
        self._check(task, given, grid)
        shapes = {stored_name(f): Shape(self.layout.capacity(plan, f, grid), self.width(f)) for f in task.features}
        fits = all(
            sum(len(g.features[stored].rows) for g in given if g.status == "ok") <= shape.capacity
            for stored, shape in shapes.items()
        )
        try:
            done = write_block(self.layout, plan.number, len(plan.blocks), task.block, shapes, given) if fits else None
        except StoreError:
            self.refresh()
            if task.plan in self.state.plans:
                raise
            return  # compacted away under our hands
        self.refresh()
        if done is None:
            here = [i for i in task.items if self.state.planned.get(i.id, (0, 0))[:2] == (task.plan, task.block)]
            if here and self.pending(task.features, [here[0].id]):
                self.plan(here, heavy=planning.is_small(self.state, [task.plan]), anew=True)
            return
        self.disk.keep(*done, plan)
        if index.is_due(self.state.unindexed, self.state.indexed):
            self.disk.write_index()
            self.refresh()

    def agreed(self, name: str, find: Callable[[], int]) -> int:
        """A number that all who write to this store go by: as whoever came first found it."""
        file = self.path / "agreed" / f"{name}.json"
        if not file.exists():
            objects.put_once(file, [json.dumps(find()).encode()])
        return int(json.loads(file.read_bytes()))

    def _check(self, task: BlockTask, rows: Sequence[Given], grid: Grid) -> None:
        """An encoder that gives more than it declares would burst its shard, or its neighbour's."""
        for feature in task.features:
            width, by_token = self.width(feature), form_of(feature.what).by_token
            for row in rows:
                if row.status != "ok":
                    continue
                lines = row.features[stored_name(feature)]
                most = grid(feature.tap, row.width, row.height) if by_token else (1, 1)
                if lines.rows.shape[1] != width or lines.h > most[0] or lines.w > most[1]:
                    raise StoreError(
                        f"{self.path}, {feature} of {row.id!r}: expected {width} channels and a grid of at most "
                        f"{most[0]}x{most[1]}, as the encoder declares; found "
                        f"{lines.rows.shape[1]} and {lines.h}x{lines.w}."
                    )


def _given(row: Row, item: PlanItem, features: Sequence[FeatureName]) -> Given:
    """An encoded row as it is stored; failed as "changed" where it is of other bytes or another size: its plan has no
    room for it.
    """
    facts = row.id, row.sha256, row.width, row.height
    if row.status != "ok":
        return Given(*facts, row.status, row.reason, {})
    if facts[1:] != (item.sha256, item.width, item.height):
        return Given(*facts, "failed", "changed", {})
    return Given(*facts, "ok", row.reason, {stored_name(f): to_lines(f.what, row.features[str(f)]) for f in features})


def bytes_below(folder: Path) -> int:
    """Bytes of all files below a folder; one that a writer takes away meanwhile counts nothing."""
    total = 0
    for file in objects.files_below(folder):
        with contextlib.suppress(OSError):
            total += file.stat().st_size
    return total
