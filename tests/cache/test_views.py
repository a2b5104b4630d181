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


@given(st.integers(1, 130), st.integers(1, 130), st.integers(10, 300), st.integers(0, 9), st.booleans())
@settings(max_examples=120)
def test_torch_draws_within_one_grey_level_of_pillow(width: int, height: int, long: int, seed: int, hard: bool) -> None:
    """Noise, and noise of black and white alone, where any difference in weights shows most."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    if hard:
        pixels = np.where(pixels > 127, 255, 0).astype(np.uint8)
    pixels.flags.writeable = False  # as Pillow's are
    exact, fast = (parse_view(f"long{long}", who).apply(pixels) for who in ("pillow", "torch"))
    assert (exact.shape, exact.dtype, fast.flags["C_CONTIGUOUS"]) == (fast.shape, fast.dtype, True)
    assert np.abs(exact.astype(int) - fast).max() <= 1


def test_who_resizes_is_part_of_the_identity_only_where_it_does() -> None:
    assert [parse_view("half", who).identity().resize for who in ("pillow", "torch")] == [
        "pillow-bilinear",
        "torch-bilinear",
    ]
    assert parse_view("native", "torch").identity() == parse_view("native").identity()
    with pytest.raises(UsageError, match=r"Unknown --resize 'opencv'. There are: pillow, torch"):
        parse_view("half", "opencv")


def test_an_image_that_could_not_be_looked_at_has_a_size() -> None:
    """Planned as 0x0; time and bytes are predicted from planned sizes."""
    for name in ("native", "half", "long1024"):
        assert min(parse_view(name).size(0, 0)) == 1


@pytest.mark.parametrize(
    "name",
    [
        *("", "long", "long0", "long05", "long7", "long1024x", "Native", "quarter", "long999999", "crops224", "tiles"),
        *("square", "square0", "-unpadded", "unpadded", "native-unpadded-unpadded"),
    ],
)
def test_an_unknown_view_says_which_there_are(name: str) -> None:
    with pytest.raises(UsageError, match=r"native, half, long<N> such as long1024, square<N>"):
        parse_view(name)


def test_views_that_draw_differently_have_different_identities() -> None:
    names = ["native", "half", "long512", "long1024", "square1024", "long512-unpadded"]
    views = [*map(parse_view, [*names, "crops5x224", "crops5x512", "tiles224"]), View("native", scale=0.25)]
    views += [parse_view(n, "torch") for n in ("half", "long512")]
    assert len({v.identity() for v in views}) == len(views)
    assert parse_view("native").identity().resize == "none"
    assert "pillow" in parse_view("long1024").identity().resize


@given(st.integers(1, 700), st.integers(1, 700), st.integers(10, 300))
@settings(max_examples=80, deadline=None)
def test_tiles_cover_every_pixel_once_and_none_is_a_sliver(width: int, height: int, most: int) -> None:
    """The trap: what is left at an edge, a pixel wide, would weigh as much as a whole tile."""
    view = parse_view(f"tiles{most}")
    boxes = view.boxes(width, height)
    seen = np.zeros((height, width), int)
    for box in boxes:
        seen[box.top : box.top + box.height, box.left : box.left + box.width] += 1
        assert max(box.width, box.height) <= most
        assert box.width > most // 2 or width <= most
        assert box.height > most // 2 or height <= most
    assert (seen == 1).all()
    assert len(boxes) == -(-width // most) * -(-height // most)
    assert len({(box.width, box.height) for box in boxes}) <= 4


@given(st.integers(1, 700), st.integers(1, 700))
@settings(max_examples=80, deadline=None)
def test_five_crops_are_corners_and_centre(width: int, height: int) -> None:
    boxes = parse_view("crops5x224").boxes(width, height)
    w, h = min(width, 224), min(height, 224)
    assert {(box.width, box.height) for box in boxes} == {(w, h)}
    places = {(box.left, box.top) for box in boxes}
    assert {(0, 0), (width - w, 0), (0, height - h), (width - w, height - h)} < places | {(-1, -1)}
    assert len(places) == len(boxes)
    if min(width, height) >= 226:
        assert len(boxes) == 5
        assert (width // 2 - 112, height // 2 - 112) in places  # where ARNIQA's code begins its centre


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from(["native", "half", "long64", "crops5x32", "tiles48"]))
@settings(max_examples=60, deadline=None)
def test_the_pictures_are_the_boxes_that_are_said(width: int, height: int, name: str) -> None:
    view = parse_view(name)
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    pictures = view.pictures(pixels)
    assert [picture.shape for picture in pictures] == [(b.height, b.width, 3) for b in view.boxes(width, height)]
    if view.several:
        box = view.boxes(width, height)[-1]
        np.testing.assert_array_equal(pictures[-1], pixels[box.top :, box.left :][: box.height, : box.width])
    else:
        np.testing.assert_array_equal(pictures[0], view.apply(pixels))
