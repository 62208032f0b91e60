"""A ControlNet (Zhang et al. 2023, arXiv 2302.05543) at the widths of any UNet of diffusers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F

from exemplar_model.constants import LATENT_CHANNELS
from exemplar_model.weights.key_maps import original_name, unet_names

HINT_STRIDE = 8
"""Pixels of a control picture for one of the latents."""
SIZES = (
    "down_block_types",
    "block_out_channels",
    "layers_per_block",
    "cross_attention_dim",
    "attention_head_dim",
)


def new_controlnet(unet: UNet2DConditionModel) -> ControlNetModel:
    """One that starts from the UNet's weights and at first changes nothing.

    It takes the noisy latents only, as the host feeds it, so the stem leaves out the other five
    channels.
    """
    sizes: dict[str, Any] = {name: unet.config[name] for name in SIZES}
    controlnet = ControlNetModel(in_channels=LATENT_CHANNELS, **sizes)
    state = unet.state_dict()
    state["conv_in.weight"] = state["conv_in.weight"][:, :LATENT_CHANNELS]
    shared = {key: state[key] for key in controlnet.state_dict() if key in state}
    controlnet.load_state_dict(shared, strict=False)
    # PyTorch's own start would shrink the hint a thousandfold on its way through eight layers
    for layer in controlnet.controlnet_cond_embedding.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]
    return controlnet


def steered(unet: Any, controlnet: Any, light: Tensor) -> Callable[..., Any]:
    """The UNet's forward pass with the ControlNet's output added.

    Args:
        light: [B, 1, h, w] in [0, 1], the control picture at the latents' size.
    """
    picture = F.interpolate(light, scale_factor=HINT_STRIDE, mode="bilinear", align_corners=False)
    picture = picture.expand(-1, 3, -1, -1)

    def forward(unet_input: Tensor, timestep: Tensor, context: Tensor, return_dict: bool) -> Any:
        down, middle = controlnet(
            unet_input[:, :LATENT_CHANNELS], timestep, context, picture, return_dict=False
        )
        return unet(
            unet_input,
            timestep,
            context,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            return_dict=return_dict,
        )

    return forward


def controlnet_tensors(controlnet: ControlNetModel) -> dict[str, Tensor]:
    """What ComfyUI's ControlNet loader reads: the names of the first ControlNets."""
    state = controlnet.state_dict()
    names = unet_names(state)
    hint = "controlnet_cond_embedding"
    middle = len(controlnet.controlnet_cond_embedding.blocks)
    names |= {
        f"{hint}.conv_in.": "input_hint_block.0.",
        f"{hint}.conv_out.": f"input_hint_block.{2 * middle + 2}.",
        "controlnet_mid_block.": "middle_block_out.0.",
    }
    names |= {f"{hint}.blocks.{i}.": f"input_hint_block.{2 * i + 2}." for i in range(middle)}
    for number in range(len(controlnet.controlnet_down_blocks)):
        names[f"controlnet_down_blocks.{number}."] = f"zero_convs.{number}.0."
    return {f"control_model.{original_name(key, names)}": tensor for key, tensor in state.items()}
