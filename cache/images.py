"""Bytes -> RGB by one stated rule for every odd file (docs/odd-files.md). Never resizes, never normalises.

The rule, revision 1: first frame; EXIF orientation applied; an embedded ICC profile other than sRGB is converted to
sRGB (an unreadable one is ignored); CMYK and palettes become RGB; grey becomes three equal channels; 16-bit values
keep their high byte; transparency is laid on white.
"""

from __future__ import annotations

import contextlib
import functools
import io
import threading
import warnings
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

from cache import jpeg
from cache.errors import ImageError

DECODING = "1"
PIXEL_LIMIT = 256_000_000
# Formats of photographs; not what runs a program to be drawn (EPS), has no signature (TGA) or is no picture.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
_ORIENTATION = 0x0112
# The luminance table of ITU-T T.81 (K.1), which stands for quality 50.
_LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_PNG_ORIENTED = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")  # where a PNG may say how it is turned

Image.MAX_IMAGE_PIXELS = None  # the limit below is stated, and ends in a failed row instead of a warning


def probe(data: bytes, pixel_limit: int = PIXEL_LIMIT) -> tuple[int, int]:
    """Width and height in pixels, orientation applied, from the header alone.

    Raises:
        ImageError: "empty file", "not an image", "truncated", "over the pixel limit".
    """
    with _quiet():
        image = _open(data, pixel_limit)
        width, height = image.size
        return (height, width) if _turned(image, data) else (width, height)


def decode(data: bytes, pixel_limit: int = PIXEL_LIMIT, room: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Pixels, (H, W, 3) uint8 RGB.

    Args:
        data: a whole image file.
        pixel_limit: more pixels than that are not decoded.
        room: memory, flat, in which the pixels may lie then; who gives it again must have done with them.

    Raises:
        ImageError: "empty file", "not an image", "truncated", "over the pixel limit", "cannot become RGB".
    """
    with _quiet():
        image = _open(data, pixel_limit)
        try:
            pixels = jpeg.decode(data, room) if image.format == "JPEG" and _needs_no_profile(image) else None
            if pixels is None:
                image.load()
            orientation = image.getexif().get(_ORIENTATION, 1)  # of TIFF, Pillow has taken it away in loading
        except MemoryError as error:
            raise ImageError("out of memory", str(error)) from error
        except Exception as error:  # damaged bytes can make a decoder fail in any way
            raise ImageError("truncated", str(error)) from error
        try:
            rgb = np.asarray(_rgb(image), dtype=np.uint8) if pixels is None else pixels
        except (OSError, ValueError) as error:
            raise ImageError("cannot become RGB", f"mode {image.mode}: {error}") from error
        return np.ascontiguousarray(_upright(rgb, orientation))


def _upright(rgb: NDArray[np.uint8], orientation: object) -> NDArray[np.uint8]:
    """Pixels turned as EXIF's orientation says; what is none of its eight numbers turns nothing."""
    if orientation in (5, 6, 7, 8):
        rgb = rgb.transpose(1, 0, 2)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return rgb[::rows, ::columns]


def jpeg_quality(data: bytes) -> int:
    """The quality, 1..100, whose luminance table (ITU-T T.81, K.1, scaled as the Independent JPEG Group does) is
    nearest to the file's own: what it was last saved with, where its encoder uses these tables; 0 where the file is
    no JPEG or its table cannot be read.
    """
    try:
        with _quiet():
            image = _open(data, PIXEL_LIMIT)
            tables = getattr(image, "quantization", None)
            table = np.array(tables[min(tables)]) if tables else None
    except ImageError:
        return 0
    if table is None or table.shape != (64,):
        return 0
    return 1 + int(np.abs(_quality_tables() - table).sum(axis=1).argmin())


@functools.cache
def _quality_tables() -> NDArray[np.int64]:
    """(100, 64): the luminance table at every quality, row by row."""
    quality = np.arange(1, 101)[:, None]
    percent = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.clip((np.ravel(_LUMINANCE) * percent + 50) // 100, 1, 255)


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _open(data: bytes, pixel_limit: int) -> Image.Image:
    if not data:
        raise ImageError("empty file")
    try:
        image = Image.open(io.BytesIO(data), formats=_formats())
        width, height = image.size
    except UnidentifiedImageError as error:
        raise ImageError("not an image", f"{len(data)} bytes that no decoder knows") from error
    except Exception as error:  # as in decode
        raise ImageError("truncated", str(error)) from error
    if width * height > pixel_limit:
        raise ImageError("over the pixel limit", f"{width}x{height}, more than {pixel_limit:,} pixels")
    if width * height == 0:
        raise ImageError("not an image", f"{width}x{height}")
    return image


def _turned(image: Image.Image, data: bytes) -> bool:
    """Whether orientation exchanges width and height, and Pillow has not exchanged them already (as it does for
    TIFF).
    """
    if image.format == "TIFF":
        return False
    if image.format == "PNG" and not any(mark in data for mark in _PNG_ORIENTED):
        return False  # Pillow would decode the whole image to look for a mark after the pixels
    try:
        return image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
    except Exception:  # as in decode
        return False


class _Quiet:
    """How many threads decode now, and the filters that were there before the first."""

    lock = threading.Lock()
    users = 0
    filters: warnings.catch_warnings | None = None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Pillow's warnings about odd files are not shown: what is wrong with a file is its row's reason.

    Filters belong to the process, so they are set by the first of several threads and put back by the last.
    """
    with _Quiet.lock:
        if _Quiet.users == 0:
            _Quiet.filters = warnings.catch_warnings()
            _Quiet.filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _Quiet.users += 1
    try:
        yield
    finally:
        with _Quiet.lock:
            _Quiet.users -= 1
            if _Quiet.users == 0 and _Quiet.filters is not None:
                _Quiet.filters.__exit__(None, None, None)


def _needs_no_profile(image: Image.Image) -> bool:
    """Whether RGB or grey is what it says without a conversion of colours."""
    profile = image.info.get("icc_profile")
    return not profile or (image.mode == "RGB" and _is_srgb(profile))


def _is_srgb(profile: bytes) -> bool:
    """Whether a profile calls itself sRGB; one that cannot be read does not."""
    try:
        described = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return False
    return (described or "").startswith("sRGB")


def _rgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I") or image.mode == "F":
        return _from_deep(image).convert("RGB")
    if image.mode in ("P", "PA", "LA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    if profile and image.mode in ("RGB", "RGBA", "CMYK", "L"):
        image = _to_srgb(image, profile)
    if image.mode == "RGBA":
        ground = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(ground, image)
    return image.convert("RGB")


def _from_deep(image: Image.Image) -> Image.Image:
    """16-bit grey by its high byte; 32-bit floats are taken as 0..1 where none is above 1, else as 0..255."""
    values = cast("NDArray[Any]", np.asarray(image))
    if values.dtype.kind == "f":
        scale = 255.0 if float(np.nanmax(values, initial=0.0)) <= 1.0 else 1.0
        deep = np.clip(np.nan_to_num(values) * scale + 0.5, 0, 255)
    else:
        deep = np.clip(values.astype(np.int64) >> 8, 0, 255)
    return Image.fromarray(deep.astype(np.uint8))


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    plain = image.convert("RGB") if alpha is not None else image
    if plain.mode == "RGB" and _is_srgb(profile):
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(plain, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return image  # a profile that cannot be read, or is for another kind of pixels, is no reason to lose the image
    if converted is None:
        return image
    if alpha is not None:
        converted.putalpha(alpha)
    return converted
