"""Latents of training pictures: the autoencoder's posterior, and samples of it."""

from __future__ import annotations

from typing import Any, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

from ...constants import LATENT_SCALE


def encode_moments(autoencoder: AutoencoderKL, image: Tensor) -> Tensor:
    """Mean and log-variance, unscaled, [B, 8, h, w] of images [B, 3, H, W] in [-1, 1]."""
    posterior: Any = autoencoder.encode(cast("Any", image), return_dict=False)[0]
    return torch.cat([posterior.mean, posterior.logvar], dim=1)


def sample_posterior(moments: Tensor, noise: Tensor) -> Tensor:
    """Scaled latents [B, 4, h, w] from unscaled mean and log-variance [B, 8, h, w]."""
    mean, logvar = moments.chunk(2, dim=1)
    return (mean + noise * torch.exp(0.5 * logvar)) * LATENT_SCALE
