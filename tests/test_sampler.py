"""Timesteps and samplers against the reference repository's formulas and diffusers' schedulers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, PNDMScheduler
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from exemplar_model.sampler import SAMPLERS, from_noise, to_latents
from exemplar_model.schedule import (
    alphas_cumprod,
    reference_sigmas,
    reference_timesteps,
    sigma_table,
)

CRASHING = {3, 9, 27, 36, 37, *range(101, 112), *range(251, 334), *range(501, 1001)}
"""Numbers of steps for which the reference indexes past its table."""


def noise_prediction(x: Tensor, timestep: int) -> Tensor:
    """A smooth, nonlinear stand-in for the UNet on the reference's own scale."""
    return torch.sin(3 * x + timestep / 300) + 0.2 * x * timestep / 1000


def reference_sample(algorithm: str, noise: Tensor, steps: int) -> Tensor:
    """`PLMSSampler` / `DDIMSampler` with η = 0, transcribed: x on the scale of √ᾱ, float64."""
    alphas = alphas_cumprod()
    timesteps = np.asarray(list(range(0, 1000, 1000 // steps))) + 1  # make_ddim_timesteps
    previous = np.concatenate([[0], timesteps[:-1]])
    x, old = noise.double(), []

    def move(noise_pred: Tensor, index: int) -> Tensor:
        a, a_prev = alphas[timesteps[index]], alphas[previous[index]]
        clean = (x - (1 - a).sqrt() * noise_pred) / a.sqrt()
        return a_prev.sqrt() * clean + (1 - a_prev).sqrt() * noise_pred

    for i, t in enumerate(timesteps[::-1]):
        index = len(timesteps) - i - 1
        e = noise_prediction(x, int(t))
        if algorithm == "ddim":
            e_prime = e
        elif not old:
            t_next = timesteps[::-1][min(i + 1, len(timesteps) - 1)]
            e_prime = (e + noise_prediction(move(e, index), int(t_next))) / 2
        elif len(old) == 1:
            e_prime = (3 * e - old[-1]) / 2
        elif len(old) == 2:
            e_prime = (23 * e - 16 * old[-1] + 5 * old[-2]) / 12
        else:
            e_prime = (55 * e - 59 * old[-1] + 37 * old[-2] - 9 * old[-3]) / 24
        x = move(e_prime, index)
        old = [*old, e][-3:]
    return x


def denoiser(table: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """The stand-in as our samplers call it."""

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        timestep = int((table.log() - sigma.log()).abs().argmin())
        return x - sigma * noise_prediction(x / torch.sqrt(1 + sigma**2), timestep)

    return denoise


def our_sample(algorithm: str, noise: Tensor, steps: int) -> Tensor:
    alphas = alphas_cumprod()
    table = ((1 - alphas) / alphas).sqrt()  # float64, to compare the formulas and not rounding
    sigmas = reference_sigmas(steps, table=table)
    x = from_noise(noise.double(), sigmas[0])
    return to_latents(SAMPLERS[algorithm](denoiser(table), x, sigmas), sigmas[-1])


@pytest.mark.parametrize("algorithm", SAMPLERS)
@pytest.mark.parametrize("steps", [2, 4, 5, 20, 30, 50, 200])
def test_samplers_equal_the_reference_formulas(algorithm: str, steps: int) -> None:
    noise = torch.randn(1, 4, 3, 5, generator=torch.Generator().manual_seed(0))
    result, expected = (
        our_sample(algorithm, noise, steps),
        reference_sample(algorithm, noise, steps),
    )
    assert float((result - expected).norm() / expected.norm()) < 1e-10


@pytest.mark.parametrize("algorithm", SAMPLERS)
@pytest.mark.parametrize("steps", [10, 50])
def test_samplers_equal_diffusers(algorithm: str, steps: int) -> None:
    schedule = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    if algorithm == "plms":
        scheduler = PNDMScheduler(**schedule, skip_prk_steps=True, steps_offset=1)
    else:
        scheduler = DDIMScheduler(
            **schedule, set_alpha_to_one=False, steps_offset=1, clip_sample=False
        )
    scheduler.set_timesteps(steps)
    noise = torch.randn(1, 4, 3, 5, generator=torch.Generator().manual_seed(1)).double()
    x = noise
    for t in scheduler.timesteps:
        x = scheduler.step(noise_prediction(x, int(t)), t, x).prev_sample
    result = our_sample(algorithm, noise, steps)
    assert float((result - x).norm() / x.norm()) < 1e-5


@given(st.integers(1, 1000))
def test_timesteps_are_those_of_the_reference(steps: int) -> None:
    expected = np.asarray(list(range(0, 1000, 1000 // steps))) + 1
    assert (expected.max() > 999) == (steps in CRASHING)
    assert reference_timesteps(steps) == [t for t in expected[::-1] if t <= 999]


@given(st.integers(1, 400), st.floats(0.05, 1.0))
def test_noise_levels_fall_and_end_at_timestep_zero(steps: int, denoise: float) -> None:
    total = int(steps / denoise)
    if total > 1000:
        with pytest.raises(ValueError, match="timesteps"):
            reference_sigmas(steps, denoise)
        return
    sigmas = reference_sigmas(steps, denoise)
    assert (sigmas.diff() < 0).all()
    assert sigmas[-1] == sigma_table()[0]
    if denoise < 1.0:
        assert len(sigmas) == steps + 1
        assert sigmas[0] <= reference_sigmas(total)[0]


def test_known_noise_levels() -> None:
    table = sigma_table()
    assert table[0] == pytest.approx(0.0291672, rel=1e-5)
    assert table[981] == pytest.approx(13.1204, rel=1e-5)
    assert table[999] == pytest.approx(14.6146, rel=1e-5)


@pytest.mark.parametrize("steps", [0, 1001])
def test_steps_outside_the_schedule(steps: int) -> None:
    with pytest.raises(ValueError, match="choose 1 to 1000"):
        reference_timesteps(steps)


@pytest.mark.parametrize(("algorithm", "evaluations"), [("plms", 11), ("ddim", 10)])
def test_progress_is_told_once_a_step(algorithm: str, evaluations: int) -> None:
    seen, calls = [], []
    sigmas = reference_sigmas(10)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        calls.append(float(sigma))
        return x * 0.5

    SAMPLERS[algorithm](denoise, torch.ones(1, 4, 2, 2), sigmas, lambda *a: seen.append(a))
    assert [step for step, *_ in seen] == list(range(10))
    assert {total for *_, total in seen} == {10}
    assert len(calls) == evaluations


@pytest.mark.parametrize("algorithm", SAMPLERS)
def test_a_schedule_may_end_at_zero(algorithm: str) -> None:
    sigmas = torch.tensor([3.0, 0.0])
    x = torch.randn(1, 4, 2, 2)
    result = SAMPLERS[algorithm](lambda x, sigma: x * 0.25, x, sigmas)
    torch.testing.assert_close(result, x * 0.25)
