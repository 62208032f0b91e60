"""UNet, autoencoder and exemplar encoder without a host, on diffusers' UNet and autoencoder.

Needs diffusers, which the nodes do not: inside a host its own classes take their place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from ..constants import LATENT_CHANNELS, LATENT_SCALE, OFFICIAL_MODEL, UNET_CHANNELS, UNET_HEADS
from ..encoder import ExemplarEncoder, encoder_of
from ..weights.checkpoint import HINTS, Checkpoint
from ..weights.key_maps import (
    autoencoder_from_diffusers,
    autoencoder_names,
    original_to_diffusers,
    unet_from_diffusers,
    unet_names,
)
from ..weights.reading import CheckpointError
from ..weights.sizes import AutoencoderConfig, EncoderConfig, UNetConfig


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of a whole model; the defaults are those of the published one."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - where a configuration file gives them

    unet_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    """By level from the outside in, multiples of 32; all levels but the last attend."""
    unet_layers: int = 2
    """Residual blocks of a level."""
    unet_heads: int = UNET_HEADS
    """Attention heads at every level."""
    autoencoder_channels: tuple[int, ...] = (128, 256, 512, 512)
    """By level from the outside in, multiples of the first; each level after it halves the side."""
    autoencoder_layers: int = 2
    """Residual blocks of a level."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """Of the exemplar encoder."""

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> ModelConfig:
        """Read every size from the shapes of the weights.

        Raises:
            CheckpointError: attention stands where Stable Diffusion 1 has none, or the reverse.
        """
        unet = UNetConfig.from_state_dict(checkpoint.unet)
        if unet.attends != (True,) * (len(unet.attends) - 1) + (False,):
            raise CheckpointError(
                f"The UNet attends at levels {unet.attends}, where Stable Diffusion 1 attends at "
                f"all but the last; choose {OFFICIAL_MODEL}."
            )
        autoencoder = AutoencoderConfig.from_state_dict(checkpoint.autoencoder)
        return cls(
            unet_channels=unet.channels,
            unet_layers=unet.residual_blocks,
            unet_heads=checkpoint.unet_heads,
            autoencoder_channels=autoencoder.widths,
            autoencoder_layers=autoencoder.residual_blocks,
            encoder=checkpoint.encoder_config,
        )

    @property
    def factor(self) -> int:
        """Pixels per latent, in each direction."""
        return 2 ** (len(self.autoencoder_channels) - 1)

    @property
    def hints(self) -> dict[str, str]:
        """Metadata for a safetensors file: what tensor shapes cannot tell."""
        hints = {"unet_heads": self.unet_heads, "vision_heads": self.encoder.vision_heads}
        return {HINTS: json.dumps(hints)}


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
        unet, autoencoder = new_unet(config), new_autoencoder(config)
        encoder = ExemplarEncoder(config.encoder)
        return cls(config, unet.eval(), autoencoder.eval(), encoder.eval())

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Components:
        """The model of a checkpoint, made without drawing random weights.

        Tensors that have the device and dtype already are held themselves, without a copy, and
        with them the file that they are mapped from.

        Args:
            checkpoint: as `read_checkpoint` gives it.
            device: of all weights.
            dtype: of all weights, whatever the file has.

        Raises:
            CheckpointError: a tensor is missing, left over or of another shape.
        """

        def moved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: tensor.to(device, dtype) for name, tensor in tensors.items()}

        config = ModelConfig.from_checkpoint(checkpoint)
        encoder = encoder_of(config.encoder, moved(checkpoint.encoder))
        with torch.device("meta"):
            unet, autoencoder = new_unet(config), new_autoencoder(config)
        load_original(unet, moved(checkpoint.unet), unet_names, assign=True)
        load_original(autoencoder, moved(checkpoint.autoencoder), autoencoder_names, assign=True)
        return cls(config, unet.eval(), autoencoder.eval(), encoder)

    def to(self, device: str | torch.device, dtype: torch.dtype | None = None) -> Components:
        """Move all weights to a device, and cast them if a dtype is given; returns itself."""
        # untyped, as diffusers hides the type of `to`
        modules: Any = (self.unet, self.autoencoder, self.encoder)
        for module in modules:
            module.to(device=device, dtype=dtype)
        return self

    def to_original(self) -> dict[str, Tensor]:
        """All weights under the names of the original checkpoint."""
        return Checkpoint(
            unet=unet_from_diffusers(self.unet.state_dict()),
            autoencoder=autoencoder_from_diffusers(self.autoencoder.state_dict()),
            encoder=self.encoder.state_dict(),
        ).to_original()


def new_unet(config: ModelConfig) -> UNet2DConditionModel:
    """A UNet with random weights."""
    levels = len(config.unet_channels)
    return UNet2DConditionModel(
        in_channels=UNET_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=config.unet_channels,
        layers_per_block=config.unet_layers,
        cross_attention_dim=config.encoder.context_dim,
        attention_head_dim=config.unet_heads,  # diffusers' name for the number of heads
        down_block_types=("CrossAttnDownBlock2D",) * (levels - 1) + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (levels - 1),
    )


def new_autoencoder(config: ModelConfig) -> AutoencoderKL:
    """An autoencoder with random weights."""
    stages = len(config.autoencoder_channels)
    # diffusers annotates these tuples as having one element
    widths: Any = config.autoencoder_channels
    down: Any = ("DownEncoderBlock2D",) * stages
    up: Any = ("UpDecoderBlock2D",) * stages
    return AutoencoderKL(
        block_out_channels=widths,
        layers_per_block=config.autoencoder_layers,
        latent_channels=LATENT_CHANNELS,
        scaling_factor=LATENT_SCALE,
        down_block_types=down,
        up_block_types=up,
    )


def load_original(
    module: nn.Module,
    original: Mapping[str, Tensor],
    names: Callable[[Mapping[str, Tensor]], Mapping[str, str]],
    assign: bool = False,
) -> None:
    """Load tensors of the original layout into a module of diffusers.

    Args:
        module: a UNet or an autoencoder.
        original: all its tensors, without prefix.
        names: `unet_names` or `autoencoder_names`.
        assign: hold the tensors themselves instead of copies of them.

    Raises:
        CheckpointError: a tensor is missing, left over or of another shape.
    """
    try:
        tensors = original_to_diffusers(original, module.state_dict(), names)
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    module.load_state_dict(tensors, assign=assign)
