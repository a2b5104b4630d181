"""Odd files: each becomes pixels by the stated rule or an ImageError with a stable reason; never anything else."""

from __future__ import annotations

import io
import random
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps
from skimage import data as photographs

from cache.errors import ImageError
from cache.images import decode, probe

W, H = 24, 16


def photo() -> Image.Image:
    """A crop of a real photograph, not square, no two corners alike."""
    return Image.fromarray(photographs.chelsea()[100 : 100 + H, 150 : 150 + W])


def saved(image: Image.Image, kind: str, **more: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **more)
    return file.getvalue()


def both(data: bytes) -> np.ndarray:
    """The pixels; the header must have said their size."""
    pixels = decode(data)
    assert pixels.dtype == np.uint8
    assert pixels.flags["C_CONTIGUOUS"]
    assert probe(data) == (pixels.shape[1], pixels.shape[0])
    assert pixels.shape[2:] == (3,)
    return pixels


def oriented(orientation: int) -> np.ndarray:
    """The photograph as orientation says, by numpy: what EXIF defines, not what Pillow does."""
    a = np.asarray(photo())
    return {
        1: a,
        2: a[:, ::-1],
        3: a[::-1, ::-1],
        4: a[::-1],
        5: a.transpose(1, 0, 2),
        6: a[::-1].transpose(1, 0, 2),
        7: a[::-1, ::-1].transpose(1, 0, 2),
        8: a[:, ::-1].transpose(1, 0, 2),
    }[orientation]


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    """All eight, on an image that is not square. The trap: Pillow turns TIFF by itself, so a header is turned twice."""
    more = {"lossless": True} if kind == "WEBP" else {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    found = both(saved(photo(), kind, exif=exif(orientation), **more))
    assert found.shape == oriented(orientation).shape
    tolerance = 6 if kind == "JPEG" else 0
    assert np.abs(found.astype(int) - oriented(orientation)).max() <= tolerance


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_means_nothing_is_ignored(value: int) -> None:
    tags = Image.Exif()
    tags[0x0112] = value
    np.testing.assert_array_equal(both(saved(photo(), "PNG", exif=tags)), oriented(1))


def test_a_torn_exif_block_does_not_cost_the_image() -> None:
    data = saved(photo(), "JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x05\x01\x12")
    assert both(data).shape == (H, W, 3)


def test_a_png_says_its_orientation_after_its_pixels() -> None:
    """The PNG standard lets eXIf follow IDAT."""
    data = saved(photo(), "PNG", exif=exif(6))
    chunks, at = [], 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big") + 12
        chunks.append(data[at : at + length])
        at += length
    moved = sorted(chunks, key=lambda c: (c[4:8] == b"IEND", c[4:8] == b"eXIf"))
    assert [c[4:8] for c in moved][-2:] == [b"eXIf", b"IEND"]
    np.testing.assert_array_equal(both(data[:8] + b"".join(moved)), oriented(6))


def wide_gamut() -> ImageCms.ImageCmsProfile:
    """A real RGB profile that is not sRGB: Adobe RGB (1998)'s primaries and a gamma of 2.2, built by hand as ICC says
    (LittleCMS only makes sRGB by itself).
    """
    import struct

    def s15(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    def text(kind: bytes, value: str) -> bytes:
        ascii_ = value.encode() + b"\0"
        return kind + b"\0" * 4 + struct.pack(">I", len(ascii_)) + ascii_ + b"\0" * (4 + 4 + 2 + 1 + 67)

    xyz = {
        b"wtpt": (0.9642, 1.0, 0.8249),
        b"rXYZ": (0.60974, 0.31111, 0.01947),
        b"gXYZ": (0.20528, 0.62567, 0.06087),
        b"bXYZ": (0.14919, 0.06322, 0.74457),
    }
    tags = {name: b"XYZ " + b"\0" * 4 + s15(*value) for name, value in xyz.items()}
    tags |= {n: b"curv" + b"\0" * 4 + struct.pack(">IH", 1, round(2.2 * 256)) for n in (b"rTRC", b"gTRC", b"bTRC")}
    tags |= {b"desc": text(b"desc", "Adobe-like RGB"), b"cprt": b"text" + b"\0" * 4 + b"none\0"}
    table, body, at = b"", b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        padded = value + b"\0" * (-len(value) % 4)
        table += name + struct.pack(">II", at + len(body), len(value))
        body += padded
    header = struct.pack(">I4sI4s4s4s", at + len(body), b"lcms", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    header += b"\x07\xd0\x00\x01\x00\x01" + b"\0" * 6 + b"acsp" + b"\0" * 24 + b"\0" * 4 + s15(0.9642, 1.0, 0.8249)
    header = header.ljust(128, b"\0")
    return ImageCms.ImageCmsProfile(io.BytesIO(header + struct.pack(">I", len(tags)) + table + body))


def test_an_embedded_profile_is_converted_to_srgb() -> None:
    """Adobe RGB's numbers look dull when they are taken for sRGB's. Compared with the conversion by formula."""
    profile = wide_gamut()
    found = both(saved(photo(), "PNG", icc_profile=profile.tobytes())).astype(float)
    linear = (np.asarray(photo()) / 255.0) ** 2.2
    # D65 linear Adobe RGB -> linear sRGB, from the two standards.
    matrix = np.array([[1.39836, -0.39836, 0], [0, 1, 0], [0, -0.04293, 1.04293]])
    srgb = np.clip(linear @ matrix.T, 0, 1)
    expected = 255 * np.where(srgb <= 0.0031308, 12.92 * srgb, 1.055 * srgb ** (1 / 2.4) - 0.055)
    assert np.abs(found - expected).max() <= 3
    assert np.abs(found - np.asarray(photo())).max() > 8  # it matters


def test_alpha_and_profile_together() -> None:
    rgba = photo().convert("RGBA")
    rgba.putalpha(Image.new("L", (W, H), 255))
    profile = wide_gamut().tobytes()
    np.testing.assert_array_equal(
        both(saved(rgba, "PNG", icc_profile=profile)), both(saved(photo(), "PNG", icc_profile=profile))
    )


@pytest.mark.parametrize("profile", [b"no profile at all", b"\0" * 200, None, "grey for colour", "srgb"])
def test_a_profile_that_says_nothing_new_leaves_the_pixels(profile: object) -> None:
    """Unreadable, of another kind of pixels, absent, or sRGB itself."""
    if profile == "srgb":
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    elif profile == "grey for colour":
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    np.testing.assert_array_equal(both(saved(photo(), "PNG", icc_profile=profile)), oriented(1))


def grey() -> np.ndarray:
    return np.asarray(photo().convert("L"))


def in_three(a: np.ndarray) -> np.ndarray:
    return np.repeat(a[:, :, None], 3, axis=2)


def test_grey_becomes_three_equal_channels() -> None:
    for kind in ("PNG", "BMP", "TIFF"):
        np.testing.assert_array_equal(both(saved(photo().convert("L"), kind)), in_three(grey()))


def test_one_bit_becomes_black_and_white() -> None:
    bits = photo().convert("1")
    np.testing.assert_array_equal(both(saved(bits, "PNG")), in_three(np.where(np.asarray(bits), 255, 0)))


def test_16_bit_grey_keeps_its_high_byte() -> None:
    deep = grey().astype(np.uint16) * 256 + 77
    for kind in ("PNG", "TIFF", "PPM"):
        np.testing.assert_array_equal(both(saved(Image.fromarray(deep), kind)), in_three(grey()))


def test_16_bit_grey_is_turned_like_any_other() -> None:
    deep = Image.fromarray(grey().astype(np.uint16) * 256)
    np.testing.assert_array_equal(both(saved(deep, "PNG", exif=exif(6))), in_three(grey()[::-1].T))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: bytes) -> bytes:
    """A PNG that Pillow does not write."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    extra = b"".join(chunk(c[:4], c[4:]) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (6, 4), (4, 2)])
def test_16_bit_colour_keeps_its_high_byte(colour: int, channels: int) -> None:
    values = np.full((H, W, channels), 255, np.uint8)
    values[:, :, : 3 if channels > 2 else 1] = np.asarray(photo()) if channels > 2 else grey()[:, :, None]
    deep = values.astype(">u2") * 256 + 255
    rows = b"".join(b"\0" + row.tobytes() for row in deep.astype(">u2"))
    found = both(png(W, H, 16, colour, rows))
    np.testing.assert_array_equal(found, np.asarray(photo()) if channels > 2 else in_three(grey()))


def test_transparency_is_laid_on_white() -> None:
    alpha = np.linspace(0, 255, W).astype(np.uint8)[None].repeat(H, 0)
    rgba = np.dstack([np.asarray(photo()), alpha])
    share = alpha[:, :, None] / 255
    for image, colours in (
        (Image.fromarray(rgba), np.asarray(photo())),
        (Image.fromarray(np.dstack([grey(), alpha]), "LA"), in_three(grey())),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            data = saved(image, "PNG")
        expected = colours * share + 255 * (1 - share)
        assert np.abs(both(data) - expected).max() <= 1


def test_palettes_become_their_colours() -> None:
    palette = photo().quantize(17)
    expected = np.asarray(palette.convert("RGB"))
    for kind in ("PNG", "BMP", "GIF", "TIFF"):
        np.testing.assert_array_equal(both(saved(palette, kind)), expected)


@pytest.mark.parametrize("transparency", [3, bytes([0, 128, 255] * 5)])
def test_a_palettes_transparency_is_laid_on_white(transparency: int | bytes) -> None:
    palette = photo().quantize(17)
    found = both(saved(palette, "PNG", transparency=transparency))
    alpha = np.full(256, 255)
    if isinstance(transparency, int):
        alpha[transparency] = 0
    else:
        alpha[: len(transparency)] = list(transparency)
    share = alpha[np.asarray(palette)][:, :, None] / 255
    assert np.abs(found - (np.asarray(palette.convert("RGB")) * share + 255 * (1 - share))).max() <= 1


@pytest.mark.parametrize(("mode", "key"), [("RGB", None), ("L", None), ("1", 0)])
def test_a_transparent_colour_is_laid_on_white(mode: str, key: int | None) -> None:
    image = photo().convert(mode)
    first = image.getpixel((0, 0)) if key is None else key
    found = both(saved(image, "PNG", transparency=first))
    where = (np.asarray(image.convert("RGB")) == np.asarray(image.convert("RGB"))[0, 0]).all(axis=2)
    if mode == "1":
        where = ~np.asarray(image)
    assert (found[where] == 255).all()
    np.testing.assert_array_equal(found[~where], np.asarray(image.convert("RGB"))[~where])


def test_cmyk_becomes_rgb() -> None:
    ink = photo().convert("CMYK")
    for kind, more, tolerance in (("TIFF", {}, 0), ("JPEG", {"quality": 100, "subsampling": 0}, 6)):
        found = both(saved(ink, kind, **more))
        assert np.abs(found.astype(int) - np.asarray(photo())).max() <= tolerance + 1


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "MPO"])
def test_of_several_frames_the_first_counts(kind: str) -> None:
    flat = [Image.new("RGB", (W, H), colour) for colour in ("red", "green", "blue")]
    found = both(saved(flat[0], kind, save_all=True, append_images=flat[1:]))
    assert np.abs(found.astype(int) - [255, 0, 0]).max() <= 3


def test_a_gif_frame_without_a_background_is_laid_on_white() -> None:
    frame = Image.new("P", (W, H), 0)
    frame.putpalette([255, 0, 0, 0, 0, 255])
    frame.paste(1, (0, 0, W // 2, H))
    found = both(saved(frame, "GIF", transparency=1))
    assert (found[0, 0] == 255).all()
    assert found[0, -1].tolist() == [255, 0, 0]


def test_floats_are_taken_as_shares_or_as_values() -> None:
    share = grey().astype(np.float32) / 255
    for values in (share, grey().astype(np.float32)):
        np.testing.assert_array_equal(both(saved(Image.fromarray(values), "TIFF")), in_three(grey()))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM"])
def test_one_pixel_is_an_image(kind: str) -> None:
    assert both(saved(Image.new("RGB", (1, 1), "white"), kind)).tolist() == [[[255, 255, 255]]]


NO_IMAGES: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "empty file"),
    "text": (lambda: b"This is a letter, not a photograph.\n" * 20, "not an image"),
    "page": (lambda: b"<!DOCTYPE html><title>404 Not Found</title>", "not an image"),
    "zeros": (lambda: bytes(5000), "not an image"),
    "postscript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "not an image"),
    "cut jpeg": (lambda: saved(photo(), "JPEG")[:400], "truncated"),
    "cut png": (lambda: saved(photo(), "PNG")[:600], "truncated"),
    "cut bmp": (lambda: saved(photo(), "BMP")[:600], "truncated"),
    "cut gif": (lambda: saved(photo(), "GIF")[:900], "truncated"),
    "cut webp": (lambda: saved(photo(), "WEBP")[:100], "truncated"),
    "head alone": (lambda: saved(photo(), "PNG")[:33], "not an image"),
    "signature alone": (lambda: saved(photo(), "PNG")[:8], "not an image"),
}


@pytest.mark.parametrize("name", NO_IMAGES)
def test_what_is_no_whole_image_has_a_stable_reason(name: str) -> None:
    """PostScript is not drawn: Pillow would start a program for it."""
    make, reason = NO_IMAGES[name]
    with pytest.raises(ImageError) as caught:
        decode(make())
    assert caught.value.reason == reason


@pytest.mark.parametrize("read", [decode, probe])
def test_more_pixels_than_the_limit_are_refused_by_the_header_alone(read: Callable[..., object]) -> None:
    """A PNG of 60,000 x 60,000 white pixels is a few kilobytes of file and gigabytes of memory."""
    data = saved(photo(), "PNG")
    read(data, pixel_limit=W * H)
    with pytest.raises(ImageError, match="over the pixel limit: 24x16, more than 383 pixels"):
        read(data, pixel_limit=W * H - 1)
    with pytest.raises(ImageError, match="over the pixel limit"):
        read(png(60_000, 60_000, 8, 0, b""))


def test_a_header_is_read_without_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trap: to look for an orientation after a PNG's pixels, Pillow decodes them all."""

    def loads(self: object, *_: object) -> object:
        raise AssertionError("decoded")

    datas = [saved(photo(), kind) for kind in ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF")]
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", loads)
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load_prepare", loads)
    assert [probe(data) for data in datas] == [(W, H)] * 6


def test_warnings_are_neither_shown_nor_lost_for_others() -> None:
    """Threads decode at once; Pillow's warnings about odd files are silent, everyone else's filters are as before."""
    odd = saved(photo(), "TIFF")
    odd = odd.replace(b"\x06\x01\x03\x00\x01\x00", b"\x06\x01\x03\x00\xff\x00")  # a tag with too many values
    before = list(warnings.filters)
    wrong: list[str] = []

    def many() -> None:
        for _ in range(50):
            try:
                decode(odd)
            except ImageError:
                pass
            except BaseException as error:
                wrong.append(repr(error))

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert list(warnings.filters) == before
    with pytest.raises(UserWarning, match="mine"):
        warnings.warn("mine", stacklevel=1)


def corpus(data_root: Path) -> list[bytes]:
    names = ["images/koniq10k/*.jpg", "images/csiq/*.png", "images/livec/Images/*.bmp", "images/flive/*/*.jpg"]
    small = []
    for pattern in names:
        image = Image.open(sorted(data_root.glob(pattern))[0])
        image.load()
        kind = image.format or "PNG"
        profile = image.info.get("icc_profile")
        small.append(
            saved(ImageOps.contain(image.convert("RGB"), (48, 40)), kind, exif=exif(6), icc_profile=profile)
            if kind != "BMP"
            else saved(ImageOps.contain(image.convert("RGB"), (48, 40)), kind)
        )
    return [*small, saved(photo().quantize(9), "GIF"), saved(photo(), "TIFF"), saved(photo(), "WEBP")]


@pytest.mark.data
def test_damaged_photographs_become_pixels_or_a_reason(data_root: Path) -> None:
    """Seeded flips, cuts, holes and doubled pieces of real photographs; with -W error, so a warning fails as well."""
    chance, outcomes = random.Random(0), {}
    for whole in corpus(data_root):
        both(whole)
        for _ in range(300):
            data = bytearray(whole)
            for _ in range(chance.choice([1, 1, 3, 10])):
                at = chance.randrange(len(data)) if chance.random() < 0.6 else chance.randrange(min(len(data), 200))
                match chance.randrange(4):
                    case 0:
                        data[at] ^= 1 << chance.randrange(8)
                    case 1:
                        data[at] = chance.choice([0, 1, 0x7F, 0x80, 0xFF])
                    case 2:
                        del data[at : at + chance.randrange(1, 40)]
                    case _:
                        data[at:at] = data[max(0, at - 20) : at]
                data = data or bytearray(b"x")
            said: list[Any] = []
            for read in (probe, decode):
                try:
                    said.append(read(bytes(data), pixel_limit=10_000_000))
                    reason = "pixels"
                except ImageError as error:
                    reason = error.reason
                outcomes[reason] = outcomes.get(reason, 0) + 1
            if len(said) == 2:
                assert said[0] == (said[1].shape[1], said[1].shape[0])
    assert set(outcomes) <= {"pixels", "truncated", "not an image", "over the pixel limit", "cannot become RGB"}
    assert {"pixels", "truncated", "not an image"} <= set(outcomes)


@pytest.mark.data
def test_every_photograph_here_has_the_size_that_its_header_says(data_root: Path) -> None:
    for path in sorted(data_root.glob("images/*/**/*.*"))[::60]:
        if path.suffix.lower() in (".jpg", ".png", ".bmp"):
            both(path.read_bytes())
