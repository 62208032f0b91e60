"""A user's mistake gives one sentence with cause and cure, and the host paints on."""

from __future__ import annotations

import itertools
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from support.models import RandomModel, write_lightning, write_safetensors
from support.refusals import refused

from lab.host.graphs import Graph, Run
from lab.host.headless import Host

FRESH_SEEDS = itertools.count(1000)  # so that no good prompt comes from the host's cache
OFFICIAL = "Fantasy-Studio/Paint-by-Example"


@pytest.fixture
def checkpoints(host: Host) -> Iterator[Path]:
    """The host's checkpoint folder; what a test leaves there is removed."""
    folder = host.folder / "models" / "checkpoints"
    before = set(folder.iterdir())
    yield folder
    for path in set(folder.iterdir()) - before:
        path.unlink()


def refusal(host: Host, graph: Graph) -> str:
    """The message of a prompt that must fail; then a good prompt must still run."""
    message = refused(host, graph)
    good = Graph()
    good.save_image([good.paint(["odd_mask"], seed=next(FRESH_SEEDS)), 0])
    Run(host, good)
    return message


def load_refusal(host: Host, model: str) -> str:
    graph = Graph()
    graph.save_image([graph.paint(["odd_mask"], model=model), 0])
    message = refusal(host, graph)
    assert model in message
    assert_one_sentence(message)
    return message


def assert_one_sentence(message: str) -> None:
    assert "\n" not in message
    assert message.endswith(".")
    assert "Traceback" not in message


def stable_diffusion(path: Path, channels: int) -> None:
    tensors = {
        "model.diffusion_model.input_blocks.0.0.weight": torch.zeros(320, channels, 3, 3),
        "first_stage_model.encoder.conv_in.weight": torch.zeros(128, 3, 3, 3),
        "cond_stage_model.transformer.text_model.final_layer_norm.weight": torch.zeros(768),
    }
    save_file(tensors, path)


@pytest.mark.parametrize(
    ("channels", "kind"), [(9, "Stable Diffusion inpainting"), (4, "Stable Diffusion checkpoint")]
)
def test_stable_diffusion_checkpoints(
    host: Host, checkpoints: Path, channels: int, kind: str
) -> None:
    stable_diffusion(checkpoints / "sd.safetensors", channels)
    message = load_refusal(host, "sd.safetensors")
    for part in (kind, "learnable_vector", "cond_stage_model.mapper", OFFICIAL):
        assert part in message


