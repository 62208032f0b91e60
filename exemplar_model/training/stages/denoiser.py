"""The paper's training: UNet, mapper, projection and null vector; autoencoder and tower are frozen.

Source of the objective: `ldm/models/diffusion/ddpm.py` and `configs/v1.yaml` of the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F

from ...encoder import ExemplarEncoder
from ...schedule import alphas_cumprod
from ...standalone.pipeline import paint
from ..config import TrainConfig
from ..data.dataset import Samples
from ..data.sample import Batch, Encoded
from .initial_weights import starting_components
from .latents import encode_moments, sample_posterior
from .stage import Scalars, Stage, grid

VALIDATED_TIMESTEPS = (50, 950)
"""First and last of the evenly spaced timesteps at which validation measures its losses."""
HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}


class ConditionedUNet(nn.Module):
    """All trained weights, as the one module that accelerate wraps for several processes."""

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
            dropped: [B] bool, samples that see the null vector. The graph has every parameter in it
                either way, as training on several processes needs.

        Returns:
            ε [B, 4, h, w].
        """
        context = self._project(class_token[:, None])
        context = torch.where(dropped[:, None, None], self.uncond_vector, context)
        return self.unet(unet_input, timestep, context, return_dict=False)[0]


class DenoiserStage(Stage):
    """Trains the denoiser as in the paper."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        super().__init__(config, device)
        self.components = starting_components(config)
        autoencoder: Any = self.components.autoencoder
        tower: Any = self.components.encoder.clip_vision
        self.autoencoder = self.to_device(autoencoder.requires_grad_(False))
        self.tower = tower.requires_grad_(False).eval()
        unet = self.components.unet
        if config.gradient_checkpointing:
            unet.enable_gradient_checkpointing()
        self.module = self.to_device(ConditionedUNet(unet, self.components.encoder)).train()
        # frozen weights need no fp32; on a CPU accelerate has no autocast to fp16
        if config.precision == "bf16" or (config.precision == "fp16" and device.type != "cpu"):
            self.autoencoder.to(HALF[config.precision])
            self.tower.to(HALF[config.precision])
        self.alphas = alphas_cumprod().float().to(device)
        self.timesteps = torch.arange(len(self.alphas), device=device)
        if config.timestep_sampling == "min_snr":
            self.timesteps = timesteps_by_weight(self.min_snr_weight(self.timesteps))

    @torch.no_grad()
    def encode(self, batch: Batch) -> Encoded:
        """Put samples through autoencoder and vision tower, unless `encode-samples` has done so."""
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

    def min_snr_weight(self, timestep: Tensor) -> Tensor:
        """Weight of the loss at timesteps [B], at most 1 (Hang et al. 2023, for ε prediction)."""
        assert self.config.min_snr is not None
        snr = self.alphas[timestep] / (1.0 - self.alphas[timestep])
        return snr.clamp(max=self.config.min_snr) / snr

    def unet_input(self, encoded: Encoded, batch: Batch, timestep: Tensor) -> Tensor:
        """Noisy latents, masked-image latents and keep mask, [B, 9, h, w]."""
        clean = sample_posterior(encoded.moments, batch.draws.posterior_noise)
        masked = sample_posterior(encoded.masked_moments, batch.draws.masked_posterior_noise)
        alpha = self.alphas[timestep][:, None, None, None]
        noisy = alpha.sqrt() * clean + (1.0 - alpha).sqrt() * batch.draws.noise
        return torch.cat([noisy, masked, encoded.keep_mask], dim=1)

    def loss(self, module: Any, batch: Batch) -> tuple[Tensor, Scalars]:
        """Squared error of the predicted ε, over the whole latent."""
        encoded = self.encode(batch)
        timestep = self.timesteps[batch.draws.timestep]
        dropped = batch.draws.uniform < self.config.drop
        if self.config.drop_per == "batch":
            dropped = dropped[:1].expand_as(dropped)
        unet_input = self.unet_input(encoded, batch, timestep)
        predicted = module(unet_input, timestep, encoded.class_token, dropped)
        error = (predicted.float() - batch.draws.noise).square()
        weight = 1.0 + (self.config.hole_weight - 1.0) * (1.0 - encoded.keep_mask)
        by_sample = (error * weight).mean((1, 2, 3)) / weight.mean((1, 2, 3))
        if self.config.min_snr is not None and self.config.timestep_sampling == "uniform":
            by_sample = by_sample * self.min_snr_weight(timestep)
        return by_sample.mean(), {"hole": hole_error(error, encoded.keep_mask).detach()}

    @torch.no_grad()
    def validate(self, module: Any, batches: Iterable[Batch]) -> dict[str, float]:
        """Squared error of ε inside the hole, for three conditions, and a difference of two.

        `true` has the sample's own exemplar, `shuffled` that of another sample, `null` the null
        vector. `gap` is shuffled minus true: how much the right exemplar helps.
        """
        errors: dict[str, list[Tensor]] = {"true": [], "shuffled": [], "null": []}
        first, last = VALIDATED_TIMESTEPS
        for batch in batches:
            B = len(batch.draws.timestep)
            timestep = torch.linspace(first, last, B, device=self.device).long()
            encoded = self.encode(batch)
            token, unet_input = encoded.class_token, self.unet_input(encoded, batch, timestep)
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
    def preview(self, batch: Batch) -> Tensor:
        """Rows of picture, masked image, exemplar, and results of two seeds."""
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
                    match_color=False,
                ).regions[0]
                for seed in (0, 1)
            ]
            holed = (image * keep_mask / 2 + 0.5).cpu()
            side = picture.shape[-1]
            view = F.interpolate(exemplar[None].cpu(), size=side, mode="bilinear", antialias=True)
            shown = [result.permute(2, 0, 1).cpu() for result in results]
            rows.append([picture, holed, view[0], *shown])
        return grid(rows)

    def export(self, open_data: Callable[[], Samples]) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The whole model, autoencoder and tower included, and its numbers of attention heads."""
        return self.components.to_original(), self.config.model.hints


def timesteps_by_weight(weight: Tensor) -> Tensor:
    """Table that turns uniform timesteps into ones distributed in proportion to a weight.

    Entry i is the quantile (i + 1/2) / n of that distribution (inverse transform sampling); only
    timesteps with less than 1/n of the total weight may be missing.

    Args:
        weight: [n], positive.

    Returns:
        [n] timesteps, ascending.
    """
    share = weight.double().cumsum(0) / weight.double().sum()
    quantiles = (torch.arange(len(weight), device=weight.device).double() + 0.5) / len(weight)
    return torch.searchsorted(share, quantiles)


def hole_error(error: Tensor, keep_mask: Tensor) -> Tensor:
    """Mean of an error [B, C, h, w] inside the hole of keep mask [B, 1, h, w]."""
    hole = (1.0 - keep_mask).expand_as(error)
    return (error * hole).sum() / hole.sum().clamp(min=1e-6)
