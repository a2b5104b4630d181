"""Plans and commits: fixed bounds, one order, the same bytes whoever makes them, and no flipped bit that goes
unseen.
"""

from __future__ import annotations

import random
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache import blocks
from cache.blocks import Commit, CommitRow, Plan, PlanItem
from cache.errors import StoreError

items = st.lists(
    st.builds(
        PlanItem,
        id=st.integers(0, 10**6).map(lambda n: f"i{n}"),
        path=st.just("p"),
        sha256=st.just("s"),
        size=st.just(1),
        mtime=st.just(1),
        width=st.sampled_from([0, 1, 512, 4000, 9000, 20_000]),
        height=st.sampled_from([0, 1, 512, 3000, 9000]),
    ),
    max_size=700,
    unique_by=lambda item: item.id,
)


def pixels(block: tuple[PlanItem, ...]) -> int:
    return sum(i.width * i.height for i in block)


@given(items, st.booleans(), st.randoms())
@settings(max_examples=40, deadline=None)
def test_blocks_keep_their_bounds_and_depend_on_no_order(
    some: list[PlanItem], heavy: bool, shuffle: random.Random
) -> None:
    found = blocks.cut(some, heavy)
    assert sorted(i for block in found for i in block) == sorted(some)
    most = 32 if heavy else 256
    assert all(len(b) <= most and (len(b) == 1 or pixels(b) <= 128_000_000) for b in found)
    order = [(i.width, i.height, i.id) for block in found for i in block]
    assert order == sorted(order)  # equal sizes are neighbours: they share a batch
    for one, following in pairwise(found):  # no block could have taken one more
        assert len(one) == most or pixels(one) + following[0].width * following[0].height > 128_000_000
    other = list(some)
    shuffle.shuffle(other)
    assert blocks.cut(other, heavy) == found


def plan_item(n: int, size: int = 4) -> PlanItem:
    return PlanItem(f"id {n}/é", f"a/{n}.png", f"{n:064}", 100 + n, 10**18 + n, size, size + n % 3)


def some_plan(number: int = 1, count: int = 40) -> Plan:
    return Plan(number, blocks.cut([plan_item(n) for n in range(count)], heavy=True))


def some_commit(features: tuple[str, ...] = ("a:map", "a:moments.1"), n: int = 12) -> Commit:
    rows = []
    for i in range(n):
        ok = i != 5
        lists = [[i * 7 + k for k in range(len(features))] for _ in range(4)] if ok else [[], [], [], []]
        status, reason = ("ok", "") if ok else ("failed", "truncated")
        rows.append(CommitRow(f"id {i}", f"{i:064}", 640, 480 + i, status, reason, i, *lists))
    return Commit(3, 1, features, tuple(rows))


def test_a_plan_comes_back_as_it_was(tmp_path: Path) -> None:
    plan = some_plan()
    assert blocks.write_plan(tmp_path, plan)
    assert blocks.read_plan(tmp_path / "1.parquet") == plan
    assert not blocks.write_plan(tmp_path, some_plan(count=3))  # put-once: the number is taken
    assert blocks.read_plan(tmp_path / "1.parquet") == plan


def test_a_commit_comes_back_as_it_was(tmp_path: Path) -> None:
    blocks.write_commit(tmp_path, some_commit())
    assert blocks.read_commit(tmp_path / "3-1.0.parquet") == some_commit()
    assert [f[:3] for f in blocks.listed(tmp_path)] == [(3, 1, 0)]


