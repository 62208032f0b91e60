"""A batch of regions is sampled a few at a time where memory holds no more, with the same result.

On a CPU `CPU_PIXELS` stands for the memory; the plan by a GPU's memory is tested by itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.library import run_in_host_process

BUILD = """
import json, torch
import comfy.model_management as management
import comfy.sample
import latent_preview
from pack.exemplar_model.weights.checkpoint import read_checkpoint
from pack.nodes.host import autoencoder, batches, files, model, painting, samplers

torch.set_grad_enabled(False)
checkpoint = read_checkpoint(path, files.read_weights)
denoiser = model.build_model(checkpoint, "fp32", path)
vae = autoencoder.build_autoencoder(checkpoint)
width = checkpoint.encoder_config.context_dim
N = 5
images, masks = torch.rand(N, 64, 64, 3), torch.zeros(N, 64, 64)
masks[:, 16:48, 16:48] = 1.0
exemplars, null = torch.randn(N, 1, width), torch.randn(1, 1, width)

def paint(context, regions, together, sampler="plms", scheduler="ddim_uniform", **options):
    batches.CPU_PIXELS = together * 8 * 8
    latents, _ = painting.paint_regions(
        denoiser, [[context, options]], [[null, {}]], vae, images[:regions], masks[:regions],
        seed=1, steps=3, cfg=3.0, sampler_name=sampler, scheduler=scheduler, denoise=1.0,
    )
    return latents

def distance(a, b):
    return float((a - b).norm() / b.norm())
"""

PAINT = """
sizes, shown, by_vae = [], [], []

def count(apply_model, args):
    sizes.append(args["input"].shape[0])
    return apply_model(args["input"], args["timestep"], **args["c"])

def counted(function):
    def call(batch, *rest, **options):
        by_vae.append(batch.shape[0])
        return function(batch, *rest, **options)

    return call

def prepare_callback(model, steps):
    return lambda step, x0, x, total: shown.append([step, total])

autoencoder = vae.first_stage_model
autoencoder.encode, autoencoder.decode = map(counted, (autoencoder.encode, autoencoder.decode))
denoiser.set_model_unet_function_wrapper(count)
latent_preview.prepare_callback = prepare_callback  # the host's own needs a client

def watched(context, together):
    sizes.clear(), shown.clear(), by_vae.clear()
    latents = paint(context, N, together)
    return latents, {"sizes": sorted(set(sizes)), "shown": list(shown), "by_vae": list(by_vae)}

whole, all_together = watched(exemplars, 5)
twos, in_twos = watched(exemplars, 2)
_, alone = watched(exemplars, 0)
shared, shared_twos = (paint(exemplars[:1], N, together) for together in (5, 2))
print(json.dumps({
    "error": distance(twos, whole),
    "shared": distance(shared_twos, shared),
    "differ": distance(whole[:1], whole[1:2]),
    "all together": all_together, "in twos": in_twos, "alone": alone,
}))
"""

SAMPLERS = """
errors = {}
def compare(name, regions, *sizes):
    whole, *divided = (paint(exemplars[:regions], regions, each, name, "normal") for each in sizes)
    worst = max(distance(each, whole) for each in divided)
    errors[f"{name}, {regions} regions"] = worst if whole.isfinite().all() else None

for name in samplers.sampler_names():
    compare(name, 2, 2, 1)
for name in ("dpmpp_2m", "euler_ancestral", "dpmpp_sde"):
    compare(name, 4, 4, 2, 1)

images[:] = images[:1]
prepare_noise = comfy.sample.prepare_noise
comfy.sample.prepare_noise = lambda latents, seed: torch.ones_like(latents)
drawn = {
    name: [distance(each, latents[0]) for each in latents[1:]]
    for name in ("plms", "euler_ancestral", "dpmpp_sde")
    for latents in [paint(exemplars[:1], 3, 3, name, "normal")]
}
print(json.dumps({"errors": errors, "drawn": drawn}))
"""

PLAN = """
def starts(N, side, sampler="plms", conditioning=()):
    shape = torch.Size([N, 4, side, side])
    return [each.start for each in batches.divide_batch(denoiser, shape, sampler, conditioning)]

results = {"cpu": {side: starts(8, side) for side in (8, 32, 64, 128)}}
results["ancestral"] = starts(3, 8, "euler_ancestral")
results["control"] = starts(8, 128, "euler_ancestral", [[exemplars, {"control": object()}]])

