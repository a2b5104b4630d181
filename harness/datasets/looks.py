"""What a picture looks like, as 64 bits: the perceptual hash of a file. Never compares two.

pHash (Zauner 2010, as the package imagehash has it): signs of the low frequencies of a 32x32 grey copy.
"""

from __future__ import annotations

import io

NONE = "-"


def look(data: bytes) -> str:
    """The perceptual hash of an image file: 16 hexadecimal letters, or `NONE` where it cannot be decoded.

    A JPEG is decoded at a fraction of its size: the hash needs 32x32 pixels.
    """
    import imagehash
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data)) as image:
            image.draft("L", (128, 128))
            return str(imagehash.phash(ImageOps.exif_transpose(image)))
    except Exception:  # whatever is wrong with a file is said where it is encoded
        return NONE