class Code:
    """Pickles to a call that leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (str(self.trace),)


def test_pickled_code_does_not_run(host: Host, checkpoints: Path, tmp_path: Path) -> None:
    trace = tmp_path / "code-ran"
    torch.save({"state_dict": {"learnable_vector": Code(trace)}}, checkpoints / "code.ckpt")
    assert "carries code" in load_refusal(host, "code.ckpt")
    (checkpoints / "plain.ckpt").write_bytes(pickle.dumps(Code(trace)))
    load_refusal(host, "plain.ckpt")
    assert not trace.exists()


@pytest.mark.parametrize("suffix", ["safetensors", "ckpt"])
def test_truncated_file(
    host: Host, checkpoints: Path, models: dict[str, RandomModel], suffix: str
) -> None:
    path = checkpoints / f"truncated.{suffix}"
    write = write_safetensors if suffix == "safetensors" else write_lightning
    write(path, models["narrow"])
    os.truncate(path, path.stat().st_size // 2)
    assert "download it again" in load_refusal(host, path.name)


@pytest.mark.parametrize("suffix", ["safetensors", "ckpt", "sft", "bin"])
def test_random_bytes(host: Host, checkpoints: Path, suffix: str) -> None:
    path = checkpoints / f"random.{suffix}"
    path.write_bytes(bytes(torch.randint(0, 256, (5000,), dtype=torch.uint8).tolist()))
    assert OFFICIAL in load_refusal(host, path.name)


@pytest.mark.parametrize(
    ("prefix", "part"),
    [
        ("first_stage_model.", "no VAE"),
        ("model.diffusion_model.", "no UNet"),
        ("cond_stage_model.transformer.", "no CLIP vision tower"),
        ("cond_stage_model.mapper.resblocks.0.mlp.c_fc.bias", "exemplar encoder"),
        ("model.diffusion_model.out.0.bias", "UNet"),
        ("first_stage_model.decoder.norm_out.bias", "VAE"),
        ("learnable_vector", "learnable_vector"),
    ],
)
def test_incomplete_file(
    host: Host, checkpoints: Path, models: dict[str, RandomModel], prefix: str, part: str
) -> None:
    write_safetensors(checkpoints / "part.safetensors", models["narrow"], without=prefix)
    message = load_refusal(host, "part.safetensors")
    assert part in message and OFFICIAL in message


def test_unknown_model_and_combo_values(host: Host) -> None:
    for change, part in (
        ({"sampler_name": "plmz"}, "plms"),
        ({"scheduler": "sometimes"}, "ddim_uniform"),
        ({"region": "left half"}, "around mask"),
    ):
        graph = Graph()
        graph.save_image([graph.paint(["odd_mask"], **change), 0])
        message = refusal(host, graph)
        assert next(iter(change.values())) in message and part in message
    graph = Graph()
    graph.save_image([graph.paint(["odd_mask"], model="../secret.safetensors"), 0])
    assert "'../secret.safetensors' is not available" in refusal(host, graph)
    graph = Graph()
    loader = graph.load("narrow.safetensors", "int4")
    graph.save_image([graph.encode(loader, graph.image("face"), framing="tilt"), 2])
    message = refusal(host, graph)
    assert "'int4' is not available" in message and "'tilt' is not available" in message


def test_resolution_below_64(host: Host) -> None:
    graph = Graph()
    graph.save_image([graph.paint(["odd_mask"], resolution=32), 0])
    assert "smaller than min of 64 (resolution)" in refusal(host, graph)
    graph = Graph()
    number = graph.add("PrimitiveInt", value=32)
    graph.save_image([graph.paint(["odd_mask"], resolution=[number, 0]), 0])
    message = refusal(host, graph)
    assert_one_sentence(message)
    assert "resolution is 32; choose at least 64" in message


@pytest.mark.parametrize("node", ["sampler", "crop"])
def test_empty_mask(host: Host, node: str) -> None:
    """The all-zero 64 × 64 mask that LoadImage gives for a picture without alpha is empty."""
    graph = Graph()
    loader = graph.load("narrow.safetensors")
    picture = graph.add("LoadImage", image="odd.png")
    if node == "sampler":
        encode = graph.encode(loader, graph.image("face"))
        last = graph.sample(loader, encode, [picture, 0], [picture, 1])
    else:
        last = graph.crop([picture, 0], [picture, 1])
    graph.save_image([last, 0])
    message = refusal(host, graph)
    assert_one_sentence(message)
    assert message.startswith("The mask is empty")


def test_one_empty_mask_of_several_is_named(host: Host) -> None:
    graph = Graph()
    graph.save_image([graph.paint(["odd_mask", "odd_mask_empty"]), 0])
    assert refusal(host, graph).startswith("Mask 2 of 2 is empty")


def test_empty_exemplar_mask(host: Host) -> None:
    graph = Graph()
    loader = graph.load("narrow.safetensors")
    picture = graph.add("LoadImage", image="face.png")
    encode = graph.encode(loader, [picture, 0], mask=[picture, 1])
    graph.save_image([encode, 2])
    message = refusal(host, graph)
    assert_one_sentence(message)
    assert message.startswith("The exemplar's mask is empty")


def test_mismatched_counts(host: Host) -> None:
    graph = Graph()
    loader = graph.load("narrow.safetensors")
    encode = graph.encode(loader, graph.images(["face", "face"]))
    images = graph.images(["small", "small"])
    masks = graph.masks(["small_mask"] * 3)
    graph.save_image([graph.sample(loader, encode, images, masks), 0])
    message = refusal(host, graph)
    assert_one_sentence(message)
    assert "2 images and 3 masks" in message

    graph = Graph()
    graph.save_image([graph.paint(["odd_mask"], exemplars=("face", "face")), 0])
    message = refusal(host, graph)
    assert_one_sentence(message)
    assert "2 exemplars and 1 masked regions" in message

    graph = Graph()
    loader = graph.load("narrow.safetensors")
    images = graph.images(["face", "face"])
    masks = graph.masks(["odd_mask"] * 3)
    graph.save_image([graph.encode(loader, images, mask=masks), 2])
    message = refusal(host, graph)
    assert_one_sentence(message)
    assert "2 exemplars and 3 exemplar masks" in message


def test_foreign_vae(host: Host) -> None:
    folder = host.folder / "models" / "vae"
    foreign = AutoencoderKL(
        latent_channels=16,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )
    save_file(foreign.half().state_dict(), folder / "foreign.safetensors")
    graph = Graph()
    vae = graph.add("VAELoader", vae_name="foreign.safetensors")
    loader = graph.load("narrow.safetensors")
    encode = graph.encode(loader, graph.image("face"))
    sample = graph.sample(
        loader, encode, graph.image("odd"), graph.masks(["odd_mask"]), vae=[vae, 0]
    )
    graph.save_image([sample, 0])
    message = refusal(host, graph)
    assert_one_sentence(message)
    assert "16 latent channels" in message
    (folder / "foreign.safetensors").unlink()


def test_sampling_without_a_masked_image(host: Host) -> None:
    graph = Graph()
    loader = graph.load("narrow.safetensors")
    encode = graph.encode(loader, graph.image("face"))
    latent = graph.add("EmptyLatentImage", width=64, height=64, batch_size=1)
    sample = graph.ksampler(loader, encode, [latent, 0], steps=2)
    graph.save_latent([sample, 0])
    message = refusal(host, graph)
    assert_one_sentence(message)
    assert "no masked image" in message


def test_too_many_steps(host: Host) -> None:
    graph = Graph()
    graph.save_image([graph.paint(["odd_mask"], steps=50, denoise=0.01), 0])
    message = refusal(host, graph)
    assert_one_sentence(message)
    assert "5000 steps" in message


def test_wrong_number_of_painted_images(host: Host) -> None:
    graph = Graph()
    crop = graph.crop(graph.image("odd"), graph.masks(["odd_mask", "odd_mask_left"]))
    paste = graph.add(
        "ExemplarPasteBack",
        region=[crop, 2],
        image=graph.images(["small"] * 3),
        feather=8,
        match_color=True,
    )
    graph.save_image([paste, 0])
    message = refusal(host, graph)
    assert_one_sentence(message)
    assert "3 painted images do not fit the 2 regions" in message


def test_exemplar_counts_of_positive_and_negative(host: Host) -> None:
    """A negative with another number of exemplars is not repeated silently."""
    graph = Graph()
    loader = graph.load("narrow.safetensors")
    positive, negative = (graph.encode(loader, graph.images(["face"] * count)) for count in (2, 4))
    masks = graph.masks(["odd_mask", "odd_mask_left", "odd_mask_border", "odd_mask_half"])
    sample = graph.sample(loader, positive, graph.image("odd"), masks, negative=[negative, 0])
    graph.save_image([sample, 0])
    message = refusal(host, graph)
    assert_one_sentence(message)
    assert "2 exemplars and 4 masked regions" in message


def test_masked_image_of_another_shape(host: Host) -> None:
    graph = Graph()
    loader = graph.load("narrow.safetensors")
    encode = graph.encode(loader, graph.image("face"))
    masked = graph.masked(loader, encode, graph.image("small"), graph.masks(["small_mask"]))
    sample = graph.ksampler(
        loader,
        masked,
        [graph.add("EmptyLatentImage", width=64, height=64, batch_size=1), 0],
        steps=2,
    )
    graph.save_latent([sample, 0])
    message = refusal(host, graph)
    assert_one_sentence(message)
    assert "12x8 latents and the latent image 8x8" in message