class OnCard:
    load_device = torch.device("cuda")
    def __init__(self, size): self.size = size
    def loaded_size(self): return self.size

one = denoiser.memory_required([1, 4, 8, 8])
management.EXTRA_RESERVED_VRAM = one
denoiser.load_device = OnCard.load_device
def with_room(free, *loaded):
    management.get_free_memory = lambda device: free
    management.loaded_models = lambda: [None, *map(OnCard, loaded)]
    return starts(8, 8)
size = denoiser.model_size()
results["free"] = with_room(size + 5.5 * one)
results["used by others"] = with_room(size + 1.5 * one)
results["by unloading"] = with_room(1.5 * one, size, 2 * one)
results["by nothing"] = with_room(0)
print(json.dumps(results))
"""

SELECT = """
def rows(*counts):
    return {str(count): torch.arange(count)[:, None].expand(count, 3) for count in counts}

entry = [torch.randn(1, 1, 4), {**rows(1, 2, 8), "name": "x", "flat": torch.arange(8)}]
(context, options), = batches.select_conditioning([entry], slice(4, 8), 8)
found = {name: list(value.shape) for name, value in options.items() if name != "name"}
found["first"] = int(options["8"][0, 0])
print(json.dumps({**found, "context": list(context.shape)}))
"""


@pytest.fixture(scope="module")
def painted(narrow: Path) -> dict[str, Any]:
    return run_in_host_process(BUILD + PAINT, narrow)


def test_divided_batches_paint_what_the_whole_paints(painted: dict[str, Any]) -> None:
    assert painted["error"] < 1e-5 and painted["shared"] < 1e-5
    assert painted["differ"] > 1e-2  # each region has noise and an exemplar of its own


def test_no_more_are_sampled_at_once_than_fit(painted: dict[str, Any]) -> None:
    """Five regions: two, two and one; both halves of a guided step each, or one after the other."""
    assert max(painted["all together"]["sizes"]) == 10
    assert painted["in twos"]["sizes"] in ([1, 2], [2, 4])
    assert max(painted["alone"]["sizes"]) <= 2


def test_on_a_cpu_pictures_are_encoded_and_decoded_one_by_one(painted: dict[str, Any]) -> None:
    assert painted["all together"]["by_vae"] == [1] * 10  # five of each


def test_progress_counts_the_steps_of_all_batches(painted: dict[str, Any]) -> None:
    steps = len(painted["all together"]["shown"])
    assert painted["all together"]["shown"] == [[step, steps] for step in range(steps)]
    assert painted["in twos"]["shown"] == [[step, 3 * steps] for step in range(3 * steps)]


@pytest.fixture(scope="module")
def sampled(narrow: Path) -> dict[str, Any]:
    return run_in_host_process(BUILD + SAMPLERS, narrow)


def test_no_sampler_depends_on_how_the_batch_is_divided(sampled: dict[str, Any]) -> None:
    """Whichever of the samplers that the host has."""
    assert len(sampled["errors"]) > 30
    different = {name: e for name, e in sampled["errors"].items() if e is None or e > 1e-5}
    assert not different  # measured: at most 1.9e-6


def test_regions_draw_noise_of_their_own(sampled: dict[str, Any]) -> None:
    """Of regions that are all the same, start noise included."""
    assert max(sampled["drawn"]["plms"]) < 1e-5
    assert min(sampled["drawn"]["euler_ancestral"] + sampled["drawn"]["dpmpp_sde"]) > 1e-2


def test_plan(narrow: Path) -> None:
    plan = run_in_host_process(BUILD + PLAN, narrow)
    one_by_one = list(range(8))
    assert plan["cpu"] == {"8": [0], "32": [0, 4], "64": one_by_one, "128": one_by_one}
    assert plan["ancestral"] == [0, 1, 2]
    assert plan["control"] == [0]
    assert plan["free"] == [0, 4]  # one latent's memory is reserved
    assert plan["used by others"] == one_by_one
    assert plan["by unloading"] == [0, 2, 4, 6]
    assert plan["by nothing"] == one_by_one


def test_only_rows_per_region_are_selected(narrow: Path) -> None:
    found = run_in_host_process(BUILD + SELECT, narrow)
    assert found["8"] == [4, 3] and found["first"] == 4
    assert found["1"] == [1, 3] and found["2"] == [2, 3] and found["flat"] == [8]
    assert found["context"] == [1, 1, 4]
