"""Makes a training sample from a picture with boxes: crop, hole and exemplar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..data_config import Augmentation
from .augment import draw_transform
from .boxes import pad
from .holes import box_hole, extend, shape_hole, square_crop
from .sample import Pictures
from .source import Picture, Pixels

GRAY = 0.5
"""Around an object that is shown alone."""


@dataclass(frozen=True)
class SampleMaker:
    """Cuts exemplar, hole and training picture out of a picture, at random.

    Attributes:
        augmentation: probabilities and strengths of what is random.
        resolution: side of the training picture, in pixels.
        view_size: side of the exemplar, in pixels, as the vision tower takes it.
    """

    augmentation: Augmentation
    resolution: int
    view_size: int

    def __call__(self, picture: Picture, rng: np.random.Generator) -> Pictures:
        """Make a sample from one of the picture's boxes, each as likely as the others."""
        augmentation = self.augmentation
        H, W = picture.image.shape[:2]
        size = (W, H)
        number = int(rng.integers(len(picture.boxes)))
        box = picture.boxes[number]

        layers = [picture.image]
        if picture.objects is not None:
            layers.append(picture.objects[number][..., None])
        left, top, right, bottom = pad(box, augmentation.exemplar_padding, size)
        view = _to_tensor([layer[top:bottom, left:right] for layer in layers])
        view = self._resize(view, self.view_size)
        view = draw_transform(augmentation, self.view_size, rng)(view)
        exemplar, alpha = view[:3], view[3:]

        extended = extend(box, size, augmentation.extension, rng)
        if rng.random() < augmentation.arbitrary_shape:
            hole = shape_hole(box, extended, size, augmentation.jitter, rng)
        else:
            hole = box_hole(extended, size)
        left, top, right, bottom = square_crop(extended, size, augmentation.zoom, rng)
        target = _to_tensor([picture.image[top:bottom, left:right]])
        keep_mask = 1.0 - torch.from_numpy(hole[top:bottom, left:right]).float()[None]

        return Pictures(
            self._resize(target, self.resolution) * 2.0 - 1.0,
            self._resize(keep_mask, self.resolution),
            exemplar,
            torch.lerp(torch.full_like(exemplar, GRAY), exemplar, alpha) if len(alpha) else None,
        )

    def _resize(self, image: Tensor, side: int) -> Tensor:
        resized = F.interpolate(
            image[None],
            size=(side, side),
            mode="bilinear",
            align_corners=False,
            antialias=self.augmentation.antialias,
        )
        return resized[0].clamp(0.0, 1.0)


def _to_tensor(layers: Sequence[Pixels]) -> Tensor:
    """[H, W, C] uint8 layers → [C, H, W] float in [0, 1]."""
    stacked = torch.from_numpy(np.concatenate(layers, axis=-1))
    return stacked.permute(2, 0, 1).float() / 255
