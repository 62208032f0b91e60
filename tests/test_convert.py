"""Layouts of a model: what goes from one to another and back is the same, bit by bit."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from diffusers.pipelines.deprecated.paint_by_example.image_encoder import PaintByExampleImageEncoder
from safetensors.torch import load_file, save_file
from support.models import SHAPES, RandomModel, random_model, write_diffusers, write_lightning
from torch import Tensor
from transformers import CLIPImageProcessor

from exemplar_model.constants import CLIP_MEAN, CLIP_STD
from exemplar_model.standalone import convert as module
from exemplar_model.standalone.components import Components
from exemplar_model.standalone.convert import convert
from exemplar_model.weights.checkpoint import read_checkpoint
from exemplar_model.weights.reading import CheckpointError, read_safetensors

TRAINING = {"config": '{"steps": 3}', "step": "3", "data": "shapes-512"}
"""Metadata as the trainer writes it."""


@pytest.fixture(scope="module")
def narrow() -> RandomModel:
    return random_model(SHAPES["narrow"])


def write_original(path: Path, model: RandomModel, dtype: torch.dtype = torch.float32) -> None:
    tensors = {k: t.to(dtype).contiguous() for k, t in model.components.to_original().items()}
    save_file(tensors, path, {**model.components.config.hints, **TRAINING})


def assert_same_bits(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype and found[name].shape == tensor.shape, name
        assert found[name].numpy().tobytes() == tensor.detach().numpy().tobytes(), name


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [("narrow", torch.float32), ("narrow", torch.float16), ("wide", torch.float16)],
)
def test_there_and_back(tmp_path: Path, shape: str, dtype: torch.dtype) -> None:
    source, folder, back = (
        tmp_path / "a.safetensors",
        tmp_path / "folder",
        tmp_path / "b.safetensors",
    )
    write_original(source, random_model(SHAPES[shape]), dtype)
    done = convert(source, folder)
    assert (done.layout, done.notes) == ("diffusers", [])
    assert convert(folder, back).tensors == done.tensors == len(load_file(source))
    assert_same_bits(load_file(back), load_file(source))
    assert read_safetensors(back)[1] == read_safetensors(source)[1]
    assert sorted(tmp_path.iterdir()) == sorted((source, folder, back))


@pytest.mark.parametrize("old_tower_names", [False, True])
def test_folder_of_diffusers_itself_and_back(
    tmp_path: Path, narrow: RandomModel, old_tower_names: bool
) -> None:
    """Names of the tower are those of the published folder, the rest is as diffusers wrote it."""
    write_diffusers(tmp_path / "a", narrow, old_tower_names)
    convert(tmp_path / "a", tmp_path / "model.safetensors")
    convert(tmp_path / "model.safetensors", tmp_path / "b")
    for file in ("unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model"):
        name = f"{file}.safetensors"
        assert_same_bits(load_file(tmp_path / "b" / name), load_file(tmp_path / "a" / name))
    expected = load_file(tmp_path / "a" / "image_encoder" / "model.safetensors")
    if not old_tower_names:
        expected = {
            k.replace("model.", "model.vision_model.", 1) if k.startswith("model.") else k: t
            for k, t in expected.items()
        }
    assert_same_bits(load_file(tmp_path / "b" / "image_encoder" / "model.safetensors"), expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_diffusers_loads_the_folder(tmp_path: Path, shape: str) -> None:
    """By its own classes, with the results that our components give."""
    write_original(tmp_path / "model.safetensors", random_model(SHAPES[shape]))
    folder = tmp_path / "folder"
    convert(tmp_path / "model.safetensors", folder)
    ours = Components.from_checkpoint(read_checkpoint(tmp_path / "model.safetensors"))
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    autoencoder = AutoencoderKL.from_pretrained(folder / "vae")
    encoder = PaintByExampleImageEncoder.from_pretrained(folder / "image_encoder").eval()
    torch.manual_seed(0)
    size, view = ours.config.factor * 8, ours.config.encoder.image_size
    latents, image = torch.randn(2, 9, 8, 8), torch.rand(1, 3, size, size) * 2 - 1
    exemplar = torch.rand(2, 3, view, view)
    with torch.no_grad():
        context = ours.encoder(exemplar)
        mean, std = torch.tensor(CLIP_MEAN), torch.tensor(CLIP_STD)
        pixels = (exemplar - mean[:, None, None]) / std[:, None, None]
        theirs, null = encoder(pixels, return_uncond_vector=True)
        torch.testing.assert_close(theirs, context, rtol=1e-5, atol=1e-5)
        assert torch.equal(null, ours.encoder.uncond_vector)
        step = torch.tensor([7, 900])
        assert torch.equal(unet(latents, step, context)[0], ours.unet(latents, step, context)[0])
        assert torch.equal(autoencoder(image)[0], ours.autoencoder(image)[0])
    scheduler = PNDMScheduler.from_pretrained(folder / "scheduler")
    assert float(scheduler.alphas_cumprod[-1]) == pytest.approx(0.00466, abs=1e-5)
    processor = CLIPImageProcessor.from_pretrained(folder / "feature_extractor")
    assert (processor.crop_size["height"], processor.crop_size["width"]) == (view, view)
    index = json.loads((folder / "model_index.json").read_text())
    named = {name for name, value in index.items() if isinstance(value, list) and value[0]}
    assert named == {path.name for path in folder.iterdir() if path.is_dir()}


@pytest.mark.parametrize("dtype", [None, torch.float16, torch.bfloat16])
def test_lightning_pickle(tmp_path: Path, narrow: RandomModel, dtype: torch.dtype | None) -> None:
    write_lightning(tmp_path / "model.ckpt", narrow)
    done = convert(tmp_path / "model.ckpt", tmp_path / "model.safetensors", dtype=dtype)
    found, metadata = read_safetensors(tmp_path / "model.safetensors")
    original = narrow.components.to_original()
    assert found.keys() == original.keys()
    for name, tensor in original.items():
        assert torch.equal(found[name], tensor.to(dtype or tensor.dtype)), name
    assert metadata == narrow.components.config.hints
    assert "2 tensors" in done.notes[0] and "betas" in done.notes[0]


def test_code_in_a_pickle_does_not_run(tmp_path: Path) -> None:
    # another process, so that nothing here can have allowed the class
    code = """
