"""Merging models, saving the result with ModelSave, and making a whole model of it again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from support.addons import write_changed
from support.models import SHAPES, RandomModel, random_model, write_safetensors
from torch import Tensor

from exemplar_model.standalone.convert import convert
from exemplar_model.weights.checkpoint import UNET_PREFIX
from lab.host.graphs import Graph, Link, Run
from lab.host.headless import Host, HostError

RATIO = 0.3


def painted(graph: Graph, loader: str, model: Link) -> str:
    encode = graph.encode(loader, graph.image("face"))
    image, mask = graph.image("odd"), graph.masks(["odd_mask"])
    return graph.save_latent([graph.sample(loader, encode, image, mask, model=model), 1])


@pytest.fixture(scope="module")
def merged(host: Host, models: dict[str, RandomModel]) -> tuple[Tensor, Path]:
    """What a merge paints, and the file that ModelSave writes of it."""
    folder = host.folder / "models" / "exemplar"
    other = random_model(SHAPES["narrow"], seed=7)
    write_safetensors(folder / "other.safetensors", other)
    first, second = models["narrow"].components.to_original(), other.components.to_original()
    by_hand = {
        name: RATIO * tensor + (1 - RATIO) * second[name]
        for name, tensor in first.items()
        if name.startswith(UNET_PREFIX)
    }
    write_changed(folder / "by_hand.safetensors", folder / "narrow.safetensors", by_hand)

    graph = Graph()
    narrow = graph.load("narrow.safetensors")
    links = {"model1": [narrow, 0], "model2": [graph.load("other.safetensors"), 0]}
    merge = graph.add("ModelMergeSimple", **links, ratio=RATIO)
    saved = painted(graph, narrow, [merge, 0])
    graph.add("ModelSave", model=[merge, 0], filename_prefix="merged")
    latent = Run(host, graph).latent(saved)
    (file,) = (host.folder / "output").glob("merged_*.safetensors")
    return latent, file


def latent(host: Host, model: str) -> Tensor:
    graph = Graph()
    loader = graph.load(model)
    saved = painted(graph, loader, [loader, 0])
    return Run(host, graph).latent(saved)


def test_a_merge_is_the_weighted_sum(host: Host, merged: tuple[Tensor, Path]) -> None:
    expected = latent(host, "by_hand.safetensors")
    assert torch.linalg.norm(merged[0] - expected) < 1e-5 * torch.linalg.norm(expected)
    plain = latent(host, "narrow.safetensors")
    assert torch.linalg.norm(merged[0] - plain) > 0.1 * torch.linalg.norm(plain)


def test_a_saved_denoiser_alone_is_refused(host: Host, merged: tuple[Tensor, Path]) -> None:
    shutil.copy(merged[1], host.folder / "models" / "diffusion_models" / "saved.safetensors")
    with pytest.raises(HostError) as refusal:
        latent(host, "saved.safetensors")
    message = str(refusal.value)
    assert "a UNet and nothing else" in message
    assert "--unet saved.safetensors" in message
    assert "\n" not in message


def test_a_saved_denoiser_becomes_a_whole_model(host: Host, merged: tuple[Tensor, Path]) -> None:
    folder = host.folder / "models" / "exemplar"
    target = folder / "joined.safetensors"
    convert(folder / "narrow.safetensors", target, unet=merged[1])
    assert torch.equal(latent(host, target.name), merged[0])
