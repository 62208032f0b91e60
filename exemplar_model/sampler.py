"""The reference samplers in variance-exploding form, for any denoiser.

`x` is the sample at noise level σ with the clean sample unscaled (x = clean + σ · noise), as
Karras et al. (2022) write it; `denoise(x, sigma)` predicts the clean sample. The reference
repository writes x·√ᾱ instead, which is x/√(1 + σ²).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Denoise = Callable[[Tensor, Tensor], Tensor]
Callback = Callable[[int, Tensor, Tensor, int], None]
"""Called once in each step with (step, predicted clean sample, x, steps), before x changes."""


def from_noise(noise: Tensor, sigma: Tensor) -> Tensor:
    """Start of the reference samplers: unit noise, whatever the first noise level."""
    return noise * torch.sqrt(1.0 + sigma**2)


def to_latents(x: Tensor, sigma: Tensor) -> Tensor:
    """End of the reference samplers: their last x at noise level σ counts as the latents."""
    return x / torch.sqrt(1.0 + sigma**2)


def sample_ddim(
    denoise: Denoise, x: Tensor, sigmas: Tensor, callback: Callback | None = None
) -> Tensor:
    """DDIM with η = 0 (Song et al. 2021, eq. 12), one evaluation a step.

    Args:
        denoise: the denoiser.
        x: [B, C, h, w] at `sigmas[0]`.
        sigmas: falling noise levels [steps + 1]; the last may be 0.
        callback: progress; may raise to interrupt.
    """
    steps = len(sigmas) - 1
    for step in range(steps):
        clean = denoise(x, sigmas[step])
        noise_pred = (x - clean) / sigmas[step]
        if callback is not None:
            callback(step, clean, x, steps)
        x = x + (sigmas[step + 1] - sigmas[step]) * noise_pred
    return x


def sample_plms(
    denoise: Denoise, x: Tensor, sigmas: Tensor, callback: Callback | None = None
) -> Tensor:
    """PLMS (Liu et al. 2022, eq. 12): fourth-order Adams–Bashforth on the noise prediction.

    The first step averages the predictions at both ends (improved Euler), so n steps cost n + 1
    evaluations. Source: `ldm/models/diffusion/plms.py` of the reference repository. Arguments as
    in `sample_ddim`.
    """
    steps = len(sigmas) - 1
    history: list[Tensor] = []  # newest first
    for step in range(steps):
        sigma, sigma_next = sigmas[step], sigmas[step + 1]
        clean = denoise(x, sigma)
        noise_pred = (x - clean) / sigma
        match history:
            case []:
                direction = noise_pred
                if sigma_next > 0:
                    trial = x + (sigma_next - sigma) * noise_pred
                    at_next = (trial - denoise(trial, sigma_next)) / sigma_next
                    direction = (noise_pred + at_next) / 2
            case [a]:
                direction = (3 * noise_pred - a) / 2
            case [a, b]:
                direction = (23 * noise_pred - 16 * a + 5 * b) / 12
            case _:
                a, b, c = history
                direction = (55 * noise_pred - 59 * a + 37 * b - 9 * c) / 24
        history = [noise_pred, *history[:2]]
        if callback is not None:
            callback(step, clean, x, steps)
        x = x + (sigma_next - sigma) * direction
    return x


SAMPLERS = {"plms": sample_plms, "ddim": sample_ddim}
