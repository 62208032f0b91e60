"""Masks: 1 = repaint outside this module, keep masks (1 = keep) for the UNet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch
from scipy import ndimage as _ndimage  # pyright: ignore[reportMissingTypeStubs]
from torch import Tensor
from torch.nn import functional as F

from .bounds import Bounds, mask_box

ndimage = cast("Any", _ndimage)
Array = np.ndarray[Any, np.dtype[Any]]

MAX_AREAS = 256
"""More separate areas than this are noise in the mask, and would fill the memory with masks."""


def require_marked(mask: Tensor, number: int, count: int) -> Bounds:
    """Bounding box of the binary mask [H, W], which is one of several.

    Raises:
        ValueError: the mask has no ones; the message names it by its number (from 0) and count.
    """
    box = mask_box(mask)
    if box is None:
        which = f"Mask {number + 1} of {count}" if count > 1 else "The mask"
        raise ValueError(f"{which} is empty; paint the area to repaint (1 = repaint).")
    return box


def split_masks(masks: Tensor, min_size: float = 0.0) -> Tensor:
    """One mask per connected area; pixels that touch at a side or a corner belong together.

    Args:
        masks: [N, H, W] or [H, W], 1 = repaint; thresholded at one half. Several are split one by
            one.
        min_size: areas with fewer pixels than this share of the largest are dropped; with 0 all
            stay, with 1 only the largest (and its equals).

    Returns:
        [M, H, W] bool. The areas of one mask are ordered by their left edges from left to right,
        where these are equal by their top edges.

    Raises:
        ValueError: an empty mask, or one of more than `MAX_AREAS` areas.
    """
    masks = masks.reshape(-1, *masks.shape[-2:])
    areas: list[tuple[int, Bounds, Tensor]] = []  # the mask's number, the area's box and pixels
    for number, mask in enumerate(masks):
        marked = mask >= 0.5
        require_marked(marked, number, len(masks))
        areas += [(number, *area) for area in _areas(marked.cpu().numpy(), min_size)]
    result = torch.zeros(len(areas), *masks.shape[-2:], dtype=torch.bool, device=masks.device)
    for whole, (_, bounds, pixels) in zip(result, areas, strict=True):
        bounds.cut(whole).copy_(pixels)
    return result


def _areas(mask: Array, min_size: float) -> Iterator[tuple[Bounds, Tensor]]:
    """Bounding box of each area, in order, and its pixels within the box."""
    labels, sizes = _label(mask)
    boxes = ndimage.find_objects(labels)  # (rows, columns) of each area
    least = min_size * sizes.max()
    kept = [area for area, size in enumerate(sizes) if size >= least]
    if len(kept) > MAX_AREAS:
        raise ValueError(
            f"The mask has {len(kept)} separate areas, more than {MAX_AREAS}; fill its gaps, or "
            "raise min_size to drop the small ones."
        )
    kept.sort(key=lambda area: (boxes[area][1].start, boxes[area][0].start))
    for area in kept:
        pixels = torch.tensor(labels[boxes[area]] == area + 1)
        height, width = pixels.shape
        yield Bounds(boxes[area][1].start, boxes[area][0].start, width, height), pixels


def _label(mask: Array) -> tuple[Array, Array]:
    """The number of each pixel's area [H, W], 0 for none, and the sizes of the areas from 1 on."""
    labels, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    return labels, np.bincount(labels.ravel())[1:]


