"""An upscaler whose weights are written down, not trained: sharpened, then enlarged bilinearly.

The layout is that of Real-ESRGAN's compact networks (`realesr-general-x4v3`): convolution, PReLU,
convolution, pixel shuffle, and the nearest enlargement of the input added.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

SCALE = 4
SHARPEN = 1.0
"""How much of the difference to its blurred self is added to a picture."""


def upscaler_tensors() -> dict[str, Tensor]:
    """What ComfyUI's upscale model loader reads."""
    colours = torch.eye(3)
    first = torch.zeros(6, 3, 3, 3)  # three channels sharpened, three as they are
    first[:3] = colours[:, :, None, None] * sharpening()
    first[3:, :, 1, 1] = colours
    last = torch.zeros(3, SCALE * SCALE, 6, 3, 3)
    for colour in range(3):
        last[colour, :, colour] = enlargement()
        last[colour, :, 3 + colour, 1, 1] = -1.0  # against what the layout adds
    return {
        "body.0.weight": first,
        "body.0.bias": torch.zeros(6),
        "body.1.weight": torch.ones(6),  # a PReLU of slope 1 changes nothing
        "body.2.weight": last.flatten(0, 1),
        "body.2.bias": torch.zeros(3 * SCALE * SCALE),
    }


def sharpening() -> Tensor:
    """3×3 kernel of the unsharp mask."""
    blur = torch.tensor([1.0, 2.0, 1.0]) / 4
    kernel = -SHARPEN * torch.outer(blur, blur)
    kernel[1, 1] += 1.0 + SHARPEN
    return kernel


def enlargement() -> Tensor:
    """[16, 3, 3]: what each pixel of the enlarged one takes from its neighbours, bilinearly."""
    each_alone = torch.eye(9).view(9, 1, 3, 3)
    enlarged = F.interpolate(each_alone, scale_factor=SCALE, mode="bilinear")
    middle = enlarged[:, 0, SCALE : 2 * SCALE, SCALE : 2 * SCALE]
    return middle.flatten(1).T.reshape(SCALE * SCALE, 3, 3)


def expected(picture: Tensor) -> Tensor:
    """What it makes of a picture [B, 3, H, W] in [0, 1], two pixels from the border."""
    kernel = sharpening().expand(3, 1, 3, 3)
    sharpened = F.conv2d(picture, kernel, padding=1, groups=3)
    return F.interpolate(sharpened, scale_factor=SCALE, mode="bilinear").clamp(0.0, 1.0)
