"""Stage 1 of a small model: its own KL autoencoder (the paper takes Stable Diffusion's)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F

from ..checkpoint import AUTOENCODER_PREFIX
from ..components import new_autoencoder
from ..config import LATENT_SCALE
from ..key_maps import autoencoder_from_diffusers
from .config import TrainConfig
from .dataset import ExemplarDataset, Sample
from .stage import Scalars, Stage, fixed_batches, grid

SCALES = (1, 2, 4, 8)
"""Sides of the blocks whose means are compared: large ones teach colours early."""
NORMALISATION_SAMPLES = 256


class Reconstruction(nn.Module):
    """Encode, sample the posterior with given noise, decode."""

    def __init__(self, autoencoder: AutoencoderKL) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, image: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images [B, 3, H, W] in [-1, 1] → reconstruction, and mean and log-variance [B, 4, h, w]."""
        mean, logvar = encode_moments(self.autoencoder, image).chunk(2, dim=1)
        latent = mean + noise * torch.exp(0.5 * logvar)
        decoder: Any = self.autoencoder
        return decoder.decode(latent, return_dict=False)[0], mean, logvar


def encode_moments(autoencoder: AutoencoderKL, image: Tensor) -> Tensor:
    """Mean and log-variance, unscaled, [B, 8, h, w] of images [B, 3, H, W] in [-1, 1]."""
    posterior: Any = autoencoder.encode(cast("Any", image), return_dict=False)[0]
    return torch.cat([posterior.mean, posterior.logvar], dim=1)


class AutoencoderStage(Stage):
    """Trains the autoencoder on training pictures, some with their hole."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        super().__init__(config, device)
        self.autoencoder = new_autoencoder(config.model)
        # convolutions on small pictures: an eighth faster on a CPU, and what GPUs prefer too
        memory_format: Any = torch.channels_last
        self.module = Reconstruction(self.autoencoder).to(device, memory_format=memory_format)

    def loss(self, module: Any, batch: Sample) -> tuple[Tensor, Scalars]:
        """L1 at several scales and squared error of the reconstruction, and the KL divergence."""
        holed = batch["coin"] < self.config.masked_share
        image = torch.where(
            holed[:, None, None, None], batch["image"] * batch["keep_mask"], batch["image"]
        )
        output, mean, logvar = module(image, batch["posterior_noise"])
        output = output.float()
        difference = output - image
        kl = 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar).mean()
        squared = difference.square().mean()
        absolute = [F.avg_pool2d(difference, side).abs().mean() for side in SCALES]
        return torch.stack(absolute).sum() + squared + self.config.kl_weight * kl, {
            "psnr": _psnr(squared.detach()),
            "kl": kl.detach(),
        }

    @torch.no_grad()
    def validate(self, module: Any, batches: Iterable[Sample]) -> dict[str, float]:
        """PSNR of held-out pictures, decoded from the mode."""
        errors = [
            (self._reconstruct(batch["image"]) - batch["image"]).square().mean()
            for batch in batches
        ]
        return {"psnr": float(_psnr(torch.stack(errors).mean()))}

    @torch.no_grad()
    def sheet(self, batch: Sample) -> Tensor:
        """Rows of picture and reconstruction, then with the hole."""
        pictures = (batch["image"], batch["image"] * batch["keep_mask"])
        columns = [tensor for each in pictures for tensor in (each, self._reconstruct(each))]
        return grid([[column[i] / 2 + 0.5 for column in columns] for i in range(len(columns[0]))])

    def _reconstruct(self, image: Tensor) -> Tensor:
        noise = torch.zeros((), device=image.device)
        return self.module(image, noise)[0].clamp(-1.0, 1.0)

    @torch.no_grad()
    def export(self, dataset: ExemplarDataset) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The autoencoder, its latents brought to mean 0 and standard deviation 1 when scaled."""
        means = [
            encode_moments(self.autoencoder, batch["image"].to(self.device)).chunk(2, dim=1)[0]
            for batch in fixed_batches(dataset, min(NORMALISATION_SAMPLES, len(dataset)), 16)
        ]
        mean = torch.cat(means).mean((0, 2, 3))
        std = torch.cat(means).std((0, 2, 3))
        state = normalised(self.autoencoder.state_dict(), mean, std)
        original = autoencoder_from_diffusers(state)
        return {AUTOENCODER_PREFIX + key: tensor for key, tensor in original.items()}, {}


def normalised(state: dict[str, Tensor], mean: Tensor, std: Tensor) -> dict[str, Tensor]:
    """Fold a change of latent coordinates into the 1×1 convolutions on both sides of the latent.

    Reconstructions stay the same; scaled latents (× 0.18215) get mean 0 and deviation 1, which the
    noise schedule takes for granted.

    Args:
        state: of `AutoencoderKL`.
        mean, std: of its unscaled latents, by channel.
    """
    scale = std * LATENT_SCALE
    shift = torch.cat([mean, torch.zeros_like(mean)])
    gain = torch.cat([1.0 / scale, torch.ones_like(scale)])
    offset = torch.cat([torch.zeros_like(scale), -2.0 * scale.log()])  # of the log-variance
    weight, bias = state["quant_conv.weight"], state["quant_conv.bias"]
    back = state["post_quant_conv.weight"]
    return {
        **state,
        "quant_conv.weight": weight * gain[:, None, None, None],
        "quant_conv.bias": (bias - shift) * gain + offset,
        "post_quant_conv.weight": back * scale[None, :, None, None],
        "post_quant_conv.bias": state["post_quant_conv.bias"] + back[:, :, 0, 0] @ mean,
    }


def _psnr(squared_error: Tensor) -> Tensor:
    """In dB, of pictures in [-1, 1]."""
    return 10.0 * torch.log10(4.0 / squared_error)
