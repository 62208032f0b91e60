"""Boxes around objects: in fractions of a picture's size, in pixels, and stored compactly."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

AREA_RANGE = (0.02, 0.8)
"""Fraction of the picture that a box must cover (`scripts/read_bbox.py` of the reference)."""
ROUNDING = 1e-3
"""Pixels added before rounding down: boxes are float32, so 700 px may have become 699.9999."""

Array = np.ndarray[Any, np.dtype[Any]]


class Box(NamedTuple):
    """A rectangle of whole pixels; `right` and `bottom` are the first that lie outside."""

    left: int
    top: int
    right: int
    bottom: int


def usable(boxes: Array) -> Array:
    """Which boxes may serve as exemplars.

    Args:
        boxes: [N, 4], left, top, right, bottom as fractions of the picture's width and height.

    Returns:
        bool [N]: inside the picture, left of right, top above bottom, and area in `AREA_RANGE`.
    """
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    area = width * height
    inside = (boxes >= 0).all(1) & (boxes <= 1).all(1) & (width > 0) & (height > 0)
    return inside & (area >= AREA_RANGE[0]) & (area <= AREA_RANGE[1])


def in_pixels(boxes: Array, size: tuple[int, int]) -> list[Box]:
    """Boxes [N, 4] in fractions, as pixels of a picture of size (W, H).

    Edges are rounded down; a box that covers no pixel is left out.
    """
    W, H = size
    edges = np.floor(boxes * np.array([W, H, W, H]) + ROUNDING).astype(int)
    found = [Box(*edge) for edge in edges.tolist()]
    return [box for box in found if box.right > box.left and box.bottom > box.top]


def pad(box: Box, pixels: int, size: tuple[int, int]) -> Box:
    """The box with up to `pixels` more on each side, within a picture of size (W, H)."""
    W, H = size
    return Box(
        max(0, box.left - pixels),
        max(0, box.top - pixels),
        min(W, box.right + pixels),
        min(H, box.bottom + pixels),
    )


@dataclass(frozen=True)
class PackedArrays:
    """Many short arrays, stored end to end in a single one.

    Worker processes share its memory, where each would copy a list of a million arrays.

    Attributes:
        values: [sum of lengths, …].
        offsets: [N + 1], where each array begins, and the end of the last.
    """

    values: Array
    offsets: Array

    @classmethod
    def join(cls, arrays: Iterable[Array], empty: Array) -> PackedArrays:
        """Store arrays [n, …] of the shape and type of `empty`, which has n = 0."""
        found = [empty, *arrays]
        values = np.concatenate(found).astype(empty.dtype, copy=False)
        return cls(values, np.cumsum([len(array) for array in found], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Array:
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def select(self, chosen: Array) -> PackedArrays:
        """The arrays where `chosen` (bool [N]) is true."""
        lengths = np.diff(self.offsets)
        values = self.values[np.repeat(chosen, lengths)]
        return PackedArrays(values, np.cumsum([0, *lengths[chosen]], dtype=np.int64))
