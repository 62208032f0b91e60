"""Where to paint: the region around a mask, cut out for the model and pasted back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .bounds import Bounds, has_shape, mask_box, paint_size, region_bounds, region_shape
from .image import resize_image, to_rgb
from .mask import feather, require_marked, resize_mask
from .poisson import blend_gradients, fill_smoothly

MIN_RESOLUTION = 64
MIN_MARGIN = 8
"""Pixels of surroundings that a region has around its mask, however small `context` is."""
MID_GRAY = 0.5


@dataclass(frozen=True)
class Regions:
    """Regions of pictures to paint in one batch.

    Attributes:
        images: [B, H, W, 3] in [0, 1], the whole pictures.
        transparent: [B, H, W] bool, where alpha is 0; None for pictures without alpha.
        holes: one mask per region, [height, width] bool, cut to the region's bounds; True =
            repaint.
        image_index: one index into `images` per region; all 0 for N regions of one picture.
        bounds: one rectangle of the picture per region.
        size: (height, width) at which all regions are painted.
    """

    images: Tensor
    transparent: Tensor | None
    holes: tuple[Tensor, ...]
    image_index: tuple[int, ...]
    bounds: tuple[Bounds, ...]
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.bounds)

    @property
    def masks(self) -> Tensor:
        """One mask of the whole picture per region: [N, H, W] of 0.0 and 1.0, made at each call."""
        masks = self.images.new_zeros(len(self), *self.images.shape[1:3])
        for mask, bounds, hole in zip(masks, self.bounds, self.holes, strict=True):
            bounds.cut(mask).copy_(hole)
        return masks

    def crop(self) -> tuple[Tensor, Tensor]:
        """The regions at the size at which they are painted.

        Kept pixels do not depend on what lies under the mask: it is replaced by a continuation of
        its surroundings before the region is resized. Under the mask is what the picture holds
        there, for painting at denoise below 1; where it holds nothing, its surroundings go on.
        See `_is_erased` for what counts as nothing.

        Returns:
            Images [N, h, w, 3] in [0, 1] and masks [N, h, w] of 0.0 and 1.0, 1 = repaint.
        """
        crops = [self._crop(region) for region in range(len(self))]
        images, masks = zip(*crops, strict=True)
        return torch.stack(images), torch.stack(masks)

    def _crop(self, region: int) -> tuple[Tensor, Tensor]:
        image = self.bounds[region].cut(self.images[self.image_index[region]])
        hole = self.holes[region]
        erased = self._is_erased(region)
        mask = resize_mask(hole[None].float(), self.size)[0]
        if hole.shape == self.size and not erased.any():
            return image, mask
        filled = _fill(image, hole)
        with_content = torch.where(erased[..., None], filled, image)
        outside, inside = (
            resize_image(each[None], self.size)[0] for each in (filled, with_content)
        )
        return torch.where(mask[..., None] > 0, inside, outside), mask

    def _is_erased(self, region: int) -> Tensor:
        """[height, width] bool: pixels under the mask that hold no picture.

        Those with alpha 0; and those of exact black if they are more than half of the masked area,
        since front ends of ComfyUI save black where a mask was painted.
        """
        bounds, hole = self.bounds[region], self.holes[region]
        index = self.image_index[region]
        black = hole & (bounds.cut(self.images[index]) == 0).all(dim=-1)
        erased = black if 2 * int(black.sum()) > int(hole.sum()) else torch.zeros_like(hole)
        if self.transparent is not None:
            erased = erased | (hole & bounds.cut(self.transparent[index]))
        return erased

    def paste(
        self, patches: Tensor, feather_pixels: int, match_color: bool
    ) -> tuple[Tensor, Tensor]:
        """Paste painted regions into their pictures.

        Outside the masks and their ramps the result equals the pictures bit for bit. Regions of one
        picture are pasted in order: where they overlap, the later one lies on top.

        Args:
            patches: [N, h, w, 3] of any size. For a single region, any number of variants, each
                pasted into a picture of its own.
            feather_pixels: width of the ramp outside the mask, in pixels of the picture; it ends
                a pixel before the region does.
            match_color: fit the colors of each patch to the picture at the pasted area's border.

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
            target = number if variants > 1 else self.image_index[region]
            bounds = self.bounds[region]
            before = bounds.cut(self.images[self.image_index[region]])
            patch = to_rgb(patch[None]).to(before.device)
            patch = resize_image(patch, (bounds.height, bounds.width))[0]
            area, ramp = self._pasted_area(region, feather_pixels)
            weight = feather(area.cut(self.holes[region]).float(), ramp)
            if match_color:
                kept = torch.ones(before.shape[:2], dtype=torch.bool, device=before.device)
                area.cut(kept).copy_(weight == 0)
                patch = blend_gradients(patch, before, kept)
            current, share = area.cut(bounds.cut(result[target])), weight[..., None]
            patch = area.cut(patch)
            blended = torch.where(share < 1, torch.lerp(current, patch, share), patch)
            current.copy_(torch.where(share > 0, blended, current))
            weights = area.cut(bounds.cut(pasted[target]))
            weights.copy_(torch.maximum(weights, weight))
        return result, pasted

    def _pasted_area(self, region: int, feather_pixels: int) -> tuple[Bounds, int]:
        """Rectangle in the region where anything is pasted, and the width of its ramp.

        The region has a kept pixel beyond the ramp, except where the picture itself ends.
        """
        bounds = self.bounds[region]
        picture_height, picture_width = self.images.shape[1:3]
        box = mask_box(self.holes[region])
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


