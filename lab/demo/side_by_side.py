"""Image, mask, exemplar and result in one picture, with captions."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont, ImageOps

HEIGHT, CAPTION, GAP = 320, 28, 12


def side_by_side(image: Image.Image, exemplar: Image.Image, result: Image.Image) -> Image.Image:
    """Four panels of equal height.

    Args:
        image: RGBA, transparent where it is to be repainted.
        exemplar: the example picture.
        result: the painted picture.
    """
    panels = {
        "image": image.convert("RGB"),
        "mask": marked(image),
        "exemplar": exemplar.convert("RGB"),
        "result": result.convert("RGB"),
    }
    scaled = {
        name: panel.resize((round(panel.width * HEIGHT / panel.height), HEIGHT))
        for name, panel in panels.items()
    }
    width = sum(panel.width for panel in scaled.values()) + GAP * (len(scaled) - 1)
    sheet = Image.new("RGB", (width, HEIGHT + CAPTION), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=18)
    x = 0
    for name, panel in scaled.items():
        draw.text((x + 4, 3), name, fill="black", font=font)
        sheet.paste(panel, (x, CAPTION))
        x += panel.width + GAP
    return sheet


def marked(image: Image.Image) -> Image.Image:
    """The picture with a colour over what is to be repainted.

    Args:
        image: RGBA, transparent where it is to be repainted.
    """
    hole = ImageOps.invert(image.getchannel("A"))
    return Image.composite(Image.new("RGB", image.size, "magenta"), image.convert("RGB"), hole)


def below_each_other(rows: list[Image.Image]) -> Image.Image:
    """One picture of several."""
    size = (max(row.width for row in rows), sum(row.height for row in rows))
    sheet = Image.new("RGB", size, "white")
    y = 0
    for row in rows:
        sheet.paste(row, (0, y))
        y += row.height
    return sheet
