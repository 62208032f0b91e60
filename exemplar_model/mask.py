"""Masks: 1 = repaint outside this module, keep masks (1 = keep) for the UNet."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def binarize(mask: Tensor) -> Tensor:
    """Threshold at one half: 1.0 where the mask is at least 0.5, else 0.0; any shape."""
    return (mask >= 0.5).float()


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
    ramp = mask[None, None]
    for kernel in ((2 * grow + 1, 1), (1, 2 * grow + 1)):
        ramp = F.max_pool2d(ramp, kernel, stride=1, padding=(kernel[0] // 2, kernel[1] // 2))
    ramp = F.pad(ramp, (blur, blur, blur, blur), mode="replicate")
    for kernel in ((2 * blur + 1, 1), (1, 2 * blur + 1)):
        ramp = F.avg_pool2d(ramp, kernel, stride=1)
    return torch.maximum(ramp[0, 0].clamp(0.0, 1.0), mask)
