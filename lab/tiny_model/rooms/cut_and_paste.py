"""The exemplar's own pixels put into the hole: what the model must be better than."""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from exemplar_model.bounds import Bounds
from exemplar_model.image import to_bytes
from exemplar_model.poisson import continue_inwards
from lab.panels import captioned_row

from .placement import OutlinedPicture

LASSO = 2
"""Pixels around the outline that Poisson blending takes along, as one selects an object by hand."""


def cut_and_paste(image: Tensor, exemplar: OutlinedPicture, box: Bounds) -> Tensor:
    """The object, cut by its outline, in a picture.

    Args:
        image: [H, W, 3] in [0, 1].
        exemplar: picture and outline of the object.
        box: where the box of the outline comes to lie; the object is stretched to it.

    Returns:
        [H, W, 3] in [0, 1].
    """
    moved, coverage = move(exemplar, box, image)
    return torch.lerp(image, moved, coverage[..., None])


def blend_poisson(image: Tensor, exemplar: OutlinedPicture, box: Bounds) -> Tensor:
    """Seamless cloning of the object (Pérez, Gangnet, Blake, SIGGRAPH 2003).

    The object and `LASSO` pixels around it keep their gradients, and meet the picture at the
    border. Arguments and result as of `cut_and_paste`.
    """
    moved, coverage = move(exemplar, box, image)
    touched = (coverage > 0).float()[None]
    inside = F.max_pool2d(touched, 2 * LASSO + 1, stride=1, padding=LASSO)[0] > 0
    difference = continue_inwards((image - moved).permute(2, 0, 1), ~inside)  # HWC -> CHW
    blended = (moved + difference.permute(1, 2, 0)).clamp(0.0, 1.0)  # CHW -> HWC
    return torch.where(inside[..., None], blended, image)


def fit(exemplar: OutlinedPicture, box: Bounds) -> Bounds:
    """The largest rectangle of the object's proportions in a box, in the middle of its floor."""
    own = exemplar.box
    scale = min(box.width / own.width, box.height / own.height)
    width, height = max(1, round(own.width * scale)), max(1, round(own.height * scale))
    return Bounds(box.x + (box.width - width) // 2, box.y + box.height - height, width, height)


def move(exemplar: OutlinedPicture, box: Bounds, image: Tensor) -> tuple[Tensor, Tensor]:
    """The exemplar's picture, scaled and moved so that its outline has the given box.

    Returns:
        The picture [H, W, 3] in [0, 1] at the size of `image`, its outermost pixels continued, and
        how much of each pixel the outline covers, [H, W] in [0, 1].
    """
    H, W = image.shape[:2]
    own = exemplar.box
    across, down = own.width / box.width, own.height / box.height  # source pixels for one of ours
    left, top = own.x - box.x * across, own.y - box.y * down
    right, bottom = left + W * across, top + H * down
    height, width = exemplar.outline.shape
    pad = math.ceil(max(0.0, -left, -top, right - width, bottom - height)) + 1
    window = (left + pad, top + pad, right + pad, bottom + pad)
    around = ((pad, pad), (pad, pad))
    pixels = np.pad(to_bytes(exemplar.pixels), (*around, (0, 0)), mode="edge")
    outline = np.pad(to_bytes(exemplar.outline.float()), around)
    moved = Image.fromarray(pixels).resize((W, H), Image.Resampling.BICUBIC, box=window)
    coverage = Image.fromarray(outline).resize((W, H), Image.Resampling.BILINEAR, box=window)
    return (
        torch.from_numpy(np.asarray(moved, np.float32) / 255),
        torch.from_numpy(np.asarray(coverage, np.float32) / 255),
    )


def comparison_row(
    image: Tensor, exemplar: OutlinedPicture, box: Bounds, result: Tensor, height: int
) -> Image.Image:
    """Our result beside both ways of pasting the exemplar into the same place.

    Args:
        image: [H, W, 3] in [0, 1], before painting.
        exemplar: picture and outline of the object, as large as it is at hand.
        box: that the object is to fill; pasted, it keeps its proportions and stands on its floor.
        result: [H, W, 3] in [0, 1], what the model painted.
        height: of a panel, in pixels.
    """
    place = fit(exemplar, box)
    panels = {
        "our result": result,
        "cut-and-paste": cut_and_paste(image, exemplar, place),
        "with Poisson blending": blend_poisson(image, exemplar, place),
    }
    pictures = {name: Image.fromarray(to_bytes(panel)) for name, panel in panels.items()}
    return captioned_row(pictures, height)
