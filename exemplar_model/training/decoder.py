"""The decoder alone, made used to the latents that a denoiser gives it.

A small autoencoder tells of the whole picture at every latent: normalisation and attention see all
of it. So the latents around a hole are others than those of the full picture, the denoiser can only
guess the difference, and a decoder that has seen nothing but true latents spreads the guess over
the kept pixels. Here it learns to draw the true picture from such latents. The encoder stays, and
with it all that was trained on its latents (the idea of Zhu et al. 2023, "Designing a Better
Asymmetric VQGAN for StableDiffusion", without its second input).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import LATENT_SCALE
from .autoencoder import encode_moments, picture_error, psnr
from .config import ConfigError, TrainConfig
from .dataset import Sample, Samples
from .parts import starting_components
from .stage import Scalars, Stage, grid

LATENT_NOISE = 0.08
"""Deviation of the noise on scaled latents: what a trained small denoiser leaves uncertain."""


class Decoding(nn.Module):
    """The decoder's half of an autoencoder."""

    def __init__(self, autoencoder: Any) -> None:
        super().__init__()
        self.post_quant_conv = autoencoder.post_quant_conv
        self.decoder = autoencoder.decoder

    def forward(self, latents: Tensor) -> Tensor:
        """Scaled latents [B, 4, h, w] → pictures [B, 3, H, W] around [-1, 1]."""
        return self.decoder(self.post_quant_conv(latents / LATENT_SCALE))


class DecoderStage(Stage):
    """Trains the decoder of a whole model, and exports the model with it."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        super().__init__(config, device)
        if config.init.model is None:
            raise ConfigError("init.model is missing: the decoder of which model is to be trained?")
        self.components = starting_components(config)
        autoencoder: Any = self.components.autoencoder
        self.autoencoder = autoencoder.requires_grad_(False).to(device)
        self.module = Decoding(autoencoder).requires_grad_(True).train()

    def loss(self, module: Any, batch: Sample) -> tuple[Tensor, Scalars]:
        """Error of the pictures decoded from latents between those with and without the hole."""
        latents = self._latents(batch, batch["coin"]) + LATENT_NOISE * batch["posterior_noise"]
        loss, squared = picture_error(module(latents).float(), batch["image"])
        return loss, {"psnr": psnr(squared.detach())}

    @torch.no_grad()
    def validate(self, module: Any, batches: Iterable[Sample]) -> dict[str, float]:
        """PSNR of held-out pictures: decoded from true latents, and with those around the hole."""
        errors: dict[str, list[Tensor]] = {"psnr": [], "around_hole": []}
        for batch in batches:
            for name, share in (("psnr", 1.0), ("around_hole", 0.0)):
                output = module(self._latents(batch, torch.full_like(batch["coin"], share)))
                difference = output.float().clamp(-1.0, 1.0) - batch["image"]
                errors[name].append(difference.square().mean())
        return {name: float(psnr(torch.stack(each).mean())) for name, each in errors.items()}

    @torch.no_grad()
    def sheet(self, batch: Sample) -> Tensor:
        """Rows of picture, picture with hole, and as in `validate` decoded from both latents."""
        decoded = [
            self.module(self._latents(batch, torch.full_like(batch["coin"], share)))
            for share in (1.0, 0.0)
        ]
        columns = [batch["image"], batch["image"] * batch["keep_mask"], *decoded]
        pictures = [(column / 2 + 0.5).clamp(0.0, 1.0) for column in columns]
        return grid([[column[i] for column in pictures] for i in range(len(pictures[0]))])

    def export(self, dataset: Samples) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The whole model with its new decoder."""
        return self.components.to_original(), self.config.model.hints

    @torch.no_grad()
    def _latents(self, batch: Sample, share: Tensor) -> Tensor:
        """Scaled latents: true ones in the hole; around it `share` [B] of the true ones."""
        image, keep_mask = batch["image"], batch["keep_mask"]
        moments = encode_moments(self.autoencoder, torch.cat([image, image * keep_mask]))
        true, around = (moments.chunk(2, dim=1)[0] * LATENT_SCALE).chunk(2)
        keep_mask = F.interpolate(
            keep_mask, size=true.shape[-2:], mode="bilinear", align_corners=False
        )
        weight = keep_mask * (1.0 - share[:, None, None, None])
        return torch.lerp(true, around, weight)
