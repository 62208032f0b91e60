"""Files and folders in every layout load without a host, and nothing in them is ever run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.models import (
    SHAPES,
    RandomModel,
    random_model,
    write_diffusers,
    write_lightning,
    write_safetensors,
)

from exemplar_model.standalone.components import Components
from exemplar_model.weights.checkpoint import read_checkpoint
from exemplar_model.weights.reading import CheckpointError, read_weights


@pytest.fixture(scope="module")
def narrow() -> RandomModel:
    return random_model(SHAPES["narrow"])


def write_numpy_2(path: Path, model: RandomModel) -> None:
    write_lightning(path, model, "numpy._core")


def write_before_zip_files(path: Path, model: RandomModel) -> None:
    torch.save(model.components.to_original(), path, _use_new_zipfile_serialization=False)


def write_folder_of_pickles(path: Path, model: RandomModel) -> None:
    write_diffusers(path, model)
    for file in list(path.rglob("*.safetensors")):
        torch.save(load_file(file), file.with_suffix(".bin"))
        file.unlink()


LAYOUTS: dict[str, Callable[[Path, RandomModel], None]] = {
    "model.safetensors": write_safetensors,
    "model.sft": write_safetensors,
    "model.ckpt": write_lightning,
    "numpy-2.ckpt": write_numpy_2,
    "old.pt": write_before_zip_files,
    "folder": write_diffusers,
    "folder-of-pickles": write_folder_of_pickles,
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_loads(tmp_path: Path, narrow: RandomModel, name: str) -> None:
    LAYOUTS[name](tmp_path / name, narrow)
    allowed = set(torch.serialization.get_safe_globals())
    components = Components.from_checkpoint(read_checkpoint(tmp_path / name))
    assert set(torch.serialization.get_safe_globals()) == allowed  # other files are read as before
    assert components.config == SHAPES["narrow"]
    before, after = narrow.components.to_original(), components.to_original()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_the_synthetic_pickle_has_what_the_official_one_has(
    tmp_path: Path, narrow: RandomModel
) -> None:
    """PyTorch alone refuses it, because of numpy's numbers and of the callback's class."""
    for name in ("model.ckpt", "numpy-2.ckpt"):
        LAYOUTS[name](tmp_path / name, narrow)
        module = "numpy._core" if name == "numpy-2.ckpt" else "numpy.core"
        named = torch.serialization.get_unsafe_globals_in_checkpoint(tmp_path / name)
        assert {
            "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
            f"{module}.multiarray.scalar",
            "numpy.dtype",
        } <= set(named)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, zipped: bool) -> None:
    # another process, so that nothing here can have allowed the class
    code = """
import os, sys, torch
class Bad:
    def __reduce__(self):
        return os.mkdir, (sys.argv[2],)
