"""A batch of regions that memory does not hold is painted in parts, with the same result."""

from __future__ import annotations

import platform
from typing import Any

import pytest
from support.library import run_in_host_process
from support.models import RandomModel, write_safetensors

PAINT = """
import json, torch
from bench.measure import anonymous_bytes
import comfy.model_management as management
import comfy.sample
import latent_preview
from pack.exemplar_model.weights.checkpoint import read_checkpoint
from pack.nodes.host import autoencoder, files, model, sampling

torch.set_grad_enabled(False)
checkpoint = read_checkpoint(path, files.read_weights)
denoiser = model.build_model(checkpoint, "fp32", path)
vae = autoencoder.build_autoencoder(checkpoint)
width = checkpoint.encoder_config.context_dim
N, shape = 5, (5, 4, 8, 8)
images, masks = torch.rand(N, 64, 64, 3), torch.zeros(N, 64, 64)
masks[:, 16:48, 16:48] = 1.0
exemplars, null = torch.randn(N, 1, width), torch.randn(1, 1, width)
batches, shown, coded, memory = [], [], [], []

def count(apply_model, args):
    batches.append(args["input"].shape[0])
    return apply_model(args["input"], args["timestep"], **args["c"])

def counted(code):
    def call(one, *rest, **options):
        coded.append(one.shape[0])
        memory.append(anonymous_bytes())
        return code(one, *rest, **options)

    return call

autoencoder = vae.first_stage_model
autoencoder.encode, autoencoder.decode = map(counted, (autoencoder.encode, autoencoder.decode))

def prepare_callback(model, steps):
    return lambda step, x0, x, total: shown.append([step, total])

denoiser.set_model_unet_function_wrapper(count)
latent_preview.prepare_callback = prepare_callback  # the host's own needs a client

def paint(context, regions, sampler="plms", scheduler="ddim_uniform"):
    batches.clear(), shown.clear(), coded.clear()
    latents, pictures = sampling.paint(
        denoiser, [[context, {}]], [[null, {}]], vae, images[:regions], masks[:regions], seed=1,
        steps=3, cfg=3.0, sampler_name=sampler, scheduler=scheduler, denoise=1.0,
    )
    seen = {"batches": sorted(set(batches)), "shown": list(shown), "regions": len(pictures)}
    seen["coded"] = list(coded)
    return latents, seen

def distance(a, b):
    return float((a - b).norm() / b.norm())

torch.ones(16 * 2**20, dtype=torch.uint8)  # from now on glibc keeps tensors of this size
blocks = [torch.ones(8 * 2**20, dtype=torch.uint8) for _ in range(80)]
del blocks[::2]  # between those that stay, so that the heap cannot shrink
memory.append(anonymous_bytes())
whole, before = paint(exemplars, N)
released = memory[0] - memory[1]
shared, _ = paint(exemplars[:1], N)
sizes = {}
for side in (8, 32, 64, 128):
    fitting = sampling._parts_that_fit(denoiser, torch.Size([8, 4, side, side]), [])
    sizes[side] = [part.start for part in fitting]
room = denoiser.model_size() + 2.5 * denoiser.memory_required([1, *shape[1:]])
management.EXTRA_RESERVED_VRAM = management.get_total_memory(denoiser.load_device) - room
parts, after = paint(exemplars, N)
shared_parts, _ = paint(exemplars[:1], N)
with_control = [[exemplars, {"control": object()}]]
control = len(sampling._parts_that_fit(denoiser, torch.Size(shape), with_control))
images[:] = images[:1]
comfy.sample.prepare_noise = lambda latents, seed: torch.ones_like(latents)
same, _ = paint(exemplars[:1], 3)  # in parts of two and one
drawn, _ = paint(exemplars[:1], 3, "euler_ancestral", "normal")
management.EXTRA_RESERVED_VRAM *= 2
_, crowded = paint(exemplars, 2)
print(json.dumps({
    "error": distance(parts, whole),
    "shared": distance(shared_parts, shared),
    "differ": distance(whole[:1], whole[1:2]),
    "before": before, "after": after, "control": control, "crowded": crowded,
    "sizes": sizes, "released": released,
    "same": distance(same[2], same[0]), "drawn": distance(drawn[2], drawn[0]),
}))
"""


@pytest.fixture(scope="module")
def painted(
    tmp_path_factory: pytest.TempPathFactory, models: dict[str, RandomModel]
) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("parts") / "narrow.safetensors"
    write_safetensors(path, models["narrow"])
    return run_in_host_process(PAINT, path)


def test_parts_paint_what_the_batch_paints(painted: dict[str, Any]) -> None:
    assert painted["error"] < 1e-5 and painted["shared"] < 1e-5
    assert painted["differ"] > 1e-2  # each region has noise and an exemplar of its own


def test_no_part_is_larger_than_memory_holds(painted: dict[str, Any]) -> None:
    """Of five regions two fit: parts of two, two and one, both halves of a guided step each."""
    assert max(painted["before"]["batches"]) == 10
    assert painted["after"]["batches"] in ([1, 2], [2, 4])
    assert painted["after"]["regions"] == 5


def test_parts_draw_noise_of_their_own(painted: dict[str, Any]) -> None:
    """Of regions that are all the same, start noise included."""
    assert painted["same"] < 1e-5
    assert painted["drawn"] > 1e-2


def test_on_a_cpu_pictures_are_encoded_and_decoded_one_by_one(painted: dict[str, Any]) -> None:
    assert painted["before"]["coded"] == [1] * 10  # five of each


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep nothing")
def test_freed_memory_goes_back_before_a_picture_is_coded(painted: dict[str, Any]) -> None:
    assert painted["released"] > 200 * 2**20


def test_on_a_cpu_large_regions_go_one_by_one_and_small_ones_together(
    painted: dict[str, Any],
) -> None:
    starts = {"8": [0], "32": [0, 4], "64": list(range(8)), "128": list(range(8))}
    assert painted["sizes"] == starts


def test_progress_runs_on_over_the_parts(painted: dict[str, Any]) -> None:
    steps = len(painted["before"]["shown"])
    assert painted["before"]["shown"] == [[step, steps] for step in range(steps)]
    assert painted["after"]["shown"] == [[step, 3 * steps] for step in range(3 * steps)]


def test_a_control_image_keeps_the_batch_whole(painted: dict[str, Any]) -> None:
    assert painted["control"] == 1


def test_one_region_at_a_time_is_the_least(painted: dict[str, Any]) -> None:
    assert max(painted["crowded"]["batches"]) <= 2
    assert painted["crowded"]["regions"] == 2
