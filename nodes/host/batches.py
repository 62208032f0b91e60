"""How a batch of regions is divided where memory does not hold all of it at once."""

from __future__ import annotations

from typing import Any

import comfy.model_management as management
import torch
from torch import Tensor

from .samplers import BATCH_SAMPLERS

CPU_PIXELS = 64 * 64
"""Most pixels of latents to sample at once on a CPU: those of one region of 512².

With the published size, on two cores, a region in a batch of four takes 0.3 (64²), 0.4 to 0.5
(128²), 0.7 (256²) and 1.1 to 1.2 times (512²) what it takes alone.
"""


def divide_batch(
    model: Any, shape: torch.Size, sampler_name: str, conditioning: list[Any]
) -> list[slice]:
    """Which latents to sample together.

    As many as the device has memory for besides the whole model: the host itself evaluates a batch
    in one go, and makes room by moving weights off the device, which is slower than several goes.
    On a CPU, no more than saves time. One by one with samplers outside `BATCH_SAMPLERS`, so that
    pictures do not depend on the memory of the device. All at once with a ControlNet, whose images
    belong to the whole batch.

    Args:
        model: MODEL.
        shape: of the latents [N, 4, h, w].
        sampler_name: of the sampler.
        conditioning: positive and negative entries.

    Returns:
        Consecutive slices of the batch.
    """
    N, _, h, w = shape
    if any("control" in options for _, options in conditioning):
        most = N
    elif sampler_name not in BATCH_SAMPLERS:
        most = 1
    elif management.is_device_cpu(model.load_device):
        most = CPU_PIXELS // (h * w)
    else:
        most = int(_free_memory(model) // model.memory_required([1, *shape[1:]]))
    most = max(1, most)
    return [slice(first, min(first + most, N)) for first in range(0, N, most)]


def _free_memory(model: Any) -> float:
    """Bytes of the device that remain once the host has unloaded all but this MODEL."""
    device = model.load_device
    loaded = [each for each in management.loaded_models() if each is not None]
    can_be_freed = sum(each.loaded_size() for each in loaded if each.load_device == device)
    free: Any = management.get_free_memory(device)  # a tuple only where asked for
    return free + can_be_freed - management.extra_reserved_memory() - model.model_size()


def select_conditioning(conditioning: list[Any], chosen: slice, count: int) -> list[Any]:
    """Conditioning of some latents of a batch.

    Args:
        conditioning: entries of a context and its options.
        chosen: latents of the batch.
        count: size of the whole batch. Tensors of as many rows have one row per latent; all others
            belong to every latent.
    """

    def select(value: Any) -> Any:
        per_latent = isinstance(value, Tensor) and value.ndim > 1 and len(value) == count
        return value[chosen] if per_latent else value

    return [
        [select(context), {name: select(value) for name, value in options.items()}]
        for context, options in conditioning
    ]
