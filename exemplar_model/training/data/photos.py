"""What the sources of real photos share: compact lists of boxes, and careful reading of files."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from .holes import Array, Box
from .pictures import Pixels, UnreadablePictureError

ROUNDING = 1e-3
"""Pixels added before rounding down: boxes are float32, so 700 px may have become 699.9999."""
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


@dataclass(frozen=True)
class Ragged:
    """Arrays of different length, one after the other; workers share two arrays, not a million.

    Attributes:
        values: [sum of lengths, …].
        offsets: [N + 1], where each array begins, and the end.
    """

    values: Array
    offsets: Array

    @classmethod
    def join(cls, rows: Sequence[Any], shape: tuple[int, ...] = ()) -> Ragged:
        """From a list of float arrays [n, *shape]."""
        lengths = [len(row) for row in rows]
        values = np.concatenate([np.zeros((0, *shape)), *rows]).astype(np.float32)
        return cls(values, np.cumsum([0, *lengths], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Array:
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def select(self, chosen: Array) -> Ragged:
        """The arrays where `chosen` (bool [N]) is true."""
        lengths = np.diff(self.offsets)
        values = self.values[np.repeat(chosen, lengths)]
        return Ragged(values, np.cumsum([0, *lengths[chosen]], dtype=np.int64))


@dataclass(frozen=True)
class Photo:
    """A picture file and its boxes.

    Attributes:
        name: identifies it in its source.
        file: where it lies.
        boxes: [N, 4], x0, y0, x1, y1 in 0…1.
    """

    name: str
    file: Path
    boxes: Array


def read_pixels(file: Path | IO[bytes], name: str) -> Pixels:
    """The stored pixels as [H, W, 3]; an EXIF rotation is not applied, as boxes know nothing of it.

    Raises:
        UnreadablePictureError: corrupt, truncated, absent, no picture, or suspiciously large.
    """
    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB"))
    except BROKEN as error:
        raise UnreadablePictureError(f"{name}: {error}") from error


def boxes_in_pixels(boxes: Array, image: Pixels, name: str) -> list[Box]:
    """Relative boxes [N, 4] as pixels of the image, rounded down; those that vanish are left out.

    Raises:
        UnreadablePictureError: none is left.
    """
    H, W = image.shape[:2]
    corners = np.floor(boxes * np.array([W, H, W, H]) + ROUNDING).astype(int)
    found = [Box(*corner) for corner in corners.tolist()]
    found = [box for box in found if box.right > box.left and box.bottom > box.top]
    if not found:
        raise UnreadablePictureError(f"{name}: no box covers a pixel of its {W}×{H}")
    return found
