"""The exemplar picture, as the CLIP tower sees it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageFilter, ImageOps
from torch import Tensor

from .constants import EXEMPLAR_PADDING
from .image import to_bytes, to_rgb

Framing = Literal["stretch", "pad", "crop"]
Background = Literal["keep", "gray", "white", "black", "blur"]
FILLS: dict[str, tuple[int, int, int]] = {
    "gray": (128, 128, 128),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
}
BLUR_SHARE = 0.05
"""Radius of the background blur, as a share of the picture's longer side."""


def exemplar_view(
    image: Tensor,
    size: int,
    framing: Framing = "stretch",
    mask: Tensor | None = None,
    background: Background = "keep",
) -> Tensor:
    """Frame an exemplar for the encoder.

    Args:
        image: [H, W, C] in [0, 1]; alpha is dropped, gray repeated, and the values are rounded to
            8 bit, as the reference reads pictures.
        size: side of the result.
        framing: "stretch" ignores the aspect ratio (as trained), "pad" adds gray bars, "crop"
            cuts the center square; each then resizes bicubically with Pillow.
        mask: [h, w], 1 = the object; resized to the image. The picture is cut to the box of the
            object plus 10 px, as in training.
        background: what to put around the object if a mask is given.

    Returns:
        [size, size, 3] in [0, 1].

    Raises:
        ValueError: the mask selects nothing.
    """
    picture = Image.fromarray(to_bytes(to_rgb(image)))
    if mask is not None:
        picture = _select(picture, mask, background)
    if framing == "pad":
        side = max(picture.size)
        picture = ImageOps.pad(picture, (side, side), color=FILLS["gray"])
    elif framing == "crop":
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        picture = picture.crop((left, top, left + side, top + side))
    picture = picture.resize((size, size), Image.Resampling.BICUBIC)
    return torch.tensor(np.array(picture)).float() / 255


def _select(picture: Image.Image, mask: Tensor, background: Background) -> Image.Image:
    selection = Image.fromarray(to_bytes(mask))
    selection = selection.resize(picture.size, Image.Resampling.BILINEAR)
    selection = selection.point([0] * 128 + [255] * 128)  # threshold
    box = selection.getbbox()
    if box is None:
        raise ValueError(
            "The exemplar's mask is empty: mark the object with 1, or disconnect the mask to use "
            "the whole picture."
        )
    if background == "blur":
        radius = BLUR_SHARE * max(picture.size)
        around = picture.filter(ImageFilter.GaussianBlur(radius))
        picture = Image.composite(picture, around, selection)
    elif background != "keep":
        around = Image.new("RGB", picture.size, FILLS[background])
        picture = Image.composite(picture, around, selection)
    left, top, right, bottom = box
    return picture.crop(
        (
            max(0, left - EXEMPLAR_PADDING),
            max(0, top - EXEMPLAR_PADDING),
            min(picture.width, right + EXEMPLAR_PADDING),
            min(picture.height, bottom + EXEMPLAR_PADDING),
        )
    )
