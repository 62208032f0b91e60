"""Where to paint: the region around a mask, cut out for the model and pasted back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .image import resize_image, to_rgb
from .mask import binarize, feather, require_marked, resize_mask
from .poisson import blend_gradients

MIN_RESOLUTION = 64
MIN_MARGIN = 8
"""Pixels of surroundings that a region has around its mask, whatever the context."""
SHAPE_STEP = 64
"""Sides of regions differ in steps of this: the UNet halves its latents, 8 px each, three times."""
LONGEST_SHAPE = 2.0
"""Regions get no longer than this: the model was trained on squares."""


class Bounds(NamedTuple):
    """A rectangle of pixels."""

    x: int
    y: int
    width: int
    height: int

    def cut(self, image: Tensor) -> Tensor:
        """View of the rectangle in a picture [H, W, C] or a mask [H, W]."""
        return image[self.y : self.y + self.height, self.x : self.x + self.width]


@dataclass(frozen=True)
class Regions:
    """Regions of pictures to paint in one batch.

    Attributes:
        images: [B, H, W, 3] in [0, 1], the whole pictures.
        masks: [N, H, W] of 0.0 and 1.0, one a region, 1 = repaint.
        picture: index into `images`, one a region; all 0 for N regions of one picture.
        bounds: what of the picture belongs to the region, one a region.
        size: (height, width) at which all regions are painted.
    """

    images: Tensor
    masks: Tensor
    picture: tuple[int, ...]
    bounds: tuple[Bounds, ...]
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.bounds)

    def crop(self) -> tuple[Tensor, Tensor]:
        """Regions as the model takes them: images [N, h, w, 3] and binary masks [N, h, w]."""
        images = [
            resize_image(bounds.cut(self.images[index])[None], self.size)
            for index, bounds in zip(self.picture, self.bounds, strict=True)
        ]
        masks = [
            resize_mask(bounds.cut(mask)[None], self.size)
            for mask, bounds in zip(self.masks, self.bounds, strict=True)
        ]
        return torch.cat(images), torch.cat(masks)

    def paste(self, patches: Tensor, feather_pixels: int, color: bool) -> tuple[Tensor, Tensor]:
        """Paste painted regions into their pictures.

        Outside the masks and their ramps the result equals the pictures bit for bit. Regions of one
        picture are pasted in order: where they overlap, the later one lies on top.

        Args:
            patches: [N, h, w, 3] of any size. For a single region, any number of variants, each
                pasted into a picture of its own.
            feather_pixels: width of the ramp outside the mask, in pixels of the picture; it ends
                a pixel before the region does.
            color: fit the colours of each patch to the picture at the border of the pasted area.

        Returns:
            Pictures [B, H, W, 3] and the weight with which each pixel was pasted [B, H, W].

        Raises:
            ValueError: the number of patches is not the number of regions.
        """
        variants = len(patches) if len(self) == 1 else 1
        if len(patches) != len(self) * variants:
            raise ValueError(
                f"{len(patches)} painted images do not fit the {len(self)} regions that were "
                "cropped; paint every region once."
            )
        result = self.images.repeat(variants, 1, 1, 1)
        pasted = result.new_zeros(result.shape[:3])
        for number, patch in enumerate(patches):
            region = number % len(self)
            target = number if variants > 1 else self.picture[region]
            bounds = self.bounds[region]
            before = bounds.cut(self.images[self.picture[region]])
            patch = to_rgb(patch[None]).to(before.device)
            patch = resize_image(patch, (bounds.height, bounds.width))[0]
            area, ramp = self._pasted_area(region, feather_pixels)
            weight = feather(area.cut(bounds.cut(self.masks[region])), ramp)
            if color:
                kept = torch.ones(before.shape[:2], dtype=torch.bool, device=before.device)
                area.cut(kept).copy_(weight == 0)
                patch = blend_gradients(patch, before, kept)
            view = area.cut(bounds.cut(result[target]))
            blended = torch.lerp(view, area.cut(patch), weight[..., None])
            view.copy_(torch.where(weight[..., None] > 0, blended, view))
            seen = area.cut(bounds.cut(pasted[target]))
            seen.copy_(torch.maximum(seen, weight))
        return result, pasted

    def _pasted_area(self, region: int, feather_pixels: int) -> tuple[Bounds, int]:
        """Rectangle in the region where anything is pasted, and the width of its ramp.

        The region has a kept pixel beyond the ramp, except where the picture itself ends.
        """
        bounds = self.bounds[region]
        picture_height, picture_width = self.images.shape[1:3]
        box = mask_box(bounds.cut(self.masks[region]))
        assert box is not None  # find_regions refuses empty masks
        right, bottom = box.x + box.width, box.y + box.height
        room = (
            (box.x, bounds.x > 0),
            (box.y, bounds.y > 0),
            (bounds.width - right, bounds.x + bounds.width < picture_width),
            (bounds.height - bottom, bounds.y + bounds.height < picture_height),
        )
        ramp = min([feather_pixels, *(pixels - 1 for pixels, inside in room if inside)])
        x, y = max(0, box.x - ramp), max(0, box.y - ramp)
        width, height = min(bounds.width, right + ramp) - x, min(bounds.height, bottom + ramp) - y
        return Bounds(x, y, width, height), ramp


def pair(images: int, masks: int, exemplars: Sequence[int] = (1,)) -> tuple[int, ...]:
    """Which picture each region belongs to.

    B pictures with B masks, or one for all, are pairs; one picture with N masks has N regions.
    Every region has its own exemplar, or one serves all; each of the given numbers must fit.

    Raises:
        ValueError: any other combination.
    """
    if images > 1 and masks not in (1, images):
        raise ValueError(
            f"{images} images and {masks} masks cannot be paired; give one mask, or one for each "
            "image."
        )
    regions = masks if images == 1 else images
    for count in exemplars:
        if count not in (1, regions):
            raise ValueError(
                f"{count} exemplars and {regions} masked regions cannot be paired; give one "
                "exemplar, or one for each region."
            )
    return (0,) * regions if images == 1 else tuple(range(images))


def find_regions(
    images: Tensor,
    masks: Tensor,
    *,
    resolution: int,
    multiple: int,
    context: float | None,
    feather_pixels: int = 0,
    exemplars: Sequence[int] = (1,),
) -> Regions:
    """Plan what to paint.

    Args:
        images: [B, H, W, C] in [0, 1]; alpha is dropped, grey becomes RGB.
        masks: [N, h, w] or [h, w], 1 = repaint; resized to the images and thresholded.
        resolution: side of the square that the model paints; other shapes get the same area.
        multiple: factor that height and width must be multiples of.
        context: how many times the mask fits into its region; None = whole picture.
        feather_pixels: width of the ramp that is to be pasted outside the mask; each region has
            room for it, and reaches at least `MIN_MARGIN` pixels beyond its mask.
        exemplars: numbers of exemplars, each to be checked against the regions.

    Raises:
        ValueError: an empty mask, counts that cannot be paired, or a resolution below 64.
    """
    if resolution < MIN_RESOLUTION:
        raise ValueError(
            f"resolution is {resolution}; choose at least {MIN_RESOLUTION}, best the 512 that the "
            "model was trained at."
        )
    images = to_rgb(images)
    height, width = images.shape[1:3]
    masks = binarize(masks).reshape(-1, *masks.shape[-2:]).to(images.device)
    picture = pair(len(images), len(masks), exemplars)
    if masks.shape[-2:] != (height, width):
        resized = F.interpolate(masks[:, None], (height, width), mode="bilinear")
        masks = binarize(resized[:, 0])
    masks = masks.expand(len(picture), -1, -1)
    require_marked(masks)

    whole = Bounds(0, 0, width, height)
    square = paint_size(Bounds(0, 0, 1, 1), resolution, multiple)
    if context is None:
        bounds = [whole] * len(masks)
        sizes = {paint_size(whole, resolution, multiple)}
    else:
        boxes = [box for box in map(mask_box, masks) if box is not None]
        shapes = {region_shape(box, square[0]) for box in boxes}
        # one batch has one size: regions of masks of other shapes are all square, as in training
        shape = shapes.pop() if len(shapes) == 1 else square
        margin = max(MIN_MARGIN, feather_pixels + 1)
        bounds = [region_bounds(box, whole, context, margin, shape) for box in boxes]
        sizes = {
            shape if has_shape(each, shape) else paint_size(each, resolution, multiple)
            for each in bounds
        }
    size = sizes.pop() if len(sizes) == 1 else square
    return Regions(images, masks, picture, tuple(bounds), size)


def mask_box(mask: Tensor) -> Bounds | None:
    """Smallest rectangle around the ones of a binary mask [H, W]; None if there are none."""
    rows, columns = mask.any(dim=1).nonzero(), mask.any(dim=0).nonzero()
    if len(rows) == 0:
        return None
    y, x = int(rows[0]), int(columns[0])
    return Bounds(x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y)


def region_shape(box: Bounds, square: int) -> tuple[int, int]:
    """(height, width) nearest to the proportions of a mask's box, to paint its region at.

    Of the rectangles in steps of 64 px from the square whose area differs from it by a tenth at
    most; at 512 that is 448 × 576, 384 × 704 and the like.
    """
    wanted = min(max(box.width / box.height, 1 / LONGEST_SHAPE), LONGEST_SHAPE)
    sides = range(square % SHAPE_STEP or SHAPE_STEP, 2 * square + 1, SHAPE_STEP)
    shapes = [(h, w) for h in sides for w in sides if abs(h * w - square**2) <= square**2 / 10]
    return min(shapes, key=lambda shape: abs(math.log(shape[1] / shape[0] / wanted)))


def region_bounds(
    box: Bounds, whole: Bounds, context: float, margin: int, shape: tuple[int, int]
) -> Bounds:
    """Rectangle around the box, in the proportions of `shape` as near as the picture allows.

    The box fits into it `context` times in width or height, at least once with its margin. It is
    no larger than the picture allows in these proportions; only a box longer than that changes
    them. The rectangle is centred on the box and shifted into the picture.

    Args:
        box: of the mask, in pixels of the picture.
        whole: the picture.
        context: how many times the box fits into the region.
        margin: least number of pixels between box and border, where the picture has them.
        shape: (height, width), any unit.
    """
    least_width, least_height = box.width + 2 * margin, box.height + 2 * margin
    unit = max(
        max(context * box.width, least_width) / shape[1],
        max(context * box.height, least_height) / shape[0],
    )
    unit = min(unit, whole.width / shape[1], whole.height / shape[0])
    width = min(whole.width, max(round(unit * shape[1]), least_width))
    height = min(whole.height, max(round(unit * shape[0]), least_height))
    x = box.x + box.width // 2 - width // 2
    y = box.y + box.height // 2 - height // 2
    return Bounds(
        min(max(x, 0), whole.width - width), min(max(y, 0), whole.height - height), width, height
    )


def has_shape(bounds: Bounds, shape: tuple[int, int]) -> bool:
    """Whether the rectangle has the proportions of `shape`, whole pixels apart."""
    return abs(bounds.width * shape[0] - bounds.height * shape[1]) <= sum(shape) / 2


def paint_size(bounds: Bounds, resolution: int, multiple: int) -> tuple[int, int]:
    """(height, width) to paint a region at: its shape, the area of `resolution`², multiples."""
    scale = resolution / (bounds.width * bounds.height) ** 0.5

    def fit(side: int) -> int:
        return max(multiple, round(side * scale / multiple) * multiple)

    return fit(bounds.height), fit(bounds.width)
