"""The host paints what diffusers' pipeline paints, on equal weights, noise and inputs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.models import SHAPES, RandomModel, write_diffusers, write_lightning
from torch import Tensor
from torchvision.transforms import functional as transforms

from exemplar_model.constants import CLIP_MEAN, CLIP_STD, LATENT_SCALE
from exemplar_model.weights.sizes import AutoencoderConfig
from lab.host.graphs import Graph, Run, start_noise
from lab.host.headless import Host
from lab.host.pictures import pictures

SEED, STEPS = 11, 8
LAYOUTS: dict[str, Callable[[Path, RandomModel], None] | None] = {
    "{}.safetensors": None,  # in place already
    "{}.ckpt": write_lightning,
    "{}-folder": lambda path, model: write_diffusers(path, model),
    "{}-old-folder": lambda path, model: write_diffusers(path, model, old_tower_names=True),
}


def factor(shape: str) -> int:
    return 2 ** (len(SHAPES[shape].autoencoder_channels) - 1)


@pytest.fixture(scope="module")
def expected(models: dict[str, RandomModel]) -> dict[str, Tensor]:
    """Unscaled latents of the reference pipeline, by shape."""
    named = pictures()
    image = transforms.to_tensor(named["small"])[None] * 2 - 1
    mask = (transforms.to_tensor(named["small_mask"])[None] >= 0.5).float()
    exemplar = named["face"].resize((224, 224))  # Pillow's bicubic, as the reference script
    pixels = transforms.normalize(transforms.to_tensor(exemplar), CLIP_MEAN, CLIP_STD)[None]
    return {
        name: model.reference_latents(
            image,
            mask,
            pixels,
            start_noise(SEED, (1, 4, 64 // factor(name), 96 // factor(name))),
            STEPS,
        )
        / LATENT_SCALE
        for name, model in models.items()
    }


def difference(result: Tensor, expected: Tensor) -> float:
    assert result.shape == expected.shape
    return float((result - expected).norm() / expected.norm())


def latent(host: Host, graph: Graph) -> Tensor:
    """What the graph's last node saved."""
    return Run(host, graph).latent(list(graph.prompt)[-1])


def sampler_node(model: str, mask: str = "small_mask", exemplar: str = "face") -> Graph:
    graph = Graph()
    # resolution 78 is √(64·96), at which the picture keeps its size
    sample = graph.paint(
        [mask],
        model=model,
        image="small",
        exemplars=(exemplar,),
        region="whole image",
        resolution=78,
        seed=SEED,
        steps=STEPS,
    )
    graph.save_latent([sample, 1])
    return graph


def stock_graph(model: str, mask: str = "small_mask") -> Graph:
    graph = Graph()
    loader = graph.load(model)
    encode = graph.encode(loader, graph.image("face"))
    masked = graph.masked(loader, encode, graph.image("small"), graph.masks([mask]))
    reference = graph.add(
        "ExemplarReferenceSampler", model=[loader, 0], algorithm="plms", steps=STEPS, denoise=1.0
    )
    guider = graph.add(
        "CFGGuider", model=[loader, 0], positive=[masked, 0], negative=[masked, 1], cfg=5.0
    )
    sample = graph.add(
        "SamplerCustomAdvanced",
        noise=[graph.add("RandomNoise", noise_seed=SEED), 0],
        guider=[guider, 0],
        sampler=[reference, 0],
        sigmas=[reference, 1],
        latent_image=[masked, 2],
    )
    graph.save_latent([sample, 0])
    return graph


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("route", [sampler_node, stock_graph])
def test_latents_equal_diffusers(
    host: Host,
    models: dict[str, RandomModel],
    expected: dict[str, Tensor],
    shape: str,
    layout: str,
    route: Callable[[str], Graph],
) -> None:
    name = layout.format(shape)
    write = LAYOUTS[layout]
    path = host.folder / "models" / "checkpoints" / name
    if path.suffix == "":
        path = host.folder / "models" / "diffusers" / name
    if write is not None and not path.exists():
        write(path, models[shape])
    result = latent(host, route(name))
    assert difference(result, expected[shape]) < 1e-5  # measured: 1.1e-6
    if write is not None and route is stock_graph:  # the last use of the file
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("change", [{"exemplar": "paw"}, {"mask": "small_mask_off_grid"}])
def test_parity_is_sensitive(
    host: Host, expected: dict[str, Tensor], change: dict[str, str]
) -> None:
    """The comparison would notice another exemplar and another mask."""
    result = latent(host, sampler_node("narrow.safetensors", **change))
    assert difference(result, expected["narrow"]) > 1e-3


def test_both_routes_agree_off_the_latent_grid(host: Host) -> None:
    """Soft keep-mask values at the edges survive in the node and in the stock graph alike."""
    routes = (sampler_node, stock_graph)
    ours, stock = (
        latent(host, route("narrow.safetensors", mask="small_mask_off_grid")) for route in routes
    )
    assert difference(ours, stock) < 1e-6


def test_full_decode_equals_stock_decode(host: Host) -> None:
    """The sampled region is what the host's VAEDecode makes of the latent."""
    graph = Graph()
    sample = graph.paint(["odd_mask"])
    loader = next(k for k, v in graph.prompt.items() if v["class_type"] == "LoadExemplarModel")
    decoded = graph.save_image([graph.add("VAEDecode", samples=[sample, 1], vae=[loader, 2]), 0])
    region = graph.save_image([sample, 3])
    run = Run(host, graph)
    assert np.array_equal(run.pictures(decoded), run.pictures(region))


def test_factor_is_read_from_the_weights(models: dict[str, RandomModel]) -> None:
    for name, model in models.items():
        state = {
            key.removeprefix("first_stage_model."): tensor
            for key, tensor in model.components.to_original().items()
            if key.startswith("first_stage_model.")
        }
        assert AutoencoderConfig.from_state_dict(state).factor == factor(name)
