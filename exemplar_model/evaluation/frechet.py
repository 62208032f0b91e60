"""The Fréchet distance between two sets of feature vectors, each taken for a Gaussian."""

from __future__ import annotations

import numpy as np

from ..errors import UserError
from .score import Array


def frechet_distance(real: Array, generated: Array) -> float:
    """|μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2 (Σ₁ Σ₂)^½) of features [N, D] and [M, D].

    With Σ = RᵀR the last trace is the sum of the singular values of R₁R₂ᵀ. No root is taken, so it
    is exact for singular covariances (fewer pictures than dimensions) too, where the reference and
    torchmetrics lose digits in roots of eigenvalues near zero.

    Raises:
        UserError: fewer than two pictures in a set.
    """
    if min(len(real), len(generated)) < 2:
        raise UserError("A Fréchet distance needs at least two pictures in each set.")
    difference = real.mean(axis=0) - generated.mean(axis=0)
    roots = [
        np.linalg.qr(each - each.mean(axis=0), mode="r") / np.sqrt(len(each) - 1)
        for each in (real, generated)
    ]
    traces = sum(np.square(root).sum() for root in roots)
    shared = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    return float(difference @ difference + traces - 2 * shared)
