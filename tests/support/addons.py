"""What users add to a model: ControlNet, LoRA, text encoder and upscaler, with random weights.

Each file has the keys and shapes of the published ones, at the sizes of the model that it is for.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from exemplar_model.standalone.components import Components
from exemplar_model.weights.checkpoint import UNET_PREFIX, read_checkpoint
from exemplar_model.weights.key_maps import original_name, unet_names
from exemplar_model.weights.reading import read_safetensors

HINT_CHANNELS = (16, 16, 32, 32, 96, 96, 256)
"""Of a ControlNet's layers between the hint and the UNet."""
TEXT_CHANNELS = 768
RANK, ALPHA = 4, 2.0
GROWTH = 32
"""Channels that each convolution of the upscaler's dense blocks adds."""


def write_controlnet(path: Path, model: Path, context: int | None = None) -> None:
    """A ControlNet for a model, under the names of lllyasviel's files.

    Args:
        path: file to write.
        model: whose UNet it steers.
        context: channels of the tokens that it attends to; the model's own if None.
    """
    unet = read_checkpoint(model).unet
    parts = ("time_embed.", "input_blocks.", "middle_block.")
    state = {key: value.float() for key, value in unet.items() if key.startswith(parts)}
    # as training starts: from the UNet's own weights, without the channels of the masked image
    state["input_blocks.0.0.weight"] = state["input_blocks.0.0.weight"][:, :4]
    generator = torch.Generator().manual_seed(0)

    def add(name: str, out: int, inputs: int, size: int) -> None:
        weight = torch.randn(out, inputs, size, size, generator=generator)
        state[f"{name}.weight"] = weight * (2 / (inputs * size * size)) ** 0.5
        state[f"{name}.bias"] = torch.zeros(out)

    widths = [3, *HINT_CHANNELS, len(state["input_blocks.0.0.weight"])]
    for number, (inputs, out) in enumerate(pairwise(widths)):
        add(f"input_hint_block.{2 * number}", out, inputs, 3)
    blocks = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("input_blocks."))
    for block in range(blocks):
        width = block_width(state, block)
        add(f"zero_convs.{block}.0", width, width, 1)
    add("middle_block_out.0", width, width, 1)
    if context is not None:
        for key in [
            key for key in state if key.endswith(("attn2.to_k.weight", "attn2.to_v.weight"))
        ]:
            width = len(state[key])
            state[key] = torch.randn(width, context, generator=generator) / context**0.5
    save_file({f"control_model.{key}": value.contiguous() for key, value in state.items()}, path)


def block_width(state: dict[str, Tensor], block: int) -> int:
    """Channels that an input block of the UNet puts out."""
    ends = ("0.out_layers.3.bias", "0.op.bias", "0.bias")
    (width,) = (
        len(state[name]) for end in ends if (name := f"input_blocks.{block}.{end}") in state
    )
    return width


def write_lora(path: Path, components: Components) -> dict[str, Tensor]:
    """A LoRA on every matrix and convolution of a UNet, under the names of kohya's trainer.

    Returns:
        What it adds at strength 1, (alpha / rank) · up · down, by the original name with its end.
    """
    original = components.to_original()
    draw = torch.Generator().manual_seed(0)
    tensors: dict[str, Tensor] = {}
    products: dict[str, Tensor] = {}
    for theirs, ours in unet_weights(components).items():
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


def unet_weights(components: Components) -> dict[str, str]:
    """Matrices and convolutions of the UNet, diffusers' name → original name, both without end."""
    state = components.unet.state_dict()
    names = unet_names(state)
    return {
        key.removesuffix(".weight"): original_name(key, names).removesuffix(".weight")
        for key, tensor in state.items()
        if key.endswith(".weight") and tensor.ndim in (2, 4)
    }


def write_control_lora(path: Path) -> None:
    """What tells the host that a file is a ControlLoRA."""
    hint = torch.zeros(16, 3, 3, 3)
    save_file({"lora_controlnet": torch.zeros(0), "input_hint_block.0.weight": hint}, path)


def write_changed(path: Path, source: Path, tensors: Mapping[str, Tensor]) -> None:
    """A model file with other tensors of the same names in it."""
    before, metadata = read_safetensors(source)
    save_file({**before, **tensors}, path, metadata)


def write_text_encoder(path: Path) -> None:
    """Stable Diffusion's text encoder; its sizes are fixed, so this one is no smaller."""
    torch.manual_seed(0)
    config = CLIPTextConfig(
        hidden_size=TEXT_CHANNELS, intermediate_size=3072, num_attention_heads=12
    )
    state = CLIPTextModel(config).half().state_dict()
    prefix = "" if any(key.startswith("text_model.") for key in state) else "text_model."
    save_file({prefix + key: value.contiguous() for key, value in state.items()}, path)


def write_upscaler(path: Path, channels: int = 8) -> None:
    """A fourfold upscaler, under the names of Real-ESRGAN's.

    Its weights are random around those that repeat the nearest pixel, so that a picture remains.
    """
    generator = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = {}

    def add(name: str, inputs: int, out: int, keep: bool = False) -> None:
        weight = 0.02 * torch.randn(out, inputs, 3, 3, generator=generator)
        if keep:
            weight[:, :, 1, 1] += torch.eye(out, inputs)
        state[f"{name}.weight"], state[f"{name}.bias"] = weight, torch.zeros(out)

    add("conv_first", 3, channels, keep=True)
    for dense in (1, 2, 3):
        for conv in range(1, 6):
            out = channels if conv == 5 else GROWTH
            add(f"body.0.rdb{dense}.conv{conv}", channels + (conv - 1) * GROWTH, out)
    add("conv_body", channels, channels)
    for name in ("conv_up1", "conv_up2", "conv_hr"):
        add(name, channels, channels, keep=True)
    add("conv_last", channels, 3, keep=True)
    torch.save({"params_ema": state}, path)
