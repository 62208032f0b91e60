"""Sampling in the host: reference samplers as SAMPLER objects, and one painting."""

from __future__ import annotations

import math
from typing import Any

import comfy.model_management as management
import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import node_helpers
import torch
from torch import Tensor

from ...exemplar_model.constants import LATENT_CHANNELS
from ...exemplar_model.mask import masked_image
from ...exemplar_model.sampler import SAMPLERS, from_noise, to_latents
from ...exemplar_model.schedule import reference_sigmas

REFERENCE_SAMPLER = "plms"
REFERENCE_SCHEDULER = "ddim_uniform"
CPU_POSITIONS = 64 * 64
"""Positions of a part's latents on a CPU, one region of 512².

With the published size, on two cores, a region in a batch of four takes 0.3 (64²), 0.4 to 0.5
(128²), 0.7 (256²) and 1.1 to 1.2 times (512²) what it takes alone.
"""


def sampler_names() -> list[str]:
    """The reference sampler, then the host's; other packs may add to these while it runs."""
    return [REFERENCE_SAMPLER, *comfy.samplers.KSampler.SAMPLERS]


def scheduler_names() -> list[str]:
    """The host's schedulers."""
    return list(comfy.samplers.KSampler.SCHEDULERS)


class ReferenceSampler(comfy.samplers.Sampler):
    """A sampler of `exemplar_model.sampler` for the host's guiders.

    It owns the scaling of the noise: the reference starts from unit noise though its first noise
    level is not the schedule's last, and takes its last x, at timestep 0, for the latents.
    """

    def __init__(self, algorithm: str, noise_sigma: float | None) -> None:
        """
        Args:
            algorithm: key of `exemplar_model.sampler.SAMPLERS`.
            noise_sigma: noise level that counts as pure noise, besides the schedule's own last.
        """
        self.algorithm = algorithm
        self.noise_sigma = noise_sigma

    @classmethod
    def for_schedule(cls, algorithm: str, sigmas: Tensor, denoise: float) -> ReferenceSampler:
        """A sampler that takes the start of `sigmas` for pure noise when `denoise` is 1."""
        return cls(algorithm, float(sigmas[0]) if denoise >= 1.0 else None)

    def max_denoise(self, model_wrap: Any, sigmas: Tensor) -> bool:
        at_start = self.noise_sigma is not None and math.isclose(
            float(sigmas[0]), self.noise_sigma, rel_tol=1e-5
        )
        return at_start or super().max_denoise(model_wrap, sigmas)

    def sample(
        self,
        model_wrap: Any,
        sigmas: Tensor,
        extra_args: dict[str, Any],
        callback: Any,
        noise: Tensor,
        latent_image: Tensor,
        denoise_mask: Tensor | None = None,
        disable_pbar: bool = False,
    ) -> Tensor:
        model: Any = comfy.samplers.KSamplerX0Inpaint(model_wrap, sigmas)
        model.latent_image, model.noise = latent_image, noise
        batch = noise.new_ones(noise.shape[0])

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            return model(x, sigma * batch, denoise_mask=denoise_mask, **extra_args)

        pure = self.max_denoise(model_wrap, sigmas)
        x = from_noise(noise, sigmas[0]) if pure else latent_image + noise * sigmas[0]
        x = SAMPLERS[self.algorithm](denoise, x, sigmas, callback)
        end = float(model_wrap.inner_model.model_sampling.sigma_min)
        return to_latents(x, sigmas[-1]) if math.isclose(float(sigmas[-1]), end) else x


def reference_schedule(model: Any, steps: int, denoise: float) -> Tensor:
    """Noise levels of the reference's timesteps on the MODEL's own schedule."""
    table = model.get_model_object("model_sampling").sigmas
    return reference_sigmas(steps, denoise, table.cpu())


def exemplar_counts(*conditionings: list[Any]) -> list[int]:
    """Number of exemplars in each entry of the conditionings."""
    return [entry[0].shape[0] for conditioning in conditionings for entry in conditioning]


