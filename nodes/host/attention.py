"""Attention of our MODEL on CPUs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.ldm.modules.attention as attention
import comfy.model_management as management
from comfy.cli_args import args


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
