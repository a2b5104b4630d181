"""What is to be done in a store: which images need a plan, and which blocks need a commit. Reads a snapshot, writes
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from cache import blocks
from cache.blocks import BlockTask, CommitRow, PlanItem
from cache.features import FeatureName
from cache.layout import Layout, plain_name, stored_name
from cache.snapshot import Snapshot

PASSING = ("out of memory", "encoder failed")  # reasons that say nothing about the image's bytes: tried again


def passing(state: Snapshot) -> set[str]:
    """Images that failed although their bytes were never judged (unreadable, changed while read), or for want of
    memory.
    """
    return {
        row.id
        for row in _failed(state)
        if row.sha256 != state.planned[row.id][2].sha256 or row.reason.startswith(PASSING)
    }


def seen(state: Snapshot) -> dict[str, str]:
    """id -> sha256 of the bytes that the file had when it was last looked at for this store: when it was planned, or
    when it failed since ("": it could not be read). Whoever remembers another has to look again.
    """
    planned = {image_id: item.sha256 for image_id, (_, _, item) in state.planned.items()}
    return planned | {row.id: row.sha256 for row in _failed(state)}


def _failed(state: Snapshot) -> Iterator[CommitRow]:
    """Failed rows that count and have not been planned anew."""
    for where in sorted(state.counting):
        for commit in state.commits[where]:
            for row in commit.rows:
                if row.status != "ok" and state.live[row.id] == where and state.planned[row.id][:2] == where:
                    yield row


def to_plan(state: Snapshot, wanted: Sequence[PlanItem], anew: bool) -> list[PlanItem]:
    """Images that are new or changed, or that failed for a reason that may have passed; all of them, if `anew`."""
    if anew:
        return list(wanted)
    again = passing(state)
    return [
        i for i in wanted if i.id not in state.planned or state.planned[i.id][2].sha256 != i.sha256 or i.id in again
    ]


def is_small(state: Snapshot, plans: Iterable[int]) -> bool:
    """Whether these plans are cut into small blocks."""
    return all(len(items) <= blocks.MOST_ROWS_HEAVY for p in set(plans) for items in state.plans[p].blocks)


def pending(
    state: Snapshot, layout: Layout, features: Sequence[FeatureName], ids: Iterable[str], paths: Mapping[str, str]
) -> list[BlockTask]:
    """Blocks that some of the ids stand in and that have no commit for all the features yet.

    A block that takes over images from an older one is asked for what they have there, too: a changed image loses
    no feature that an earlier run made.

    Args:
        paths: where images lie now, where that is known.
    """
    planned, live = state.planned, state.live
    tasks: list[BlockTask] = []
    for plan, block in sorted({planned[i][:2] for i in ids if i in planned}):
        items = state.plans[plan].blocks[block]
        older = {live[i.id] for i in items if planned[i.id][:2] == (plan, block) and i.id in live} - {(plan, block)}
        theirs = {plain_name(f) for where in older for f in state.features_of(where)}
        have = state.features_of((plan, block))
        wanted = {*features, *(name for name in theirs if name is not None)}
        # In one order however they were typed, so that a commit has the same bytes.
        lacking = sorted((f for f in wanted if stored_name(f) not in have), key=layout.order)
        if lacking:
            now = tuple(item._replace(path=paths.get(item.id, item.path)) for item in items)
            tasks.append(BlockTask(plan, block, now, tuple(lacking)))
    return tasks
