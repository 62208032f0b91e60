"""Regions: where they lie, what they cut, and that pasting changes nothing else."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from exemplar_model.bounds import Bounds, mask_box, paint_size, region_bounds, region_shape
from exemplar_model.mask import masked_image
from exemplar_model.region import Regions, find_regions, pair

SQUARE = (1, 1)
PLAN = {"resolution": 64, "multiple": 8, "context": 2.0}


def rectangle(height: int, width: int, box: tuple[int, int, int, int]) -> Tensor:
    mask = torch.zeros(height, width)
    top, bottom, left, right = box
    mask[top:bottom, left:right] = 1
    return mask


def patches(regions: Regions, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(len(regions), *regions.size, 3, generator=generator)


@st.composite
def boxes(draw: st.DrawFn) -> tuple[Bounds, Bounds]:
    width, height = draw(st.integers(1, 400)), draw(st.integers(1, 400))
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    box = Bounds(x, y, draw(st.integers(1, width - x)), draw(st.integers(1, height - y)))
    return box, Bounds(0, 0, width, height)


@given(boxes(), st.floats(1, 8), st.integers(1, 64))
def test_region_holds_the_box_and_its_margin(
    sizes: tuple[Bounds, Bounds], context: float, margin: int
) -> None:
    box, whole = sizes
    region = region_bounds(box, whole, context, margin, SQUARE)
    assert region.x >= 0 and region.x + region.width <= whole.width
    assert region.y >= 0 and region.y + region.height <= whole.height
    assert region.x <= max(0, box.x - margin)
    assert region.y <= max(0, box.y - margin)
    assert region.x + region.width >= min(whole.width, box.x + box.width + margin)
    assert region.y + region.height >= min(whole.height, box.y + box.height + margin)
    longest = max(box.width, box.height) + 2 * margin
    if longest <= min(whole.width, whole.height):
        assert region.width == region.height


def test_region_is_context_times_the_box() -> None:
    region = region_bounds(Bounds(100, 80, 40, 20), Bounds(0, 0, 500, 400), 2.5, 8, SQUARE)
    assert region == Bounds(70, 40, 100, 100)


@pytest.mark.parametrize(
    ("width", "height", "resolution", "shape"),
    [
        (300, 300, 512, (512, 512)),
        (300, 280, 512, (512, 512)),
        (300, 200, 512, (448, 640)),
        (200, 300, 512, (640, 448)),
        (300, 150, 512, (384, 704)),
        (300, 20, 512, (384, 704)),
        (300, 150, 64, (64, 64)),
        (300, 150, 520, (392, 712)),
    ],
)
def test_the_region_takes_the_shape_of_the_mask(
    width: int, height: int, resolution: int, shape: tuple[int, int]
) -> None:
    mask = rectangle(2000, 2000, (900, 900 + height, 800, 800 + width))
    regions = find_regions(
        torch.rand(1, 2000, 2000, 3), mask, resolution=resolution, multiple=8, context=2.0
    )
    assert regions.size == shape
    bounds = regions.bounds[0]
    assert bounds.width / bounds.height == pytest.approx(shape[1] / shape[0], rel=0.01)
    assert max(bounds.width / width, bounds.height / height) >= 2 - 0.01
    assert min(bounds.width / width, bounds.height / height) >= 2 - 0.01 or width < 300


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(64, 1024))
def test_a_region_costs_what_the_square_costs(width: int, height: int, resolution: int) -> None:
    h, w = region_shape(Bounds(0, 0, width, height), resolution)
    assert (h - resolution) % 64 == 0 and (w - resolution) % 64 == 0
    assert h * w == pytest.approx(resolution**2, rel=1 / 10)
    if h != w:
        assert (w > h) == (width > height)


def test_regions_of_other_shapes_in_one_batch_are_all_square() -> None:
    image = torch.rand(1, 900, 900, 3)
    wide, tall = (100, 150, 100, 200), (500, 600, 500, 550)
    masks = torch.stack([rectangle(900, 900, box) for box in (wide, tall)])
    plan = {"resolution": 512, "multiple": 8, "context": 2.0}
    both = find_regions(image, masks, **plan)
    assert both.size == (512, 512)
    assert all(each.width == each.height for each in both.bounds)
    assert find_regions(image, masks[[0, 0]], **plan).size == (384, 704)


def test_at_the_edge_of_the_picture_the_region_keeps_its_shape() -> None:
    mask = rectangle(400, 900, (0, 100, 700, 900))
    plan = {"resolution": 512, "multiple": 8, "context": 2.0}
    regions = find_regions(torch.rand(1, 400, 900, 3), mask, **plan)
    assert regions.size == (384, 704)
    bounds = regions.bounds[0]
    assert bounds.x + bounds.width == 900 and bounds.y == 0


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(64, 1024), st.sampled_from([4, 8]))
def test_paint_size_has_the_area_and_the_multiple(
    width: int, height: int, resolution: int, multiple: int
) -> None:
    h, w = paint_size(Bounds(0, 0, width, height), resolution, multiple)
    assert h % multiple == 0 and w % multiple == 0
    if max(width / height, height / width) < 4:
        assert h * w == pytest.approx(resolution**2, rel=4 * multiple / resolution)


@pytest.mark.parametrize("size", [(512, 512), (64, 96), (768, 1024)])
def test_a_picture_of_the_right_area_is_not_resampled(size: tuple[int, int]) -> None:
    resolution = round((size[0] * size[1]) ** 0.5)
    image = torch.rand(1, *size, 3)
    mask = rectangle(*size, (8, 40, 8, 40))
    regions = find_regions(image, mask, resolution=resolution, multiple=8, context=None)
    images, masks = regions.crop()
    assert torch.equal(images, image) and torch.equal(masks[0], mask)


def test_pairs() -> None:
    assert pair(1, 1) == (0,)
    assert pair(1, 3) == pair(1, 3, [3]) == pair(1, 3, [3, 1]) == (0, 0, 0)
    assert pair(4, 4, [4]) == pair(4, 1) == (0, 1, 2, 3)
    with pytest.raises(ValueError, match=r"^4 images and 3 masks cannot be paired; .+\.$"):
        pair(4, 3)
    with pytest.raises(ValueError, match=r"^3 exemplars and 2 masked regions .+\.$"):
        pair(1, 2, [2, 3])
    with pytest.raises(ValueError, match=r"^2 exemplars and 1 masked regions .+\.$"):
        pair(1, 1, [2])


MASKS = {
    "inside": (200, 433, 500, 801),
    "corner": (600, 719, 1200, 1277),
    "everything": (0, 719, 0, 1277),
    "half": (0, 719, 0, 640),
    "one pixel": (300, 301, 300, 301),
}


@pytest.mark.parametrize("box", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("feather", [0, 8, 33])
@pytest.mark.parametrize("context", [None, 1.0, 2.0])
def test_nothing_changes_outside_the_pasted_area(
    box: tuple[int, int, int, int], feather: int, context: float | None
) -> None:
    image = torch.rand(1, 719, 1277, 4)
    mask = rectangle(719, 1277, box)
    before = image.clone(), mask.clone()
    regions = find_regions(
        image, mask, resolution=64, multiple=8, context=context, feather_pixels=feather
    )
    result, weight = regions.paste(patches(regions), feather, match_color=True)
    assert torch.equal(image, before[0]) and torch.equal(mask, before[1])
    assert result.shape == (1, 719, 1277, 3)
    outside = weight == 0
    assert torch.equal(result[outside], image[..., :3][outside])
    assert (weight[0][mask == 1] == 1).all()
    near = mask[None]
    for kernel, padding in (
        ((2 * feather + 1, 1), (feather, 0)),
        ((1, 2 * feather + 1), (0, feather)),
    ):
        near = torch.nn.functional.max_pool2d(near, kernel, 1, padding)
    assert (weight[near == 0] == 0).all()
    assert float((result - image[..., :3]).abs().max()) > 0.05


def test_paint_arrives_where_the_mask_is() -> None:
    image = torch.zeros(1, 300, 400, 3)
    mask = rectangle(300, 400, (100, 180, 200, 280))
    regions = find_regions(image, mask, **PLAN)
    result, _ = regions.paste(torch.ones(1, *regions.size, 3), 0, match_color=False)
    torch.testing.assert_close(result[0, ..., 0], mask, rtol=0, atol=1e-6)


def test_crop_and_paste_of_an_unchanged_region_is_the_identity() -> None:
    image = torch.rand(1, 128, 128, 3)
    mask = rectangle(128, 128, (48, 80, 48, 80))
    regions = find_regions(image, mask, **PLAN)
    cropped, _ = regions.crop()
    result, _ = regions.paste(cropped, 8, match_color=False)
    assert regions.bounds[0] == Bounds(32, 32, 64, 64)
    torch.testing.assert_close(result, image, rtol=0, atol=1e-6)


def test_several_regions_of_one_picture_overlap_in_order() -> None:
    image = torch.zeros(1, 200, 200, 3)
    masks = torch.stack(
        [rectangle(200, 200, (20, 100, 20, 100)), rectangle(200, 200, (60, 140, 60, 140))]
    )
    regions = find_regions(image, masks, **PLAN)
    paint = torch.stack([torch.full((*regions.size, 3), value) for value in (0.25, 0.75)])
    result, weight = regions.paste(paint, 0, match_color=False)
    assert result.shape == (1, 200, 200, 3)
    expected = torch.zeros(200, 200)
    expected[20:100, 20:100], expected[60:140, 60:140] = 0.25, 0.75
    torch.testing.assert_close(result[0, ..., 0], expected, rtol=0, atol=1e-6)
    assert torch.equal(weight[0], masks.amax(0))


def test_images_and_masks_in_pairs() -> None:
    images = torch.rand(2, 90, 120, 3)
    masks = torch.stack(
        [rectangle(90, 120, (10, 40, 10, 40)), rectangle(90, 120, (50, 80, 60, 110))]
    )
    regions = find_regions(images, masks, **PLAN)
    result, weight = regions.paste(patches(regions), 4, match_color=True)
    assert result.shape == images.shape and weight.shape == masks.shape
    for number in range(2):
        alone = find_regions(images[number : number + 1], masks[number], **PLAN)
        expected, _ = alone.paste(patches(regions)[number : number + 1], 4, match_color=True)
        assert torch.equal(result[number], expected[0])


def test_one_mask_serves_all_images() -> None:
    images, mask = torch.rand(3, 64, 64, 3), rectangle(64, 64, (20, 40, 20, 40))
    assert len(find_regions(images, mask, **PLAN)) == 3


def test_variants_of_one_region_give_a_picture_each() -> None:
    image, mask = torch.rand(1, 90, 120, 3), rectangle(90, 120, (20, 50, 20, 50))
    regions = find_regions(image, mask, **PLAN)
    variants = torch.rand(3, 32, 32, 3)
    result, weight = regions.paste(variants, 4, match_color=False)
    assert result.shape == (3, 90, 120, 3) and weight.shape == (3, 90, 120)
    expected, _ = regions.paste(variants[2:], 4, match_color=False)
    assert torch.equal(result[2], expected[0])


def test_wrong_number_of_patches() -> None:
    masks = torch.stack([rectangle(64, 64, (2, 9, 2, 9)), rectangle(64, 64, (30, 40, 30, 40))])
    regions = find_regions(torch.rand(1, 64, 64, 3), masks, **PLAN)
    with pytest.raises(ValueError, match=r"^3 painted images do not fit the 2 regions .+\.$"):
        regions.paste(torch.rand(3, 64, 64, 3), 8, match_color=True)


def test_regions_of_unequal_shape_share_the_square() -> None:
    masks = torch.stack(
        [rectangle(100, 400, (40, 60, 10, 380)), rectangle(100, 400, (40, 60, 10, 30))]
    )
    regions = find_regions(torch.rand(1, 100, 400, 3), masks, **PLAN)
    assert regions.size == (64, 64)
    assert regions.crop()[0].shape == (2, 64, 64, 3)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_any_number_of_channels_becomes_three(channels: int) -> None:
    image, mask = torch.rand(1, 64, 64, channels), rectangle(64, 64, (20, 40, 20, 40))
    assert find_regions(image, mask, **PLAN).crop()[0].shape[-1] == 3


def test_mask_of_another_size_is_resized_and_thresholded() -> None:
    mask = torch.zeros(32, 32)
    mask[8:16, 8:16] = 0.6
    regions = find_regions(torch.rand(1, 64, 64, 3), mask, **PLAN)
    assert torch.equal(regions.masks[0], rectangle(64, 64, (16, 32, 16, 32)))


def test_empty_masks_are_named() -> None:
    image = torch.rand(1, 64, 64, 3)
    with pytest.raises(ValueError, match=r"^The mask is empty; .+\.$"):
        find_regions(image, torch.zeros(64, 64), **PLAN)
    masks = torch.stack([rectangle(64, 64, (1, 9, 1, 9)), torch.full((64, 64), 0.4)])
    with pytest.raises(ValueError, match=r"^Mask 2 of 2 is empty; .+\.$"):
        find_regions(image, masks, **PLAN)


def test_resolution_has_a_lower_bound() -> None:
    with pytest.raises(ValueError, match=r"^resolution is 63; choose at least 64, .+\.$"):
        find_regions(torch.rand(1, 64, 64, 3), torch.ones(64, 64), **{**PLAN, "resolution": 63})


def test_box_of_a_mask() -> None:
    assert mask_box(torch.zeros(5, 5)) is None
    mask = torch.zeros(9, 7)
    mask[2, 5] = mask[6, 1] = 1
    assert mask_box(mask) == Bounds(1, 2, 5, 5)


@pytest.mark.parametrize(("feather", "room"), [(0, 8), (7, 8), (30, 31)])
def test_a_region_has_room_for_the_ramp_and_a_kept_pixel_beyond(feather: int, room: int) -> None:
    mask = rectangle(400, 400, (150, 250, 150, 250))
    plan = {"resolution": 64, "multiple": 8, "context": 1.0}
    regions = find_regions(torch.rand(1, 400, 400, 3), mask, **plan, feather_pixels=feather)
    assert regions.bounds[0] == Bounds(150 - room, 150 - room, 100 + 2 * room, 100 + 2 * room)
    _, weight = regions.paste(patches(regions), feather, match_color=True)
    assert weight[0].any(dim=0).sum() > 100 + 2 * feather - 4


def test_feather_ends_within_the_region() -> None:
    """A ramp wider than the region's margin would paste the region's border."""
    image = torch.zeros(1, 200, 200, 3)
    regions = find_regions(image, rectangle(200, 200, (90, 110, 90, 110)), **PLAN)
    result, weight = regions.paste(torch.ones(1, *regions.size, 3), 64, match_color=False)
    bounds = regions.bounds[0]
    border = bounds.cut(weight[0]).clone()
    border[1:-1, 1:-1] = 0
    assert float(border.max()) < 0.15
    jumps = torch.maximum(weight.diff(dim=1).abs().max(), weight.diff(dim=2).abs().max())
    assert float(jumps) < 0.15
    torch.testing.assert_close(result[0, ..., 0], weight[0], rtol=0, atol=1e-6)


def test_patches_are_brought_to_the_device_of_the_picture() -> None:
    """A host may keep its results on the GPU; the meta device stands for it."""
    image, mask = torch.rand(1, 64, 64, 3), rectangle(64, 64, (20, 40, 20, 40))
    regions = find_regions(image, mask, **PLAN)
    with pytest.raises(NotImplementedError, match="meta"):  # the copy itself, not a mixed device
        regions.paste(torch.rand(1, 64, 64, 3, device="meta"), 4, match_color=True)


CONTENTS = st.sampled_from([0.0, 1.0, -5.0, 1e30, float("inf"), float("nan"), None])  # None: noise


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 90),
    st.integers(0, 90),
    st.integers(1, 60),
    st.integers(1, 60),
    st.sampled_from([None, 1.0, 2.0]),
    st.sampled_from([0, 5]),
    CONTENTS,
)
def test_nothing_under_the_mask_reaches_the_model_or_the_result(
    top: int,
    left: int,
    height: int,
    width: int,
    context: float | None,
    feather: int,
    content: float | None,
) -> None:
    """Whatever lies there: the masked picture and the pasted result are the same bit for bit."""
    generator = torch.Generator().manual_seed(0)
    mask = rectangle(100, 150, (top, min(100, top + height), left, left + width))
    image = torch.rand(1, 100, 150, 3, generator=generator)
    noise = torch.rand(image.shape, generator=generator)
    other = noise if content is None else torch.full_like(image, content)
    results: list[tuple[Tensor, Tensor]] = []
    for picture in (image, torch.where(mask[None, ..., None] == 1, other, image)):
        regions = find_regions(
            picture, mask, resolution=64, multiple=8, context=context, feather_pixels=feather
        )
        pasted, _ = regions.paste(patches(regions), feather, match_color=True)
        results.append((masked_image(*regions.crop()), pasted))
    for before, after in zip(*results, strict=True):
        assert torch.equal(before, after)


def gradient(height: int, width: int) -> Tensor:
    """A picture [1, H, W, 3] that gets brighter from left to right, from 0.2 to 0.8."""
    return torch.linspace(0.2, 0.8, width)[None, None, :, None].expand(1, height, -1, 3).clone()


@pytest.mark.parametrize("resolution", [64, 200])  # half the size, and no resizing at all
@pytest.mark.parametrize("erased", ["black", "mostly black", "transparent"])
def test_painting_starts_from_the_surroundings_where_the_picture_was_erased(
    erased: str, resolution: int
) -> None:
    image = gradient(200, 200)
    box = (slice(60, 140), slice(60, 140))
    mask = torch.zeros(200, 200)
    mask[box] = 1
    expected = image.clone()
    if erased == "transparent":
        alpha = 1.0 - mask
        image[0][box] = 1.0
        image = torch.cat([image, alpha[None, ..., None]], dim=-1)
    else:
        image[0][box] = 0.0
    if erased == "mostly black":
        image[0, 60:80, 60:140] = expected[0, 60:80, 60:140] = 0.9
    plan = {"resolution": resolution, "multiple": 8, "context": None}
    images, masks = find_regions(image, mask, **plan).crop()
    wanted, _ = find_regions(expected, mask, **plan).crop()
    inside = masks > 0
    assert float((images - wanted)[inside].abs().mean()) < 0.05
    assert float((images - wanted)[inside].abs().max()) < 0.35
    assert torch.equal(images[~inside], wanted[~inside])


def test_what_was_not_erased_is_what_painting_starts_from() -> None:
    """Dark pixels are a part of the picture unless they are most of what is masked."""
    image, mask = gradient(100, 100), rectangle(100, 100, (40, 60, 40, 60))
    image[0, 40:50, 40:60] = 0.0  # one half
    plan = {"resolution": 100, "multiple": 4, "context": None}
    assert torch.equal(find_regions(image, mask, **plan).crop()[0], image)
    image[0, 50, 40] = 0.0
    assert not torch.equal(find_regions(image, mask, **plan).crop()[0], image)


def test_a_hole_that_is_all_of_the_region_is_grey_where_it_is_black() -> None:
    regions = find_regions(torch.zeros(1, 100, 100, 3), torch.ones(100, 100), **PLAN)
    torch.testing.assert_close(regions.crop()[0], torch.full((1, 64, 64, 3), 0.5))


def test_masks_are_kept_within_their_regions_and_one_byte_per_pixel() -> None:
    masks = torch.stack([rectangle(900, 900, (y, y + 10, 30, 40)) for y in range(0, 800, 100)])
    regions = find_regions(torch.rand(1, 900, 900, 3), masks, **PLAN)
    sizes = [hole.untyped_storage().nbytes() for hole in regions.holes]
    assert sizes == [each.width * each.height for each in regions.bounds]
    assert max(sizes) <= 30**2
    assert torch.equal(regions.masks, masks)
