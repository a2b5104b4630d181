"""Views: long1024 is segment-anything's own resize, pixel for pixel; every image keeps at least one pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from segment_anything.utils.transforms import ResizeLongestSide

from cache.errors import UsageError
from cache.views import View, parse_view

sides = st.integers(1, 6000)


@given(sides, sides, st.sampled_from([512, 1024, 2048]))
@example(1024, 768, 1024)
@example(2500, 2500, 1024)
@example(2048, 1365, 1024)
def test_long_sizes_are_those_of_segment_anything(width: int, height: int, long: int) -> None:
    theirs = ResizeLongestSide.get_preprocess_shape(height, width, long)
    ours = parse_view(f"long{long}").size(width, height)
    assert ours == (max(1, theirs[1]), max(1, theirs[0]))  # theirs can be 0 high, which nothing can draw
    assert max(ours) == long


@given(st.integers(2, 90), st.integers(2, 90), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_long_pixels_are_those_of_segment_anything(width: int, height: int, seed: int) -> None:
    """Enlarged and shrunk; an image that has the size already is left as it is."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    for long in (40, 64):
        if min(parse_view(f"long{long}").size(width, height)) > 1:
            theirs = ResizeLongestSide(long).apply_image(pixels)
            np.testing.assert_array_equal(parse_view(f"long{long}").apply(pixels), theirs, strict=True)


@given(st.integers(1, 200), st.integers(1, 200), st.sampled_from(["native", "half", "long64", "square64", "long1024"]))
@settings(max_examples=60, deadline=None)
def test_the_size_that_is_said_is_the_size_that_comes(width: int, height: int, name: str) -> None:
    view = parse_view(name)
    pixels = view.apply(np.zeros((height, width, 3), np.uint8))
    assert pixels.shape == (*view.size(width, height)[::-1], 3)
    assert pixels.dtype == np.uint8
    assert min(pixels.shape) >= 1


def test_native_is_the_same_array() -> None:
    pixels = np.zeros((3, 5, 3), np.uint8)
    assert parse_view("native").apply(pixels) is pixels


def test_half_is_antialiased() -> None:
    """The trap: a bilinear filter that does not grow with the scale turns fine stripes into noise or flat black."""
    stripes = np.zeros((8, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    half = parse_view("half").apply(stripes)
    assert half.shape == (4, 32, 3)
    assert abs(half[:, 4:-4].mean() - 127.5) < 2


def test_an_image_that_could_not_be_looked_at_has_a_size() -> None:
    """Planned as 0x0; time and bytes are predicted from planned sizes."""
    for name in ("native", "half", "long1024"):
        assert min(parse_view(name).size(0, 0)) == 1


@pytest.mark.parametrize(
    "name",
    ["", "long", "long0", "long05", "long7", "long1024x", "Native", "quarter", "long999999", "square", "square0"],
)
def test_an_unknown_view_says_which_there_are(name: str) -> None:
    with pytest.raises(UsageError, match=r"native, half, long<N> such as long1024, and square<N>"):
        parse_view(name)


def test_views_that_draw_differently_have_different_identities() -> None:
    views = [parse_view(n) for n in ("native", "half", "long512", "long1024", "square1024")] + [
        View("native", scale=0.25)
    ]
    assert len({v.identity() for v in views}) == len(views)
    assert parse_view("native").identity().resize == "none"
    assert "pillow" in parse_view("long1024").identity().resize
