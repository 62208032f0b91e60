"""Training pictures of drawn shapes, which need no files."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from ..data_config import GeneratedData
from .boxes import Box
from .source import Picture


class Shapes:
    """An ellipse, rectangle or triangle of one color, on a soft color field."""

    SIZE = (160, 128)

    def __init__(self, config: GeneratedData) -> None:
        self.config = config

    def __len__(self) -> int:
        return self.config.samples

    def fingerprint(self) -> str:
        """Changes with the number of samples alone, as the drawings need no files."""
        return f"shapes-{self.config.samples}"

    def read(self, index: int, rng: np.random.Generator) -> Picture:
        """Draw one shape: kind and color follow from `index`, place and size from `rng`."""
        W, H = self.SIZE
        background = color_field(self.SIZE, rng)
        width, height = rng.integers(32, 72, 2)
        left, top = int(rng.integers(W - width)), int(rng.integers(H - height))
        box = Box(left, top, left + int(width), top + int(height))
        color = np.random.default_rng(index).integers(0, 256, 3)
        alpha = Image.new("L", self.SIZE)
        draw, corners = ImageDraw.Draw(alpha), (box.left, box.top, box.right - 1, box.bottom - 1)
        if index % 3 == 0:
            draw.ellipse(corners, fill=255)
        elif index % 3 == 1:
            draw.rectangle(corners, fill=255)
        else:
            peak = ((box.left + box.right) // 2, box.top)
            draw.polygon(
                [peak, (box.right - 1, box.bottom - 1), (box.left, box.bottom - 1)], fill=255
            )
        red, green, blue = (int(c) for c in color)
        background.paste((red, green, blue), mask=alpha)
        return Picture(np.asarray(background), [box], [np.asarray(alpha)])


def color_field(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """A picture of size (W, H) with random colors on a coarse grid, blown up, and some grain."""
    W, H = size
    cells = int(rng.integers(1, 7))
    coarse = rng.normal(rng.uniform(60, 200, 3), rng.uniform(0, 50), (cells, cells, 3))
    field = Image.fromarray(coarse.clip(0, 255).astype(np.uint8))
    field = field.resize(size, Image.Resampling.BICUBIC)
    grain = rng.normal(0, rng.uniform(0, 8), (H, W, 1))
    return Image.fromarray((np.asarray(field) + grain).clip(0, 255).astype(np.uint8))
