"""Painting regions: encode, sample, decode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.model_management as management
import comfy.sample
import comfy.utils
import latent_preview
import node_helpers
import torch
from torch import Tensor

from ...exemplar_model.constants import LATENT_CHANNELS
from ...exemplar_model.mask import masked_image
from .batches import divide_batch, select_conditioning
from .samplers import sampler_and_sigmas


def exemplar_counts(*conditionings: list[Any]) -> list[int]:
    """Number of exemplars in each entry of the conditionings."""
    return [entry[0].shape[0] for conditioning in conditionings for entry in conditioning]


def paint_regions(
    model: Any,
    positive: list[Any],
    negative: list[Any],
    vae: Any,
    images: Tensor,
    masks: Tensor,
    *,
    seed: int,
    steps: int,
    cfg: float,
    sampler_name: str,
    scheduler: str,
    denoise: float,
) -> tuple[Tensor, Tensor]:
    """Paint regions of one size.

    Args:
        model: MODEL of `build_model`.
        positive: CONDITIONING of one exemplar, or one per region.
        negative: the same for the null condition.
        vae: VAE of four latent channels.
        images: [N, h, w, 3] in [0, 1], multiples of the VAE's factor.
        masks: [N, h, w], 1 = repaint.
        seed: of the start noise, one draw for the whole batch; and, with the region's number
            added, of the noise that a sampler draws on the way.
        steps: sampling steps.
        cfg: guidance scale away from the negative.
        sampler_name: one of `sampler_names`.
        scheduler: one of `scheduler_names`.
        denoise: share of the schedule in (0, 1]; below 1 starts from the images.

    Returns:
        Latents [N, 4, h / factor, w / factor], unscaled, and images [N, h, w, 3].

    Raises:
        ValueError: a VAE of another kind.
    """
    if vae.latent_channels != LATENT_CHANNELS:
        raise ValueError(
            f"This VAE makes {vae.latent_channels} latent channels where Paint by Example has "
            f"{LATENT_CHANNELS}; connect the vae output of Load Exemplar Model."
        )
    sampler, sigmas = sampler_and_sigmas(model, sampler_name, scheduler, steps, denoise)
    masked_latents = _run(vae.encode, masked_image(images, masks), vae)
    # at denoise 1 what lies under the mask does not matter, so it is not encoded
    start = torch.zeros_like(masked_latents) if denoise >= 1.0 else _run(vae.encode, images, vae)
    noise: Any = comfy.sample.prepare_noise(start, seed)
    N = len(noise)
    batches = divide_batch(model, noise.shape, sampler_name, [*positive, *negative])
    show = latent_preview.prepare_callback(model, (len(sigmas) - 1) * len(batches))
    latents: list[Tensor] = []
    for number, batch in enumerate(batches):

        def callback(step: int, x0: Tensor, x: Tensor, steps: int, number: int = number) -> None:
            show(step + number * steps, x0, x, steps * len(batches))

        concat = {"concat_latent_image": masked_latents[batch], "concat_mask": masks[batch, None]}
        latents.append(
            comfy.sample.sample_custom(
                model,
                noise[batch],
                cfg,
                sampler,
                sigmas,
                node_helpers.conditioning_set_values(
                    select_conditioning(positive, batch, N), concat
                ),
                node_helpers.conditioning_set_values(
                    select_conditioning(negative, batch, N), concat
                ),
                start[batch],
                callback=callback,
                disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
                seed=(seed + batch.start) % 2**64,
            )
        )
    sampled = torch.cat(latents)
    return sampled, _run(vae.decode, sampled, vae).float()


def _run(function: Callable[[Tensor], Tensor], batch: Tensor, vae: Any) -> Tensor:
    """Encode or decode a batch with the VAE, on a CPU one by one.

    The host runs as many at once as memory holds, which on a CPU saves no time (decoding eight
    pictures of 512² took a fifth less one by one) and takes memory.
    """
    if not management.is_device_cpu(vae.device):
        return function(batch)
    return torch.cat([function(one) for one in batch.split(1)])
