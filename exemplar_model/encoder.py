"""Exemplar encoder: CLIP class token → mapper → layer norm → projection → one context token.

All tokens of the tower instead of one make the layout of ObjectStitch models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPVisionConfig, CLIPVisionModel

from .constants import CLIP_MEAN, CLIP_STD
from .weights.shapes import encoder_shapes, require_shapes, tower_shapes
from .weights.sizes import EncoderConfig

TOWER = "clip_vision."

Tokens = Literal["class token", "all tokens"]
"""Which outputs of the CLIP tower become context tokens of the UNet."""


class MapperAttention(nn.Module):
    """Self-attention with a fused projection; rows of `c_qkv` are (head, q|k|v, channel).

    Source: `ldm/modules/encoders/xf.py` of the reference repository.
    """

    def __init__(self, width: int, heads: int = 1) -> None:
        super().__init__()
        self.heads = heads
        self.c_qkv = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] → [B, T, D]."""
        B, T, D = x.shape
        qkv = self.c_qkv(x).view(B, T, self.heads, 3 * D // self.heads).transpose(1, 2)
        q, k, v = qkv.chunk(3, dim=-1)  # each [B, heads, T, D / heads]
        attended = F.scaled_dot_product_attention(q, k, v)
        return self.c_proj(attended.transpose(1, 2).reshape(B, T, D))


class MapperMlp(nn.Module):
    """Two linear layers with exact GELU, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] → [B, T, D]."""
        return self.c_proj(F.gelu(self.c_fc(x)))


class MapperBlock(nn.Module):
    """Pre-norm residual block of the mapper."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = MapperAttention(width)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = MapperMlp(width)
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] → [B, T, D]."""
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Mapper(nn.Module):
    """The stack of residual blocks between the CLIP tower and the projection."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.resblocks = nn.Sequential(*(MapperBlock(width) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] → [B, T, D]."""
        return self.resblocks(x)


class ExemplarEncoder(nn.Module):
    """Turns exemplar pictures into the single context token that conditions the UNet.

    CLIP class token after `post_layernorm` [B, D] → [B, 1, D] → mapper → `final_ln` → `proj_out`
    → context [B, 1, context_dim]. `uncond_vector` [1, 1, context_dim] is the learned null
    condition (paper, section 3.2; `FrozenCLIPImageEmbedder` of the reference repository).
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.clip_vision = CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=config.vision_width,
                intermediate_size=config.vision_mlp,
                num_hidden_layers=config.vision_layers,
                num_attention_heads=config.vision_heads,
                image_size=config.image_size,
                patch_size=config.patch_size,
            )
        )
        self.mapper = Mapper(config.vision_width, config.mapper_blocks)
        self.final_ln = nn.LayerNorm(config.vision_width)
        self.proj_out = nn.Linear(config.vision_width, config.context_dim)
        self.uncond_vector = nn.Parameter(torch.randn(1, 1, config.context_dim))

    def forward(self, view: Tensor, tokens: Tokens = "class token") -> Tensor:
        """Encode views.

        Args:
            view: [B, 3, S, S] float32 in [0, 1], S = `config.image_size`; normalized here.
            tokens: the class token as in the paper, or all of the tower, the class token first
                and then the patches row by row, as ObjectStitch has it (bcmi's re-implementation,
                `FrozenCLIPImageEmbedder`).

        Returns:
            Context [B, T, context_dim] in the dtype of the weights; T is 1, or 1 more than the
            tower has patches (257 in the published model).
        """
        if tokens == "class token":
            return self.project(self.class_token(view)[:, None])
        return self.project(self._post_layernorm(self._tower(view).last_hidden_state))

    def class_token(self, view: Tensor) -> Tensor:
        """Class token [B, D] after `post_layernorm`, of views [B, 3, S, S] in [0, 1]."""
        return self._tower(view).pooler_output

    def project(self, tokens: Tensor) -> Tensor:
        """Tokens of the tower [B, T, D] → mapper, norm, projection → context [B, T, D]."""
        return self.proj_out(self.final_ln(self.mapper(tokens)))

    def _tower(self, view: Tensor) -> Any:
        mean, std = view.new_tensor(CLIP_MEAN), view.new_tensor(CLIP_STD)
        pixels = (view - mean.view(3, 1, 1)) / std.view(3, 1, 1)
        return self.clip_vision(pixel_values=pixels.to(self.clip_vision.dtype))

    @property
    def _post_layernorm(self) -> nn.Module:
        # transformers before 5 has a module `vision_model` in between
        return getattr(self.clip_vision, "vision_model", self.clip_vision).post_layernorm


def scale_context(context: Tensor, uncond_vector: Tensor, strength: float) -> Tensor:
    """Move along the line from the null condition (strength 0) to the context (1) and beyond."""
    return torch.lerp(uncond_vector.to(context).expand_as(context), context, strength)


def encoder_of(config: EncoderConfig, state_dict: Mapping[str, Tensor]) -> ExemplarEncoder:
    """An encoder that holds the given tensors, not copies of them; no random weights are drawn.

    Args:
        config: its sizes.
        state_dict: all its tensors, named as `Checkpoint.encoder` names them, on one device.

    Raises:
        CheckpointError: a tensor is missing, left over or of another shape.
    """
    with torch.device("meta"):
        encoder = ExemplarEncoder(config)
    load_encoder(encoder, state_dict, assign=True)
    device = encoder.uncond_vector.device
    for name, buffer in list(encoder.named_buffers()):
        module, _, attribute = name.rpartition(".")
        if attribute != "position_ids":
            raise RuntimeError(f"this version of transformers has a buffer of unknown use, {name}")
        positions = torch.arange(buffer.numel(), device=device).view_as(buffer)
        setattr(encoder.get_submodule(module), attribute, positions)
    return encoder.eval()


def load_encoder(
    encoder: ExemplarEncoder, state_dict: Mapping[str, Tensor], assign: bool = False
) -> None:
    """Load all tensors, named as `Checkpoint.encoder` names them.

    Args:
        encoder: the encoder.
        state_dict: its tensors.
        assign: hold the tensors themselves instead of copies of them.

    Raises:
        CheckpointError: a tensor is missing, left over or of another shape.
    """
    require_shapes(state_dict, encoder_shapes(encoder.config))
    prefix = _tower_prefix(encoder)
    encoder.load_state_dict(
        {
            prefix + name.removeprefix(TOWER) if name.startswith(TOWER) else name: tensor
            for name, tensor in state_dict.items()
        },
        assign=assign,
    )


def load_tower(encoder: ExemplarEncoder, tower: Mapping[str, Tensor]) -> None:
    """Load the tower alone, from tensors named `clip_vision.embeddings…`.

    Raises:
        CheckpointError: a tensor is missing, left over or of another shape.
    """
    require_shapes(tower, tower_shapes(encoder.config))
    inner = _tower_prefix(encoder).removeprefix(TOWER)
    encoder.clip_vision.load_state_dict(
        {inner + name.removeprefix(TOWER): tensor for name, tensor in tower.items()}
    )


def _tower_prefix(encoder: ExemplarEncoder) -> str:
    # transformers before 5 has a module `vision_model` in between, whatever files call the tensors
    nested = hasattr(encoder.clip_vision, "vision_model")
    return f"{TOWER}vision_model." if nested else TOWER
