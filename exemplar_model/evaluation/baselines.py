"""Results without a model, to read the scores of a model against."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..poisson import continue_inwards
from .sets import Item
from .views import BICUBIC, open_picture, white_box

RING = 1
"""Pixels around the hole that the exemplar covers too, for the gradients across its border."""


def copy_and_paste(item: Item, poisson: bool = False) -> Image.Image:
    """The exemplar, stretched to the mask's bounding box, in the hole of the picture.

    Where the exemplar's object is masked, only the object is pasted.

    Args:
        item: what to paste and where.
        poisson: blend it: keep the exemplar's gradients and meet the picture at the border (Pérez,
            Gangnet, Blake, Poisson Image Editing, SIGGRAPH 2003).
    """
    image, mask = open_picture(item.image).convert("RGB"), open_picture(item.mask).convert("L")
    box = white_box(image, mask, 128)
    # stretched so that the exemplar fills the box, and drawn beyond it by repeating its border
    size = (box.width, box.height)
    exemplar = np.asarray(open_picture(item.exemplar).convert("RGB").resize(size, BICUBIC))
    area = np.asarray(mask) >= 128
    rows, columns = slice(box.y, box.y + box.height), slice(box.x, box.x + box.width)
    if item.exemplar_mask is not None:
        shape = open_picture(item.exemplar_mask).convert("L").resize(size, BICUBIC)
        inside = np.zeros_like(area)
        inside[rows, columns] = np.asarray(shape) >= 128
        area = area & inside
    around = np.pad(exemplar, ((RING, RING), (RING, RING), (0, 0)), mode="edge")
    pixels = np.pad(np.asarray(image), ((RING, RING), (RING, RING), (0, 0)))
    pixels[box.y : box.y + box.height + 2 * RING, box.x : box.x + box.width + 2 * RING] = around
    patch = pixels[RING:-RING, RING:-RING]
    if not poisson or area.all():
        return Image.fromarray(np.where(area[..., None], patch, np.asarray(image)))
    original, placed = (_channels(each) for each in (np.asarray(image), patch))
    kept = torch.from_numpy(~area)
    blended = placed + continue_inwards(original - placed, kept)
    blended = blended.round().clamp(0, 255).byte().permute(1, 2, 0).numpy()  # CHW -> HWC
    return Image.fromarray(np.where(area[..., None], blended, np.asarray(image)))


def _channels(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(pixels)).float().permute(2, 0, 1)  # HWC -> CHW


BASELINES = {
    "copy and paste": copy_and_paste,
    "copy and paste, Poisson": lambda item: copy_and_paste(item, poisson=True),
    "true picture": lambda item: open_picture(item.image).convert("RGB"),
}
"""By name in tables. The true picture has its own object in the hole, not the exemplar's."""
