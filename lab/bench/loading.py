"""Loading a model file into MODEL, encoder and VAE: time, and memory against what they need."""

from __future__ import annotations

from typing import Any

import torch

from .measure import AnonymousPeak, about, tensor_bytes, timed
from .models import load_host, load_model


@torch.inference_mode()
def load(comfyui: str, path: str) -> dict[str, Any]:
    """Load one file or folder on the CPU.

    Returns:
        `seconds`; `peak`, anonymous bytes above those before; `needed`, bytes of all parameters
        and buffers of what was loaded; `about` the machine.
    """
    pack = load_host(comfyui)
    with AnonymousPeak() as memory:
        loaded, seconds = timed(lambda: load_model(pack, path), torch.device("cpu"))
    model, encoder, vae = loaded
    return {
        "seconds": seconds,
        "peak": memory.peak - memory.before,
        "needed": tensor_bytes(model.model, encoder.patcher.model, vae.first_stage_model),
        "about": about(),
    }
