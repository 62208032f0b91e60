"""How alike two pictures are to a backbone."""

from __future__ import annotations

import numpy as np

from .score import Array


def cosines(first: Array, second: Array) -> Array:
    """100 times the cosine of each pair of features [N, D], [N]."""
    first, second = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (first, second))
    return 100 * (first * second).sum(axis=1)
