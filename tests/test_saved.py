"""Saved exemplars: what is written comes back, and what is no such file is named."""

from __future__ import annotations

import json
import os
import pickle
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from exemplar_model.saved import ModelIdentity, SavedExemplar, SavedExemplarError, fingerprint

MODEL = ModelIdentity("one.safetensors", "0123456789abcdef")


def exemplar(
    batch: int = 1,
    tokens: int = 1,
    width: int = 8,
    views: int = 1,
    dtype: torch.dtype | None = None,
) -> SavedExemplar:
    generator = torch.Generator().manual_seed(0)
    context = torch.randn(batch, tokens, width, generator=generator, dtype=dtype)
    uncond_vector = torch.randn(1, 1, width, generator=generator, dtype=dtype)
    view = torch.randint(0, 256, (views, 6, 5, 3), generator=generator).float() / 255
    return SavedExemplar(context, uncond_vector, view, MODEL)


def bits(tensor: Tensor) -> bytes:
    return tensor.contiguous().view(torch.uint8).numpy().tobytes()


def refusal(path: Path) -> str:
    with pytest.raises(SavedExemplarError) as failure:
        SavedExemplar.read(path)
    message = str(failure.value)
    assert path.name in message and "\n" not in message and message.endswith(".")
    return message


@settings(deadline=None)
@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
)
def test_round_trip_is_equal_bit_by_bit(
    batch: int, tokens: int, views: int, dtype: torch.dtype
) -> None:
    saved = exemplar(batch, tokens, 8, views, dtype)
    saved.context[0, 0, :3] = torch.tensor([0.0, -0.0, float("inf")])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rose.safetensors")
        saved.write(path)
        loaded = SavedExemplar.read(path)
        assert os.listdir(folder) == ["rose.safetensors"]
        path.unlink()
    for name in ("context", "uncond_vector", "view"):
        before, after = getattr(saved, name), getattr(loaded, name)
        assert before.dtype == after.dtype and before.shape == after.shape
        assert bits(before) == bits(after)
    assert loaded.model == MODEL


def test_a_tensor_may_serve_twice_and_be_no_whole_tensor(tmp_path: Path) -> None:
    part = torch.randn(4, 3, 8).transpose(0, 1)[1:2, 1:2]
    path = tmp_path / "rose.safetensors"
    replace(exemplar(), context=part, uncond_vector=part).write(path)
    loaded = SavedExemplar.read(path)
    assert torch.equal(loaded.context, part) and torch.equal(loaded.uncond_vector, part)


def test_the_header_tells_the_model(tmp_path: Path) -> None:
    path = tmp_path / "rose.safetensors"
    exemplar(batch=2, tokens=3, views=2).write(path)
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["exemplar"])
    assert about == {
        "version": 1,
        "model": MODEL.name,
        "fingerprint": MODEL.fingerprint,
        "tokens": 3,
        "views": 2,
    }


def test_every_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rose.safetensors"
    exemplar().write(path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert "damaged or incomplete" in refusal(path)


def test_damaged_bytes_never_give_a_traceback(tmp_path: Path) -> None:
    """Any byte of the file may be another; either it is refused in one sentence, or it loads."""
    path = tmp_path / "rose.safetensors"
    exemplar().write(path)
    whole = path.read_bytes()
    refused = 0
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        try:
            SavedExemplar.read(path)
        except SavedExemplarError as error:
            refused += 1
            assert str(error).endswith(".") and "\n" not in str(error)
    assert refused > len(whole) / 4


def test_other_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"context": torch.zeros(1, 1, 8)}, path)
    assert "is no saved exemplar; choose a file" in refusal(path)
    path.write_bytes(pickle.dumps({"context": [0.0]}))
    assert "damaged" in refusal(path)
    exemplar().write(path)
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["exemplar"])
    save_file(tensors, path, {"exemplar": json.dumps({**about, "version": 2})})
    assert "newer version" in refusal(path)
    for name in tensors:
        less = {key: tensor for key, tensor in tensors.items() if key != name}
        save_file(less, path, {"exemplar": json.dumps(about)})
        assert f"({name!r})" in refusal(path)
    save_file({**tensors, "context": torch.zeros(1, 1, 9)}, path, {"exemplar": json.dumps(about)})
    assert "another shape" in refusal(path)
    for broken in ({**about, "views": 5}, {"version": 1}, [1], "1"):
        save_file(tensors, path, {"exemplar": json.dumps(broken)})
        assert "damaged" in refusal(path)


def test_another_model_is_refused_by_both_names() -> None:
    saved = exemplar()
    saved.require_model(ModelIdentity("renamed.ckpt", MODEL.fingerprint), "rose")
    with pytest.raises(SavedExemplarError) as failure:
        saved.require_model(ModelIdentity("two.ckpt", "fedcba9876543210"), "rose")
    message = str(failure.value)
    for part in ("rose", "one.safetensors (01234567)", "two.ckpt (fedcba98)", "load one"):
        assert part in message


def test_fingerprint_tells_models_apart_and_not_precisions() -> None:
    generator = torch.Generator().manual_seed(1)
    encoder = {
        "uncond_vector": torch.randn(1, 1, 8, generator=generator),
        "proj_out.weight": torch.randn(8, 4, generator=generator),
        "final_ln.weight": torch.ones(4),
    }
    own = fingerprint(encoder)
    assert own == fingerprint({name: tensor.half() for name, tensor in encoder.items()})
    assert own == fingerprint({**encoder, "final_ln.weight": torch.zeros(4)})
    for name in ("uncond_vector", "proj_out.weight"):
        assert own != fingerprint({**encoder, name: encoder[name] * 1.01})
