"""The fast way through a plain JPEG: Pillow's pixels or none, and never another outcome for a damaged file."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from skimage import data as photographs

from cache import images, jpeg
from cache.errors import ImageError

CAT = photographs.chelsea()
KINDS = st.fixed_dictionaries(
    {
        "quality": st.integers(1, 100),
        "subsampling": st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]),
        "progressive": st.booleans(),
        "optimize": st.booleans(),
        "restart_marker_blocks": st.sampled_from([0, 1, 3]),
        "restart_marker_rows": st.sampled_from([0, 1]),
    }
)


def saved(image: Image.Image, **more: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **more)
    return file.getvalue()


def by_pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def outcome(data: bytes) -> tuple[str, bytes]:
    """What `images.decode` makes of a file: the reason of its failure, or its shape and pixels."""
    try:
        pixels = images.decode(data)
    except ImageError as error:
        return error.reason, b""
    return str(pixels.shape), pixels.tobytes()


def crop(width: int, height: int, mode: str = "RGB") -> Image.Image:
    return Image.fromarray(CAT[20 : 20 + height, 90 : 90 + width]).convert(mode)


@given(st.integers(1, 75), st.integers(1, 75), st.sampled_from(["RGB", "L"]), KINDS)
@settings(max_examples=150)
def test_plain_files_have_pillows_pixels(width: int, height: int, mode: str, kind: dict[str, Any]) -> None:
    data = saved(crop(width, height, mode), **kind)
    found = jpeg.decode(data)
    assert found is not None
    np.testing.assert_array_equal(found, by_pillow(data), strict=True)


@given(st.integers(0, 200), KINDS)
@settings(max_examples=40)
def test_unfinished_progressive_files_have_pillows_pixels(lost: int, kind: dict[str, Any]) -> None:
    """Whole but for later scans: each library smooths what it does not know, by the rule of its version."""
    data = saved(crop(61, 43), **kind | {"progressive": True})
    scans = [i for i in range(len(data)) if data[i : i + 2] == b"\xff\xda"]
    cut = data[: scans[1 + lost % (len(scans) - 1)]] + b"\xff\xd9"
    found = jpeg.decode(cut)
    assert found is not None
    np.testing.assert_array_equal(found, by_pillow(cut), strict=True)


@given(st.randoms(use_true_random=False), KINDS, st.integers(0, 3))
@settings(max_examples=150)
def test_a_damaged_file_ends_as_it_does_with_pillow_alone(rng: random.Random, kind: dict[str, Any], flips: int) -> None:
    """Cut anywhere, bits flipped anywhere: the same pixels, or a failed row with the same reason."""
    data = bytearray(saved(crop(48, 33), **kind))
    for _ in range(flips):
        data[rng.randrange(2, len(data))] ^= 1 << rng.randrange(8)
    if not flips or rng.random() < 0.3:
        del data[rng.randrange(len(data)) :]
    fast = outcome(bytes(data))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jpeg, "decode", lambda *_: None)
        assert fast == outcome(bytes(data))


def test_real_photographs_have_pillows_pixels(data_root: Path) -> None:
    files = sorted(f for f in (data_root / "images").rglob("*") if f.suffix.lower() in (".jpg", ".jpeg"))
    for file in files[:: max(1, len(files) // 100)]:
        data = file.read_bytes()
        found = jpeg.decode(data)
        assert found is not None, file
        np.testing.assert_array_equal(found, by_pillow(data), strict=True, err_msg=str(file))


@pytest.mark.parametrize("subsampling", ["440", "411"])
def test_unusual_subsamplings_are_pillows(subsampling: str) -> None:
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(CAT[:64, :64]), colorsubsampling=subsampling)
    assert jpeg.decode(data) is None
    np.testing.assert_array_equal(images.decode(data), by_pillow(data), strict=True)


def test_other_colours_are_pillows() -> None:
    assert jpeg.decode(saved(crop(40, 30, "CMYK"))) is None
    assert jpeg.decode(saved(crop(40, 30), keep_rgb=True)) is None


@pytest.mark.parametrize("marker", [0xC3, 0xC5, 0xC9, 0xCA])
def test_frames_of_another_kind_are_pillows(marker: int) -> None:
    """Lossless, hierarchical and arithmetic coding: one library may know what the other does not."""
    data = bytearray(saved(crop(40, 30)))
    data[data.index(b"\xff\xc0") + 1] = marker
    assert jpeg.decode(bytes(data)) is None


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8\xff\xd9", b"a letter", b"\xff\xd8" * 9])
def test_what_is_no_jpeg_is_pillows(data: bytes) -> None:
    assert jpeg.decode(data) is None


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("profile", ["sRGB", "LAB"])
def test_only_srgb_goes_the_fast_way_among_profiles(monkeypatch: Any, mode: str, profile: str) -> None:
    """The trap: pixels taken as they are stored, of a picture whose profile says other colours."""
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile(profile)).tobytes()
    data = saved(crop(40, 30, mode), icc_profile=icc)
    went: list[bytes] = []
    real = jpeg.decode
    monkeypatch.setattr(jpeg, "decode", lambda d, room: went.append(d) or real(d, room))
    found = images.decode(data)
    assert bool(went) == (mode == "RGB" and profile == "sRGB")
    monkeypatch.setattr(jpeg, "decode", lambda *_: None)
    np.testing.assert_array_equal(found, images.decode(data), strict=True)


def test_where_the_libraries_disagree_pillow_decides(monkeypatch: Any) -> None:
    data = saved(crop(40, 30))
    real = simplejpeg.decode_jpeg
    monkeypatch.setattr(simplejpeg, "decode_jpeg", lambda *a, **k: real(*a, **k) ^ 1)
    jpeg._agree.cache_clear()
    try:
        assert jpeg.decode(data) is None
    finally:
        jpeg._agree.cache_clear()
