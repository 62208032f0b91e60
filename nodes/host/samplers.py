"""Samplers and noise levels: the host's, and the reference samplers as SAMPLER objects."""

from __future__ import annotations

import math
from typing import Any

import comfy.model_management as management
import comfy.samplers
from torch import Tensor

from ...exemplar_model.sampler import SAMPLERS, from_noise, to_latents
from ...exemplar_model.schedule import reference_sigmas

REFERENCE_SAMPLER = "plms"
REFERENCE_SCHEDULER = "ddim_uniform"
# fmt: off
BATCH_SAMPLERS = frozenset([
    "plms", "ddim", "uni_pc", "uni_pc_bh2", "euler", "euler_cfg_pp", "heun", "heunpp2", "dpm_2",
    "lms", "dpm_fast", "dpmpp_2m", "dpmpp_2m_cfg_pp", "ipndm", "ipndm_v", "deis", "res_multistep",
    "res_multistep_cfg_pp", "gradient_estimation", "gradient_estimation_cfg_pp",
])
# fmt: on
"""Samplers whose result for one latent does not depend on the others in its batch.

The rest draw noise for the batch as a whole, or fit their steps to it (dpm_adaptive), or come from
other packs, and may do either.
"""


def sampler_names() -> list[str]:
    """The reference sampler, then the host's; other packs may add to these at any time."""
    return [REFERENCE_SAMPLER, *comfy.samplers.KSampler.SAMPLERS]


def scheduler_names() -> list[str]:
    """The host's schedulers."""
    return list(comfy.samplers.KSampler.SCHEDULERS)


class ReferenceSampler(comfy.samplers.Sampler):
    """A sampler of `exemplar_model.sampler` as a SAMPLER of the host.

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


def sampler_and_sigmas(
    model: Any, sampler_name: str, scheduler: str, steps: int, denoise: float
) -> tuple[Any, Tensor]:
    """SAMPLER and noise levels for the choices of *Exemplar Inpaint Sampler*."""
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
