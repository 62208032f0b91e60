"""Exemplar encoder from a checkpoint, under the host's memory management."""

from __future__ import annotations

import comfy.model_management as management
import comfy.model_patcher
import torch
from torch import Tensor

from ...exemplar_model.encoder import ExemplarEncoder, Tokens, encoder_of
from ...exemplar_model.saved import ModelIdentity, fingerprint
from ...exemplar_model.weights.checkpoint import Checkpoint
from .precision import WEIGHT_DTYPES
from .versions import call_supported


class HostEncoder:
    """An `ExemplarEncoder` under the host's memory management; the EXEMPLAR_ENCODER socket."""

    def __init__(self, encoder: ExemplarEncoder, identity: ModelIdentity) -> None:
        self.identity = identity
        self.image_size = encoder.config.image_size
        self.context_dim = encoder.config.context_dim
        self.patcher = comfy.model_patcher.ModelPatcher(
            encoder,
            load_device=management.text_encoder_device(),
            offload_device=management.text_encoder_offload_device(),
        )

    def encode(self, view: Tensor, tokens: Tokens = "class token") -> tuple[Tensor, Tensor]:
        """Context [B, T, D] of views [B, S, S, 3] in [0, 1], and the null condition [1, T, D].

        The null condition of several tokens is the null vector at each of them.
        """
        # the host cannot stream transformers' modules weight by weight, so never load half of them
        call_supported(management.load_models_gpu, [self.patcher], force_full_load=True)
        encoder: ExemplarEncoder = self.patcher.model
        pixels = view.permute(0, 3, 1, 2).to(self.patcher.load_device)  # BHWC -> BCHW
        home = management.intermediate_device()
        context = encoder(pixels, tokens).float().to(home)
        null = encoder.uncond_vector.detach().float().to(home)
        return context, null.repeat(1, context.shape[1], 1)


def build_encoder(checkpoint: Checkpoint, weight_dtype: str, name: str) -> HostEncoder:
    """Encoder for Encode Exemplar.

    It runs once for an exemplar. On a CPU it keeps fp32, in which a CPU computes; fp8 becomes
    fp16, the smallest type it can compute in.

    Args:
        checkpoint: the weights.
        weight_dtype: key of `WEIGHT_DTYPES`.
        name: of the model, as the user knows it; saved exemplars carry it.
    """
    device = management.text_encoder_device()
    on_cpu = management.is_device_cpu(device)
    dtype = WEIGHT_DTYPES[weight_dtype] or management.text_encoder_dtype(device)
    if on_cpu:
        dtype = torch.float32
    elif dtype.itemsize == 1:
        dtype = torch.float16
    # for other devices than CPUs the host wants memory of its own, not that of a mapped file
    tensors = {key: t.to(dtype, copy=not on_cpu) for key, t in checkpoint.encoder.items()}
    encoder = encoder_of(checkpoint.encoder_config, tensors)
    identity = ModelIdentity(name, fingerprint(checkpoint.encoder))
    return HostEncoder(encoder.requires_grad_(False), identity)
