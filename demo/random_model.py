"""A tiny model with random weights, in the layout of the original checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from exemplar_model.components import Components, ModelConfig
from exemplar_model.encoder import EncoderConfig

TINY = ModelConfig(
    unet_channels=(32, 64),
    unet_layers=1,
    autoencoder_channels=(32, 32, 64, 64),
    autoencoder_layers=1,
    encoder=EncoderConfig(
        vision_width=64,
        vision_layers=5,
        vision_heads=1,
        vision_mlp=128,
        patch_size=32,
        mapper_blocks=1,
        context_dim=48,
    ),
)


def write_random_model(path: Path, config: ModelConfig = TINY, seed: int = 0) -> Components:
    """Write a model to a safetensors file and return its parts."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        components = Components.random(config)
    tensors = {key: value.contiguous() for key, value in components.to_original().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata=config.hints)
    return components
