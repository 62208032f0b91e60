"""Sizes of UNet and autoencoder, read from the shapes of their tensors in the original layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class UNetConfig:
    """Sizes of a Stable Diffusion 1 UNet in the original layout, by level from the outside in."""

    channels: tuple[int, ...]
    attends: tuple[bool, ...]
    residual_blocks: int
    context_dim: int

    @classmethod
    def from_state_dict(cls, state_dict: Mapping[str, Tensor]) -> UNetConfig:
        """Read every size from the shapes of the downward half."""
        channels: list[int] = []
        attends: list[bool] = []
        residual_blocks = block = 1
        while (key := f"input_blocks.{block}.0.out_layers.3.weight") in state_dict:
            residual_blocks = 1
            while f"input_blocks.{block + 1}.0.out_layers.3.weight" in state_dict:
                block, residual_blocks = block + 1, residual_blocks + 1
            channels.append(state_dict[key].shape[0])
            attends.append(f"input_blocks.{block}.1.norm.weight" in state_dict)
            block += 2  # past the downsampler
        context = state_dict["middle_block.1.transformer_blocks.0.attn2.to_k.weight"]
        return cls(tuple(channels), tuple(attends), residual_blocks, context.shape[1])


@dataclass(frozen=True)
class AutoencoderConfig:
    """Sizes of a KL autoencoder in the original layout.

    Attributes:
        channels: behind the first convolution.
        widths: channels by level from the outside in.
    """

    channels: int
    widths: tuple[int, ...]
    residual_blocks: int
    z_channels: int
    embed_dim: int

    @property
    def factor(self) -> int:
        """Pixels per latent, in each direction."""
        return 2 ** (len(self.widths) - 1)

    @classmethod
    def from_state_dict(cls, state_dict: Mapping[str, Tensor]) -> AutoencoderConfig:
        """Read every size from the shapes of the encoder half."""
        channels = state_dict["encoder.conv_in.weight"].shape[0]
        widths: list[int] = []
        while (key := f"encoder.down.{len(widths)}.block.0.conv2.weight") in state_dict:
            widths.append(state_dict[key].shape[0])
        blocks = 0
        while f"encoder.down.0.block.{blocks}.conv1.weight" in state_dict:
            blocks += 1
        return cls(
            channels=channels,
            widths=tuple(widths),
            residual_blocks=blocks,
            z_channels=state_dict["decoder.conv_in.weight"].shape[1],
            embed_dim=state_dict["post_quant_conv.weight"].shape[1],
        )
