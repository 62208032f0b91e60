"""Training pictures that are composed of cut-out objects and photos, anew for every sample."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from ..data_config import CutoutData
from ..section import ConfigError
from .boxes import Box, usable
from .reading import BROKEN, read_pixels
from .shapes import color_field
from .source import Picture, Pixels, UnreadablePictureError

SUFFIXES = {".png", ".webp", ".jpg", ".jpeg"}
COLOR_FIELD = 0.3
"""Probability that the background is a soft color field instead of a photo."""
SECOND_OBJECT = 0.3
"""Probability of a second object."""
OBJECT_SIDE = (0.4, 0.85)
"""Range of an object's longer side, as a fraction of the picture's shorter side."""
HUE_SHIFT = 0.3
"""Probability that an object gets another hue."""


class Cutouts:
    """One or two objects with alpha, pasted over a photo or a color field."""

    def __init__(self, config: CutoutData) -> None:
        self.config = config
        self.objects = _files(config.objects, "objects")
        self.backgrounds = _files(config.backgrounds, "backgrounds")

    def __len__(self) -> int:
        return self.config.samples

    def fingerprint(self) -> str:
        """Hash of the file names."""
        names = " ".join(file.name for file in self.objects + self.backgrounds)
        return hashlib.sha256(names.encode()).hexdigest()[:16]

    def read(self, index: int, rng: np.random.Generator) -> Picture:
        """Compose a picture.

        `index` chooses the first object, so that all objects occur equally often.

        Raises:
            UnreadablePictureError: a file cannot be decoded, or no object has a usable size.
        """
        long, short = self.config.canvas
        size = (long, short) if rng.random() < 0.5 else (short, long)
        canvas = self._background(size, rng)
        layers: list[Pixels] = []
        for number in range(2 if rng.random() < SECOND_OBJECT else 1):
            pick = index if number == 0 else int(rng.integers(len(self.objects)))
            file = self.objects[pick % len(self.objects)]
            layer = _object_layer(file, size, rng)
            canvas.paste(layer, mask=layer.getchannel("A"))
            alpha = np.asarray(layer.getchannel("A"))
            layers = [np.minimum(below, 255 - alpha) for below in layers] + [alpha]
        found = [(box, alpha) for alpha in layers if (box := _box(alpha))]
        if not found:
            raise UnreadablePictureError(f"composed picture {index}: no object has a usable size")
        boxes, objects = zip(*found, strict=True)
        return Picture(np.asarray(canvas), list(boxes), list(objects))

    def _background(self, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
        if rng.random() < COLOR_FIELD:
            return color_field(size, rng)
        photo = _photo(self.backgrounds[int(rng.integers(len(self.backgrounds)))])
        W, H = size
        most = min(photo.width / W, photo.height / H)
        scale = most * rng.uniform(0.35, 1.0)
        left = rng.uniform(0, photo.width - W * scale)
        top = rng.uniform(0, photo.height - H * scale)
        region = (left, top, left + W * scale, top + H * scale)
        crop = photo.resize(size, Image.Resampling.BILINEAR, box=region)
        if rng.random() < 0.5:
            crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        gain, offset = rng.uniform(0.7, 1.2), rng.uniform(-25, 25)
        return crop.point([int(min(255, max(0, gain * v + offset))) for v in range(256)] * 3)


def _files(folder: Path, what: str) -> list[Path]:
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES)
    if not files:
        raise ConfigError(
            f"data.{what}: {folder} holds no "
            f"{', '.join(sorted(SUFFIXES))} files; name another folder."
        )
    return files


@cache
def _photo(file: Path) -> Image.Image:
    return Image.fromarray(read_pixels(file, file.name))


def _object_layer(file: Path, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """RGBA layer of the canvas' size with the object at a random place, size, angle and hue."""
    try:
        picture = Image.open(file).convert("RGBA")
    except BROKEN as error:
        raise UnreadablePictureError(f"{file.name}: {error}") from error
    if rng.random() < HUE_SHIFT:
        picture = _turn_hue(picture, int(rng.integers(256)))
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    # premultiplied, so that the color of transparent pixels does not reach the edge
    picture = picture.convert("RGBa")
    side = rng.uniform(*OBJECT_SIDE) * min(size)
    scale = side / max(picture.size)
    shape = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    picture = picture.resize(shape, Image.Resampling.BILINEAR)
    picture = picture.rotate(rng.uniform(-15, 15), Image.Resampling.BILINEAR, expand=True)
    layer = Image.new("RGBa", size)
    place = [
        int(rng.uniform(0, max(1, room - own)))
        for room, own in zip(size, picture.size, strict=True)
    ]
    layer.paste(picture, (place[0], place[1]))
    return layer.convert("RGBA")


def _turn_hue(picture: Image.Image, by: int) -> Image.Image:
    hue, saturation, value = picture.convert("RGB").convert("HSV").split()
    turned = Image.merge(
        "HSV", (hue.point([(v + by) % 256 for v in range(256)]), saturation, value)
    )
    turned = turned.convert("RGB")
    turned.putalpha(picture.getchannel("A"))
    return turned


def _box(alpha: Pixels) -> Box | None:
    bounds = Image.fromarray(alpha).point([0] * 25 + [255] * 231).getbbox()
    if bounds is None:
        return None
    H, W = alpha.shape
    relative = np.array([bounds]) / np.array([W, H, W, H])
    return Box(*bounds) if usable(relative)[0] else None
