"""Ways to fit a painted region to the picture around it; all but ours only for comparison.

Each takes the painted region [H, W, 3], the region of the picture before painting and the pixels
[H, W] bool where nothing is pasted, and returns the region to paste.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from skimage.color import lab2rgb, rgb2lab
from torch import Tensor

from exemplar_model.poisson import blend_gradients, continue_inwards

Treatment = Callable[[Tensor, Tensor, Tensor], Tensor]


def none(patch: Tensor, before: Tensor, kept: Tensor) -> Tensor:
    """The region as it was painted."""
    return patch


def mean_std(patch: Tensor, before: Tensor, kept: Tensor) -> Tensor:
    """Mean and standard deviation of each RGB channel over the kept pixels."""
    if not bool(kept.any()):
        return patch
    painted, wanted = patch[kept], before[kept]
    gain = wanted.std(dim=0) / painted.std(dim=0).clamp(min=1e-4)
    return ((patch - painted.mean(dim=0)) * gain + wanted.mean(dim=0)).clamp(0.0, 1.0)


def lab_transfer(patch: Tensor, before: Tensor, kept: Tensor) -> Tensor:
    """Reinhard et al., Color Transfer between Images, 2001, in CIELAB over the kept pixels."""
    if not bool(kept.any()):
        return patch
    lab = torch.from_numpy(rgb2lab(patch.numpy()))
    target = torch.from_numpy(rgb2lab(before.numpy()))
    gain = target[kept].std(dim=0) / lab[kept].std(dim=0).clamp(min=1e-2)
    moved = (lab - lab[kept].mean(dim=0)) * gain + target[kept].mean(dim=0)
    return torch.from_numpy(lab2rgb(moved.numpy())).float().clamp(0.0, 1.0)


def poisson(patch: Tensor, before: Tensor, kept: Tensor) -> Tensor:
    """Pérez et al., Poisson Image Editing, 2003: gradients of the patch, border of the picture."""
    if not bool(kept.any()):
        return patch
    correction = continue_inwards((before - patch).permute(2, 0, 1), kept)
    return (patch + correction.permute(1, 2, 0)).clamp(0.0, 1.0)


TREATMENTS: dict[str, Treatment] = {
    "no match": none,
    "mean, deviation": mean_std,
    "Lab transfer": lab_transfer,
    "Poisson": poisson,
    "screened Poisson": blend_gradients,
}
