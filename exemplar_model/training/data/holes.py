"""Boxes and holes: where the exemplar lies in its picture, and what is repainted.

Source of every rule: `ldm/data/open-images.py` of the reference repository. A box is
(left, top, right, bottom) in pixels, right and bottom excluded.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

AREA_RANGE = (0.02, 0.8)
"""Share of the picture that a box must cover (`scripts/read_bbox.py`)."""
EXTENSION = 0.4
"""Each side of the box moves out by at most this share of the way to the picture's border."""
ZOOM = 0.6
"""The crop shrinks by at most this share of the room around the extended box."""
CURVE_POINTS = np.arange(1, 19) * 0.05
"""Where each side of an arbitrary shape is evaluated."""

Array = np.ndarray[Any, np.dtype[Any]]


class Box(NamedTuple):
    """Pixels from (left, top) up to and without (right, bottom)."""

    left: int
    top: int
    right: int
    bottom: int


def usable(boxes: Array) -> Array:
    """Which relative boxes [N, 4] (x0, y0, x1, y1 in 0…1) may serve as exemplars: bool [N].

    Kept: inside the picture, right way round, and area within `AREA_RANGE`.
    """
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    area = width * height
    inside = (boxes >= 0).all(1) & (boxes <= 1).all(1) & (width > 0) & (height > 0)
    return inside & (area >= AREA_RANGE[0]) & (area <= AREA_RANGE[1])


def pad(box: Box, pixels: int, size: tuple[int, int]) -> Box:
    """The box with up to `pixels` more on each side, within a picture of size (W, H)."""
    W, H = size
    return Box(
        max(0, box.left - pixels),
        max(0, box.top - pixels),
        min(W, box.right + pixels),
        min(H, box.bottom + pixels),
    )


def extend(box: Box, size: tuple[int, int], rng: np.random.Generator) -> Box:
    """The box with each side moved out at random, by up to `EXTENSION` of the free space."""
    W, H = size
    free = (box.left, box.top, W - box.right, H - box.bottom)
    left, top, right, bottom = (_up_to(rng, int(EXTENSION * space)) for space in free)
    return Box(box.left - left, box.top - top, box.right + right, box.bottom + bottom)


def box_hole(extended: Box, size: tuple[int, int]) -> Array:
    """Hole [H, W], uint8, 1 inside the extended box."""
    W, H = size
    hole = np.zeros((H, W), np.uint8)
    hole[extended.top : extended.bottom, extended.left : extended.right] = 1
    return hole


def shape_outline(box: Box, extended: Box, jitter: int, rng: np.random.Generator) -> Array:
    """Outline of an arbitrary shape: points [72, 2] (x, y).

    Four quadratic Bézier sides from corner to corner of the box; the control point is the middle
    of the side moved out to the extended box, so a side bulges half-way. Each point is shifted by
    up to `jitter` whole pixels. (The reference also drops points whose x or y occurred before,
    by comparing floats; that is an accident and left out.)
    """
    x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    corners = np.array(
        [
            [box.left, box.top],
            [box.right, box.top],
            [box.right, box.bottom],
            [box.left, box.bottom],
        ],
        dtype=float,
    )
    controls = np.array(
        [[x, extended.top], [extended.right, y], [x, extended.bottom], [extended.left, y]]
    )
    t = CURVE_POINTS[:, None]
    sides = [
        (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end
        for start, control, end in zip(corners, controls, np.roll(corners, -1, axis=0), strict=True)
    ]
    outline = np.concatenate(sides)
    return outline + rng.integers(-jitter, jitter, outline.shape, endpoint=True)


def shape_hole(
    box: Box, extended: Box, size: tuple[int, int], jitter: int, rng: np.random.Generator
) -> Array:
    """Hole [H, W], uint8, 1 inside an arbitrary shape."""
    drawing = Image.new("L", size)
    outline = shape_outline(box, extended, jitter, rng)
    ImageDraw.Draw(drawing).polygon([(float(x), float(y)) for x, y in outline], fill=1)
    return np.array(drawing)


def square_crop(extended: Box, size: tuple[int, int], rng: np.random.Generator) -> Box:
    """A square of the picture around the extended box, or the whole picture where none fits.

    The square is as high as the picture is short, placed at random, then shrunk at random by up
    to `ZOOM` of the room around the extended box. As in the reference, a square picture is kept
    whole, and so is one with at most one place for the square.
    """
    W, H = size
    side = min(W, H)
    along = 0 if W > H else 1  # the axis on which the square can move
    start, stop, length = extended[along], extended[along + 2], size[along]
    first, last = max(0, stop - side), min(length, start + side) - side
    if W == H or last <= first:
        return Box(0, 0, W, H)
    position = int(rng.integers(first, last, endpoint=True))
    left, top = (position, 0) if along == 0 else (0, position)
    room = min(
        extended.left - left,
        extended.top - top,
        left + side - extended.right,
        top + side - extended.bottom,
    )
    trim = _up_to(rng, int(ZOOM * room))
    return Box(left + trim, top + trim, left + side - trim, top + side - trim)


def _up_to(rng: np.random.Generator, most: int) -> int:
    return int(rng.integers(0, most, endpoint=True))