def paint(
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
        images: [N, h, w, 3] in [0, 1], multiples of the VAE's factor.
        masks: [N, h, w], 1 = repaint.

    Returns:
        Latents [N, 4, h / factor, w / factor], unscaled, and images [N, h, w, 3].
    """
    if vae.latent_channels != LATENT_CHANNELS:
        raise ValueError(
            f"This VAE makes {vae.latent_channels} latent channels where Paint by Example has "
            f"{LATENT_CHANNELS}; connect the vae output of Load Exemplar Model."
        )
    sampler, sigmas = _sampler(model, sampler_name, scheduler, steps, denoise)
    masked_latents = _coded(vae.encode, masked_image(images, masks), vae)
    # at denoise 1 what lies under the mask does not matter, so it is not encoded
    start = torch.zeros_like(masked_latents) if denoise >= 1.0 else _coded(vae.encode, images, vae)
    noise = comfy.sample.prepare_noise(start, seed)
    parts = _parts_that_fit(model, noise.shape, [*positive, *negative])
    show = latent_preview.prepare_callback(model, (len(sigmas) - 1) * len(parts))
    latents: list[Tensor] = []
    for number, part in enumerate(parts):

        def callback(step: int, x0: Tensor, x: Tensor, steps: int, number: int = number) -> None:
            show(step + number * steps, x0, x, steps * len(parts))

        concat = {"concat_latent_image": masked_latents[part], "concat_mask": masks[part, None]}
        latents.append(
            comfy.sample.sample_custom(
                model,
                noise[part],
                cfg,
                sampler,
                sigmas,
                node_helpers.conditioning_set_values(_of_part(positive, part), concat),
                node_helpers.conditioning_set_values(_of_part(negative, part), concat),
                start[part],
                callback=callback,
                disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
                # for what a sampler draws on the way: no part gets the noise of another
                seed=(seed + part.start) % 2**64,
            )
        )
    painted = torch.cat(latents)
    return painted, _coded(vae.decode, painted, vae).float()


def _coded(code: Any, batch: Tensor, vae: Any) -> Tensor:
    """Encode or decode a batch with the VAE, on a CPU one by one.

    The host codes as many at once as memory holds, which on a CPU saves no time (decoding eight
    pictures of 512² took a fifth less one by one) and takes memory. The decoder's peak is that of
    a whole run, so what sampling has left behind goes first.
    """
    if not management.is_device_cpu(vae.device):
        return code(batch)
    return torch.cat([code(one) for one in batch.split(1)])


def _parts_that_fit(model: Any, shape: torch.Size, conditioning: list[Any]) -> list[slice]:
    """Parts of a batch of latents, each of which the device holds besides the whole model.

    The host itself evaluates a batch in one go, and makes room by moving weights off the device,
    which is slower than several goes. On a CPU a part is no larger than saves time. Control images
    belong to the whole batch, so that with a ControlNet it stays whole.
    """
    N, _, h, w = shape
    if any("control" in options for _, options in conditioning):
        return [slice(0, N)]
    total: Any = management.get_total_memory(model.load_device)  # a tuple only where asked for
    room = total - management.extra_reserved_memory()
    for_one = model.memory_required([1, *shape[1:]])
    most = int((room - model.model_size()) // for_one)
    if management.is_device_cpu(model.load_device):
        most = min(most, CPU_POSITIONS // (h * w))
    most = max(1, most)
    return [slice(first, first + most) for first in range(0, N, most)]


def _of_part(conditioning: list[Any], part: slice) -> list[Any]:
    """Conditioning of a part of the batch; what is there once serves every part."""

    def select(value: Any) -> Any:
        batched = isinstance(value, Tensor) and value.ndim > 1 and len(value) > 1
        return value[part] if batched else value

    return [
        [select(context), {name: select(value) for name, value in options.items()}]
        for context, options in conditioning
    ]


def _sampler(
    model: Any, sampler_name: str, scheduler: str, steps: int, denoise: float
) -> tuple[Any, Tensor]:
    if sampler_name == REFERENCE_SAMPLER and scheduler == REFERENCE_SCHEDULER:
        sigmas = reference_schedule(model, steps, denoise)
        return ReferenceSampler.for_schedule(sampler_name, sigmas, denoise), sigmas
    plan = comfy.samplers.KSampler(
        model,
        steps=steps,
        device=management.intermediate_device(),
        sampler=sampler_name,
        scheduler=scheduler,
        denoise=denoise,
        model_options=model.model_options,
    )
    if sampler_name == REFERENCE_SAMPLER:
        return ReferenceSampler.for_schedule(sampler_name, plan.sigmas, denoise), plan.sigmas
    return comfy.samplers.sampler_object(sampler_name), plan.sigmas
