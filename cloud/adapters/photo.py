"""Photos from outside: what is no picture is refused, and nothing but the picture is kept."""

import struct
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from contract.errors import Malformed

FORMATS = ("JPEG", "PNG", "WEBP")
"""By content; what a name or a header says does not count."""
PIXELS_MAX = 64_000_000
"""More are not unpacked: a small file may claim to be a picture of any size."""
SIDE_MAX = 2048
"""Pixels of the longer side of what is kept: enough to read a nameplate."""
QUALITY = 85


def kept(file: Path) -> bytes:
    """Return a photo as it is kept: a JPEG of at most `SIDE_MAX`, upright, without metadata.

    It is drawn anew, so neither a place or a person's name (EXIF, XMP) nor anything hidden behind
    the picture survives.

    Raises:
        Malformed: no whole JPEG, PNG or WebP, or with too many pixels.
    """
    try:
        with Image.open(file, formats=FORMATS) as image:
            _bounded(image)
            image.draft("RGB", (SIDE_MAX, SIDE_MAX))  # a large JPEG is unpacked smaller at once
            image.load()
            return _drawn(image)
    except Malformed:
        raise
    except (
        Image.DecompressionBombError,
        OSError,
        SyntaxError,
        ValueError,
        IndexError,
        EOFError,
        struct.error,
    ) as error:  # so many ways has Pillow to say that a file is broken
        known = isinstance(error, UnidentifiedImageError)  # its text tells where the file lies
        why = "it begins like none of these" if known else str(error)[:200]
        raise Malformed(f"this is no whole photo as JPEG, PNG or WebP: {why}") from error


def _bounded(image: Image.Image) -> None:
    width, height = image.size
    if width * height > PIXELS_MAX:
        raise Malformed(
            f"the photo has {width} x {height} pixels; {PIXELS_MAX // 10**6} million are the most"
        )


def _drawn(image: Image.Image) -> bytes:
    upright = ImageOps.exif_transpose(image)
    upright.thumbnail((SIDE_MAX, SIDE_MAX))
    clear = Image.new("RGB", upright.size, "white")
    solid = upright.convert("RGBA")
    clear.paste(solid, mask=solid)
    out = BytesIO()
    clear.save(out, "JPEG", quality=QUALITY, optimize=True)
    return out.getvalue()
