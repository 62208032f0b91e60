"""Colors of the live previews with autoencoders other than Stable Diffusion's."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from ...exemplar_model.weights.checkpoint import Checkpoint
from ...exemplar_model.weights.sizes import AutoencoderConfig

STABLE_DIFFUSION = (128, 256, 512, 512)
"""Widths of the autoencoder whose colors the host knows."""
SAMPLES, SIDE = 64, 8


def fit_preview(model: Any, vae: Any, checkpoint: Checkpoint) -> None:
    """Make the live previews of a MODEL show the colors of its autoencoder.

    The host previews a latent by a linear map to RGB, whose factors are those of Stable
    Diffusion's autoencoder. These are the least-squares fit to decoded random latents.

    Args:
        model: MODEL, whose latent format is changed.
        vae: VAE that it samples for.
        checkpoint: what both were built from; nothing is done if its autoencoder has the sizes of
            Stable Diffusion's.
    """
    if AutoencoderConfig.from_state_dict(checkpoint.autoencoder).widths == STABLE_DIFFUSION:
        return
    latent_format = model.model.latent_format
    size = (SAMPLES, latent_format.latent_channels, SIDE, SIDE)
    latents = torch.randn(size, generator=torch.Generator().manual_seed(0))
    pictures = vae.decode(latent_format.process_out(latents)).movedim(-1, 1)  # NHWC -> NCHW
    colors = 2.0 * F.adaptive_avg_pool2d(pictures.float().cpu(), SIDE) - 1.0
    given, wanted = (each.movedim(1, -1).flatten(0, 2) for each in (latents, colors))
    given = torch.cat([given, torch.ones(len(given), 1)], dim=1)
    *factors, bias = torch.linalg.lstsq(given, wanted).solution.tolist()
    latent_format.latent_rgb_factors, latent_format.latent_rgb_factors_bias = factors, bias
