"""Stage 1 of a small model: its own KL autoencoder (the paper takes Stable Diffusion's)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F

from ...constants import LATENT_CHANNELS, LATENT_SCALE
from ...weights.checkpoint import AUTOENCODER_PREFIX
from ...weights.key_maps import autoencoder_from_diffusers
from ..config import TrainConfig
from ..data.dataset import Samples
from ..data.sample import Batch
from ..section import ConfigError
from .initial_weights import starting_autoencoder
from .latents import encode_moments
from .stage import Scalars, Stage, fixed_batches, grid

SCALES = (1, 2, 4, 8)
"""Sides, in pixels, of the blocks whose means are compared: large ones teach colors early."""
NORMALIZATION_SAMPLES = 256
"""Number of pictures that the export measures mean and standard deviation of the latents on."""
FADE = (0.05, 0.5)
"""Fractions of the run at which fading in group normalization begins and ends."""
FIRST_LOGVAR = -6.0
"""Log-variance of the posterior at the start; at 0 its noise would hide everything at first."""


class FadingNorm(nn.GroupNorm):
    """Group normalization that can be faded in: at `share` 0 it applies weight and bias alone.

    With 32 groups and few channels, as a small model has them under Stable Diffusion's layout, a
    picture's mean color hardly passes a normalization, and a fresh autoencoder learns brightness
    and no colors for thousands of updates. Without it colors are learned at once, and kept while
    it is faded in.
    """

    share = 1.0

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, …] → [B, C, …]."""
        normal = F.group_norm(input, self.num_groups, eps=self.eps)
        mixed = normal if self.share == 1.0 else torch.lerp(input, normal, self.share)
        shape = (-1,) + (1,) * (input.dim() - 2)
        return mixed * self.weight.view(shape) + self.bias.view(shape)


