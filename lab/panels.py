"""Pictures beside each other, with captions."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont, ImageOps

GAP = 10
CELL = 128


def captioned_row(panels: dict[str, Image.Image], height: int) -> Image.Image:
    """Panels of one height, by the captions above them."""
    scaled = {
        name: panel.convert("RGB").resize((round(panel.width * height / panel.height), height))
        for name, panel in panels.items()
    }
    width = sum(panel.width for panel in scaled.values()) + GAP * (len(scaled) - 1)
    font_size = 10 + height // 40
    caption, x = 1 + font_size * 3 // 2, 0
    row = Image.new("RGB", (width, height + caption), "white")
    draw, font = ImageDraw.Draw(row), ImageFont.load_default(size=font_size)
    for name, panel in scaled.items():
        draw.text((x + 2, 2), name, fill="black", font=font)
        row.paste(panel, (x, caption))
        x += panel.width + GAP
    return row


def captioned_grid(
    captions: Sequence[str], rows: Sequence[Sequence[Image.Image]], cell: int = CELL
) -> Image.Image:
    """Pictures in rows, each in a square cell of so many pixels; captions stand above the first."""
    # Pillow's own font has no multiplication sign
    names = [caption.replace("×", "x") for caption in captions]
    caption = 22
    grid = Image.new("RGB", (len(names) * cell, len(rows) * cell + caption), "white")
    draw = ImageDraw.Draw(grid)
    for column, name in enumerate(names):
        draw.text((column * cell + 3, 4), name, fill="black", font_size=11)
    for number, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            place = (column * cell, caption + number * cell)
            grid.paste(picture.resize((cell, cell)), place)
    return grid


def stacked(rows: Sequence[Image.Image]) -> Image.Image:
    """Pictures below each other."""
    size = (max(row.width for row in rows), sum(row.height for row in rows))
    picture = Image.new("RGB", size, "white")
    y = 0
    for row in rows:
        picture.paste(row, (0, y))
        y += row.height
    return picture


def mark_hole(image: Image.Image) -> Image.Image:
    """The picture with a color over what is to be repainted.

    Args:
        image: RGBA, transparent where it is to be repainted.
    """
    hole = ImageOps.invert(image.getchannel("A"))
    return Image.composite(Image.new("RGB", image.size, "magenta"), image.convert("RGB"), hole)
