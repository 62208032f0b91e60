"""Random changes of the exemplar, so that the model cannot copy its pixels into the hole.

The reference composes albumentations 0.4.3: flip, rotation, blur, and an elastic transform whose
elastic part moves pixels by less than 0.2 px; what acts is its affine jitter (`alpha_affine`),
which later versions dropped. Here flip, rotation and affine jitter are one matrix and one warp,
so the blur comes before the rotation and not after it, which a box of 3 to 7 px hardly shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..data_config import Augmentation

BLUR_KERNELS = (3, 5, 7)
Matrix = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class ExemplarTransform:
    """The changes that were drawn for one exemplar.

    Attributes:
        matrix: [3, 3], from pixel (x, y, 1) of the input to that of the output.
        blur: side of the box blur before the warp; 1 = none.
    """

    matrix: Matrix
    blur: int

    def __call__(self, picture: Tensor) -> Tensor:
        """Blur, then warp a picture [C, S, S].

        What comes in from beyond the border is the picture reflected about its outermost pixels.
        """
        S = picture.shape[-1]
        if self.blur > 1:
            half = self.blur // 2
            padded = F.pad(picture[None], (half,) * 4, mode="reflect")
            picture = F.avg_pool2d(padded, self.blur, stride=1)[0]
        if np.array_equal(self.matrix, np.eye(3)):
            return picture
        # grid_sample wants, for each output pixel, where to read, in [-1, 1] between pixel centres
        to_pixels = np.array(
            [[(S - 1) / 2, 0, (S - 1) / 2], [0, (S - 1) / 2, (S - 1) / 2], [0, 0, 1]]
        )
        theta = np.linalg.inv(to_pixels) @ np.linalg.inv(self.matrix) @ to_pixels
        grid = F.affine_grid(
            torch.from_numpy(theta[None, :2]).to(picture), [1, 1, S, S], align_corners=True
        )
        return F.grid_sample(
            picture[None], grid, mode="bilinear", padding_mode="reflection", align_corners=True
        )[0]


def draw_transform(
    augmentation: Augmentation, size: int, rng: np.random.Generator
) -> ExemplarTransform:
    """Draw the changes of an exemplar of `size`² pixels, each with its own probability."""
    matrix = np.eye(3)
    if rng.random() < augmentation.flip:
        matrix = np.array([[-1.0, 0, size - 1], [0, 1, 0], [0, 0, 1]]) @ matrix
    if rng.random() < augmentation.rotate:
        limit = augmentation.rotate_degrees
        matrix = rotation(rng.uniform(-limit, limit), size) @ matrix
    blur = int(rng.choice(BLUR_KERNELS)) if rng.random() < augmentation.blur else 1
    if rng.random() < augmentation.affine:
        matrix = affine_jitter(augmentation.affine_shift * size, size, rng) @ matrix
    return ExemplarTransform(matrix, blur)


def rotation(degrees: float, size: int) -> Matrix:
    """Rotation counter-clockwise about (size / 2, size / 2), as in albumentations."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    m = size / 2
    return np.array([[c, s, m - c * m - s * m], [-s, c, m + s * m - c * m], [0, 0, 1]])


def affine_jitter(shift: float, size: int, rng: np.random.Generator) -> Matrix:
    """The affine map that moves three points about the middle by up to `shift` px in x and y.

    `elastic_transform` of albumentations 0.4.3: the points are the corners of a square of half
    side `size // 3` about `size // 2`.
    """
    middle, reach = size // 2, size // 3
    offsets = np.array([[reach, reach], [reach, -reach], [-reach, -reach]], dtype=float)
    source = np.concatenate([middle + offsets, np.ones((3, 1))], axis=1)  # [3 points, (x, y, 1)]
    target = source.copy()
    target[:, :2] += rng.uniform(-shift, shift, (3, 2))
    matrix: Any = np.linalg.solve(source, target).T  # source @ matrix.T = target
    return matrix