class Reconstruction(nn.Module):
    """Encode, sample the posterior with given noise, decode."""

    def __init__(self, autoencoder: AutoencoderKL) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(
        self, image: Tensor, noise: Tensor, keep_mask: Tensor, holed: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Reconstruct pictures, some from latents as the denoiser leaves them.

        Args:
            image: [B, 3, H, W] in [-1, 1].
            noise: [B, 4, h, w], of the posterior.
            keep_mask: [B, 1, H, W] in [0, 1], 1 = keep.
            holed: [B] bool, samples that are decoded with the latents of the masked image around
                the hole; inside the hole they are always those of the whole picture.

        Returns:
            Reconstruction [B, 3, H, W]; mean and log-variance of the whole picture's latents, each
            [B, 4, h, w]; what the hole changes in the mean around it: [B, 4, h, w].
        """
        both = torch.cat([image, image * keep_mask])
        moments, holed_moments = encode_moments(self.autoencoder, both).chunk(2)
        kept = whole_cells(keep_mask, moments.shape[-1])
        mean, logvar = moments.chunk(2, dim=1)
        difference = (holed_moments - moments) * kept
        around = moments + difference * holed[:, None, None, None]
        around_mean, around_logvar = around.chunk(2, dim=1)
        latent = around_mean + noise * torch.exp(0.5 * around_logvar)
        decoder: Any = self.autoencoder
        output = decoder.decode(latent, return_dict=False)[0]
        return output, mean, logvar, difference.chunk(2, dim=1)[0]


def whole_cells(keep_mask: Tensor, side: int) -> Tensor:
    """Which latents cover kept pixels only: [B, 1, H, W] → [B, 1, side, side] of 0 and 1."""
    return (-F.adaptive_max_pool2d(-keep_mask, side) >= 1.0).to(keep_mask)


class AutoencoderStage(Stage):
    """Trains the KL autoencoder on pictures and their masked images."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        super().__init__(config, device)
        self.autoencoder = starting_autoencoder(config)
        init = config.init
        self.fresh = not (init.autoencoder or init.stable_diffusion or init.model)
        self.norms: list[Any] = [
            module for module in self.autoencoder.modules() if isinstance(module, nn.GroupNorm)
        ]
        for norm in self.norms:
            norm.__class__ = FadingNorm  # same parameters, same names
        if self.fresh:
            quant_conv: Any = self.autoencoder.quant_conv
            nn.init.constant_(quant_conv.bias[LATENT_CHANNELS:], FIRST_LOGVAR)
        self.edge_weight = 0.0
        self.module = self.to_device(Reconstruction(self.autoencoder))

    def begin(self, step: int) -> None:
        """Set the weight of the edge loss, and how far group normalization is faded in.

        Weights from a file have it in full from the start.
        """
        counts = step >= self.config.edge_from * self.config.steps
        self.edge_weight = self.config.edge_weight if counts else 0.0
        if not self.fresh:
            return
        first, last = (share * self.config.steps for share in FADE)
        for norm in self.norms:
            norm.share = min(1.0, max(0.0, (step - first) / (last - first)))

    def loss(self, module: Any, batch: Batch) -> tuple[Tensor, Scalars]:
        """L1 at several scales, squared error, edge error if configured, and two penalties.

        The penalties are the KL divergence, and the mean square of what a hole changes in the
        latents around it, divided by the variance of the latents.
        """
        image = batch.pictures.image
        holed = batch.draws.uniform < self.config.masked_share
        output, mean, logvar, moved = module(
            image, batch.draws.posterior_noise, batch.pictures.keep_mask, holed
        )
        difference = output.float() - image
        kl = 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar).mean()
        shift = moved.square().mean() / mean.var()
        squared = difference.square().mean()
        absolute = [F.avg_pool2d(difference, side).abs().mean() for side in SCALES]
        loss = torch.stack(absolute).sum() + squared
        if self.edge_weight:
            edges = [difference.diff(dim=dim).abs().mean() for dim in (-1, -2)]
            loss = loss + self.edge_weight * torch.stack(edges).sum()
        return loss + self.config.kl_weight * kl + self.config.shift_weight * shift, {
            "psnr": _psnr(squared.detach()),
            "kl": kl.detach(),
            "shift": shift.detach(),
        }

    @torch.no_grad()
    def validate(self, module: Any, batches: Iterable[Batch]) -> dict[str, float]:
        """PSNR of reconstructions: `psnr` from latents of whole pictures, `holed_psnr` with those
        of the masked image around the hole.
        """
        errors: dict[str, list[Tensor]] = {"psnr": [], "holed_psnr": []}
        for batch in batches:
            for name, holed in (("psnr", False), ("holed_psnr", True)):
                difference = self._reconstruct(batch, holed) - batch.pictures.image
                errors[name].append(difference.square().mean())
        return {name: float(_psnr(torch.stack(each).mean())) for name, each in errors.items()}

    @torch.no_grad()
    def preview(self, batch: Batch) -> Tensor:
        """Rows of picture, masked image, and the two reconstructions that `validate` measures."""
        image = batch.pictures.image
        columns = [
            image,
            image * batch.pictures.keep_mask,
            self._reconstruct(batch, holed=False),
            self._reconstruct(batch, holed=True),
        ]
        return grid([[column[i] / 2 + 0.5 for column in columns] for i in range(len(image))])

    def _reconstruct(self, batch: Batch, holed: bool) -> Tensor:
        image = batch.pictures.image
        noise = torch.zeros((), device=image.device)
        every = torch.full((len(image),), holed, device=image.device)
        return self.module(image, noise, batch.pictures.keep_mask, every)[0].clamp(-1.0, 1.0)

    @torch.no_grad()
    def export(self, open_data: Callable[[], Samples]) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The autoencoder, whose scaled latents have mean 0 and standard deviation 1.

        Raises:
            ConfigError: group normalization is still being faded in; other programs would apply it
                in full.
        """
        if any(norm.share < 1.0 for norm in self.norms):
            raise ConfigError(
                "The autoencoder's group normalization is still being faded in; export a "
                f"checkpoint from update {math.ceil(FADE[1] * self.config.steps)} on."
            )
        dataset = open_data()
        means = [
            encode_moments(self.autoencoder, batch.pictures.image.to(self.device)).chunk(2, dim=1)[
                0
            ]
            for batch in fixed_batches(dataset, min(NORMALIZATION_SAMPLES, len(dataset)), 16)
        ]
        mean = torch.cat(means).mean((0, 2, 3))
        std = torch.cat(means).std((0, 2, 3))
        state = normalized(self.autoencoder.state_dict(), mean, std)
        original = autoencoder_from_diffusers(state)
        return {AUTOENCODER_PREFIX + key: tensor for key, tensor in original.items()}, {}


def normalized(state: dict[str, Tensor], mean: Tensor, std: Tensor) -> dict[str, Tensor]:
    """Fold a change of latent coordinates into the 1×1 convolutions on both sides of the latent.

    Reconstructions stay the same; scaled latents (× 0.18215) get mean 0 and deviation 1, which the
    noise schedule assumes.

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
