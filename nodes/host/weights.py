"""Weights on CPUs stay in their file: mapped, read when used, dropped by the system when not."""

from __future__ import annotations

from collections.abc import Mapping

import comfy.model_management as management
import torch
from torch import Tensor, nn


def can_stay_mapped(module: nn.Module, weights: Mapping[str, Tensor], device: torch.device) -> bool:
    """Whether a module may hold tensors of a mapped file, in place of copies of them.

    On a CPU, where they rest as long as the model lives, and if all have the module's dtypes. On
    other devices the host moves weights to and fro, and wants memory of its own to pin.
    """
    own = module.state_dict()
    return management.is_device_cpu(device) and all(
        name in own and own[name].dtype == tensor.dtype for name, tensor in weights.items()
    )
