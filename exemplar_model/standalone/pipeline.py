"""Painting without a host, on diffusers' UNet and autoencoder.

The same steps as *Exemplar Inpaint Sampler*, from the same functions; for scripts, training samples
and evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from ..constants import LATENT_CHANNELS, LATENT_SCALE
from ..exemplar import exemplar_view
from ..mask import latent_keep_mask, masked_image
from ..region import find_regions
from ..sampler import SAMPLERS, Callback, from_noise, to_latents
from ..schedule import reference_sigmas, sigma_table
from .components import Components


@dataclass(frozen=True)
class Painting:
    """What one call paints, in float32 on the device of the pictures that were given.

    Attributes:
        images: [B, H, W, 3] in [0, 1], the whole pictures.
        pasted: [B, H, W], with which weight each pixel was pasted.
        latents: [N, 4, h, w], scaled, of the sampled regions.
        regions: [N, h, w, 3] in [0, 1], the sampled regions before pasting.
    """

    images: Tensor
    pasted: Tensor
    latents: Tensor
    regions: Tensor


@torch.inference_mode()
def paint(
    components: Components,
    images: Tensor,
    masks: Tensor,
    exemplars: list[Tensor],
    *,
    seed: int = 0,
    steps: int = 50,
    cfg: float = 5.0,
    algorithm: str = "plms",
    context: float | None = 2.0,
    resolution: int = 512,
    feather: int = 0,
    match_color: bool = True,
    callback: Callback | None = None,
) -> Painting:
    """Paint exemplars into the masked areas of pictures.

    Args:
        components: the model, all on one device and in one dtype.
        images: [B, H, W, C] in [0, 1], of any floating-point dtype.
        masks: [N, H, W], 1 = repaint; paired with images as `region.pair` says.
        exemplars: pictures [H, W, C] in [0, 1]: one, or one for each region. Exemplars, images and
            masks may be on another device than the model.
        seed: of the start noise, drawn on the CPU as hosts draw it.
        steps: sampling steps.
        cfg: guidance scale away from the null condition.
        algorithm: "plms" or "ddim".
        context: size of the region relative to the mask's bounding box, 2 = twice as wide and
            high; None = whole image.
        resolution: painting resolution in pixels: side of a square of equal area.
        feather: width in pixels of the ramp outside the mask.
        match_color: fit the colors of the result to the picture at the border of the pasted area.
        callback: progress, as in `sampler.Callback`.

    Raises:
        ValueError: empty mask, counts that cannot be paired, resolution or steps out of range.
    """
    home = images.device
    images, masks = images.float(), masks.to(home, torch.float32)
    exemplars = [exemplar.float() for exemplar in exemplars]
    regions = find_regions(
        images,
        masks,
        resolution=resolution,
        multiple=components.config.factor,
        context=context,
        feather_pixels=feather,
        exemplar_counts=[len(exemplars)],
    )
    crops, crop_masks = regions.crop()
    B = len(regions)
    contexts, _ = encode(components, exemplars)
    noise = start_noise(components, seed, B, regions.size)
    latents, painted = paint_regions(
        components,
        crops,
        crop_masks,
        contexts.expand(B, -1, -1),
        noise,
        steps=steps,
        cfg=cfg,
        algorithm=algorithm,
        callback=callback,
    )
    painted = painted.to(home)
    pictures, pasted = regions.paste(painted, feather, match_color)
    return Painting(pictures, pasted, latents.to(home), painted)


@torch.inference_mode()
def paint_regions(
    components: Components,
    crops: Tensor,
    masks: Tensor,
    contexts: Tensor,
    noise: Tensor,
    *,
    steps: int,
    cfg: float,
    algorithm: str,
    callback: Callback | None = None,
) -> tuple[Tensor, Tensor]:
    """Paint regions that are cut out already, all in one batch.

    Args:
        components: the model.
        crops: [N, h, w, 3] in [0, 1], as `Regions.crop` gives them.
        masks: [N, h, w], 1 = repaint.
        contexts: [N, 1, D], of the exemplars.
        noise: [N, 4, h, w], of unit variance.
        steps: as in `paint`, and so the rest.
        cfg: guidance scale.
        algorithm: "plms" or "ddim".
        callback: progress.

    Returns:
        Scaled latents [N, 4, h, w] on the model's device, and painted regions [N, h, w, 3] in
        [0, 1].
    """
    masked_image_latents = encode_images(components, masked_image(crops, masks))
    null = components.encoder.uncond_vector
    conditions = torch.cat([null.expand(len(crops), -1, -1), contexts])
    device, dtype = masked_image_latents.device, masked_image_latents.dtype
    h, w = masked_image_latents.shape[-2:]
    keep_mask = latent_keep_mask(masks[:, None], (h, w)).to(masked_image_latents)
    fixed_channels = torch.cat([masked_image_latents, keep_mask], dim=1).repeat(2, 1, 1, 1)
    table = sigma_table().to(device)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        timestep = (table - sigma).abs().argmin()
        scaled = (x / torch.sqrt(1.0 + sigma**2)).to(dtype).repeat(2, 1, 1, 1)
        unet_input = torch.cat([scaled, fixed_channels], dim=1)
        output = components.unet(
            unet_input, timestep, encoder_hidden_states=conditions, return_dict=False
        )
        uncond, cond = cast("Tensor", output[0]).to(x.dtype).chunk(2)
        return x - sigma * (uncond + cfg * (cond - uncond))

    sigmas = reference_sigmas(steps).to(device)
    x = SAMPLERS[algorithm](denoise, from_noise(noise.to(device), sigmas[0]), sigmas, callback)
    latents = to_latents(x, sigmas[-1])
    return latents, decode_latents(components, latents)


def start_noise(components: Components, seed: int, count: int, size: tuple[int, int]) -> Tensor:
    """Noise [N, 4, h, w] for regions of (height, width) pixels, drawn on the CPU."""
    h, w = (side // components.config.factor for side in size)
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((count, LATENT_CHANNELS, h, w), generator=generator)


def encode(components: Components, exemplars: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Context tokens [N, 1, D] of pictures [H, W, 3], and the null vector [1, 1, D]."""
    encoder = components.encoder
    views = torch.stack([exemplar_view(each, encoder.config.image_size) for each in exemplars])
    device = encoder.uncond_vector.device
    return encoder(views.permute(0, 3, 1, 2).to(device)), encoder.uncond_vector


def encode_images(components: Components, images: Tensor) -> Tensor:
    """Scaled latents [B, 4, h, w], the mode of the posterior, of images [B, H, W, 3] in [0, 1]."""
    autoencoder = components.autoencoder
    pixels = (images * 2.0 - 1.0).permute(0, 3, 1, 2)  # BHWC -> BCHW
    moments = autoencoder.encode(
        pixels.to(autoencoder.device, autoencoder.dtype), return_dict=False
    )
    return moments[0].mode() * LATENT_SCALE


def decode_latents(components: Components, latents: Tensor) -> Tensor:
    """Images [B, H, W, 3] in [0, 1], float32, of scaled latents [B, 4, h, w]."""
    autoencoder: Any = components.autoencoder  # its annotations name tensor types of old
    images: Tensor = autoencoder.decode(
        (latents / LATENT_SCALE).to(autoencoder.dtype), return_dict=False
    )[0].float()
    return (images / 2.0 + 0.5).clamp(0.0, 1.0).permute(0, 2, 3, 1)  # BCHW -> BHWC
