"""Ways to fit a painted region to the picture around it; all but ours only for comparison.

Each takes the painted region [H, W, 3], the region of the picture before painting and the kept
pixels [H, W] bool, and returns the region to paste.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.sparse import coo_array, diags_array
from scipy.sparse.linalg import spsolve
from skimage.color import lab2rgb, rgb2lab
from torch import Tensor

from exemplar_model.color import match_color

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


def gradient_domain(patch: Tensor, before: Tensor, kept: Tensor) -> Tensor:
    """Pérez et al., Poisson Image Editing, 2003: gradients of the patch, border of the picture.

    The correction is harmonic inside the hole; at the edge of the region its slope is zero.
    """
    hole = (~kept).numpy()
    if not hole.any() or hole.all():
        return patch
    H, W = hole.shape
    index = np.arange(H * W).reshape(H, W)
    free = hole.ravel()
    rows, columns = [], []
    for first, second in ((index[:, :-1], index[:, 1:]), (index[:-1], index[1:])):
        rows += [first.ravel(), second.ravel()]
        columns += [second.ravel(), first.ravel()]
    row, column = np.concatenate(rows), np.concatenate(columns)
    degree = np.bincount(row, minlength=H * W).astype(np.float64)
    known = (before - patch).double().reshape(-1, 3).numpy()
    number = np.cumsum(free) - 1
    inner = free[row] & free[column]
    border = free[row] & ~free[column]
    right = np.zeros((int(free.sum()), 3))
    np.add.at(right, number[row[border]], known[column[border]])
    couplings = coo_array(
        (-np.ones(int(inner.sum())), (number[row[inner]], number[column[inner]])),
        shape=(len(right), len(right)),
    )
    correction = np.array(known)
    correction[free] = spsolve((couplings + diags_array(degree[free])).tocsc(), right)
    fitted = patch + torch.from_numpy(correction.reshape(H, W, 3)).float()
    return fitted.clamp(0.0, 1.0)


TREATMENTS: dict[str, Treatment] = {
    "no match": none,
    "mean and deviation": mean_std,
    "Lab transfer": lab_transfer,
    "block least squares": match_color,
    "gradient domain": gradient_domain,
}
