"""Small files that change a model in the host: LoRA, ControlLoRA, and weights by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from exemplar_model.checkpoint import UNET_PREFIX, read_safetensors
from exemplar_model.key_maps import original_name, unet_names
from support.models import RandomModel

RANK, ALPHA = 4, 2.0


def unet_weights(model: RandomModel) -> dict[str, str]:
    """Matrices and convolutions of the UNet, diffusers' name → original name, both without end."""
    state = model.components.unet.state_dict()
    names = unet_names(state)
    return {
        key.removesuffix(".weight"): original_name(key, names).removesuffix(".weight")
        for key, tensor in state.items()
        if key.endswith(".weight") and tensor.ndim in (2, 4)
    }


def write_lora(path: Path, model: RandomModel) -> dict[str, Tensor]:
    """A kohya LoRA on every matrix and convolution of the UNet.

    Returns:
        What it adds at strength 1, (alpha / rank) · up · down, by the original name with its end.
    """
    original = model.components.to_original()
    draw = torch.Generator().manual_seed(0)
    tensors: dict[str, Tensor] = {}
    products: dict[str, Tensor] = {}
    for theirs, ours in unet_weights(model).items():
        name = f"{UNET_PREFIX}{ours}.weight"
        shape = original[name].shape
        down = 0.05 * torch.randn(RANK, *shape[1:], generator=draw)
        up = 0.05 * torch.randn(shape[0], RANK, *[1] * (len(shape) - 2), generator=draw)
        block = f"lora_unet_{theirs.replace('.', '_')}"
        tensors |= {f"{block}.lora_down.weight": down, f"{block}.lora_up.weight": up}
        tensors[f"{block}.alpha"] = torch.tensor(ALPHA)
        products[name] = ALPHA / RANK * (up.flatten(1) @ down.flatten(1)).reshape(shape)
    save_file(tensors, path)
    return products


def write_changed(path: Path, source: Path, tensors: Mapping[str, Tensor]) -> None:
    """A model file with other tensors of the same names in it."""
    before, metadata = read_safetensors(source)
    save_file({**before, **tensors}, path, metadata)


def write_control_lora(path: Path) -> None:
    """What tells the host that a file is a ControlLoRA."""
    hint = torch.zeros(16, 3, 3, 3)
    save_file({"lora_controlnet": torch.zeros(0), "input_hint_block.0.weight": hint}, path)
