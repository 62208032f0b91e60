"""Pictures as tensors [B, H, W, C] in [0, 1]."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional as F


def to_rgb(image: Tensor) -> Tensor:
    """[..., C] of any number of channels to float32 [..., 3]: alpha is dropped, gray repeated."""
    channels = 3 if image.shape[-1] >= 3 else 1
    return image[..., :channels].float().expand(*image.shape[:-1], 3)


def to_bytes(values: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """[...] in [0, 1] to 8 bit, the nearest of 0…255; what lies outside is clamped."""
    return (values.clamp(0, 1) * 255).round().byte().cpu().numpy()


def resize_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic, with antialias when it gets smaller; [B, H, W, C] in [0, 1] to (height, width)."""
    if image.shape[1:3] == size:
        return image
    image = image.permute(0, 3, 1, 2)  # BHWC -> BCHW
    image = F.interpolate(image, size=size, mode="bicubic", antialias=True, align_corners=False)
    return image.permute(0, 2, 3, 1).clamp(0.0, 1.0)  # BCHW -> BHWC
