"""Sizes of UNet, autoencoder and encoder, read from the shapes of their tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from ..constants import CLIP_HEAD_WIDTH
from .reading import CheckpointError

STEM = "input_blocks.0.0.weight"
"""First convolution of a UNet in the original layout; its input channels tell the kind of model."""
GROUPS = 32
"""Groups of every group norm, which divide the channels."""


@dataclass(frozen=True)
class UNetConfig:
    """Sizes of a Stable Diffusion 1 UNet in the original layout, by level from the outside in."""

    channels: tuple[int, ...]
    attends: tuple[bool, ...]
    residual_blocks: int
    context_dim: int

    @classmethod
    def from_state_dict(cls, state_dict: Mapping[str, Tensor]) -> UNetConfig:
        """Read every size from the shapes of the downward half.

        Raises:
            CheckpointError: a tensor that tells a size is missing, or no model has that size.
        """
        channels: list[int] = []
        attends: list[bool] = []
        residual_blocks = block = 1
        while (key := f"input_blocks.{block}.0.out_layers.3.weight") in state_dict:
            residual_blocks = 1
            while f"input_blocks.{block + 1}.0.out_layers.3.weight" in state_dict:
                block, residual_blocks = block + 1, residual_blocks + 1
            channels.append(_size(state_dict, key, 0))
            attends.append(f"input_blocks.{block}.1.norm.weight" in state_dict)
            block += 2  # past the downsampler
        context = "middle_block.1.transformer_blocks.0.attn2.to_k.weight"
        _require_groups(channels, "input_blocks.1.0.out_layers.3.weight")
        return cls(tuple(channels), tuple(attends), residual_blocks, _size(state_dict, context, 1))


@dataclass(frozen=True)
class AutoencoderConfig:
    """Sizes of a KL autoencoder in the original layout.

    Attributes:
        widths: channels by level from the outside in.
        residual_blocks: of a level of the encoder half; the decoder half has one more.
    """

    widths: tuple[int, ...]
    residual_blocks: int

    @property
    def factor(self) -> int:
        """Pixels per latent, in each direction."""
        return 2 ** (len(self.widths) - 1)

    @classmethod
    def from_state_dict(cls, state_dict: Mapping[str, Tensor]) -> AutoencoderConfig:
        """Read every size from the shapes of the encoder half.

        Raises:
            CheckpointError: a tensor that tells a size is missing, or no model has that size.
        """
        widths: list[int] = []
        while (key := f"encoder.down.{len(widths)}.block.0.conv2.weight") in state_dict:
            widths.append(_size(state_dict, key, 0))
        blocks = 0
        while f"encoder.down.0.block.{blocks}.conv1.weight" in state_dict:
            blocks += 1
        _require_groups(widths, "encoder.down.0.block.0.conv2.weight")
        return cls(tuple(widths), blocks)


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes of an `ExemplarEncoder`; the defaults are those of the published model."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - where a configuration file gives them

    vision_width: int = 1024
    """Channels of the tower and of the mapper."""
    vision_layers: int = 24
    """Transformer layers of the tower."""
    vision_heads: int = 16
    """Attention heads of the tower; they divide its width."""
    vision_mlp: int = 4096
    """Inner width of the tower's feed-forward layers."""
    image_size: int = 224
    """Side of the exemplar as the tower takes it, in pixels."""
    patch_size: int = 14
    """Side of a patch; it divides `image_size`."""
    mapper_blocks: int = 5
    """Residual blocks between tower and projection."""
    context_dim: int = 768
    """Width of the context token."""

    @classmethod
    def from_state_dict(
        cls, state_dict: Mapping[str, Tensor], vision_heads: int | None = None
    ) -> EncoderConfig:
        """Read every size from the shapes of an encoder's tensors.

        Args:
            state_dict: tensors named as `Checkpoint.encoder` names them.
            vision_heads: heads of the tower where a file states them; else CLIP's own rule, one
                head per 64 channels.

        Raises:
            CheckpointError: a tensor that tells a size is missing, or no model has that size.
        """
        patch = "clip_vision.embeddings.patch_embedding.weight"  # [D, 3, P, P]
        width, patch_size = _size(state_dict, patch, 0), _size(state_dict, patch, 3)
        # [1 + grid², D]: one position for the class token, and one for each patch
        positions = _size(state_dict, "clip_vision.embeddings.position_embedding.weight", 0)
        grid = round((positions - 1) ** 0.5)
        heads = vision_heads or max(1, width // CLIP_HEAD_WIDTH)
        if width % heads or not grid:
            raise CheckpointError(f"{heads} heads and {positions} positions fit no vision tower")
        return cls(
            vision_width=width,
            vision_layers=_count(state_dict, "clip_vision.encoder.layers."),
            vision_heads=heads,
            vision_mlp=_size(state_dict, "clip_vision.encoder.layers.0.mlp.fc1.weight", 0),
            image_size=grid * patch_size,
            patch_size=patch_size,
            mapper_blocks=_count(state_dict, "mapper.resblocks."),
            context_dim=_size(state_dict, "proj_out.weight", 0),
        )


def _size(state_dict: Mapping[str, Tensor], name: str, axis: int) -> int:
    tensor = state_dict.get(name)
    if tensor is None:
        raise CheckpointError(f"{name} is missing")
    if tensor.ndim <= axis or 0 in tensor.shape:
        raise CheckpointError(f"{name} has the shape {list(tensor.shape)}")
    return tensor.shape[axis]


def _count(keys: Iterable[str], prefix: str) -> int:
    return len({key[len(prefix) :].split(".")[0] for key in keys if key.startswith(prefix)})


def _require_groups(widths: list[int], first: str) -> None:
    if not widths:
        raise CheckpointError(f"{first} is missing")
    if any(width % GROUPS for width in widths):
        raise CheckpointError(f"widths of {widths} channels are not all multiples of {GROUPS}")