import os, sys, torch
class Bad:
    def __reduce__(self):
        return os.mkdir, (sys.argv[2],)
torch.save({"state_dict": {"learnable_vector": torch.zeros(1, 1, 8)}, "extra": Bad()}, sys.argv[1])
"""
    file, proof = tmp_path / "bad.ckpt", tmp_path / "ran"
    subprocess.run([sys.executable, "-c", code, file, proof], check=True)
    with pytest.raises(CheckpointError, match="a pickle of more than weights") as caught:
        convert(file, tmp_path / "model.safetensors")
    assert "weights_only" not in str(caught.value) and not proof.exists()
    assert list(tmp_path.iterdir()) == [file]
    assert b"mkdir" in file.read_bytes()  # it was there to run


def test_nan_keeps_its_bits(tmp_path: Path, narrow: RandomModel) -> None:
    write_original(tmp_path / "a.safetensors", narrow)
    tensors, metadata = load_file(tmp_path / "a.safetensors"), narrow.components.config.hints
    tensors["learnable_vector"][0, 0, :2] = torch.tensor([float("nan"), -0.0])
    save_file(tensors, tmp_path / "a.safetensors", metadata)
    convert(tmp_path / "a.safetensors", tmp_path / "folder")
    convert(tmp_path / "folder", tmp_path / "b.safetensors")
    assert_same_bits(load_file(tmp_path / "b.safetensors"), tensors)


def test_another_mapper_depth_is_told(tmp_path: Path) -> None:
    """diffusers derives the depth from the tower's and would leave blocks out without a word."""
    shape = SHAPES["narrow"]
    shape = replace(shape, encoder=replace(shape.encoder, mapper_blocks=3))
    tensors = {k: t.contiguous() for k, t in Components.random(shape).to_original().items()}
    save_file(tensors, tmp_path / "a.safetensors", shape.hints)
    (note,) = convert(tmp_path / "a.safetensors", tmp_path / "folder").notes
    assert "has 2 mapper blocks" in note and "this model 3" in note
    assert not convert(tmp_path / "folder", tmp_path / "b.safetensors").notes
    assert_same_bits(load_file(tmp_path / "b.safetensors"), tensors)


