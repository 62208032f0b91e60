"""A held-out object in a room: the true picture, the room without it, and exemplars of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from exemplar_model.bounds import Bounds, mask_box
from exemplar_model.image import to_bytes

SLACK = 4
"""Pixels between the object's box and the border of the hole, about the mean in training."""
EXEMPLAR_PADDING = 3
"""Pixels around the object's box in an exemplar, as in training."""


@dataclass(frozen=True)
class OutlinedPicture:
    """A picture and the outline of its object.

    Attributes:
        pixels: [H, W, 3] in [0, 1].
        outline: [H, W] bool, where the object shows; at least one pixel.
    """

    pixels: Tensor
    outline: Tensor

    @property
    def box(self) -> Bounds:
        """Smallest rectangle around the outline."""
        box = mask_box(self.outline)
        if box is None:
            raise ValueError("The outline is empty: nothing of the object shows in the picture.")
        return box

    @property
    def box_share(self) -> float:
        """Area of the box as a share of the picture."""
        return self.box.width * self.box.height / self.outline.numel()

    @property
    def exemplar(self) -> Tensor:
        """[h, w, 3], the object with a little around it."""
        return grow(self.box, EXEMPLAR_PADDING, self.outline).cut(self.pixels)


@dataclass(frozen=True)
class Placement:
    """One object in one room.

    Attributes:
        name: of the object.
        room: number of the room.
        true: the object in the room.
        empty: [H, W, 3] in [0, 1], the room without it.
        same: the object in the same pose in another room and light.
        turned: the object turned by `plan.TURN` in a third room and light.
    """

    name: str
    room: int
    true: OutlinedPicture
    empty: Tensor
    same: OutlinedPicture
    turned: OutlinedPicture

    @property
    def hole(self) -> Bounds:
        """Rectangle to paint into: the box of the true outline and `SLACK`."""
        return grow(self.true.box, SLACK, self.true.outline)

    @property
    def mask(self) -> Tensor:
        """[H, W], 1 = the hole."""
        mask = torch.zeros(self.true.outline.shape)
        self.hole.cut(mask).fill_(1.0)
        return mask


def grow(box: Bounds, margin: int, picture: Tensor) -> Bounds:
    """The box with a margin on each side, as far as the picture [H, W, ...] has it."""
    height, width = picture.shape[:2]
    left, top = max(0, box.x - margin), max(0, box.y - margin)
    right = min(width, box.x + box.width + margin)
    bottom = min(height, box.y + box.height + margin)
    return Bounds(left, top, right - left, bottom - top)


def read_drawn(folder: Path, name: str, room: int) -> Placement:
    """A placement out of the pictures that `render --held-out` draws."""

    def outlined(kind: str) -> OutlinedPicture:
        file = folder / f"{name}-{room}-{kind}.png"
        outlines = np.asarray(Image.open(file.with_name(f"{file.stem}-outlines.png")))
        return OutlinedPicture(_read_pixels(file), torch.from_numpy(outlines == 1))

    empty = _read_pixels(folder / f"{name}-{room}-true-empty.png")
    return Placement(name, room, outlined("true"), empty, outlined("same"), outlined("turned"))


def write_placement(placement: Placement, folder: Path) -> None:
    """Write WebP files: the four pictures, and the three outlines in one, by its channels."""
    folder = folder / placement.name
    folder.mkdir(parents=True, exist_ok=True)
    outlined = (placement.true, placement.same, placement.turned)
    pixels = (outlined[0].pixels, placement.empty, outlined[1].pixels, outlined[2].pixels)
    for kind, picture in zip(("true", "empty", "same", "turned"), pixels, strict=True):
        target = folder / f"{placement.room}-{kind}.webp"
        Image.fromarray(to_bytes(picture)).save(target, quality=95, method=6)
    outlines = torch.stack([each.outline for each in outlined], dim=-1)
    target = folder / f"{placement.room}-outlines.webp"
    Image.fromarray(to_bytes(outlines.float())).save(target, lossless=True, method=6)


def read_placements(folder: Path) -> list[list[Placement]]:
    """What `write_placement` wrote: for each room the placements of all objects, by name."""
    files = sorted(folder.glob("*/*-outlines.webp"))
    rooms = sorted({int(file.stem.partition("-")[0]) for file in files})
    return [
        [_read_placement(file, room) for file in files if file.stem.startswith(f"{room}-")]
        for room in rooms
    ]


def _read_placement(file: Path, room: int) -> Placement:
    true, empty, same, turned = (
        _read_pixels(file.with_name(f"{room}-{kind}.webp"))
        for kind in ("true", "empty", "same", "turned")
    )
    outlines = _read_pixels(file) > 0.5
    return Placement(
        file.parent.name,
        room,
        OutlinedPicture(true, outlines[..., 0]),
        empty,
        OutlinedPicture(same, outlines[..., 1]),
        OutlinedPicture(turned, outlines[..., 2]),
    )


def _read_pixels(file: Path) -> Tensor:
    """[H, W, 3] in [0, 1]."""
    return torch.from_numpy(np.asarray(Image.open(file).convert("RGB"), np.float32) / 255)