def prepare_masks(
    masks: Tensor,
    threshold: float = 0.5,
    grow: int = 0,
    fill_holes: bool = False,
    largest: bool = False,
) -> Tensor:
    """Clean masks that came out of a segmentation, a JPEG or a hasty brush, each by itself.

    In this order: threshold, choice of the largest area, holes, growth.

    Args:
        masks: [N, H, W] or [H, W] in [0, 1], 1 = repaint.
        threshold: what is at least this becomes 1, all else 0.
        grow: pixels to grow by in all eight directions, below 0 to shrink by; the border of the
            picture is no border of the mask.
        fill_holes: fill what the mask encloses. A gap that only a corner closes counts as closed.
        largest: keep the largest connected area alone, the first from the top if several are.

    Returns:
        [N, H, W] bool.

    Raises:
        ValueError: nothing is left of a mask.
    """
    masks = masks.reshape(-1, *masks.shape[-2:])
    prepared = torch.empty_like(masks, dtype=torch.bool)
    for number, mask in enumerate(masks):
        marked = (mask >= threshold).cpu().numpy()
        if largest and marked.any():
            labels, sizes = _label(marked)
            marked = labels == 1 + sizes.argmax()
        if fill_holes:
            marked = ndimage.binary_fill_holes(marked)
        marked = _grow(marked, grow) if grow >= 0 else ~_grow(~marked, -grow)
        if not marked.any():
            which = f"mask {number + 1} of {len(masks)}" if len(masks) > 1 else "the mask"
            raise ValueError(
                f"Nothing is left of {which} at threshold {threshold:g} and grow {grow}; paint the "
                "area to repaint (1 = repaint), lower the threshold or shrink less."
            )
        prepared[number] = torch.tensor(marked)
    return prepared


def grow_mask(mask: Tensor, pixels: int) -> Tensor:
    """The mask [H, W] of 0.0 and 1.0 and all within so many pixels of it, diagonals included."""
    return torch.tensor(_grow(mask.cpu().numpy() > 0, pixels)).to(mask)


def _grow(mask: Array, pixels: int) -> Array:
    """The binary mask [H, W] and all within so many pixels of it, diagonals included."""
    # along one side after the other, at a cost that does not depend on the number of pixels
    grown = mask.view(np.uint8)
    for axis in (0, 1):
        grown = ndimage.maximum_filter1d(grown, 2 * pixels + 1, axis, mode="constant")
    return grown.view(bool)


def latent_keep_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """The ninth UNet channel from a pixel mask.

    Thresholds, inverts, then resizes bilinearly without antialias and without rounding, so that
    soft values survive at edges off the latent grid. Source: `scripts/inference.py` of the
    reference repository (`Resize` of torchvision 0.12 on a tensor).

    Args:
        mask: [B, 1, H, W], 1 = repaint.
        size: latent (height, width).

    Returns:
        [B, 1, h, w], 1 = keep.
    """
    keep_mask = (mask < 0.5).float()
    return F.interpolate(keep_mask, size=size, mode="bilinear", align_corners=False)


def masked_image(image: Tensor, mask: Tensor) -> Tensor:
    """Fill the hole with mid-gray, which is 0 in the model's range of [-1, 1].

    Args:
        image: [B, H, W, C] in [0, 1].
        mask: [B, H, W], 1 = repaint; thresholded at one half.
    """
    return torch.where(mask[..., None] >= 0.5, 0.5, image)


def resize_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a binary mask so that every pixel that touches the repainted area belongs to it.

    Args:
        mask: [B, H, W] of 0.0 and 1.0.
        size: (height, width) to reach.
    """
    return F.adaptive_max_pool2d(mask[:, None], size)[:, 0]


def feather(mask: Tensor, pixels: int) -> Tensor:
    """Weights for pasting: 1 on the mask, falling linearly to 0 at `pixels` outside of it.

    The mask is grown by half the distance, then averaged over the other half.

    Args:
        mask: [H, W] of 0.0 and 1.0.
        pixels: width of the ramp; 0 returns the mask.
    """
    if pixels == 0:
        return mask
    side = 2 * (pixels // 2) + 1
    # sums instead of means, which integers hold exactly: what is 0 must stay 0
    sums = _grow(mask.cpu().numpy() > 0, (pixels + 1) // 2).astype(np.int64)
    for axis in (0, 1):
        sums = ndimage.uniform_filter1d(sums * side, side, axis, mode="nearest")
    return torch.maximum(torch.tensor(sums / side**2).to(mask), mask)
