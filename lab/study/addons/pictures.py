"""What is painted: held-out objects, held-out scenes, and control pictures drawn for them."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFilter

from lab.tiny_model.held_out import Scene, exemplar_picture, objects, scenes

PAIRS = 10
"""Objects, in the scenes in turn."""
DARK, LIGHT = 25, 230
BLUR = 4
"""Radius in pixels: a control picture is no finer than the latents, which it was trained at."""
CONTROLS = ("disc", "left half")


@dataclass(frozen=True)
class Pair:
    """An object for a scene.

    Attributes:
        scene: where to.
        exemplar: the object on another scene's photo.
    """

    scene: Scene
    exemplar: Image.Image

    def control(self, shape: str) -> Image.Image:
        """The scene in grey, a light shape on dark in its hole."""
        left, top, right, bottom = self.scene.hole
        width, height = right - left, bottom - top
        hole = Image.new("L", (width, height), DARK)
        draw = ImageDraw.Draw(hole)
        if shape == "disc":
            draw.ellipse((width // 6, height // 6, width * 5 // 6, height * 5 // 6), fill=LIGHT)
        else:
            draw.rectangle((0, 0, width // 2, height), fill=LIGHT)
        picture = self.scene.photo.convert("L")
        picture.paste(hole, (left, top))
        return picture.filter(ImageFilter.GaussianBlur(BLUR)).convert("RGB")


def pairs() -> list[Pair]:
    """The first held-out objects."""
    places = scenes()
    return [
        Pair(
            places[number % len(places)],
            exemplar_picture(thing, places[(number + 1) % len(places)].photo),
        )
        for number, thing in enumerate(objects()[:PAIRS])
    ]
