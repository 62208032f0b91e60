"""The model in parts, built with diffusers' UNet and autoencoder.

Needs diffusers, which the nodes do not: inside a host its own classes take their place.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from .checkpoint import AUTOENCODER_PREFIX, UNET_PREFIX
from .config import LATENT_CHANNELS, LATENT_SCALE, UNET_CHANNELS, UNET_HEADS
from .encoder import EncoderConfig, ExemplarEncoder
from .key_maps import autoencoder_from_diffusers, encoder_to_original, unet_from_diffusers


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of a whole model; the defaults are those of the published one."""

    unet_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    unet_layers: int = 2
    unet_heads: int = UNET_HEADS
    autoencoder_channels: tuple[int, ...] = (128, 256, 512, 512)
    autoencoder_layers: int = 2
    encoder: EncoderConfig = field(default_factory=EncoderConfig)

    @property
    def hints(self) -> dict[str, str]:
        """Metadata for a safetensors file: what tensor shapes cannot tell."""
        hints = {"unet_heads": self.unet_heads, "vision_heads": self.encoder.vision_heads}
        return {"exemplar_model": json.dumps(hints)}


@dataclass(frozen=True)
class Components:
    """UNet, autoencoder and exemplar encoder of one model."""

    config: ModelConfig
    unet: UNet2DConditionModel
    autoencoder: AutoencoderKL
    encoder: ExemplarEncoder

    @classmethod
    def random(cls, config: ModelConfig) -> Components:
        """Fresh weights, drawn from PyTorch's global generator."""
        levels = len(config.unet_channels)
        stages = len(config.autoencoder_channels)
        # diffusers annotates the autoencoder's tuples as having one element
        widths: Any = config.autoencoder_channels
        down: Any = ("DownEncoderBlock2D",) * stages
        up: Any = ("UpDecoderBlock2D",) * stages
        unet = UNet2DConditionModel(
            in_channels=UNET_CHANNELS,
            out_channels=LATENT_CHANNELS,
            block_out_channels=config.unet_channels,
            layers_per_block=config.unet_layers,
            cross_attention_dim=config.encoder.context_dim,
            attention_head_dim=config.unet_heads,  # diffusers' name for the number of heads
            down_block_types=("CrossAttnDownBlock2D",) * (levels - 1) + ("DownBlock2D",),
            up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (levels - 1),
        )
        autoencoder = AutoencoderKL(
            block_out_channels=widths,
            layers_per_block=config.autoencoder_layers,
            latent_channels=LATENT_CHANNELS,
            scaling_factor=LATENT_SCALE,
            down_block_types=down,
            up_block_types=up,
        )
        encoder = ExemplarEncoder(config.encoder)
        return cls(config, unet.eval(), autoencoder.eval(), encoder.eval())

    def to_original(self) -> dict[str, Tensor]:
        """All weights under the names of the original checkpoint."""
        unet = unet_from_diffusers(self.unet.state_dict())
        autoencoder = autoencoder_from_diffusers(self.autoencoder.state_dict())
        return {
            **{UNET_PREFIX + key: tensor for key, tensor in unet.items()},
            **{AUTOENCODER_PREFIX + key: tensor for key, tensor in autoencoder.items()},
            **encoder_to_original(self.encoder.state_dict()),
        }