def test_a_commit_has_the_same_bytes_whoever_makes_it(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        blocks.write_commit(tmp_path / folder, some_commit())
        blocks.write_plan(tmp_path / folder, some_plan())
    for name in ("3-1.0.parquet", "1.parquet"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_second_writer_of_a_block_adds_nothing_and_another_feature_gets_the_next_number(tmp_path: Path) -> None:
    blocks.write_commit(tmp_path, some_commit())
    blocks.write_commit(tmp_path, some_commit())
    blocks.write_commit(tmp_path, some_commit(("a:map",)))  # covered
    assert len(blocks.listed(tmp_path)) == 1
    blocks.write_commit(tmp_path, some_commit(("b:map",)))
    assert [f[2] for f in blocks.listed(tmp_path)] == [0, 1]


def test_a_damaged_commit_does_not_cover_what_it_said(tmp_path: Path) -> None:
    blocks.write_commit(tmp_path, some_commit())
    file = tmp_path / "3-1.0.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    blocks.write_commit(tmp_path, some_commit())
    assert blocks.read_commit(tmp_path / "3-1.1.parquet") == some_commit()


@pytest.mark.parametrize("kind", ["plan", "commit"])
def test_no_flipped_bit_goes_unseen(kind: str, tmp_path: Path) -> None:
    """Every seventh byte, each with another bit. The trap: Parquet's page checksums do not cover its footer. Bytes that
    carry nothing (who created the file, statistics) may flip and leave the content as it was.
    """
    if kind == "plan":
        blocks.write_plan(tmp_path, some_plan(1, 6))
        file, read, expected = tmp_path / "1.parquet", blocks.read_plan, some_plan(1, 6)
    else:
        blocks.write_commit(tmp_path, some_commit(n=6))
        file, read, expected = tmp_path / "3-1.0.parquet", blocks.read_commit, some_commit(n=6)
    whole = file.read_bytes()
    assert read(file) == expected
    seen = 0
    for position in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << (position // 7 % 8)
        file.write_bytes(damaged)
        try:
            assert read(file) == expected, f"byte {position} of {len(whole)} changed what is read"
        except StoreError:
            seen += 1
    assert seen > 0.5 * len(whole) / 7


@pytest.mark.parametrize("left", [0, 1, 4, 100, 0.5, -1, -8])
def test_a_torn_file_is_refused(left: float, tmp_path: Path) -> None:
    blocks.write_commit(tmp_path, some_commit())
    file = tmp_path / "3-1.0.parquet"
    data = file.read_bytes()
    file.write_bytes(data[: int(left * len(data)) if isinstance(left, float) else left or 0])
    with pytest.raises(StoreError, match="harness precompute"):
        blocks.read_commit(file)


def test_a_file_under_another_blocks_name_is_refused(tmp_path: Path) -> None:
    """The trap: a whole file in the wrong place (a restored backup) passes its own digest."""
    blocks.write_commit(tmp_path, some_commit())
    blocks.write_plan(tmp_path, some_plan())
    shutil.copy(tmp_path / "3-1.0.parquet", tmp_path / "3-2.0.parquet")
    shutil.copy(tmp_path / "1.parquet", tmp_path / "2.parquet")
    with pytest.raises(StoreError, match="block 3-1"):
        blocks.read_commit(tmp_path / "3-2.0.parquet")
    with pytest.raises(StoreError, match="plan 1"):
        blocks.read_plan(tmp_path / "2.parquet")


def test_another_parquet_file_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "3-1.0.parquet")
    with pytest.raises(StoreError, match="whole file"):
        blocks.read_commit(tmp_path / "3-1.0.parquet")


def test_only_commit_names_are_listed(tmp_path: Path) -> None:
    for name in ("1-0.0.parquet", "12-3.10.parquet", "1-0.parquet", "1-0.x.parquet", ".1-0.1.parquet.7-ab.part", "n"):
        (tmp_path / name).write_bytes(b"")
    assert [f[:3] for f in blocks.listed(tmp_path)] == [(1, 0, 0), (12, 3, 10)]


def test_nothing_lies_beside_a_commit(tmp_path: Path) -> None:
    blocks.write_commit(tmp_path, some_commit())
    assert [p.name for p in tmp_path.iterdir()] == ["3-1.0.parquet"]
