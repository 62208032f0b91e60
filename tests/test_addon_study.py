"""The add-ons that the study trains and writes down: layouts, starts, and what they compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file
from spandrel import ModelLoader
from support.addons import write_controlnet
from torch.nn.utils import parametrize

from exemplar_model.standalone.components import Components
from exemplar_model.weights.checkpoint import read_checkpoint
from lab.study.addons import train
from lab.study.addons.controlnet import controlnet_tensors, new_controlnet, steered
from lab.study.addons.lora import add_lora, lora_tensors
from lab.study.addons.measures import chroma, correlation, largest_change, sharpness
from lab.study.addons.pictures import CONTROLS, pairs
from lab.study.addons.upscaler import SCALE, expected, upscaler_tensors

MODEL = Path("models/exemplar-tiny.safetensors")


@pytest.fixture
def components() -> Components:
    torch.manual_seed(0)
    return Components.from_checkpoint(read_checkpoint(MODEL))


@pytest.fixture
def inputs(components: Components) -> tuple[torch.Tensor, ...]:
    context = torch.randn(2, 1, components.config.encoder.context_dim)
    return torch.randn(2, 9, 8, 8), torch.tensor([500, 20]), context


@torch.no_grad()
def test_a_new_controlnet_changes_nothing_and_a_trained_one_does(components, inputs):
    controlnet = new_controlnet(components.unet)
    forward = steered(components.unet, controlnet, torch.rand(2, 1, 8, 8))
    plain = components.unet(*inputs, return_dict=False)[0]
    assert torch.equal(forward(*inputs, return_dict=False)[0], plain)
    controlnet.controlnet_mid_block.bias += 1.0
    assert not torch.allclose(forward(*inputs, return_dict=False)[0], plain, atol=1e-3)


def test_a_controlnet_is_written_under_the_names_of_the_first_ones(components, tmp_path):
    write_controlnet(tmp_path / "official.safetensors", MODEL)
    official = load_file(tmp_path / "official.safetensors")
    ours = controlnet_tensors(new_controlnet(components.unet))
    prefix = next(iter(ours)).split(".")[0]
    assert prefix == "control_model"
    theirs = {key.removeprefix(f"{prefix}."): value.shape for key, value in official.items()}
    assert {key.removeprefix(f"{prefix}."): value.shape for key, value in ours.items()} == theirs


@torch.no_grad()
def test_a_lora_starts_as_nothing_and_its_file_holds_what_it_adds(components, inputs):
    unet = components.unet
    plain = unet(*inputs, return_dict=False)[0]
    before = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    added = add_lora(unet, rank=4)
    torch.testing.assert_close(unet(*inputs, return_dict=False)[0], plain)
    for each in added.values():
        each.up.normal_()
    tensors = lora_tensors(added)
    for name in added:
        block = f"lora_unet_{name.replace('.', '_')}"
        up, down = (tensors[f"{block}.lora_{which}.weight"].flatten(1) for which in ("up", "down"))
        product = float(tensors[f"{block}.alpha"]) / len(down) * (up @ down)
        layer = unet.get_submodule(name)
        assert parametrize.is_parametrized(layer, "weight")
        wanted = before[f"{name}.weight"] + product.view_as(layer.weight)
        torch.testing.assert_close(layer.weight, wanted)


@torch.no_grad()
def test_the_upscaler_sharpens_and_enlarges(tmp_path):
    picture = torch.rand(1, 3, 12, 10)
    model = ModelLoader().load_from_state_dict(upscaler_tensors())
    assert model.scale == SCALE
    inner = slice(2 * SCALE, -2 * SCALE)
    torch.testing.assert_close(
        model(picture).clamp(0, 1)[..., inner, inner],
        expected(picture)[..., inner, inner],
        rtol=0,
        atol=1e-5,
    )


def test_addons_are_trained_once_for_a_recipe(tmp_path, monkeypatch):
    for kind in ("objects", "backgrounds"):
        (tmp_path / kind).mkdir()
    for number in range(3):
        disc = Image.new("RGBA", (96, 96))
        ImageDraw.Draw(disc).ellipse((10, 10, 80, 60 + number), fill=(200, 30, 40 * number, 255))
        disc.save(tmp_path / "objects" / f"{number}.png")
        noise = np.random.default_rng(number).integers(0, 256, (128, 128, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "backgrounds" / f"{number}.png")
    monkeypatch.setattr(train, "LORA", {"steps": 1, "learning_rate": 1e-3})
    monkeypatch.setattr(train, "CONTROLNET", {"steps": 1, "learning_rate": 1e-3})
    config = train.recipe(MODEL, tmp_path, tmp_path / "out")
    files = train.train_addons(config, count=16)
    lora, controlnet = (load_file(files[name]) for name in ("lora", "controlnet"))
    assert any(tensor.any() for key, tensor in lora.items() if "lora_up" in key)
    assert any(tensor.any() for key, tensor in controlnet.items() if "zero_convs" in key)
    written = {name: file.stat().st_mtime_ns for name, file in files.items()}
    train.train_addons(config, count=16)
    assert {name: file.stat().st_mtime_ns for name, file in files.items()} == written


def test_measures_tell_what_the_addons_do():
    pair = pairs()[0]
    photo, grey = pair.scene.photo, pair.scene.photo.convert("L").convert("RGB")
    box = pair.scene.hole
    assert chroma(grey, box) < 0.1 < chroma(photo, box)
    disc, half = (pair.control(shape) for shape in CONTROLS)
    assert correlation(disc, disc, box) == pytest.approx(1)
    assert correlation(disc, half, box) < 0.5
    assert largest_change(photo, photo) == 0 < largest_change(photo, grey)
    whole = (0, 0, *photo.size)
    blurred = photo.resize((32, 32)).resize(photo.size)
    assert sharpness(blurred, whole) < sharpness(photo, whole)
