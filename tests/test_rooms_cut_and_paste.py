"""The exemplar's own pixels in the hole."""

import pytest
import torch

from exemplar_model.bounds import Bounds
from lab.tiny_model.rooms.cut_and_paste import (
    LASSO,
    blend_poisson,
    comparison_row,
    cut_and_paste,
    fit,
    move,
)
from lab.tiny_model.rooms.placement import OutlinedPicture

generator = torch.Generator().manual_seed(0)


def noise(*size):
    """8-bit values, as pictures have them."""
    return torch.randint(0, 256, size, generator=generator) / 255


def exemplar(height=32, width=40):
    box, outline = Bounds(8, 6, 16, 12), torch.zeros(height, width, dtype=torch.bool)
    box.cut(outline).fill_(True)
    box.cut(outline)[:4, :4] = False  # no rectangle, but with the same box
    return OutlinedPicture(noise(height, width, 3), outline)


def test_at_its_own_size_the_object_keeps_its_pixels():
    thing, image, box = exemplar(), noise(50, 60, 3), Bounds(30, 20, 16, 12)
    result = cut_and_paste(image, thing, box)
    inside = thing.box.cut(thing.outline)
    assert torch.equal(box.cut(result)[inside], thing.box.cut(thing.pixels)[inside])
    box.cut(result)[inside] = box.cut(image)[inside]
    assert torch.equal(result, image)


@pytest.mark.parametrize("box", [Bounds(0, 0, 60, 50), Bounds(50, 44, 10, 6), Bounds(3, 5, 8, 6)])
def test_the_outline_fills_the_box_wherever_it_lies(box):
    thing = exemplar()
    image = noise(50, 60, 3)
    _, coverage = move(thing, box, image)
    rows, columns = (coverage > 0.5).any(1).nonzero(), (coverage > 0.5).any(0).nonzero()
    assert (int(columns[0]), int(rows[0])) == (box.x, box.y)
    assert len(columns) == box.width
    assert len(rows) == box.height


def test_the_object_keeps_its_proportions_and_stands_on_the_floor():
    thing = exemplar()  # 16 × 12
    assert fit(thing, Bounds(10, 10, 32, 40)) == Bounds(10, 26, 32, 24)
    assert fit(thing, Bounds(10, 10, 40, 12)) == Bounds(22, 10, 16, 12)


def test_poisson_blending_takes_the_difference_to_the_surroundings():
    """On even ground, the object's contrast to its own ground comes along, and no more."""
    thing = exemplar()
    even = torch.full_like(thing.pixels, 0.3)
    contrast = 0.2 * noise(*thing.outline.shape)[..., None] * thing.outline[..., None]
    contrast = (contrast * 255).round() / 255
    thing = OutlinedPicture((even * 255).round() / 255 + contrast, thing.outline)
    image, box = torch.full((50, 60, 3), 0.6), Bounds(30, 20, 16, 12)
    result = blend_poisson(image, thing, box)
    expected = 0.6 + thing.box.cut(contrast.expand(-1, -1, 3))
    torch.testing.assert_close(box.cut(result), expected, atol=2e-3, rtol=0)


def test_poisson_blending_leaves_the_picture_beyond_the_lasso():
    thing, image, box = exemplar(), noise(50, 60, 3), Bounds(30, 20, 16, 12)
    result = blend_poisson(image, thing, box)
    outside = torch.ones(50, 60, dtype=torch.bool)
    outside[20 - LASSO : 32 + LASSO, 30 - LASSO : 46 + LASSO] = False
    assert torch.equal(result[outside], image[outside])
    assert not torch.equal(box.cut(result), box.cut(image))


def test_a_row_shows_our_result_beside_both_ways_of_pasting():
    thing, image, box = exemplar(), torch.full((48, 64, 3), 0.5), Bounds(20, 10, 32, 24)
    result = torch.zeros(48, 64, 3)
    row = comparison_row(image, thing, box, result, height=96)
    assert row.width == 3 * 128 + 2 * 10
    ours, pasted = row.getpixel((64, 80)), row.getpixel((128 + 10 + 20, 60))
    assert ours == (0, 0, 0)
    assert pasted == (128, 128, 128)
