"""Painting without a host equals diffusers' pipeline, and keeps what is outside the mask."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.models import SHAPES, random_model, write_diffusers, write_safetensors

from exemplar_model.constants import CLIP_MEAN, CLIP_STD
from exemplar_model.exemplar import exemplar_view
from exemplar_model.standalone.components import Components, ModelConfig
from exemplar_model.standalone.pipeline import paint
from exemplar_model.weights.checkpoint import read_checkpoint
from exemplar_model.weights.sizes import UNetConfig
from lab.host.graphs import start_noise


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    image = torch.rand(1, 64, 96, 3, generator=generator)
    mask = torch.zeros(1, 64, 96)
    mask[:, 16:48, 32:72] = 1
    return image, mask, torch.rand(50, 40, 3, generator=generator)


@pytest.mark.parametrize("shape", SHAPES)
def test_latents_equal_diffusers(shape: str) -> None:
    model = random_model(SHAPES[shape])
    image, mask, exemplar = inputs()
    factor = model.components.config.factor
    view = exemplar_view(exemplar, 224).permute(2, 0, 1)
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (CLIP_MEAN, CLIP_STD))
    expected = model.reference_latents(
        image.permute(0, 3, 1, 2) * 2 - 1,
        mask[:, None],
        ((view - mean) / std)[None],
        start_noise(5, (1, 4, 64 // factor, 96 // factor)),
        steps=5,  # a divisor of 1000: else diffusers and the reference differ in timesteps
    )
    painting = paint(
        model.components, image, mask, [exemplar], seed=5, steps=5, context=None, resolution=78
    )
    assert float((painting.latents - expected).norm() / expected.norm()) < 1e-5
    outside = painting.pasted == 0
    assert torch.equal(painting.images[outside], image[outside])
    assert painting.regions.shape == (1, 64, 96, 3)


@pytest.mark.parametrize("model_dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_model_and_pictures_of_other_dtypes(model_dtype: torch.dtype, dtype: torch.dtype) -> None:
    """Results are float32 and near those of float32."""
    components = random_model(SHAPES["narrow"]).components
    image, mask, exemplar = (each.to(dtype) for each in inputs())
    given = image.clone(), mask.clone(), exemplar.clone()
    settings = {"steps": 2, "resolution": 64}
    expected = paint(components, image.float(), mask.float(), [exemplar.float()], **settings)
    painting = paint(components.to("cpu", model_dtype), image, mask, [exemplar], **settings)
    for result in (painting.images, painting.pasted, painting.latents, painting.regions):
        assert result.dtype == torch.float32 and result.isfinite().all()
    assert torch.equal(painting.pasted, expected.pasted)
    difference = (painting.latents - expected.latents).norm() / expected.latents.norm()
    assert difference < (0.05 if model_dtype == torch.bfloat16 else 1e-5), difference
    assert all(map(torch.equal, given, (image, mask, exemplar)))


def test_several_regions() -> None:
    components = random_model(SHAPES["narrow"]).components
    image, mask, exemplar = inputs()
    masks = torch.cat([mask, mask.roll(-20, dims=2)])
    steps: list[int] = []
    painting = paint(
        components,
        image,
        masks,
        [exemplar, 1 - exemplar],
        steps=3,
        algorithm="ddim",
        resolution=64,
        callback=lambda step, *_: steps.append(step),
    )
    assert painting.latents.shape[0] == 2 and painting.images.shape == image.shape
    assert steps == list(range(3))
    with pytest.raises(ValueError, match="3 exemplars and 2 masked regions"):
        paint(components, image, masks, [exemplar] * 3, steps=3)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("layout", ["file", "folder"])
def test_components_come_back_from_a_checkpoint(shape: str, layout: str, tmp_path: Path) -> None:
    model = random_model(SHAPES[shape])
    path = tmp_path / ("model.safetensors" if layout == "file" else "model")
    (write_safetensors if layout == "file" else write_diffusers)(path, model)
    components = Components.from_checkpoint(read_checkpoint(path))
    assert components.config == SHAPES[shape]
    before, after = model.components.to_original(), components.to_original()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_published_sizes_are_read_from_shapes() -> None:
    config = ModelConfig()
    with torch.device("meta"):
        original = Components.random(config).to_original()
    prefix = "model.diffusion_model."
    unet = {k.removeprefix(prefix): v for k, v in original.items() if k.startswith(prefix)}
    sizes = UNetConfig.from_state_dict(unet)
    assert sizes == UNetConfig((320, 640, 1280, 1280), (True, True, True, False), 2, 768)
