"""VAE from a checkpoint."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import comfy.sd

from ...exemplar_model.constants import LATENT_CHANNELS
from ...exemplar_model.weights.checkpoint import Checkpoint
from ...exemplar_model.weights.sizes import AutoencoderConfig
from .weights import can_stay_mapped


class _WholeRatio(Fraction):
    """A multiplier such as 3/2 of 64 channels; the product is the whole number of channels."""

    def __rmul__(self, channels: Any) -> int:
        return int(super().__rmul__(channels))


def build_autoencoder(checkpoint: Checkpoint) -> Any:
    """VAE of any width and depth."""
    config = AutoencoderConfig.from_state_dict(checkpoint.autoencoder)
    channels = config.widths[0]
    ddconfig = {
        "double_z": True,
        "z_channels": LATENT_CHANNELS,
        "resolution": 256,
        "in_channels": 3,
        "out_ch": 3,
        "ch": channels,
        "ch_mult": [_WholeRatio(width, channels) for width in config.widths],
        "num_res_blocks": config.residual_blocks,
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    params = {"ddconfig": ddconfig, "embed_dim": LATENT_CHANNELS}
    vae: Any = comfy.sd.VAE(sd=dict(checkpoint.autoencoder), config={"params": params})
    vae.downscale_ratio = vae.upscale_ratio = config.factor
    if can_stay_mapped(vae.first_stage_model, checkpoint.autoencoder, vae.device):
        vae.first_stage_model.load_state_dict(checkpoint.autoencoder, assign=True)
    return vae
