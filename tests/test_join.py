"""`convert` with a UNet of another file, such as a host saves after merging."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.models import SHAPES, random_model, write_safetensors

from exemplar_model.standalone.convert import convert
from exemplar_model.weights.checkpoint import UNET_PREFIX
from exemplar_model.weights.reading import CheckpointError, read_safetensors


def write_unet(path: Path, shape: str) -> None:
    tensors = random_model(SHAPES[shape], seed=5).components.to_original()
    save_file({k: t.contiguous() for k, t in tensors.items() if k.startswith(UNET_PREFIX)}, path)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    write_safetensors(path, random_model(SHAPES["narrow"]))
    return path


def test_the_unet_is_replaced_and_nothing_else(tmp_path: Path, model: Path) -> None:
    unet, target = tmp_path / "unet.safetensors", tmp_path / "joined.safetensors"
    write_unet(unet, "narrow")
    convert(model, target, unet=unet)
    expected = {**load_file(model), **load_file(unet)}
    found, metadata = read_safetensors(target)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert metadata == read_safetensors(model)[1]


def test_a_unet_of_another_size_is_refused(tmp_path: Path, model: Path) -> None:
    unet, target = tmp_path / "unet.safetensors", tmp_path / "joined.safetensors"
    write_unet(unet, "wide")
    with pytest.raises(CheckpointError, match=r"is of another kind \(.* more are wrong\)"):
        convert(model, target, unet=unet)
    assert not target.exists()
