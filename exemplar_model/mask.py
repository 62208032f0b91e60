"""Masks: 1 = repaint outside this module, keep masks (1 = keep) for the UNet."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

MAX_PARTS = 256
"""More parts than this are noise in the mask, and would fill the memory with masks."""


def binarize(mask: Tensor) -> Tensor:
    """Threshold at one half: 1.0 where the mask is at least 0.5, else 0.0; any shape."""
    return (mask >= 0.5).float()


def require_marked(masks: Tensor) -> None:
    """Raise ValueError, naming the mask, if one of the binary masks [N, H, W] has no ones."""
    for number, mask in enumerate(masks):
        if not mask.any():
            which = f"Mask {number + 1} of {len(masks)}" if len(masks) > 1 else "The mask"
            raise ValueError(f"{which} is empty; paint the area to repaint (1 = repaint).")


def split_masks(masks: Tensor, min_size: float = 0.0) -> Tensor:
    """A mask for each connected part; pixels that touch at a side or a corner belong together.

    Args:
        masks: [N, H, W] or [H, W], 1 = repaint; thresholded at one half. Several are split one by
            one.
        min_size: parts with fewer pixels than this share of the largest part are dropped; with 0
            all stay, with 1 only the largest (and its equals).

    Returns:
        [M, H, W] of 0.0 and 1.0. The parts of one mask are ordered by their left edges from left
        to right, where these are equal by their top edges.

    Raises:
        ValueError: an empty mask, or one of more than `MAX_PARTS` parts.
    """
    masks = binarize(masks).reshape(-1, *masks.shape[-2:])
    require_marked(masks)
    return torch.cat([_split(mask, min_size) for mask in masks])


def _split(mask: Tensor, min_size: float) -> Tensor:
    labels, sizes = _label(mask)
    boxes = _ndimage().find_objects(labels)  # (rows, columns) of each part
    least = min_size * sizes.max()
    kept = [part for part, size in enumerate(sizes) if size >= least]
    if len(kept) > MAX_PARTS:
        raise ValueError(
            f"The mask falls into {len(kept)} parts, more than {MAX_PARTS}; fill its gaps, or "
            "raise min_size to drop the small ones."
        )
    kept.sort(key=lambda part: (boxes[part][1].start, boxes[part][0].start))
    parts = torch.tensor(labels)[None] == torch.tensor(kept)[:, None, None] + 1
    return parts.to(mask)


def _label(mask: Tensor) -> tuple[Any, Any]:
    """The number of each pixel's part [H, W], 0 for none, and the sizes of the parts from 1 on."""
    labels, _ = _ndimage().label(mask.cpu().numpy(), structure=np.ones((3, 3)))
    return labels, np.bincount(labels.ravel())[1:]


def _ndimage() -> Any:
    # every host has scipy, but nothing else in this package needs it
    from scipy import ndimage  # pyright: ignore[reportMissingTypeStubs]

    return cast("Any", ndimage)


def prepare_masks(
    masks: Tensor,
    threshold: float = 0.5,
    grow: int = 0,
    fill_holes: bool = False,
    largest: bool = False,
) -> Tensor:
    """Clean masks that came out of a segmentation, a JPEG or a hasty brush, each by itself.

    In this order: threshold, choice of the part, holes, growth.

    Args:
        masks: [N, H, W] or [H, W] in [0, 1], 1 = repaint.
        threshold: what is at least this becomes 1, all else 0.
        grow: pixels to grow by in all eight directions, below 0 to shrink by; the border of the
            picture is no border of the mask.
        fill_holes: fill what the mask encloses. A gap that only a corner closes counts as closed.
        largest: keep the largest connected part alone, the first from the top if several are.

    Returns:
        [N, H, W] of 0.0 and 1.0.

    Raises:
        ValueError: nothing is left of a mask.
    """
    binary = (masks >= threshold).float().reshape(-1, *masks.shape[-2:])
    prepared = torch.stack([_prepare(mask, grow, fill_holes, largest) for mask in binary])
    for number, mask in enumerate(prepared):
        if not mask.any():
            which = f"mask {number + 1} of {len(prepared)}" if len(prepared) > 1 else "the mask"
            raise ValueError(
                f"Nothing is left of {which} at threshold {threshold:g} and grow {grow}; paint the "
                "area to repaint (1 = repaint), lower the threshold or shrink less."
            )
    return prepared


def _prepare(mask: Tensor, grow: int, fill_holes: bool, largest: bool) -> Tensor:
    if largest and mask.any():
        labels, sizes = _label(mask)
        mask = torch.tensor(labels == 1 + sizes.argmax()).to(mask)
    if fill_holes:
        mask = torch.tensor(_ndimage().binary_fill_holes(mask.cpu().numpy())).to(mask)
    return grow_mask(mask, grow) if grow >= 0 else 1.0 - grow_mask(1.0 - mask, -grow)


def grow_mask(mask: Tensor, pixels: int) -> Tensor:
    """The binary mask [H, W] and all within so many pixels of it, diagonals included."""
    grown = mask[None, None]
    for kernel in ((2 * pixels + 1, 1), (1, 2 * pixels + 1)):
        grown = F.max_pool2d(grown, kernel, stride=1, padding=(kernel[0] // 2, kernel[1] // 2))
    return grown[0, 0]


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
    keep_mask = 1.0 - binarize(mask)
    return F.interpolate(keep_mask, size=size, mode="bilinear", align_corners=False)


def masked_image(image: Tensor, mask: Tensor) -> Tensor:
    """Fill the hole with mid-grey, which is 0 in the model's range of [-1, 1].

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
    grow, blur = (pixels + 1) // 2, pixels // 2
    ramp = F.pad(grow_mask(mask, grow)[None, None], (blur, blur, blur, blur), mode="replicate")
    for kernel in ((2 * blur + 1, 1), (1, 2 * blur + 1)):
        ramp = F.avg_pool2d(ramp, kernel, stride=1)
    return torch.maximum(ramp[0, 0].clamp(0.0, 1.0), mask)
