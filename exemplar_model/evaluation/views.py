"""What of a picture a backbone sees: the crops and resizes of the reference and of libcom.

Sources: `eval_tool` of Fantasy-Studio/Paint-by-Example at 52a7e37, OpenAI's CLIP preprocessing, and
`metrics/` of bcmi/Awesome-Generative-Image-Composition at 2f705df, here called libcom.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

from ..bounds import Bounds, mask_box
from ..constants import CLIP_MEAN, CLIP_STD
from ..errors import UserError

functional = cast("Any", v2.functional)  # annotated for tensors, takes pictures too
BICUBIC = Image.Resampling.BICUBIC
REAL_SIDE = 512
"""To which the reference squares the real pictures of a Fréchet distance."""


def open_picture(path: Path) -> Image.Image:
    """A picture of a file, decoded.

    Raises:
        UserError: the file is none.
    """
    try:
        with Image.open(path) as picture:
            picture.load()
            return picture
    except OSError as error:
        raise UserError(f"{path} cannot be read as a picture; replace it.") from error


def clip_tensor(picture: Image.Image) -> Tensor:
    """[3, H, W], normalised as CLIP expects it."""
    pixels = functional.pil_to_tensor(picture.convert("RGB")).float() / 255
    return functional.normalize(pixels, CLIP_MEAN, CLIP_STD)


def clip_view(picture: Image.Image, size: int) -> Tensor:
    """[3, size, size] as OpenAI's CLIP frames a picture: short side bicubic to size, center cut."""
    picture = functional.resize(picture, size, v2.InterpolationMode.BICUBIC)
    return clip_tensor(functional.center_crop(picture, size))


def stretched_view(picture: Image.Image, size: int) -> Tensor:
    """[3, size, size], the whole picture without regard to its proportions, Pillow's bicubic.

    Resized before it becomes RGB, in this order, as the reference does with exemplars.
    """
    return clip_tensor(picture.resize((size, size), BICUBIC))


def region_view(result: Image.Image, mask: Image.Image, size: int) -> Tensor:
    """[3, size, size], the painted region as the reference's CLIP score sees it.

    The bounding box of the mask's white pixels without its last row and column, normalised before
    it is resized to a square, bilinearly and without antialias (torchvision 0.12 on a tensor).

    Args:
        result: the painted picture.
        mask: of the same size; only 255 counts.

    Raises:
        UserError: the sizes differ, or nothing is left of the box.
    """
    box = white_box(result, mask, 255)
    cut = Bounds(box.x, box.y, box.width - 1, box.height - 1)
    if not cut.width or not cut.height:
        raise UserError(
            f"A mask is {box.width} × {box.height} px, and the reference leaves out its last row "
            "and column; use masks of at least two pixels in each direction."
        )
    crop = cut.cut(clip_tensor(result).permute(1, 2, 0)).permute(2, 0, 1)  # CHW -> HWC -> CHW
    return F.interpolate(crop[None], (size, size), mode="bilinear", align_corners=False)[0]


def foreground(result: Image.Image, mask: Image.Image) -> Image.Image:
    """The bounding box of the mask as a picture.

    Args:
        result: the painted picture, or the true one.
        mask: of the hole, of the same size; counts from half white on.

    Raises:
        UserError: the sizes differ, or the mask is empty.
    """
    box = white_box(result, mask, 128)
    corners = (box.x, box.y, box.x + box.width, box.y + box.height)
    return result.convert("RGB").crop(corners)


def squared(picture: Image.Image) -> Image.Image:
    """A real picture as the reference prepares it: short side to 512 px, bilinear, center cut."""
    picture = functional.resize(picture, REAL_SIDE, v2.InterpolationMode.BILINEAR)
    return functional.center_crop(picture, REAL_SIDE)


def white_box(picture: Image.Image, mask: Image.Image, least: int) -> Bounds:
    """Bounding box of the mask's pixels of at least this value.

    Raises:
        UserError: the mask has another size than the picture, or no such pixel.
    """
    if picture.size != mask.size:
        sizes = (f"{width} × {height}" for width, height in (picture.size, mask.size))
        raise UserError("A picture is {} px and its mask {} px; make them equal.".format(*sizes))
    box = mask_box(torch.from_numpy(np.asarray(mask.convert("L")) >= least))
    if box is None:
        raise UserError("A mask is empty; white marks what was repainted.")
    return box
