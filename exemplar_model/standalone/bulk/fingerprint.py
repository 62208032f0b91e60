"""Which model painted, whatever its file is called and however it is laid out."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from ...weights.checkpoint import read_checkpoint


def fingerprint(model: Path, dtype: str) -> str:
    """SHA-256 of all weights as the file holds them, and of the dtype they are cast to.

    Raises:
        CheckpointError: no model to paint with.
    """
    checkpoint = read_checkpoint(model)
    digest = hashlib.sha256(f"{dtype} {checkpoint.unet_heads} {checkpoint.vision_heads}".encode())
    for name, tensor in sorted(checkpoint.to_original().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
