"""A LoRA through the host's loader is its product added to the weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.addons import write_changed, write_lora
from support.models import RandomModel
from torch import Tensor

from lab.host.graphs import Graph, Run
from lab.host.headless import Host

STRENGTH = 0.7


@pytest.fixture(scope="module")
def latents(host: Host, models: dict[str, RandomModel]) -> dict[str, Tensor]:
    """Painted with the LoRA, with the weights added by hand, and with neither."""
    folder: Path = host.folder / "models"
    (folder / "loras").mkdir(exist_ok=True)
    products = write_lora(folder / "loras" / "all.safetensors", models["narrow"].components)
    original = models["narrow"].components.to_original()
    added = {name: original[name] + STRENGTH * product for name, product in products.items()}
    exemplar = folder / "exemplar"
    write_changed(exemplar / "added.safetensors", exemplar / "narrow.safetensors", added)

    graph = Graph()
    image, mask = graph.image("odd"), graph.masks(["odd_mask"])
    saved = {}
    for name in ("narrow", "added"):
        loader = graph.load(f"{name}.safetensors")
        encode = graph.encode(loader, graph.image("face"))
        saved[name] = graph.save_latent([graph.sample(loader, encode, image, mask), 1])
        if name == "narrow":
            lora = graph.add(
                "LoraLoaderModelOnly",
                model=[loader, 0],
                lora_name="all.safetensors",
                strength_model=STRENGTH,
            )
            sample = graph.sample(loader, encode, image, mask, model=[lora, 0])
            saved["LoRA"] = graph.save_latent([sample, 1])
    run = Run(host, graph)
    return {name: run.latent(node) for name, node in saved.items()}


def test_lora_equals_its_product_added_by_hand(latents: dict[str, Tensor]) -> None:
    error = torch.linalg.norm(latents["LoRA"] - latents["added"])
    assert error < 1e-5 * torch.linalg.norm(latents["added"])


def test_lora_changes_the_picture(latents: dict[str, Tensor]) -> None:
    change = torch.linalg.norm(latents["LoRA"] - latents["narrow"])
    assert change > 0.1 * torch.linalg.norm(latents["narrow"])
