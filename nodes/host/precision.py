"""The precision in which weights are stored, and in which the model computes."""

from __future__ import annotations

from collections.abc import Sequence

import comfy.model_management as management
import torch
from comfy.cli_args import args

WEIGHT_DTYPES: dict[str, torch.dtype | None] = {
    "default": None,
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp8_e4m3fn": torch.float8_e4m3fn,
}
"""Types that users may choose; None leaves the choice to the host."""


def cast_dtype(
    dtype: torch.dtype, device: torch.device, supported: Sequence[torch.dtype]
) -> torch.dtype | None:
    """The type that a denoiser's weights of `dtype` are cast to for computing; None: no cast.

    On a CPU the host computes in fp32 whatever the weights are. With AMX a step in bf16 takes a
    third of the time, so there bf16 weights stay. It would take 1.2 times as long as in fp32 with
    AVX512-BF16 alone, three times without both (one CPU, with oneDNN limited to each).
    """
    bf16_on_cpu = dtype == torch.bfloat16 and management.is_device_cpu(device)
    if bf16_on_cpu and multiplies_bf16() and not args.force_fp32:
        return None
    return management.unet_manual_cast(dtype, device, supported)


def multiplies_bf16() -> bool:
    """Whether this CPU has AMX for bf16; False with a PyTorch that cannot tell."""
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16", False))
