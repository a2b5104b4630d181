"""Look-alikes: copies are found, strangers are not, and nothing is lost to the search's short cut."""

from __future__ import annotations

import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage import data as photographs

from harness.splits.lookalikes import NEAR, look, pairs


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


def test_what_has_no_hash_is_like_nothing() -> None:
    assert pairs(["", "0" * 16], ["", "0" * 16]) == [(1, 1, 0)]
    assert pairs([], ["0" * 16]) == []
    assert look(b"no image") == ""


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
