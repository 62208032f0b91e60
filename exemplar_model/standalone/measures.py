"""Measures on one painting, all of pictures [H, W, 3] in [0, 1] and masks [H, W], 1 = repainted."""

from __future__ import annotations

import torch
from torch import Tensor

from ..mask import grow_mask

BAND = 8
"""Pixels outside the mask that a seam may take up."""


def change_outside(result: Tensor, original: Tensor, pasted: Tensor) -> int:
    """Largest change, of 255, where nothing was pasted (weight [H, W] of 0)."""
    difference = (result - original).abs()[pasted == 0]
    return round(float(difference.max()) * 255) if difference.numel() else 0


def seam(result: Tensor, original: Tensor, mask: Tensor, band: int = BAND) -> float:
    """How visible the border of the pasted area is: false gradient, of 255.

    Root mean square of the difference between the gradients of the result and of the original,
    over pairs of neighbours in the band outside the mask and across its border. Of all ways to get
    from one color to another, the even ramp over the band has the least.
    """
    kept = 1.0 - mask
    near = grow_mask(mask, band) > 0
    squares: list[Tensor] = []
    for axis in (0, 1):
        length = mask.shape[axis] - 1

        def pairs(values: Tensor, axis: int = axis, length: int = length) -> tuple[Tensor, Tensor]:
            return values.narrow(axis, 0, length), values.narrow(axis, 1, length)

        first, second = pairs(kept)
        close = torch.logical_and(*pairs(near))
        counted = close & (torch.maximum(first, second) > 0)
        wrong = result.diff(dim=axis) - original.diff(dim=axis)
        squares.append(wrong.square().mean(dim=2)[counted])
    return float(torch.cat(squares).mean().sqrt()) * 255
