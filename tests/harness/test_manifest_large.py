"""A hundred thousand rows go through the same code as a hundred, to the same answers as plain loops give."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from harness.datasets.dataset import Dataset
from harness.datasets.folder import SPEC
from harness.datasets.manifest import conform, label_digest, read_manifest, write_manifest
from harness.splits import leakage
from harness.splits.kinds import whole_splits
from harness.splits.lookalikes import twins
from harness.splits.split import Split

N = 100_000
PLANTED = 40


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"id": [f"{i:06}.png" for i in rng.permutation(N)]})
    frame["mos"] = rng.uniform(1, 5, N)
    frame["std"] = np.where(rng.uniform(size=N) < 0.5, np.nan, 0.5)
    frame["group"] = frame["id"].str[:5]
    frame["sha256"] = [hashlib.sha256(name.encode()).hexdigest() for name in frame["id"]]
    frame["looks"] = [f"{bits:016x}" for bits in rng.integers(0, 2**64, N, dtype=np.uint64)]
    return Dataset(msgspec.structs.replace(SPEC, name="lab", group_rule="group"), None, conform(frame))


@pytest.fixture(scope="module")
def split(data: Dataset) -> Split:
    return whole_splits("random", data)[0]


def test_a_large_table_comes_back_as_it_was_with_the_digest_of_its_sorted_lines(data: Dataset, tmp_path: Path) -> None:
    write_manifest(data.manifest, tmp_path / "m.parquet", "lab")
    frame, facts = read_manifest(tmp_path / "m.parquet")
    pd.testing.assert_frame_equal(frame, data.manifest)
    columns = (frame[name].tolist() for name in ("id", "mos", "std"))
    lines = sorted(f"{name}\t{mos!r}\t{std!r}\n" for name, mos, std in zip(*columns, strict=True))
    assert facts["label_digest"] == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_the_digest_is_that_of_sorted_lines_whatever_the_order_of_rows_and_the_letters() -> None:
    """A tab sorts before a space and after a control letter: rows in the order of ids are not lines in order."""
    frame = conform({"id": ["a", "a\x01", "a b", "é"], "mos": [1.0, 2.5, float("nan"), 4.0]})
    lines = sorted(f"{name}\t{mos!r}\tnan\n" for name, mos in zip(frame["id"], frame["mos"].tolist(), strict=True))
    assert label_digest(frame) == label_digest(frame.iloc[::-1]) == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_a_large_fingerprint_is_that_of_the_whole_canonical_json(split: Split, tmp_path: Path) -> None:
    meaning = {k: v for k, v in msgspec.to_builtins(split).items() if k not in ("name", "note")}
    text = json.dumps(meaning, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert split.fingerprint == hashlib.sha256(text.encode()).hexdigest()
    assert sum(split.counts.values()) == N
    split.save(tmp_path / "split.json")
    assert Split.load(tmp_path / "split.json") == split


def test_one_row_in_a_hundred_thousand_that_leaks_is_found(data: Dataset, split: Split) -> None:
    assert leakage.check(split, data.manifest) == []
    inside, outside = split.train[-1], split.test[0]
    for column, what in (("group", "group"), ("sha256", "content")):
        shared = data.manifest[column].where(
            data.manifest["id"] != outside, data.manifest.set_index("id")[column][inside]
        )
        (leak,) = leakage.check(split, data.manifest.assign(**{column: shared}))
        assert (leak.what, leak.parts) == (what, ("train", "test"))
        assert {inside, outside} <= set(leak.ids)


def test_planted_look_alikes_are_found_among_a_hundred_thousand(data: Dataset, split: Split) -> None:
    rng = np.random.default_rng(1)
    looks = dict(zip(data.manifest["id"], data.manifest["looks"], strict=True))
    planted: dict[tuple[str, str], int] = {}
    for i in range(PLANTED):
        flips = rng.choice(64, i % 9, replace=False)
        bits = int(looks[split.train[i]], 16) ^ sum(1 << int(bit) for bit in flips)
        looks[split.test[i]] = f"{bits:016x}"
        planted[split.test[i], split.train[i]] = len(flips)
    changed = replace(data, manifest=data.manifest.assign(looks=[looks[name] for name in data.manifest["id"]]))
    found = {(t.id, t.other): t.distance for t in twins(changed.looks(split.test), changed.looks(split.train))}
    assert planted.items() <= found.items()
    for (one, other), distance in found.items():
        assert (int(looks[one], 16) ^ int(looks[other], 16)).bit_count() == distance <= 8
