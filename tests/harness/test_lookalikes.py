"""Look-alikes: copies are found, strangers are not, and nothing is lost to the search's short cut."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage import data as photographs

import harness
from harness.datasets.looks import NONE, look
from harness.errors import ProtocolError, UsageError
from harness.splits.lookalikes import NEAR, families, pairs
from harness.verbs import splits
from reports.card import load_evaluation


def jpeg(image: Image.Image, quality: int = 95) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def near(seed: int, bits: int) -> tuple[str, str]:
    chance = random.Random(seed)
    one = chance.getrandbits(64)
    other = one
    for bit in chance.sample(range(64), bits):
        other ^= 1 << bit
    return f"{one:016x}", f"{other:016x}"


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 16)), min_size=1, max_size=40), st.integers(0, 10))
def test_the_search_finds_exactly_what_comparing_all_finds(made: list[tuple[int, int]], most: int) -> None:
    both = [near(seed, bits) for seed, bits in made]
    left, right = [a for a, _ in both], [b for _, b in both]
    slow = {
        (i, j, (int(a, 16) ^ int(b, 16)).bit_count())
        for i, a in enumerate(left)
        for j, b in enumerate(right)
        if (int(a, 16) ^ int(b, 16)).bit_count() <= most
    }
    found = pairs(left, right, most)
    assert set(found) == slow
    assert len(found) == len(slow)
    assert [p.distance for p in found] == sorted(p.distance for p in found)


@pytest.mark.parametrize("most", [8, 5, 0])
def test_the_wide_bands_of_a_large_search_find_the_same(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    bits = [int(base) for base in rng.integers(0, 2**64, 30, dtype=np.uint64)]
    bits += [bits[i % 30] ^ sum(1 << int(bit) for bit in rng.choice(64, i % 11, replace=False)) for i in range(300)]
    hashes = [f"{value:016x}" for value in bits]
    narrow = pairs(hashes[:100], hashes[100:], most)
    assert len(narrow) == sum((a ^ b).bit_count() <= most for a in bits[:100] for b in bits[100:]) > 0
    monkeypatch.setattr("harness.splits.lookalikes._MANY", 0)
    assert pairs(hashes[:100], hashes[100:], most) == narrow


def test_what_has_no_hash_is_like_nothing() -> None:
    assert pairs(["", "0" * 16], ["", "0" * 16]) == [(1, 1, 0)]
    assert pairs([], ["0" * 16]) == []
    assert look(b"no image") == NONE
    assert pairs([NONE], [NONE]) == []


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "rocket"])
def test_a_recompressed_or_resized_copy_looks_alike_and_another_photograph_does_not(name: str) -> None:
    image = Image.fromarray(getattr(photographs, name)())
    original = look(jpeg(image))
    copies = [look(jpeg(image, 30)), look(jpeg(image.resize((image.width // 2, image.height // 2))))]
    assert len(pairs([original], copies)) == 2
    others = [
        look(jpeg(Image.fromarray(getattr(photographs, n)()))) for n in ("cat", "camera", "brick")[name == "chelsea" :]
    ]
    assert pairs([original], others, NEAR) == []


def test_families_join_groups_that_hold_look_alikes_and_no_others() -> None:
    one, other = near(1, 3)
    stranger, _ = near(2, 0)
    groups = ["b", "a", "c", "c", "d"]
    assert families(groups, [one, other, stranger, NONE, NONE]) == ["a", "a", "c", "c", "d"]
    assert families(["x", "y"], ["", ""]) == ["x", "y"]


@pytest.fixture
def twins_world(tmp_path: Path) -> Path:
    """Twenty photographs' crops; half of the test images are recompressed copies of train images."""
    root = tmp_path / "own"
    (root / "images").mkdir(parents=True)
    rows = []
    sources = [getattr(photographs, n)() for n in ("astronaut", "chelsea", "coffee", "rocket", "camera")]
    for i in range(20):
        corner = 40 * (i // 5)
        image = Image.fromarray(sources[i % 5][corner : corner + 160, corner : corner + 200])
        copied = i in (1, 3)
        (root / "images" / f"{i}.jpg").write_bytes(jpeg(image))
        rows.append((f"{i}.jpg", 1 + i % 7 / 2, "train"))
        if copied:
            (root / "images" / f"copy{i}.jpg").write_bytes(jpeg(image, 60))
            rows.append((f"copy{i}.jpg", 1.2 + i / 10, "test"))
    for i, name in enumerate(("brick", "grass", "gravel", "moon")):
        (root / "images" / f"{name}.jpg").write_bytes(jpeg(Image.fromarray(getattr(photographs, name)()[:200, :200])))
        rows.append((f"{name}.jpg", 2 + i / 2, "test"))
    pd.DataFrame(rows, columns=["id", "mos", "official_part"]).to_csv(root / "labels.csv", index=False)
    (root / "dataset.toml").write_text('name = "own"\nlow = 1\nhigh = 5\n', encoding="utf-8")
    return root


def test_a_run_is_scored_with_and_without_test_rows_that_look_like_train_rows(twins_world: Path) -> None:
    """The trap: a published line with recompressed copies on both sides, and nobody says so."""
    harness.precompute(
        dataset="own", root=twins_world, encoder="efficientnet-lite0", features=["stage.2:moments"], store="stores"
    )
    # The trap: a limited look at the same dataset, later, and what was known of the other images is lost.
    harness.precompute(
        dataset="own",
        root=twins_world,
        encoder="efficientnet-lite0",
        features=["stage.2:moments"],
        limit=1,
        store="stores",
    )
    run = harness.train_head(variant="ridge", dataset="own", split="official")[0]
    whole, cleaned = (
        load_evaluation(Path(run.folder) / f"evaluations/own-official-test{end}/card.json") for end in ("", "-cleaned")
    )
    assert (whole.counts["asked"], cleaned.counts["asked"]) == (6, 4)
    assert {(one, other) for one, other, _ in cleaned.lookalikes} == {("copy1.jpg", "1.jpg"), ("copy3.jpg", "3.jpg")}
    report = harness.report([run], out="report")
    assert "official test, cleaned" in Path(report.html).read_text(encoding="utf-8")
    assert [row["test"] for row in report.rows] == ["own (test)", "own (test, cleaned)"]


def test_a_split_of_ones_own_can_keep_look_alikes_together(twins_world: Path) -> None:
    for seed in range(4):
        splits.make("own", Path("apart.json"), seed=seed, avoid_lookalikes=True, root=twins_world)
        assert splits.check(Path("apart.json"), "own", root=twins_world).lookalikes == []
    splits.make("own", Path("as-published.json"), kind="official", root=twins_world)
    assert len(splits.check(Path("as-published.json"), "own", root=twins_world).lookalikes) == 2
    with pytest.raises(UsageError, match="published split"):
        splits.make("own", Path("x.json"), kind="official", avoid_lookalikes=True, root=twins_world)


def test_a_leak_stops_a_run_unless_it_is_allowed_and_then_it_is_stamped(twins_world: Path) -> None:
    (twins_world / "images/copy1.jpg").write_bytes((twins_world / "images/1.jpg").read_bytes())
    harness.precompute(
        dataset="own", root=twins_world, encoder="efficientnet-lite0", features=["stage.2:moments"], store="stores"
    )
    with pytest.raises(ProtocolError, match="files with the same bytes"):
        harness.train_head(variant="ridge", dataset="own", split="official")
    run = harness.train_head(variant="ridge", dataset="own", split="official", allow_leakage=True)[0]
    assert "LEAKY" in run.stamps
    assert "LEAKY" in Path(harness.report([run], out="report").html).read_text(encoding="utf-8")