content = {"state_dict": {"learnable_vector": torch.zeros(1, 1, 8)}, "extra": Bad()}
torch.save(content, sys.argv[1], _use_new_zipfile_serialization=sys.argv[3] == "True")
"""
    file, proof = tmp_path / "bad.ckpt", tmp_path / "ran"
    subprocess.run([sys.executable, "-c", code, file, proof, str(zipped)], check=True)
    with pytest.raises(CheckpointError, match="a pickle of more than weights") as caught:
        read_weights(file)
    sentence = str(caught.value)
    assert "weights_only" not in sentence and "\n" not in sentence and sentence.endswith(".")
    assert not proof.exists() and b"mkdir" in file.read_bytes()  # it was there to run


def test_loading_draws_nothing_and_copies_nothing(tmp_path: Path, narrow: RandomModel) -> None:
    write_safetensors(tmp_path / "model.safetensors", narrow)
    checkpoint = read_checkpoint(tmp_path / "model.safetensors")
    state = torch.get_rng_state()
    components = Components.from_checkpoint(checkpoint)
    assert torch.equal(torch.get_rng_state(), state)
    for module in (components.unet, components.autoencoder, components.encoder):
        assert not any(each.is_meta for each in (*module.parameters(), *module.buffers()))
        assert not module.training and all(each.requires_grad for each in module.parameters())
    stem = components.unet.conv_in.weight
    assert stem.data_ptr() == checkpoint.unet["input_blocks.0.0.weight"].data_ptr()
    (buffer,) = components.encoder.buffers()  # position ids, which no file has
    assert torch.equal(buffer, next(narrow.components.encoder.buffers()))
    with torch.no_grad():
        stem.zero_()  # as training does: in this process alone
    unchanged = load_file(tmp_path / "model.safetensors")
    assert unchanged["model.diffusion_model.input_blocks.0.0.weight"].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_all_weights_get_the_dtype_asked_for(
    tmp_path: Path, narrow: RandomModel, dtype: torch.dtype
) -> None:
    """Whatever mixture the file has."""
    path = tmp_path / "model.safetensors"
    tensors = {key: t.contiguous() for key, t in narrow.components.to_original().items()}
    tensors["proj_out.weight"] = tensors["proj_out.weight"].half()
    save_file(tensors, path, narrow.components.config.hints)
    checkpoint = read_checkpoint(path)
    for components in (
        Components.from_checkpoint(checkpoint, dtype=dtype),
        Components.from_checkpoint(checkpoint).to("cpu", dtype),
        Components.from_checkpoint(checkpoint, dtype=dtype).to("cpu"),
    ):
        assert {tensor.dtype for tensor in components.to_original().values()} == {dtype}
    assert checkpoint.encoder["proj_out.weight"].dtype == torch.float16
    plain = Components.from_checkpoint(checkpoint).to_original()
    assert {tensor.dtype for tensor in plain.values()} == {torch.float32}


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("unet/config.json", "{", "configuration of the model is damaged"),
        ("image_encoder/config.json", '{"num_attention_heads": 7}', "7 heads"),
        ("unet/config.json", '{"num_attention_heads": 7}', "7 heads"),
        ("unet/config.json", '["no", "object"]', None),
    ],
)
def test_damaged_configurations(
    tmp_path: Path, narrow: RandomModel, file: str, text: str, reason: str | None
) -> None:
    write_diffusers(tmp_path / "folder", narrow)
    (tmp_path / "folder" / file).write_text(text)
    if reason is None:  # eight heads are what Stable Diffusion has
        assert read_checkpoint(tmp_path / "folder").unet_heads == 8
        return
    with pytest.raises(CheckpointError, match=reason):
        read_checkpoint(tmp_path / "folder")


@pytest.mark.parametrize("absent", ["unet", "vae", "image_encoder"])
def test_folders_without_a_component(tmp_path: Path, narrow: RandomModel, absent: str) -> None:
    write_diffusers(tmp_path / "folder", narrow)
    for file in (tmp_path / "folder" / absent).glob("*.safetensors"):
        file.unlink()
    with pytest.raises(CheckpointError, match=f"folder/{absent} holds no weights"):
        read_checkpoint(tmp_path / "folder")
    shutil.rmtree(tmp_path / "folder" / absent)
    with pytest.raises(CheckpointError, match=f"it lacks {absent}/"):
        read_checkpoint(tmp_path / "folder")


@pytest.mark.parametrize("hints", ["{", '{"unet_heads": 0}', '{"vision_heads": 5}', "[]"])
def test_damaged_hints(tmp_path: Path, narrow: RandomModel, hints: str) -> None:
    """Heads that do not divide a width are refused; what states none leaves the usual number."""
    tensors = {key: t.contiguous() for key, t in narrow.components.to_original().items()}
    save_file(tensors, tmp_path / "model.safetensors", {"exemplar_model": hints})
    try:
        assert read_checkpoint(tmp_path / "model.safetensors").unet_heads == 8
        assert json.loads(hints) in ({"unet_heads": 0}, [])
    except CheckpointError as error:
        assert "damaged" in str(error) or "5 heads" in str(error)


@pytest.mark.parametrize("content", [torch.zeros(3), [torch.zeros(3)], {"state_dict": [1]}])
def test_pickles_without_tensors_by_name(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"^other\.pt holds no weights; the official file is"):
        read_weights(tmp_path / "other.pt")