def _fill(image: Tensor, hole: Tensor) -> Tensor:
    """Continue a picture [H, W, 3] into its hole [H, W]; gray if the hole is all of it."""
    if hole.all():
        return torch.full_like(image, MID_GRAY)
    return fill_smoothly(image.permute(2, 0, 1), ~hole).permute(1, 2, 0)  # HWC -> CHW -> HWC


def pair(images: int, masks: int, exemplar_counts: Sequence[int] = (1,)) -> tuple[int, ...]:
    """Index of the picture that each region belongs to, from the numbers of images and masks.

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
    for count in exemplar_counts:
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
    exemplar_counts: Sequence[int] = (1,),
) -> Regions:
    """Plan what to paint.

    Args:
        images: [B, H, W, C] in [0, 1]; gray becomes RGB, of alpha only 0 counts (see
            `Regions.crop`).
        masks: [N, h, w] or [h, w], 1 = repaint; resized to the images and thresholded.
        resolution: painting resolution in pixels: side of a square of equal area.
        multiple: number that height and width must be multiples of.
        context: size of the region relative to the mask's bounding box, 2 = twice as wide and
            high; None = the whole picture.
        feather_pixels: width of the ramp that is to be pasted outside the mask; each region has
            room for it, and reaches at least `MIN_MARGIN` pixels beyond its mask.
        exemplar_counts: numbers of exemplars, each to be checked against the regions.

    Raises:
        ValueError: an empty mask, counts that cannot be paired, or a resolution below 64.
    """
    if resolution < MIN_RESOLUTION:
        raise ValueError(
            f"resolution is {resolution}; choose at least {MIN_RESOLUTION}, best the 512 that the "
            "model was trained at."
        )
    transparent = images[..., -1] == 0 if images.shape[-1] in (2, 4) else None
    images = to_rgb(images)
    height, width = images.shape[1:3]
    masks = masks.reshape(-1, *masks.shape[-2:])
    image_index = pair(len(images), len(masks), exemplar_counts)
    # one by one, and kept only within their regions: many large masks would fill the memory
    boxes = [
        require_marked(_binary_mask(mask, (height, width)), number, len(masks))
        for number, mask in enumerate(masks)
    ]

    whole = Bounds(0, 0, width, height)
    square = paint_size(Bounds(0, 0, 1, 1), resolution, multiple)
    if context is None:
        bounds = [whole] * len(masks)
        sizes = {paint_size(whole, resolution, multiple)}
    else:
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
    holes = [
        each.cut(_binary_mask(mask, (height, width))).to(images.device, copy=True)
        for mask, each in zip(masks, bounds, strict=True)
    ]
    if len(masks) == 1:  # for all pictures
        holes, bounds = holes * len(image_index), bounds * len(image_index)
    return Regions(images, transparent, tuple(holes), image_index, tuple(bounds), size)


def _binary_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """The mask [h, w] as bool, resized to (height, width)."""
    marked = mask >= 0.5
    if marked.shape == size:
        return marked
    resized = F.interpolate(marked[None, None].float(), size, mode="bilinear")
    return resized[0, 0] >= 0.5
