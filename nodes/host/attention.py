"""Faster attention of our MODEL: PyTorch's on CPUs, none where there is one context token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.ldm.modules.attention as attention
import comfy.model_management as management
from comfy.cli_args import args
from torch import Tensor


def use_fused_attention_on_cpu(patcher: Any) -> None:
    """Let the MODEL use PyTorch's fused attention where the host would not.

    On CPUs the host defaults to sub-quadratic attention, which takes several times as long for the
    same result. GPUs and whoever chose an attention on the command line keep what they have.
    """
    chosen = args.use_quad_cross_attention or args.use_split_cross_attention
    default = attention.optimized_attention is attention.attention_sub_quad
    if management.is_device_cpu(patcher.load_device) and default and not chosen:
        options = patcher.model_options.setdefault("transformer_options", {})
        options["optimized_attention_override"] = _fused


def _fused(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    # the host hands over the function that it would have called, without its wrapper
    if function is getattr(attention.attention_sub_quad, "__wrapped__", None):
        return attention.attention_pytorch(*arguments, **keywords)
    return function(*arguments, **keywords)


def use_single_token_attention(patcher: Any) -> None:
    """Let the MODEL's cross-attention compute no attention to a single context token.

    Only the class of the modules changes: weights keep their names, so LoRAs and whatever else
    patches weights find them. `use_host_attention` takes it back.
    """
    for block in patcher.model.diffusion_model.modules():
        # a host with another kind of cross-attention keeps its own
        if type(getattr(block, "attn2", None)) is attention.CrossAttention:
            block.attn2.__class__ = SingleTokenAttention


def use_host_attention(patcher: Any) -> None:
    """Give the MODEL the host's own cross-attention again, to compare the two."""
    for block in patcher.model.diffusion_model.modules():
        if type(getattr(block, "attn2", None)) is SingleTokenAttention:
            block.attn2.__class__ = attention.CrossAttention


class SingleTokenAttention(attention.CrossAttention):
    """Cross-attention that computes no attention to a single context token.

    The softmax over one token is 1 whatever query and key are, so every position gets
    `to_out(to_v(context))`. In every other case the host's own attention runs.
    """

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        value: Tensor | None = None,
        mask: Tensor | None = None,
        transformer_options: dict[str, Any] | None = None,
    ) -> Tensor:
        """[B, N, C] for x [B, N, C], context and value [B, M, D]; with M = 1 an expanded view."""
        options = transformer_options or {}
        value = context if value is None else value
        if mask is None and _is_single(context, x) and _is_single(value, x) and _is_stock(options):
            return self.to_out(self.to_v(value)).expand(-1, x.shape[1], -1)
        return super().forward(
            x, context=context, value=value, mask=mask, transformer_options=options
        )


def _is_single(tokens: Tensor | None, x: Tensor) -> bool:
    return tokens is not None and tokens.shape[:2] == (x.shape[0], 1)


def _is_stock(options: dict[str, Any]) -> bool:
    """Whether nobody but us looks into attention or writes into its output."""
    override = options.get("optimized_attention_override")
    output_patched = "attn2_output_patch" in options.get("patches", {})
    return override in (None, _fused) and not output_patched
