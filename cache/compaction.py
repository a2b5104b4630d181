"""Takes away what no longer counts in a store, and features that are not wanted any more, and writes what is left of
many plans as one. Encodes nothing, looks at no image; never touches a plan that a writer may still be working on.

A new plan says which plans it `replaces`, and counts once all its blocks are committed. Only then do those go: first
the plan's file (a commit or an array without its plan stands for nothing), then commits and arrays. Killed anywhere,
the next `gc` goes on; a reader that meets a file which is gone looks again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from cache import blocks, format, objects, planning
from cache.blocks import Commit, CommitRow, Plan, PlanItem
from cache.errors import StoreError, UsageError
from cache.features import FeatureName, expand, parse_feature
from cache.forms import Form, Lines, form_of
from cache.layout import plain_name, stored_name
from cache.snapshot import Snapshot, Where
from cache.store import FeatureStore, bytes_below
from cache.sweep import leftover, size_of, sweep
from cache.writing import Given, Shape, write_block

MOST_DEAD = 0.1  # of a plan's rows, before it is worth writing anew


MEND = "Run `harness stores verify`, then `harness precompute`, then `harness stores gc` again."


class Freed(msgspec.Struct, frozen=True):
    """What a compaction does, or would do.

    Attributes:
        plans: plans that go.
        rows: rows in them that no longer count.
        copied: rows that are written anew.
        bytes: what is freed in the end; of a dry run, an estimate.
    """

    plans: int
    rows: int
    copied: int
    bytes: int


class Group(NamedTuple):
    """Blocks of equal features, as a plan will hold them."""

    blocks: tuple[tuple[PlanItem, ...], ...]
    features: tuple[str, ...]


def stored_of(store: FeatureStore, patterns: Sequence[str]) -> list[FeatureName]:
    """The stored features that patterns such as `*:map` name.

    Raises:
        UsageError: no such tap, nothing that can be kept of one, or nothing that is stored.
    """
    vectors = [tap.name for tap in store.taps if tap.stride == 0]
    names = expand(patterns, [tap.name for tap in store.taps], vectors=vectors) if patterns else []
    have = store.features(everywhere=False)
    if names and not set(names) & set(have):
        raise UsageError(f"{store.path} has no {' '.join(patterns)}; it has {', '.join(map(str, have)) or 'nothing'}.")
    return [name for name in names if name in have]


def compact(store: FeatureStore, dry_run: bool = False, drop: Sequence[FeatureName] = ()) -> Freed:
    """Frees what superseded rows, dead plans and dead writers take up.

    Args:
        drop: features that go, too.

    Raises:
        StoreError: a row to be copied is damaged: verify and mend first.
        UsageError: an image would be left without any feature.
    """
    store.refresh()
    gone = frozenset(map(stored_name, drop))
    _check_left(store, gone)
    if dry_run:
        state = store.state
        plans = {n for plan in state.unfinished.values() for n in plan.replaces} | set(_chosen(state, gone))
        copied, rows = _counts(state, plans)
        freed = sum(size_of(file) for file in leftover(store, plans | set(state.dead)))
        return Freed(len(plans | set(state.dead)), rows, copied, max(0, freed - _live_bytes(store, plans, gone)))
    before = bytes_below(store.path)
    total = Freed(len(store.state.dead), 0, 0, 0)
    sweep(store)
    for plan in list(store.state.unfinished.values()):
        total = _finish(store, plan, total)
    made = store.add_plan(lambda number: _plan(store, number, gone))
    if made is not None:
        total = _finish(store, made, total)
    return msgspec.structs.replace(total, bytes=before - bytes_below(store.path))


def _counts(state: Snapshot, plans: Iterable[int]) -> tuple[int, int]:
    """(rows that count, rows that do not) of some plans."""
    chosen = set(plans) & set(state.plans)
    live = sum(1 for plan, _ in state.live.values() if plan in chosen)
    return live, sum(len(items) for n in chosen for items in state.plans[n].blocks) - live


# --- what to write anew ---------------------------------------------------------------------------------------------


def _check_left(store: FeatureStore, gone: frozenset[str]) -> None:
    """An image without any feature would have to be encoded again to be anything."""
    bare = sum(1 for mine in store.state.spans[0].values() if gone and mine.keys() <= gone)
    if bare:
        raise UsageError(
            f"{store.path}: {bare} images have nothing else than {', '.join(sorted(gone))}. Keep one of these, or make "
            "what shall stay first: harness stores derive."
        )


def _chosen(state: Snapshot, gone: frozenset[str]) -> list[int]:
    """Plans worth writing anew: those with dead rows or features that go, and small ones where there are several.

    Only among the plans below the oldest that has an uncommitted block: a writer may be at work on that one, and what
    it commits must find its rank above ours.
    """
    idle: list[Plan] = []
    for plan in state.ordered:
        if any(_is_open(state, plan, b) for b in range(len(plan.blocks))):
            break
        idle.append(plan)
    live: dict[int, int] = {}
    for number, _ in state.live.values():
        live[number] = live.get(number, 0) + 1
    size = {plan.number: sum(map(len, plan.blocks)) for plan in idle}
    small = [n for n, rows in size.items() if rows < blocks.MOST_ROWS and n in live]
    chosen = {n for n, rows in size.items() if live.get(n, 0) < (1 - MOST_DEAD) * rows}
    chosen |= {n for n, b in state.counting if n in size and not state.features_of((n, b)).isdisjoint(gone)}
    chosen |= set(small) if len({*small, *(n for n in chosen if n in live)}) > 1 else set()
    empty = {n for n, rows in size.items() if not rows}  # left by a compaction that copied nothing
    return sorted(chosen | empty if chosen else chosen)


def _is_open(state: Snapshot, plan: Plan, block: int) -> bool:
    """Whether a block may still be committed and would count then."""
    where = (plan.number, block)
    return where not in state.commits and any(
        state.plans[state.live[item.id][0]].order < plan.order if item.id in state.live else True
        for item in plan.blocks[block]
    )


def _plan(store: FeatureStore, number: int, gone: frozenset[str]) -> Plan | None:
    """The plan that takes the place of what is worth it now."""
    state = store.state
    chosen = _chosen(state, gone)
    if not chosen or state.unfinished:
        return None
    _check_left(store, gone)  # again: a writer may have been here
    groups = groups_of(store, {i: where for i, where in state.live.items() if where[0] in chosen}, gone)
    gflop = store.provenance.get("gflop")
    heavy = planning.is_small(state, chosen) if gflop is None else gflop > 100
    cut = [Group(blocks.cut(items, heavy), features) for features, items in sorted(groups.items())]
    capacity: dict[str, int] = {}
    for group in cut:
        for stored in group.features:
            most = max(_tokens(store, stored, items) for items in group.blocks)
            width = _width(store, stored, (store.state.live[i.id] for items in group.blocks for i in items))
            rows = format.capacity(most, format.inner_rows(width, _form(stored)))
            capacity[stored] = max(rows, capacity.get(stored, 0))
    return Plan(
        number,
        tuple(block for group in cut for block in group.blocks),
        replaces=tuple(chosen),
        rank=max(state.plans[n].order[0] for n in chosen),
        copied=tuple(group.features for group in cut for _ in group.blocks),
        capacity=capacity,
    )


def groups_of(
    store: FeatureStore, where: Mapping[str, Where], gone: frozenset[str] = frozenset()
) -> dict[tuple[str, ...], list[PlanItem]]:
    """Features -> the images that have just these, without those that go: a block holds images of equal features. An
    image that failed goes with those that were asked for the same.
    """
    state, groups = store.state, {}
    spans, _ = state.spans
    for image_id, (plan, block) in sorted(where.items()):
        item = next(i for i in state.plans[plan].blocks[block] if i.id == image_id)
        have = spans.get(image_id) or state.features_of((plan, block))
        kept = sorted(
            (f for f in have if f not in gone and _is_current(f)), key=lambda f: store.layout.order(parse_feature(f))
        )
        groups.setdefault(tuple(kept), []).append(item)
    return groups


def _is_current(stored: str) -> bool:
    """Whether a feature is of use: a known summary of another revision is not."""
    from cache.summaries import SUMMARIES

    what = parse_feature(stored).what
    return plain_name(stored) is not None or what.rpartition(".")[0] not in SUMMARIES


def _tokens(store: FeatureStore, stored: str, items: Iterable[PlanItem]) -> int:
    spans = store.state.spans[0]
    found = [spans[i.id][stored] if i.id in spans else None for i in items]
    return sum(s.rows for s in found if s is not None) if _form(stored).by_token else len(found)


def _form(stored: str) -> Form:
    return form_of(parse_feature(stored).what)


def _width(store: FeatureStore, stored: str, where: Iterable[Where]) -> int:
    return store.layout.shape_of(stored, next(iter(where))[0])[1]


def _live_bytes(store: FeatureStore, plans: set[int], gone: frozenset[str]) -> int:
    """About what the rows that count in some plans, and stay, take up."""
    total = 0
    for mine in store.state.spans[0].values():
        for stored, span in mine.items():
            if span.plan in plans and stored not in gone:
                _, width, _ = store.layout.shape_of(stored, span.plan)
                total += span.rows * width * _form(stored).dtype.itemsize
    return total


# --- writing it -----------------------------------------------------------------------------------------------------


def _finish(store: FeatureStore, plan: Plan, total: Freed) -> Freed:
    """Commits every block of a compaction that has no commit yet, then takes away what it replaces. Its bytes follow
    from the plan alone, so that of two compactions at work each adopts what the other wrote.
    """
    state = store.state
    old = [(state.plans | state.dead).get(number) for number in plan.replaces]
    copied = sum(map(len, plan.blocks))
    rows = sum(len(items) for one in old if one is not None for items in one.blocks) - copied
    try:
        sources = _sources(state, plan)
        for b, items in enumerate(plan.blocks):
            if set(plan.copied[b]) <= state.features_of((plan.number, b)) and (plan.number, b) in state.commits:
                continue
            given = [_copy(store, plan, item, sources.get(item.id), plan.copied[b]) for item in items]
            where = [sources[item.id] for item in items]
            shapes = {stored: Shape(plan.capacity[stored], _width(store, stored, where)) for stored in plan.copied[b]}
            if not write_block(store.layout, plan.number, len(plan.blocks), b, shapes, given):
                # A compaction was killed here, and since then its shards or what it copied were damaged. Without a
                # commit nobody reads them, and nobody can commit them as they are: only such are made a second time.
                for stored in shapes:
                    store.shards.file(stored, plan.number, b).unlink(missing_ok=True)
                if not write_block(store.layout, plan.number, len(plan.blocks), b, shapes, given):
                    raise StoreError(
                        f"{store.path}: expected copies in the shards of plan {plan.number}, found others. {MEND}"
                    )
    except StoreError:
        store.refresh()
        if plan.number in store.state.unfinished:
            raise
    objects.sync_folder(store.path / "blocks")  # else another compaction was faster, and took the sources away
    sweep(store)
    return Freed(total.plans + len(plan.replaces), total.rows + rows, total.copied + copied, 0)


def _sources(state: Snapshot, plan: Plan) -> dict[str, Where]:
    """Where each image counted among the replaced plans."""
    old = [state.plans[n] for n in plan.replaces if n in state.plans]
    return {
        item.id: (one.number, b)
        for one in sorted(old, key=lambda p: p.order)
        for b, items in enumerate(one.blocks)
        if (one.number, b) in state.commits
        for item in items
    }


def _copy(store: FeatureStore, plan: Plan, item: PlanItem, where: Where | None, features: tuple[str, ...]) -> Given:
    """An image's row as it was committed, its bytes checked on the way."""
    state = store.state
    rows = [(c, row) for c in state.commits.get(where or (0, 0), []) for row in c.rows if row.id == item.id]
    if where is None or not rows:
        old = ", ".join(map(str, plan.replaces))
        raise StoreError(f"Expected a commit of {item.id!r} in one of the plans {old}, found none. {MEND}")
    good = [(commit, row) for commit, row in rows if row.status == "ok"]
    if not good:
        row = rows[0][1]
        return Given(row.id, row.sha256, row.width, row.height, row.status, row.reason, {})
    row, values = good[0][1], {}
    for stored in features:
        found = _bytes_of(store, stored, where, good)
        if found is None:
            if state.live.get(item.id, where) != where:  # of no use to anybody: a newer row counts
                return Given(row.id, row.sha256, row.width, row.height, "failed", "superseded", {})
            file = store.shards.file(stored, *where)
            raise StoreError(f"{file}: expected what was written for {item.id!r} ({stored}), found others. {MEND}")
        values[stored] = found
    return Given(row.id, row.sha256, row.width, row.height, "ok", "", values)


def _bytes_of(store: FeatureStore, stored: str, where: Where, good: list[tuple[Commit, CommitRow]]) -> Lines | None:
    """A row's values as they are stored; None where they are not what was written."""
    for commit, row in good:
        if stored not in commit.features:
            continue
        i = commit.features.index(stored)
        shard = store.shards.get(stored, *where)
        first, count = row.offset[i] - where[1] * shard.capacity, commit.forms[i].rows(row.h[i], row.w[i])
        found = shard.rows[first : first + count]
        if len(found) == count and format.crc32c(found) == row.crc32c[i]:
            return Lines(found, row.h[i], row.w[i])
    return None
