"""Geometry of regions: where one lies in its picture, and at which size it is painted."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

SHAPE_STEP = 64
"""Sides of regions differ in steps of this: the UNet halves its latents, 8 px each, three times."""
LONGEST_SHAPE = 2.0
"""Regions get no longer than this: the model was trained on squares."""


class Bounds(NamedTuple):
    """A rectangle of pixels."""

    x: int
    y: int
    width: int
    height: int

    def cut(self, image: Tensor) -> Tensor:
        """View of the rectangle in a picture [H, W, C] or a mask [H, W]."""
        return image[self.y : self.y + self.height, self.x : self.x + self.width]


def mask_box(mask: Tensor) -> Bounds | None:
    """Smallest rectangle around the ones of a binary mask [H, W]; None if there are none."""
    rows, columns = mask.any(dim=1).nonzero(), mask.any(dim=0).nonzero()
    if len(rows) == 0:
        return None
    y, x = int(rows[0]), int(columns[0])
    return Bounds(x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y)


def region_shape(box: Bounds, square: int) -> tuple[int, int]:
    """(height, width) nearest to the proportions of a mask's box, to paint its region at.

    Of the rectangles in steps of 64 px from the square whose area differs from it by a tenth at
    most; at 512 that is 448 × 576, 384 × 704 and the like.
    """
    wanted = min(max(box.width / box.height, 1 / LONGEST_SHAPE), LONGEST_SHAPE)
    sides = range(square % SHAPE_STEP or SHAPE_STEP, 2 * square + 1, SHAPE_STEP)
    shapes = [(h, w) for h in sides for w in sides if abs(h * w - square**2) <= square**2 / 10]
    return min(shapes, key=lambda shape: abs(math.log(shape[1] / shape[0] / wanted)))


def region_bounds(
    box: Bounds, whole: Bounds, context: float, margin: int, shape: tuple[int, int]
) -> Bounds:
    """Rectangle around the box, in the proportions of `shape` as near as the picture allows.

    It is `context` times as wide or as high as the box, at least as large as the box with its
    margin, and no larger than the picture allows in these proportions; only a box longer than that
    changes them. The rectangle is centered on the box and shifted into the picture.

    Args:
        box: of the mask, in pixels of the picture.
        whole: the picture.
        context: size of the region relative to the box, 2 = twice as wide and high.
        margin: least number of pixels between box and border, where the picture has them.
        shape: (height, width), any unit.
    """
    least_width, least_height = box.width + 2 * margin, box.height + 2 * margin
    unit = max(
        max(context * box.width, least_width) / shape[1],
        max(context * box.height, least_height) / shape[0],
    )
    unit = min(unit, whole.width / shape[1], whole.height / shape[0])
    width = min(whole.width, max(round(unit * shape[1]), least_width))
    height = min(whole.height, max(round(unit * shape[0]), least_height))
    x = box.x + box.width // 2 - width // 2
    y = box.y + box.height // 2 - height // 2
    return Bounds(
        min(max(x, 0), whole.width - width), min(max(y, 0), whole.height - height), width, height
    )


def has_shape(bounds: Bounds, shape: tuple[int, int]) -> bool:
    """Whether the rectangle has the proportions of `shape`, whole pixels apart."""
    return abs(bounds.width * shape[0] - bounds.height * shape[1]) <= sum(shape) / 2


def paint_size(bounds: Bounds, resolution: int, multiple: int) -> tuple[int, int]:
    """(height, width) at which to paint a region.

    Its proportions and the area of `resolution`², as near as multiples of `multiple` allow.
    """
    scale = resolution / (bounds.width * bounds.height) ** 0.5

    def fit(side: int) -> int:
        return max(multiple, round(side * scale / multiple) * multiple)

    return fit(bounds.height), fit(bounds.width)
