"""Reading picture files that may be damaged."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from .boxes import Array, in_pixels
from .source import Picture, Pixels, UnreadablePictureError

BROKEN = (
    OSError,  # absent, truncated, or no picture
    SyntaxError,  # how Pillow reports broken PNG chunks
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow raises on a file that cannot be decoded."""


def read_pixels(file: Path | IO[bytes], name: str) -> Pixels:
    """Decode a picture to [H, W, 3], as it is stored.

    An EXIF rotation is not applied: annotations count the stored pixels.

    Args:
        file: path, or the opened file.
        name: of the picture in error messages.

    Raises:
        UnreadablePictureError: corrupt, truncated, absent, no picture, or suspiciously large.
    """
    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB"))
    except BROKEN as error:
        raise UnreadablePictureError(f"{name}: {error}") from error


def read_picture(file: Path | IO[bytes], name: str, boxes: Array) -> Picture:
    """Decode a picture and bring its boxes to pixels.

    Args:
        file: path, or the opened file.
        name: of the picture in error messages.
        boxes: [N, 4], left, top, right, bottom as fractions (0…1) of width and height.

    Raises:
        UnreadablePictureError: it cannot be decoded, or none of its boxes covers a pixel.
    """
    image = read_pixels(file, name)
    H, W = image.shape[:2]
    found = in_pixels(boxes, (W, H))
    if not found:
        raise UnreadablePictureError(f"{name}: no box covers a pixel of its {W}×{H} pixels")
    return Picture(image, found)
