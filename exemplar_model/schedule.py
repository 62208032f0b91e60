"""Noise schedule of the model and timesteps of the reference samplers."""

from __future__ import annotations

import torch
from torch import Tensor

from .constants import LINEAR_END, LINEAR_START, NUM_TIMESTEPS


def alphas_cumprod() -> Tensor:
    """Cumulative product of 1 − β for the scaled-linear β of `v1.yaml`: [1000], float64."""
    betas = torch.linspace(
        LINEAR_START**0.5, LINEAR_END**0.5, NUM_TIMESTEPS, dtype=torch.float64
    ).square()
    return torch.cumprod(1.0 - betas, dim=0)


def sigma_table() -> Tensor:
    """Noise levels σ = √((1 − ᾱ)/ᾱ) by timestep: [1000], float32 (Karras et al. 2022)."""
    alphas = alphas_cumprod()
    return ((1.0 - alphas) / alphas).sqrt().float()


def reference_timesteps(steps: int) -> list[int]:
    """Timesteps of `make_ddim_timesteps` ("uniform"), from noisy to clean: …, 41, 21, 1.

    As in the reference, 30 steps give 31. Where the reference runs off its table (1000 // steps
    divides 999, as for 3, 9, 27, 36, 37 steps) the one timestep past the end is left out.

    Raises:
        ValueError: steps outside 1…1000.
    """
    if not 1 <= steps <= NUM_TIMESTEPS:
        raise ValueError(
            f"{steps} steps are asked of a schedule with {NUM_TIMESTEPS} timesteps; choose 1 to "
            f"{NUM_TIMESTEPS} (at denoise below 1, steps / denoise counts)."
        )
    return list(range(1, NUM_TIMESTEPS, NUM_TIMESTEPS // steps))[::-1]


def reference_sigmas(steps: int, denoise: float = 1.0, table: Tensor | None = None) -> Tensor:
    """Noise levels that the reference samplers visit.

    Args:
        steps: number of steps over the whole schedule at denoise 1.
        denoise: share of the schedule to run; below 1 the same number of steps covers its
            end alone, as host samplers do.
        table: noise level by timestep; that of the published model if left out.

    Returns:
        [n + 1], falling; the last is that of timestep 0, where the reference ends (not at 0).

    Raises:
        ValueError: denoise outside (0, 1], or more steps than the schedule has.
    """
    if not 0.0 < denoise <= 1.0:
        raise ValueError(f"denoise is {denoise}; choose a value above 0 and up to 1.")
    table = sigma_table() if table is None else table
    timesteps = reference_timesteps(int(steps / denoise))
    if denoise < 1.0:
        timesteps = timesteps[-steps:]
    return table[[*timesteps, 0]]
