"""What happened outside the mask: PSNR, SSIM and LPIPS against the picture before painting."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure
from torchvision.transforms import v2

from .views import BICUBIC, white_box

SIDE = 512
"""To which libcom resizes pictures for SSIM and LPIPS."""


def background_psnr(result: Image.Image, image: Image.Image, mask: Image.Image) -> float:
    """Peak signal-to-noise ratio over the kept pixels, in dB; infinite where they are equal.

    Args:
        result: the painted picture.
        image: the picture before painting, of the same size.
        mask: of the same size, white = repainted.
    """
    white_box(result, mask, 1)
    kept = np.asarray(mask.convert("L")) == 0
    first, second = (np.asarray(each.convert("RGB"), np.float64)[kept] for each in (result, image))
    error = np.square(first - second).mean() if kept.any() else 0.0
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def background(picture: Image.Image, mask: Image.Image) -> Tensor:
    """[3, 512, 512] in [0, 1], black where the mask is at least half white, as libcom has it."""
    white_box(picture, mask, 128)
    hole = mask.convert("L").point([0] * 127 + [255] * 129)
    black = Image.new("RGB", picture.size)
    kept = Image.composite(black, picture.convert("RGB"), hole).resize((SIDE, SIDE), BICUBIC)
    return v2.functional.pil_to_tensor(kept).float() / 255


@torch.inference_mode()
def background_ssim(result: Tensor, image: Tensor) -> float:
    """Structural similarity of two `background` tensors, the black hole included."""
    value = structural_similarity_index_measure(result[None], image[None], data_range=1.0)
    assert isinstance(value, Tensor)
    return float(value)
