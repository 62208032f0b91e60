"""Pictures and masks for the host's input folder."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from lab.host.headless import PACK


def pictures() -> dict[str, Image.Image]:
    """Pictures and masks by name; masks are grey, white = repaint."""
    coffee = Image.open(PACK / "example_workflows" / "pictures" / "coffee.png").convert("RGB")
    cat = Image.open(PACK / "example_workflows" / "pictures" / "cat.png").convert("RGB")
    odd = coffee.resize((1277, 719))
    return {
        "small": coffee.resize((96, 64)),
        "small_flipped": coffee.resize((96, 64)).transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "small_mask": rectangle(96, 64, (32, 16, 72, 48)),
        "small_mask_off_grid": rectangle(96, 64, (29, 13, 67, 46)),
        "face": cat.crop((120, 30, 370, 290)),
        "paw": cat.crop((0, 100, 120, 300)),
        "odd": odd,
        "odd_rgba": Image.merge("RGBA", (*odd.split(), rectangle(1277, 719, (0, 0, 700, 719)))),
        "odd_mask": rectangle(1277, 719, (500, 200, 801, 433)),
        "odd_mask_overlapping": rectangle(1277, 719, (700, 350, 900, 500)),
        "odd_mask_border": rectangle(1277, 719, (1100, 500, 1277, 719)),
        "odd_mask_left": rectangle(1277, 719, (40, 40, 140, 170)),
        "odd_mask_all": rectangle(1277, 719, (0, 0, 1277, 719)),
        "odd_mask_half": rectangle(1277, 719, (0, 0, 640, 719)),
        "odd_mask_two": two_rectangles(1277, 719, (40, 40, 140, 170), (1100, 500, 1277, 719)),
        "odd_mask_empty": rectangle(1277, 719, (0, 0, 0, 0)),
    }


def rectangle(width: int, height: int, box: tuple[int, int, int, int]) -> Image.Image:
    """A mask of one rectangle (left, top, right, bottom)."""
    mask = np.zeros((height, width), np.uint8)
    left, top, right, bottom = box
    mask[top:bottom, left:right] = 255
    return Image.fromarray(mask)


def two_rectangles(width: int, height: int, *boxes: tuple[int, int, int, int]) -> Image.Image:
    """A mask of several rectangles."""
    first, second = (rectangle(width, height, box) for box in boxes)
    return ImageChops.lighter(first, second)


def ellipses(size: tuple[int, int], *boxes: tuple[int, int, int, int]) -> Image.Image:
    """A mask of ellipses, each in its box."""
    mask = Image.new("L", size)
    for box in boxes:
        ImageDraw.Draw(mask).ellipse(box, fill=255)
    return mask
