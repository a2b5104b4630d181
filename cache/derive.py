"""Summaries, and maps in half the bytes, made later from stored maps: no image is read, no encoder runs. Plans nothing,
overwrites nothing.

Either is always one of the map as it is stored (float16), also where it is made beside the encoder; so the numbers are
the same, whenever they were made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from cache import format
from cache.blocks import PlanItem
from cache.encoders.base import grid_at
from cache.errors import StoreError, UsageError
from cache.features import MAP, MAP8, FeatureName
from cache.forms import Lines, to_lines
from cache.layout import Grid, stored_name
from cache.passes import summarise
from cache.shards import ADVICE
from cache.snapshot import Where
from cache.store import FeatureStore
from cache.views import parse_view
from cache.writing import Given, Shape, write_block

BATCH = 16


class Derived(NamedTuple):
    """What was made: rows, and rows that were left because another writer's bytes lie there."""

    rows: int
    left: int


def possible(store: FeatureStore, whats: Sequence[str], taps: Sequence[str]) -> list[FeatureName]:
    """What can be made of the asked taps whose maps are stored: `map8` and any summary.

    Raises:
        UsageError: nothing that is made from a map, or no map to make it from.
    """
    from cache.summaries import SUMMARIES

    known = (MAP8, *SUMMARIES)
    unknown = [what for what in whats if what not in known]
    if unknown or not whats:
        raise UsageError(f"Unknown {', '.join(unknown)}: what is made from a map is one of {', '.join(known)}.")
    maps = [name.tap for name in store.features(everywhere=False) if name.what == MAP]
    missing = [tap for tap in taps if tap not in maps]
    if missing or not maps:
        raise UsageError(
            f"{store.path}: {', '.join(whats)} is made from a stored map, and there is none of "
            f"{', '.join(missing) or 'any tap'}; there are {', '.join(maps) or 'none'}. Make it with the encoder: "
            f"harness precompute --dataset {store.dataset} --encoder {store.identity.encoder.name} --features "
            f"{' '.join(f'{tap}:{what}' for tap in taps or ['TAP'] for what in whats)}"
        )
    return [FeatureName(tap, what) for tap in (taps or maps) for what in whats]


def derive(
    store: FeatureStore, wanted: Sequence[FeatureName], advance: Callable[[int], object] = lambda rows: None
) -> Derived:
    """Adds features to every block that has the map and lacks them; each is committed as soon as it is whole.

    Raises:
        StoreError: a map that counts is damaged.
    """
    rows, left, grid = 0, 0, _grid(store)
    for where, names in lacking(store, wanted):
        plan = store.state.plans.get(where[0])
        if plan is None:  # compacted away meanwhile
            continue
        items = plan.blocks[where[1]]
        given = _rows(store, where, items, names)
        shapes = {stored_name(n): Shape(store.layout.capacity(plan, n, grid), store.width(n)) for n in names}
        done = write_block(store.layout, plan.number, len(plan.blocks), where[1], shapes, given)
        rows, left = (rows + len(items), left) if done else (rows, left + len(items))
        store.refresh()
        advance(len(items))
    return Derived(rows, left)


def lacking(store: FeatureStore, wanted: Sequence[FeatureName]) -> list[tuple[Where, list[FeatureName]]]:
    """Blocks that count, and the features that each lacks and has the map for."""
    found: list[tuple[Where, list[FeatureName]]] = []
    for where in sorted(store.state.counting):
        have = store.state.features_of(where)
        names = [n for n in wanted if f"{n.tap}:{MAP}" in have and stored_name(n) not in have]
        if names:
            found.append((where, sorted(names, key=store.layout.order)))
    return found


def _grid(store: FeatureStore) -> Grid:
    """The grid that the encoder declares, as its store's header knows it: how large a shard is follows from it."""
    strides, view = {tap.name: tap.stride for tap in store.taps}, parse_view(store.identity.view.name)
    return lambda tap, width, height: grid_at(strides[tap], *view.size(width, height))


def _rows(store: FeatureStore, where: Where, items: Sequence[PlanItem], names: Sequence[FeatureName]) -> list[Given]:
    """A block's rows with what is made of their maps; those that failed before fail for the same reason."""
    values: list[dict[str, Lines]] = [{} for _ in items]
    reasons = [""] * len(items)
    first = store.state.commits[where][0].rows
    for tap in dict.fromkeys(name.tap for name in names):
        stored = f"{tap}:{MAP}"
        commit = next(c for c in store.state.commits[where] if stored in c.features)
        i, shard = commit.features.index(stored), store.shards.get(stored, *where)
        grids: dict[tuple[int, int], list[int]] = {}
        maps: dict[int, NDArray[np.float16]] = {}
        for k, row in enumerate(commit.rows):
            if row.status != "ok":
                reasons[k] = row.reason
                continue
            start, count = row.offset[i] - where[1] * shard.capacity, row.h[i] * row.w[i]
            found = shard.rows[start : start + count]
            if len(found) != count or format.crc32c(found) != row.crc32c[i]:
                if store.state.live[row.id] == where:
                    raise StoreError(
                        f"{shard.file}: expected the bytes that were written for {row.id!r} ({stored}), found others. "
                        f"{ADVICE}"
                    )
                reasons[k] = "superseded"
                continue
            grids.setdefault((row.h[i], row.w[i]), []).append(k)
            maps[k] = found.reshape(row.h[i], row.w[i], -1)
        for members in grids.values():
            for some in (members[at : at + BATCH] for at in range(0, len(members), BATCH)):
                stack = torch.from_numpy(np.stack([maps[k] for k in some])).permute(0, 3, 1, 2)
                for name in (n for n in names if n.tap == tap):
                    made = [maps[k] for k in some] if name.what == MAP8 else summarise(stack, name.what)
                    for k, value in zip(some, made, strict=True):
                        values[k][stored_name(name)] = to_lines(name.what, value)
                        reasons[k] = reasons[k] or ("" if np.isfinite(value).all() else "non-finite feature")
    return [
        Given(r.id, r.sha256, r.width, r.height, "failed" if why else "ok", why, {} if why else mine)
        for r, why, mine in zip(first, reasons, values, strict=True)
    ]
