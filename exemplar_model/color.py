"""Colour match of a painted region to the picture that it goes into."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

BLOCKS_PER_SIDE = 16
MIN_BLOCKS = 16
GAIN_RANGE = (0.5, 2.0)
FLAT = 0.02
"""Standard deviation below which surroundings tell nothing about contrast."""


def match_color(patch: Tensor, original: Tensor, kept: Tensor) -> Tensor:
    """Undo the colour drift of the autoencoder, read off the pixels that should not have changed.

    Least squares of original = gain · patch + bias, per channel, over block means of the kept
    pixels. Blocks (a sixteenth of the region) take out what the autoencoder does to detail, which
    a fit on single pixels mistakes for a change of contrast. The gain counts by the share of
    variance that the fit explains, and is 1 where the surroundings are flat.

    Args:
        patch: [H, W, 3], the painted region.
        original: [H, W, 3], the same region of the picture before painting.
        kept: [H, W] bool, pixels outside the mask.

    Returns:
        [H, W, 3] in [0, 1]; the patch itself where fewer than 16 blocks are mostly kept.
    """
    block = max(1, min(kept.shape) // BLOCKS_PER_SIDE)
    share = F.avg_pool2d(kept.float()[None, None], block)[0, 0]  # of kept pixels, by block
    usable = share > 0.5
    if int(usable.sum()) < MIN_BLOCKS:
        return patch

    def block_means(image: Tensor) -> Tensor:
        known = (image * kept[..., None]).permute(2, 0, 1)  # HWC -> CHW
        means = F.avg_pool2d(known[None], block)[0] / share.clamp(min=1e-6)
        return means[:, usable].T  # [N, 3]

    painted, wanted = block_means(patch), block_means(original)
    center = painted.mean(dim=0)
    of_painted, of_wanted = painted - center, wanted - wanted.mean(dim=0)
    covariance = (of_painted * of_wanted).mean(dim=0)
    variances = of_painted.square().mean(dim=0), of_wanted.square().mean(dim=0)
    slope = covariance / variances[0].clamp(min=1e-8)
    explained = covariance.square() / (variances[0] * variances[1]).clamp(min=1e-12)
    gain = (1.0 + explained * (slope - 1.0)).clamp(*GAIN_RANGE)
    gain = torch.where(torch.minimum(*variances) < FLAT**2, 1.0, gain)
    return torch.lerp(center, patch, gain).add(wanted.mean(dim=0) - center).clamp(0.0, 1.0)
