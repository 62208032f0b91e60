"""A LoRA (Hu et al. 2021, arXiv 2106.09685) on a UNet of diffusers, under the names of kohya's."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

INERT = ("attn2.to_q", "attn2.to_k")
"""Layers that do nothing where the context is a single token."""


class LowRank(nn.Module):
    """Adds a matrix of low rank, 0 at the start, to a weight that stays as it is."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        inputs = weight[0].numel()
        self.down = nn.Parameter(torch.randn(rank, *weight.shape[1:]) / inputs**0.5)
        self.up = nn.Parameter(torch.zeros(len(weight), rank, *[1] * (weight.ndim - 2)))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight with the product added."""
        return weight + (self.up.flatten(1) @ self.down.flatten(1)).view_as(weight)


def add_lora(unet: nn.Module, rank: int) -> dict[str, LowRank]:
    """Put a LoRA on every matrix and convolution of the UNet's blocks.

    Returns:
        What was added, by the layer's name.
    """
    added: dict[str, LowRank] = {}
    for name, layer in list(unet.named_modules()):
        if not isinstance(layer, nn.Linear | nn.Conv2d) or "block" not in name:
            continue
        if not name.endswith(INERT):
            added[name] = LowRank(layer.weight, rank)
            parametrize.register_parametrization(layer, "weight", added[name])
    return added


def lora_tensors(added: dict[str, LowRank]) -> dict[str, Tensor]:
    """What ComfyUI's LoRA loaders read."""
    tensors: dict[str, Tensor] = {}
    for name, low_rank in added.items():
        block = f"lora_unet_{name.replace('.', '_')}"
        tensors[f"{block}.lora_down.weight"] = low_rank.down.detach()
        tensors[f"{block}.lora_up.weight"] = low_rank.up.detach()
        tensors[f"{block}.alpha"] = torch.tensor(float(len(low_rank.down)))
    return tensors
