"""What the tower sees of an exemplar."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from exemplar_model.exemplar import exemplar_view

EXAMPLES = Path(__file__).parents[2] / "shared" / "examples"


def picture(height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(height * width)
    coarse = torch.rand(1, 3, 6, 6, generator=generator)
    image = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    return (image[0].permute(1, 2, 0) * 255).round() / 255


def to_pil(image: Tensor) -> Image.Image:
    return Image.fromarray((image * 255).round().byte().numpy())


def from_pil(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).float() / 255


@pytest.mark.parametrize("size", [(100, 300), (333, 77), (224, 224), (1, 1)])
def test_stretch_is_pillows_resize(size: tuple[int, int]) -> None:
    image = picture(*size)
    assert torch.equal(exemplar_view(image, 224), from_pil(to_pil(image).resize((224, 224))))


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the reference's example pictures are not here")
@pytest.mark.parametrize("number", [1, 2, 3])
def test_reference_examples(number: int) -> None:
    image = Image.open(EXAMPLES / f"exemplar_{number}.jpg").convert("RGB")
    assert torch.equal(exemplar_view(from_pil(image), 224), from_pil(image.resize((224, 224))))


def test_crop_takes_the_centre_square() -> None:
    image = picture(50, 121)
    expected = to_pil(image[:, 35:85]).resize((32, 32), Image.Resampling.BICUBIC)
    assert torch.equal(exemplar_view(image, 32, "crop"), from_pil(expected))


def test_pad_keeps_the_aspect_ratio() -> None:
    image = torch.ones(60, 180, 3)
    view = exemplar_view(image, 90, "pad")
    assert (view[:28] == 128 / 255).all() and (view[-28:] == 128 / 255).all()
    assert (view[32:58] == 1).all()


@pytest.mark.parametrize("background", ["keep", "gray", "white", "black", "blur"])
def test_mask_selects_the_object_with_ten_pixels_around(background: str) -> None:
    image = picture(200, 300)
    mask = torch.zeros(200, 300)
    mask[60:100, 100:180] = 1
    view = exemplar_view(image, 60, "stretch", mask, background)  # type: ignore[arg-type]
    cut = image[50:110, 90:190]
    expected = exemplar_view(cut, 60)
    inside = slice(15, 45)
    assert torch.equal(view[inside, inside], expected[inside, inside])
    corner = view[:5, :3]
    if background == "keep":
        assert torch.equal(view, expected)
    elif background == "blur":
        assert not torch.equal(corner, expected[:5, :3])
        assert (corner - expected[:5, :3]).abs().max() < 0.5
    else:
        value = {"gray": 128 / 255, "white": 1.0, "black": 0.0}[background]
        assert (corner == value).all()


def test_mask_of_another_size_and_at_the_border() -> None:
    image = picture(200, 300)
    mask = torch.zeros(100, 150)
    mask[:20, :30] = 1  # the upper left 40 × 60 pixels of the picture
    assert torch.equal(exemplar_view(image, 64, mask=mask), exemplar_view(image[:50, :70], 64))


def test_empty_mask_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^The exemplar's mask is empty: .+\.$"):
        exemplar_view(picture(30, 30), 16, mask=torch.zeros(64, 64))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_alpha_is_dropped_and_grey_repeated(channels: int) -> None:
    image = picture(40, 50)
    extra = torch.cat([image, torch.rand(40, 50, 1)], dim=-1)[..., :channels]
    rgb = image if channels >= 3 else image[..., :1].expand(-1, -1, 3)
    assert torch.equal(exemplar_view(extra, 32), exemplar_view(rgb, 32))


@settings(deadline=None)
@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.sampled_from(["stretch", "pad", "crop"]),
    st.sampled_from([16, 224]),
)
def test_any_size_gives_a_square(height: int, width: int, framing: str, size: int) -> None:
    image = picture(height, width)
    before = image.clone()
    view = exemplar_view(image, size, framing)  # type: ignore[arg-type]
    assert view.shape == (size, size, 3)
    assert float(view.min()) >= 0 and float(view.max()) <= 1
    assert torch.equal(image, before)
