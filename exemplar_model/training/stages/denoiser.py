"""The paper's training: UNet, mapper, projection and null vector, with everything else frozen.

Source of the objective: `ldm/models/diffusion/ddpm.py` and `configs/v1.yaml` of the reference.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F

from ...constants import LATENT_SCALE
from ...encoder import ExemplarEncoder
from ...schedule import alphas_cumprod
from ...standalone.pipeline import paint
from ..config import TrainConfig
from ..data.dataset import Samples
from ..data.sample import Batch, Encoded
from .autoencoder import encode_moments
from .parts import starting_components
from .stage import Scalars, Stage, grid

VALIDATED_TIMESTEPS = (50, 950)
"""Ends of the fixed grid of timesteps of the validation losses."""


class ConditionedUNet(nn.Module):
    """All that is trained, as one module, so that one wrapper distributes it."""

    def __init__(self, unet: UNet2DConditionModel, encoder: ExemplarEncoder) -> None:
        super().__init__()
        self.unet = unet
        self.mapper = encoder.mapper
        self.final_ln = encoder.final_ln
        self.proj_out = encoder.proj_out
        self.uncond_vector = encoder.uncond_vector
        self._project = encoder.project

    def forward(
        self, unet_input: Tensor, timestep: Tensor, class_token: Tensor, dropped: Tensor
    ) -> Tensor:
        """Predict the noise.

        Args:
            unet_input: [B, 9, h, w], noisy latents, masked-image latents, keep mask.
            timestep: [B], 0…999.
            class_token: [B, D] of the frozen tower.
            dropped: [B] bool; these see the null vector. Every parameter stays in the graph.

        Returns:
            ε [B, 4, h, w].
        """
        context = self._project(class_token[:, None])
        context = torch.where(dropped[:, None, None], self.uncond_vector, context)
        return self.unet(unet_input, timestep, context, return_dict=False)[0]


class DenoiserStage(Stage):
    """Trains the model of the paper."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        super().__init__(config, device)
        self.components = starting_components(config)
        autoencoder: Any = self.components.autoencoder
        tower: Any = self.components.encoder.clip_vision
        self.autoencoder = autoencoder.requires_grad_(False).to(device)
        self.tower = tower.requires_grad_(False).eval()
        unet = self.components.unet
        if config.gradient_checkpointing:
            unet.enable_gradient_checkpointing()
        self.module = ConditionedUNet(unet, self.components.encoder).to(device).train()
        if config.precision != "no":  # nothing is learned by what is frozen: no need for fp32
            frozen_dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}[config.precision]
            self.autoencoder.to(frozen_dtype)
            self.tower.to(frozen_dtype)
        self.alphas = alphas_cumprod().float().to(device)

    @torch.no_grad()
    def encode(self, batch: Batch) -> Encoded:
        """Put samples through the frozen parts; those from `encode-samples` already went."""
        if isinstance(batch.content, Encoded):
            return Encoded(*(tensor.float() for tensor in batch.content))
        image, keep_mask, exemplar, _ = batch.content
        both = torch.cat([image, image * keep_mask]).to(self.autoencoder.dtype)
        moments, masked_moments = encode_moments(self.autoencoder, both).float().chunk(2)
        keep_mask = F.interpolate(
            keep_mask, size=moments.shape[-2:], mode="bilinear", align_corners=False
        )
        class_token = self.components.encoder.class_token(exemplar).float()
        return Encoded(moments, masked_moments, keep_mask, class_token)

    def unet_input(self, encoded: Encoded, batch: Batch) -> Tensor:
        """Noisy latents, masked-image latents and keep mask, [B, 9, h, w]."""
        clean = sample_posterior(encoded.moments, batch.draws.posterior_noise)
        masked = sample_posterior(encoded.masked_moments, batch.draws.masked_posterior_noise)
        alpha = self.alphas[batch.draws.timestep][:, None, None, None]
        noisy = alpha.sqrt() * clean + (1.0 - alpha).sqrt() * batch.draws.noise
        return torch.cat([noisy, masked, encoded.keep_mask], dim=1)

    def loss(self, module: Any, batch: Batch) -> tuple[Tensor, Scalars]:
        """Squared error of ε over the whole latent."""
        encoded = self.encode(batch)
        dropped = batch.draws.uniform < self.config.drop
        if self.config.drop_per == "batch":
            dropped = dropped[:1].expand_as(dropped)
        predicted = module(
            self.unet_input(encoded, batch), batch.draws.timestep, encoded.class_token, dropped
        )
        error = (predicted.float() - batch.draws.noise).square()
        weight = 1.0 + (self.config.hole_weight - 1.0) * (1.0 - encoded.keep_mask)
        by_sample = (error * weight).mean((1, 2, 3)) / weight.mean((1, 2, 3))
        if self.config.min_snr is not None:
            alpha = self.alphas[batch.draws.timestep]
            snr = alpha / (1.0 - alpha)
            by_sample = by_sample * snr.clamp(max=self.config.min_snr) / snr
        return by_sample.mean(), {"hole": hole_error(error, encoded.keep_mask).detach()}

    @torch.no_grad()
    def validate(self, module: Any, batches: Iterable[Batch]) -> dict[str, float]:
        """Error of ε inside the hole, with the true context, another sample's, and the null vector.

        The gap between true and shuffled is what the model takes from the exemplar.
        """
        errors: dict[str, list[Tensor]] = {"true": [], "shuffled": [], "null": []}
        first, last = VALIDATED_TIMESTEPS
        for batch in batches:
            B = len(batch.draws.timestep)
            timestep = torch.linspace(first, last, B, device=self.device).long()
            batch = batch._replace(draws=batch.draws._replace(timestep=timestep))
            encoded = self.encode(batch)
            token, unet_input = encoded.class_token, self.unet_input(encoded, batch)
            none = torch.zeros(B, dtype=torch.bool, device=self.device)
            for name, tokens, dropped in (
                ("true", token, none),
                ("shuffled", token.roll(1, 0), none),
                ("null", token, ~none),
            ):
                predicted = module(unet_input, timestep, tokens, dropped).float()
                error = (predicted - batch.draws.noise).square()
                errors[name].append(hole_error(error, encoded.keep_mask))
        means = {name: float(torch.stack(each).mean()) for name, each in errors.items()}
        return {**means, "gap": means["shuffled"] - means["true"]}

    @torch.no_grad()
    def sheet(self, batch: Batch) -> Tensor:
        """Rows of picture, picture with hole, exemplar, and two results."""
        config = self.config.validation
        rows: list[list[Tensor]] = []
        pictures = batch.pictures
        for image, keep_mask, exemplar in zip(
            pictures.image, pictures.keep_mask, pictures.exemplar, strict=True
        ):
            picture = (image / 2 + 0.5).cpu()
            results = [
                paint(
                    self.components,
                    picture.permute(1, 2, 0)[None],
                    1.0 - keep_mask.cpu(),
                    [exemplar.permute(1, 2, 0).cpu()],
                    seed=seed,
                    steps=config.steps,
                    cfg=config.cfg,
                    context=None,
                    resolution=self.config.resolution,
                    color=False,
                ).regions[0]
                for seed in (0, 1)
            ]
            holed = (image * keep_mask / 2 + 0.5).cpu()
            side = picture.shape[-1]
            view = F.interpolate(exemplar[None].cpu(), size=side, mode="bilinear", antialias=True)
            shown = [result.permute(2, 0, 1).cpu() for result in results]
            rows.append([picture, holed, view[0], *shown])
        return grid(rows)

    def export(self, dataset: Samples) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The whole model, frozen parts included, and what shapes cannot tell."""
        return self.components.to_original(), self.config.model.hints


def sample_posterior(moments: Tensor, noise: Tensor) -> Tensor:
    """Scaled latents [B, 4, h, w] from unscaled mean and log-variance [B, 8, h, w]."""
    mean, logvar = moments.chunk(2, dim=1)
    return (mean + noise * torch.exp(0.5 * logvar)) * LATENT_SCALE


def hole_error(error: Tensor, keep_mask: Tensor) -> Tensor:
    """Mean of an error [B, C, h, w] inside the hole of keep mask [B, 1, h, w]."""
    hole = (1.0 - keep_mask).expand_as(error)
    return (error * hole).sum() / hole.sum().clamp(min=1e-6)
