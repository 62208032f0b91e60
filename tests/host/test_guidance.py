"""Guidance in a limited interval: what it computes, and how many evaluations it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.library import run_in_host_process
from torch import Tensor

from lab.host.graphs import Graph, Link, Run
from lab.host.headless import Host, HostError

Interval = tuple[float, float] | None


def model_link(graph: Graph, loader: str, interval: Interval) -> Link:
    if interval is None:
        return [loader, 0]
    start, end = interval
    return [graph.add("ExemplarGuidance", model=[loader, 0], start=start, end=end), 0]


def ours(host: Host, interval: Interval, cfg: float = 5.0) -> Tensor:
    """Latent of Exemplar Inpaint Sampler with plms."""
    graph = Graph()
    loader = graph.load("narrow.safetensors")
    sample = graph.sample(
        loader,
        graph.encode(loader, graph.image("face")),
        graph.image("odd"),
        graph.masks(["odd_mask"]),
        model=model_link(graph, loader, interval),
        steps=4,
        cfg=cfg,
    )
    saved = graph.save_latent([sample, 1])
    return Run(host, graph).latent(saved)


def stock(host: Host, interval: Interval, cfg: float = 5.0) -> Tensor:
    """Latent of the host's KSampler."""
    graph = Graph()
    loader = graph.load("narrow.safetensors")
    encode = graph.encode(loader, graph.image("face"))
    masked = graph.masked(loader, encode, graph.image("small"), graph.masks(["small_mask"]))
    sample = graph.ksampler(loader, masked, [masked, 2], steps=4)
    graph.prompt[sample]["inputs"] |= {"model": model_link(graph, loader, interval), "cfg": cfg}
    saved = graph.save_latent([sample, 0])
    return Run(host, graph).latent(saved)


@pytest.mark.parametrize("latent", [ours, stock])
class TestBothSamplers:
    def test_whole_interval_is_ordinary_guidance(self, host: Host, latent: Any) -> None:
        assert torch.equal(latent(host, (0.0, 1.0)), latent(host, None))

    def test_later_start_changes_the_result(self, host: Host, latent: Any) -> None:
        plain, later = latent(host, None), latent(host, (0.4, 1.0))
        assert later.isfinite().all()
        assert (later - plain).norm() / plain.norm() > 1e-2

    def test_guided_nowhere_is_the_positive_condition_alone(self, host: Host, latent: Any) -> None:
        """Which is what the host computes at cfg 1."""
        nowhere, unguided = latent(host, (1.0, 1.0)), latent(host, None, cfg=1.0)
        assert torch.equal(nowhere, unguided)


def test_interval_that_ends_before_it_starts(host: Host) -> None:
    with pytest.raises(HostError) as failure:
        ours(host, (0.8, 0.2))
    message = str(failure.value)
    assert "starts at 0.8 and ends before that, at 0.2" in message
    assert message.endswith(".") and "\n" not in message


COUNT = """
import copy, json, torch
import comfy.sample
import comfy.samplers
from pack.exemplar_model.weights.checkpoint import read_checkpoint
from pack.nodes.host import files, guidance, model, samplers as ours

torch.set_grad_enabled(False)
checkpoint = read_checkpoint(path, files.read_weights)
denoiser = model.build_model(checkpoint, "fp32", path)
evaluated, asked = [], []

def count(apply_model, args):
    evaluated.append(args["input"].shape[0])
    return apply_model(args["input"], args["timestep"], **args["c"])

def somebody_elses(args):
    asked.append([cond is not None for cond in args["conds"]])
    return comfy.samplers.calc_cond_batch(
        args["model"], args["conds"], args["input"], args["sigma"], args["model_options"]
    )

denoiser.set_model_unet_function_wrapper(count)
noise, concat = torch.randn(1, 4, 8, 8), {"concat_latent_image": torch.zeros(1, 4, 8, 8)}
concat["concat_mask"] = torch.ones(1, 1, 64, 64)
width = checkpoint.encoder_config.context_dim
positive, negative = ([[torch.randn(1, 1, width), concat]] for _ in range(2))

def items(patcher, name):
    evaluated.clear()
    comfy.sample.sample_custom(
        patcher, noise, 5.0, *samplers[name], positive, negative, torch.zeros_like(noise),
        disable_pbar=True, seed=0,
    )
    return sum(evaluated)

reference = ours.reference_schedule(denoiser, 10, 1.0)
simple = comfy.samplers.calculate_sigmas(denoiser.model.model_sampling, "simple", 10)
samplers = {
    "euler": (comfy.samplers.sampler_object("euler"), simple),
    "plms": (ours.ReferenceSampler.for_schedule("plms", reference, 1.0), reference),
}
before = copy.deepcopy(denoiser.model_options)
guided = guidance.guide_within(denoiser, 0.25, 0.65)
counts = {
    name: [items(denoiser, name), items(guided, name)] for name in samplers
}
untouched = denoiser.model_options == before
denoiser.set_model_sampler_calc_cond_batch_function(somebody_elses)
counts["chained"] = [items(guidance.guide_within(denoiser, 0.25, 0.65), "euler")]
print(json.dumps({"counts": counts, "asked": asked, "untouched": untouched}))
"""


def test_steps_outside_the_interval_evaluate_one_half(
    narrow: Path,
) -> None:
    """Items in the batches of ten steps.

    Of the timesteps 999, 899, … 99 (simple) and 901, 801, … 1 (plms) four lie between 749.25 and
    349.65; plms evaluates once more in its first step, at 801.
    """
    results = run_in_host_process(COUNT, narrow)
    assert results["counts"] == {"euler": [20, 14], "plms": [22, 15], "chained": [14]}
    both, positive = [True, True], [True, False]
    assert results["asked"] == [positive] * 3 + [both] * 4 + [positive] * 3
    assert results["untouched"]