@pytest.mark.parametrize(
    ("target", "layout", "reason"),
    [
        ("model.ckpt", None, "would be a pickle"),
        ("folder", "original", "does not fit the original layout"),
        ("x.safetensors", "diffusers", "does not fit the diffusers layout"),
        ("taken.safetensors", None, "exists; choose another target"),
        ("a.safetensors", None, "is or holds the source"),
        ("absent/x.safetensors", None, "There is no folder"),
    ],
)
def test_targets_that_are_refused(
    tmp_path: Path, narrow: RandomModel, target: str, layout: module.Layout, reason: str
) -> None:
    write_original(tmp_path / "a.safetensors", narrow)
    (tmp_path / "taken.safetensors").write_text("mine")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(CheckpointError, match=reason):
        convert(tmp_path / "a.safetensors", tmp_path / target, layout=layout)
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "taken.safetensors").read_text() == "mine"


def test_force_replaces_models_only(tmp_path: Path, narrow: RandomModel) -> None:
    source, folder = tmp_path / "a.safetensors", tmp_path / "folder"
    write_original(source, narrow)
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="a folder of something else"):
        convert(source, folder, force=True)
    assert (folder / "thesis.txt").read_text() == "mine"
    shutil.rmtree(folder)
    convert(source, folder)
    convert(source, folder, dtype=torch.float16, force=True)
    unet = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in unet.values()} == {torch.float16}
    (tmp_path / "b.safetensors").write_text("old")
    convert(folder, tmp_path / "b.safetensors", force=True)
    assert len(load_file(tmp_path / "b.safetensors")) == len(load_file(source))
    assert sorted(tmp_path.iterdir()) == [source, tmp_path / "b.safetensors", folder]


def no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=3_000_000))


def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files cannot grow beyond 1 MB: real writes fail in their middle."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    real = module.save_file

    def save(*arguments: object) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
        try:
            real(*arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    monkeypatch.setattr(module, "save_file", save)


def faulty_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last byte of each file arrives with one bit flipped."""
    real = module.save_file

    def save(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
        real(tensors, path, metadata)
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)

    monkeypatch.setattr(module, "save_file", save)


@pytest.mark.parametrize("target", ["b.safetensors", "folder"])
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (no_room, r"needs 0\.01 GB and its disk has 0\.00 GB free"),
        (full_disk, "cannot be written"),
        (faulty_disk, "differs from its source in"),
    ],
)
def test_a_failure_leaves_everything_as_it_was(
    tmp_path: Path,
    narrow: RandomModel,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[pytest.MonkeyPatch], None],
    reason: str,
    target: str,
) -> None:
    write_original(tmp_path / "a.safetensors", narrow)
    convert(tmp_path / "a.safetensors", tmp_path / target)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    fault(monkeypatch)
    with pytest.raises(CheckpointError, match=reason):
        convert(tmp_path / "a.safetensors", tmp_path / target, force=True)
    with pytest.raises(CheckpointError, match=reason):
        convert(tmp_path / "a.safetensors", tmp_path / f"new-{target}")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_values_too_large_for_half_precision(tmp_path: Path, narrow: RandomModel) -> None:
    tensors = {k: t.contiguous() for k, t in narrow.components.to_original().items()}
    tensors["proj_out.bias"] = torch.full_like(tensors["proj_out.bias"], 1e5)
    save_file(tensors, tmp_path / "a.safetensors", narrow.components.config.hints)
    with pytest.raises(CheckpointError, match=r"proj_out\.bias has values too large for fp16"):
        convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", dtype=torch.float16)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.safetensors"]
    convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", dtype=torch.bfloat16)


def test_half_a_model_is_refused(tmp_path: Path, narrow: RandomModel) -> None:
    original = narrow.components.to_original()
    missing = "model.diffusion_model.out.2.bias"
    tensors = {k: t.contiguous() for k, t in original.items() if k != missing}
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(
        CheckpointError, match=r"The UNet of .* is incomplete .*out\.2\.bias is missing"
    ):
        convert(tmp_path / "a.safetensors", tmp_path / "folder")
    assert list(tmp_path.iterdir()) == [tmp_path / "a.safetensors"]
