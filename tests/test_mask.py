"""Keep mask, hole and feather."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from torch import Tensor

from exemplar_model.bounds import mask_box
from exemplar_model.mask import (
    MAX_AREAS,
    feather,
    latent_keep_mask,
    masked_image,
    prepare_masks,
    resize_mask,
    split_masks,
)

binary_masks = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 24), st.integers(1, 24)), elements=st.sampled_from([0, 1])
).map(torch.from_numpy)
marked_masks = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    elements=st.sampled_from([0.0, 0.49, 0.5, 1.0]),
)
marked_masks = marked_masks.map(torch.from_numpy).filter(lambda mask: bool((mask >= 0.5).any()))


def reference_keep_mask(mask: Tensor, height: int, width: int) -> Tensor:
    """scripts/inference.py, then torchvision 0.12 `Resize` on a tensor, written out by pixel."""
    keep = 1 - mask.double()
    keep[keep < 0.5] = 0
    keep[keep >= 0.5] = 1
    H, W = keep.shape
    result = torch.zeros(height, width, dtype=torch.float64)
    for i in range(height):
        for j in range(width):
            y = max(0.0, (i + 0.5) * H / height - 0.5)
            x = max(0.0, (j + 0.5) * W / width - 0.5)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, H - 1), min(left + 1, W - 1)
            fy, fx = y - top, x - left
            upper = keep[top, left] * (1 - fx) + keep[top, right] * fx
            lower = keep[bottom, left] * (1 - fx) + keep[bottom, right] * fx
            result[i, j] = upper * (1 - fy) + lower * fy
    return result


@pytest.mark.parametrize("box", [(8, 32, 16, 48), (5, 30, 11, 45), (0, 64, 0, 64), (3, 4, 3, 4)])
def test_keep_mask_equals_the_reference_on_and_off_the_grid(box: tuple[int, ...]) -> None:
    mask = torch.zeros(64, 64)
    top, bottom, left, right = box
    mask[top:bottom, left:right] = torch.linspace(0.6, 1.0, right - left)
    result = latent_keep_mask(mask[None, None], (8, 8))[0, 0]
    torch.testing.assert_close(result.double(), reference_keep_mask(mask, 8, 8))


def test_soft_values_reach_the_unet_off_the_grid() -> None:
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 4:36, 4:36] = 1
    values = set(latent_keep_mask(mask, (8, 8)).unique().tolist())
    assert values == {0.0, 0.5, 0.75, 1.0}


def test_hole_is_mid_grey_and_the_input_stays() -> None:
    image = torch.rand(2, 4, 5, 3)
    mask = torch.zeros(2, 4, 5)
    mask[0, 1, 2], mask[1, 0, 0], mask[1, 3, 3] = 1.0, 0.5, 0.49
    before = image.clone()
    result = masked_image(image, mask)
    assert torch.equal(image, before)
    assert (result[0, 1, 2] == 0.5).all() and (result[1, 0, 0] == 0.5).all()
    changed = (result != image).any(-1)
    assert int(changed.sum()) == 2


@settings(deadline=None)
@given(binary_masks, st.integers(1, 40), st.integers(1, 40))
def test_resized_mask_covers_all_that_is_repainted(mask: Tensor, height: int, width: int) -> None:
    resized = resize_mask(mask[None], (height, width))[0]
    assert set(resized.unique().tolist()) <= {0.0, 1.0}
    rows, columns = mask.nonzero(as_tuple=True)
    for y, x in zip(rows.tolist(), columns.tolist(), strict=True):
        top, left = y * height // mask.shape[0], x * width // mask.shape[1]
        assert resized[top, left] == 1
    assert bool(resized.any()) == bool(mask.any())


@settings(deadline=None)
@given(binary_masks, st.integers(0, 9))
def test_feather_is_one_on_the_mask_and_zero_beyond_its_width(mask: Tensor, pixels: int) -> None:
    weight = feather(mask, pixels)
    assert weight.shape == mask.shape
    assert float(weight.min()) >= 0 and float(weight.max()) <= 1
    assert (weight[mask == 1] == 1).all()
    ys, xs = mask.nonzero(as_tuple=True)
    for y, x in (weight > 0).nonzero().tolist():
        assert int(torch.maximum((ys - y).abs(), (xs - x).abs()).min()) <= pixels
    if pixels == 0:
        assert torch.equal(weight, mask)


def test_feather_falls_in_equal_steps() -> None:
    mask = torch.zeros(9, 40)
    mask[:, :20] = 1
    weight = feather(mask, 8)[4]
    torch.testing.assert_close(weight[20:28], torch.arange(8, 0, -1) / 9)
    assert (weight[28:] == 0).all()


def reached_from_first_pixel(part: Tensor) -> Tensor:
    """Flood fill by growing into all eight neighbours until nothing changes."""
    reached = torch.zeros_like(part)
    reached[tuple(part.nonzero()[0])] = 1
    while True:
        grown = torch.nn.functional.max_pool2d(reached[None], 3, stride=1, padding=1)[0] * part
        if torch.equal(grown, reached):
            return reached
        reached = grown


@settings(deadline=None)
@given(marked_masks)
def test_parts_are_the_mask_cut_into_connected_pieces(mask: Tensor) -> None:
    before = mask.clone()
    parts = split_masks(mask)
    assert torch.equal(mask, before)
    assert parts.untyped_storage().nbytes() == parts.numel()  # large ones fill the memory
    parts = parts.float()
    assert torch.equal(parts.sum(0), (mask >= 0.5).float())  # all of it, and nothing twice
    for part in parts:
        assert torch.equal(reached_from_first_pixel(part), part)
    for number, part in enumerate(parts):  # no two of them touch
        around = torch.nn.functional.max_pool2d(part[None], 3, stride=1, padding=1)[0]
        assert float((around * parts[number + 1 :].sum(0)).sum()) == 0
    edges = [box[:2] for part in parts if (box := mask_box(part)) is not None]
    assert edges == sorted(edges) and len(edges) == len(parts)


@settings(deadline=None)
@given(marked_masks, st.sampled_from([0.25, 0.5, 0.75, 1.0]))
def test_small_parts_are_dropped(mask: Tensor, min_size: float) -> None:
    everything = split_masks(mask)
    sizes = everything.sum((1, 2))
    kept = everything[sizes >= min_size * sizes.max()]
    assert torch.equal(split_masks(mask, min_size), kept)


def test_parts_go_from_left_to_right_and_top_to_bottom() -> None:
    mask = torch.zeros(9, 9)
    mask[0:2, 6:8] = mask[7, 0] = mask[3:5, 2] = mask[0, 2] = 1
    boxes = [mask_box(part) for part in split_masks(mask)]
    assert boxes == [(0, 7, 1, 1), (2, 0, 1, 1), (2, 3, 1, 2), (6, 0, 2, 2)]


def test_several_masks_are_split_one_by_one() -> None:
    """The largest area is that of the same mask, and the order of the masks stays."""
    masks = torch.zeros(2, 8, 8)
    masks[0, :, 4:] = masks[0, 0, 0] = 1
    masks[1, 0, 0] = masks[1, 7, 7] = 1
    boxes = [mask_box(part) for part in split_masks(masks, 0.5)]
    assert boxes == [(4, 0, 4, 8), (0, 0, 1, 1), (7, 7, 1, 1)]


def test_masks_that_cannot_be_split_are_named() -> None:
    with pytest.raises(ValueError, match=r"^The mask is empty; .+\.$"):
        split_masks(torch.full((4, 4), 0.49))
    with pytest.raises(ValueError, match=r"^Mask 2 of 2 is empty; .+\.$"):
        split_masks(torch.stack([torch.ones(4, 4), torch.zeros(4, 4)]))
    side = 2 * int(MAX_AREAS**0.5) + 2
    dots = torch.zeros(side, side)
    dots[::2, ::2] = 1
    with pytest.raises(ValueError, match=r"^The mask has 289 separate areas, .+ min_size .+\.$"):
        split_masks(dots)
    dots[:2] = 1  # one large area
    assert len(split_masks(dots, 0.1)) == 1


@settings(deadline=None)
@given(marked_masks, st.integers(-3, 4))
def test_growing_reaches_what_is_near_and_shrinking_the_rest(mask: Tensor, grow: int) -> None:
    """By distance to the nearest pixel of the mask, or of what it leaves out."""
    binary = mask >= 0.5
    border = (binary if grow >= 0 else ~binary).nonzero()
    everywhere = torch.ones_like(mask).nonzero()
    distance = (everywhere[:, None] - border[None]).abs().amax(-1)  # of each pixel to the border's
    near = (distance <= abs(grow)).any(1).reshape(mask.shape)
    expected = near if grow >= 0 else ~near
    if expected.any():
        assert torch.equal(prepare_masks(mask, grow=grow)[0], expected)
    else:
        with pytest.raises(ValueError, match=r"^Nothing is left of the mask .+ grow -\d; .+\.$"):
            prepare_masks(mask, grow=grow)


def test_growing_far_costs_no_more_than_growing_a_little() -> None:
    mask = torch.zeros(600, 600)
    mask[300, 300] = 1

    def seconds(grow: int) -> float:
        start = time.process_time()
        prepare_masks(mask, grow=grow)
        return time.process_time() - start

    little, far = (min(seconds(grow) for _ in range(5)) for grow in (2, 200))
    assert far < 5 * little  # measured: 1.2 times; of max_pool2d: 26 times


@settings(deadline=None)
@given(marked_masks)
def test_filled_is_all_that_cannot_be_reached_from_outside(mask: Tensor) -> None:
    """Over sides, since areas of a mask hold together over corners."""
    kept = torch.nn.functional.pad((mask < 0.5).float(), (1, 1, 1, 1), value=1.0)
    outside = torch.zeros_like(kept)
    outside[0, 0] = 1.0
    for _ in range(kept.numel()):
        steps = [outside.roll(shift, axis) for shift in (1, -1) for axis in (0, 1)]
        outside = torch.stack([outside, *steps]).amax(0) * kept
    expected = 1.0 - outside[1:-1, 1:-1]
    assert torch.equal(prepare_masks(mask, fill_holes=True)[0], expected == 1)


@settings(deadline=None)
@given(marked_masks)
def test_the_largest_part_is_kept(mask: Tensor) -> None:
    parts = split_masks(mask)
    (kept,) = prepare_masks(mask, largest=True)
    assert any(torch.equal(kept, part) for part in parts)
    assert kept.sum() == parts.sum((1, 2)).max()


@settings(deadline=None)
@given(marked_masks, st.integers(0, 2), st.booleans(), st.booleans())
def test_prepared_masks_are_binary_and_the_input_stays(
    mask: Tensor, grow: int, fill_holes: bool, largest: bool
) -> None:
    before = mask.clone()
    once = prepare_masks(mask, 0.5, grow, fill_holes, largest)
    assert torch.equal(mask, before)
    assert once.dtype == torch.bool
    again = prepare_masks(torch.stack([mask, mask]), 0.5, grow, fill_holes, largest)
    assert torch.equal(again, once.repeat(2, 1, 1))


def test_holes_are_filled_before_growing_and_specks_dropped_before_holes() -> None:
    mask = torch.zeros(16, 16)
    mask[2:9, 2:9] = 1
    mask[4:7, 4:7] = 0
    mask[5, 5] = 1  # a speck in the hole
    mask[13, 13] = 1
    (prepared,) = prepare_masks(mask, grow=-1, fill_holes=True, largest=True)
    expected = torch.zeros(16, 16, dtype=torch.bool)
    expected[3:8, 3:8] = True
    assert torch.equal(prepared, expected)


@pytest.mark.parametrize("quality", [5, 10, 50])
def test_a_mask_survives_jpeg(quality: int) -> None:
    """Its ringing makes soft edges and specks, which are gone after the threshold."""
    y, x = torch.meshgrid(torch.arange(128), torch.arange(128), indexing="ij")
    mask = ((x - 60) ** 2 + (y - 66) ** 2 < 35**2).float()
    data = io.BytesIO()
    Image.fromarray((mask * 255).byte().numpy()).save(data, "JPEG", quality=quality)
    noisy = torch.from_numpy(np.array(Image.open(data))).float() / 255
    assert int(((noisy > 0) & (noisy < 1)).sum()) > 500
    prepared = prepare_masks(noisy, fill_holes=True, largest=True)[0].float()
    assert float((prepared * mask).sum() / torch.maximum(prepared, mask).sum()) > 0.95


def test_threshold_and_what_is_left_of_each_mask() -> None:
    masks = torch.tensor([[[0.0, 0.3, 0.98, 1.0]], [[0.3, 0.3, 0.0, 0.0]]])
    assert prepare_masks(masks, 0.3).tolist() == [[[0, 1, 1, 1]], [[1, 1, 0, 0]]]
    with pytest.raises(ValueError, match=r"^Nothing is left of mask 2 of 2 at threshold 0.5 .+\.$"):
        prepare_masks(masks)
