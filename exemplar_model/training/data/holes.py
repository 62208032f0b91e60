"""Holes: the area around a box that the model learns to repaint, and the crop around it.

Source of every rule: `ldm/data/open-images.py` of the reference repository.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from .boxes import Array, Box

CURVE_POINTS = np.arange(1, 19) * 0.05
"""Curve parameters at which each side of an arbitrary shape has a point."""


def extend(box: Box, size: tuple[int, int], most: float, rng: np.random.Generator) -> Box:
    """The box with each side moved outwards by a random number of pixels.

    Args:
        box: in a picture of size (W, H).
        size: of the picture.
        most: largest shift, as a fraction of the distance to the picture's border (0.4 in the
            reference).
        rng: source of random numbers.
    """
    W, H = size
    free = (box.left, box.top, W - box.right, H - box.bottom)
    left, top, right, bottom = (_up_to(rng, int(most * space)) for space in free)
    return Box(box.left - left, box.top - top, box.right + right, box.bottom + bottom)


def box_hole(extended: Box, size: tuple[int, int]) -> Array:
    """Hole [H, W], uint8, 1 inside the extended box."""
    W, H = size
    hole = np.zeros((H, W), np.uint8)
    hole[extended.top : extended.bottom, extended.left : extended.right] = 1
    return hole


def shape_outline(box: Box, extended: Box, jitter: int, rng: np.random.Generator) -> Array:
    """Outline of an arbitrary shape: points [72, 2] (x, y) in pixels.

    Its four sides are quadratic Bézier curves from corner to corner of the box. The control point
    is the middle of the side, moved out to the extended box, so the curve bulges half-way there.
    Each point is then shifted by up to `jitter` whole pixels in x and y. (The reference also drops
    points whose x or y occurred before, by comparing floats; that is an accident and left out.)
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
    """Hole [H, W], uint8, 1 inside the outline that `shape_outline` draws."""
    drawing = Image.new("L", size)
    outline = shape_outline(box, extended, jitter, rng)
    ImageDraw.Draw(drawing).polygon([(float(x), float(y)) for x, y in outline], fill=1)
    return np.array(drawing)


def square_crop(extended: Box, size: tuple[int, int], zoom: float, rng: np.random.Generator) -> Box:
    """A random square of the picture that contains the extended box.

    Its side is the picture's shorter one; then all four sides move inwards by the same random
    number of pixels. As in the reference, the whole picture is taken, square or not, where it is
    square already or there is at most one place for such a square.

    Args:
        extended: box in a picture of size (W, H).
        size: of the picture.
        zoom: largest shift inwards, as a fraction of the distance between the square's border and
            the nearest side of the extended box (0.6 in the reference).
        rng: source of random numbers.
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
    trim = _up_to(rng, int(zoom * room))
    return Box(left + trim, top + trim, left + side - trim, top + side - trim)


def _up_to(rng: np.random.Generator, most: int) -> int:
    """Uniform in 0…most, both included."""
    return int(rng.integers(0, most, endpoint=True))
