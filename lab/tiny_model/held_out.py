"""The twenty objects and five scenes that measure transfer: never trained on, chosen by a seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

FOLDER = Path(__file__).parent / "held_out"
SEED = 0
OBJECTS, SCENES = 20, 5
SIDE = 128
HOLE = (0.5, 0.7)
"""Side of the square hole, as a share of the scene's."""


@dataclass(frozen=True)
class Scene:
    """A photo and its hole (left, top, right, bottom), in pixels."""

    photo: Image.Image
    hole: tuple[int, int, int, int]

    @property
    def mask(self) -> Tensor:
        """[H, W], 1 = the hole."""
        left, top, right, bottom = self.hole
        mask = torch.zeros(self.photo.height, self.photo.width)
        mask[top:bottom, left:right] = 1.0
        return mask

    @property
    def with_hole(self) -> Image.Image:
        """The photo as ComfyUI loads picture and mask from one file: RGBA, hole transparent."""
        alpha = Image.new("L", self.photo.size, 255)
        alpha.paste(0, self.hole)
        picture = self.photo.convert("RGBA")
        picture.putalpha(alpha)
        return picture


def choose(held_out: Path) -> None:
    """Write the objects and scenes out of the held-out pictures.

    Args:
        held_out: folder with `objects` and `backgrounds` that `write_pictures` made.
    """
    rng = np.random.default_rng(SEED)
    objects = sorted((held_out / "objects").glob("*.png"))
    photos = sorted((held_out / "backgrounds").glob("*.png"))
    (FOLDER / "objects").mkdir(parents=True, exist_ok=True)
    (FOLDER / "scenes").mkdir(exist_ok=True)
    for number in rng.choice(len(objects), OBJECTS, replace=False):
        picture = Image.open(objects[number])
        picture.save(FOLDER / "objects" / objects[number].name, optimize=True)
    for number in range(SCENES):
        photo = Image.open(photos[number % len(photos)])
        side = int(min(photo.size) * rng.uniform(0.5, 0.9))
        left, top = (int(rng.integers(room - side + 1)) for room in photo.size)
        crop = photo.crop((left, top, left + side, top + side)).resize((SIDE, SIDE))
        extent = int(SIDE * rng.uniform(*HOLE))
        x, y = rng.integers(SIDE // 16, SIDE - extent - SIDE // 16, 2, endpoint=True)
        crop.save(FOLDER / "scenes" / f"{number}-x{x}-y{y}-s{extent}.png", optimize=True)


@cache
def objects() -> list[Image.Image]:
    """The objects, RGBA."""
    return [Image.open(file).convert("RGBA") for file in sorted((FOLDER / "objects").iterdir())]


@cache
def scenes() -> list[Scene]:
    """The scenes; the hole is in the file's name."""
    found: list[Scene] = []
    for file in sorted((FOLDER / "scenes").iterdir()):
        x, y, side = (int(part[1:]) for part in file.stem.split("-")[1:])
        found.append(Scene(Image.open(file).convert("RGB"), (x, y, x + side, y + side)))
    return found


def exemplar_picture(thing: Image.Image, photo: Image.Image) -> Image.Image:
    """The object on a photo, which should be another one than it will be painted into."""
    side = round(1.2 * max(thing.size))
    picture = photo.resize((side, side))
    place = ((side - thing.width) // 2, (side - thing.height) // 2)
    picture.paste(thing, place, thing)
    return picture


def as_pixels(picture: Image.Image) -> Tensor:
    """[H, W, 3] in [0, 1], without alpha."""
    return torch.from_numpy(np.asarray(picture.convert("RGB"), dtype=np.float32) / 255)
