"""Painting a set: as the paper's test bench does it, or as the nodes do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..constants import LATENT_CHANNELS, LATENT_SCALE
from ..errors import UserError
from ..image import to_bytes
from ..sampler import from_noise, sample_plms, to_latents
from ..schedule import reference_sigmas, sigma_table
from ..standalone.components import Components
from ..standalone.pipeline import decode_latents, encode, paint
from .sets import Item
from .views import open_picture

Protocol = Literal["paper", "default"]


@dataclass(frozen=True)
class EvaluatedModel:
    """A model with the settings of a run.

    Attributes:
        components: the model.
        protocol: "paper" or "default".
        steps: of PLMS.
        cfg: guidance scale; at 0 the learned null vector paints, whatever the exemplar.
        resolution: side of a region in the default protocol.
    """

    components: Components
    protocol: Protocol
    steps: int = 50
    cfg: float = 5.0
    resolution: int = 512

    def paint(self, item: Item, seed: int) -> Image.Image:
        """Paint one picture; noise and posterior depend on the seed and the picture's id alone.

        Raises:
            UserError: the picture cannot be painted.
        """
        image, exemplar = _pixels(item.image), _pixels(item.exemplar)
        mask = torch.from_numpy(np.array(open_picture(item.mask).convert("L"))).float() / 255
        if mask.shape != image.shape[:2]:
            raise UserError(f"{item.image} and {item.mask} differ in size; make them equal.")
        sequence = np.random.SeedSequence([seed, *item.id.encode()])
        number = int(sequence.generate_state(1)[0])
        if self.protocol == "paper":
            return self._published(image, mask, exemplar, number)
        try:
            painted = paint(
                self.components,
                image[None],
                mask[None],
                [exemplar],
                seed=number,
                steps=self.steps,
                cfg=self.cfg,
                resolution=self.resolution,
            )
        except ValueError as error:
            raise UserError(f"{item.id}: {error}") from error
        return Image.fromarray(to_bytes(painted.images[0]))

    @torch.inference_mode()
    def _published(self, image: Tensor, mask: Tensor, exemplar: Tensor, seed: int) -> Image.Image:
        """The whole picture at once: soft mask, a sample of the posterior, nothing pasted back.

        Source: `scripts/inference_test_bench.py` and `ldm/data/test_bench_dataset.py` of the
        reference repository, which cut the result's values down to 8 bit without rounding.

        Args:
            image: [H, W, 3] in [0, 1].
            mask: [H, W], 1 = repaint.
            exemplar: [h, w, 3] in [0, 1].
            seed: of noise and posterior.
        """
        components, factor = self.components, self.components.config.factor
        H, W = mask.shape
        multiple = factor * 2 ** (len(components.config.unet_channels) - 1)
        if H % multiple or W % multiple:
            raise UserError(
                f"A picture is {W} × {H} px, and the protocol of the paper paints whole pictures "
                f"with sides that are multiples of {multiple}; use --protocol default."
            )
        generator = torch.Generator().manual_seed(seed)
        # diffusers annotates tensor types of old
        autoencoder: Any = components.autoencoder
        unet: Any = components.unet
        device, dtype = autoencoder.device, autoencoder.dtype
        keep = 1 - mask
        pixels = ((image * 2 - 1) * keep[..., None]).permute(2, 0, 1)[None]  # HWC -> BCHW
        posterior = autoencoder.encode(pixels.to(device, dtype), return_dict=False)[0]
        shape = (1, LATENT_CHANNELS, H // factor, W // factor)
        spread = posterior.std * torch.randn(shape, generator=generator).to(device, dtype)
        masked_image_latents = (posterior.mean + spread) * LATENT_SCALE
        keep_mask = F.interpolate(keep[None, None], shape[2:], mode="bilinear").to(device, dtype)
        fixed_channels = torch.cat([masked_image_latents, keep_mask], dim=1).repeat(2, 1, 1, 1)
        context, null = encode(components, [exemplar])
        conditions = torch.cat([null, context]).to(dtype)
        table = sigma_table().to(device)

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            scaled = (x / torch.sqrt(1.0 + sigma**2)).to(dtype).repeat(2, 1, 1, 1)
            output = unet(
                torch.cat([scaled, fixed_channels], dim=1),
                (table - sigma).abs().argmin(),
                encoder_hidden_states=conditions,
                return_dict=False,
            )[0]
            uncond, cond = output.to(x.dtype).chunk(2)
            return x - sigma * (uncond + self.cfg * (cond - uncond))

        noise = torch.randn(shape, generator=generator).to(device)
        sigmas = reference_sigmas(self.steps).to(device)
        x = sample_plms(denoise, from_noise(noise, sigmas[0]), sigmas)
        painted = decode_latents(components, to_latents(x, sigmas[-1]))[0]
        return Image.fromarray((painted * 255).byte().cpu().numpy())


def _pixels(path: Path) -> Tensor:
    """[H, W, 3] in [0, 1]."""
    return torch.from_numpy(np.array(open_picture(path).convert("RGB"))).float() / 255
