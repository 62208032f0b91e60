"""Whatever is wrong with a model file, the refusal is a CheckpointError of one sentence."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.models import SHAPES, RandomModel, random_model, write_lightning, write_safetensors
from torch import Tensor

from exemplar_model.standalone.components import Components
from exemplar_model.weights.checkpoint import read_checkpoint
from exemplar_model.weights.reading import CheckpointError


@pytest.fixture(scope="module")
def narrow() -> RandomModel:
    return random_model(SHAPES["narrow"])


Tensors = dict[str, Any]
DAMAGE: dict[str, Callable[[Tensors, str], Any]] = {
    "missing": lambda tensors, name: tensors.pop(name),
    "renamed": lambda tensors, name: tensors.update({f"{name}2": tensors.pop(name)}),
    "doubled": lambda tensors, name: tensors.update({name: torch.cat([tensors[name]] * 2)}),
    "one more axis": lambda tensors, name: tensors.update({name: tensors[name][None]}),
    "a number": lambda tensors, name: tensors.update({name: tensors[name].sum()}),
    "empty": lambda tensors, name: tensors.update({name: tensors[name][:0]}),
    "whole numbers": lambda tensors, name: tensors.update({name: tensors[name].long()}),
    "sparse": lambda tensors, name: tensors.update({name: tensors[name].to_sparse()}),
    "no tensor": lambda tensors, name: tensors.update({name: [1.0]}),
}


def refusal(read: Callable[[], object]) -> str:
    with pytest.raises(CheckpointError) as caught:
        read()
    sentence = str(caught.value)
    assert "\n" not in sentence and sentence.endswith("."), sentence
    return sentence


@pytest.mark.parametrize("damage", DAMAGE)
def test_any_tensor(narrow: RandomModel, damage: str) -> None:
    """The sentence names the file. Every damage takes other tensors; all with all take minutes."""
    tensors, hints = narrow.components.to_original(), narrow.components.config.hints
    path = Path("model.safetensors")
    assert len(tensors) == 684
    for name in list(tensors)[list(DAMAGE).index(damage) :: len(DAMAGE)]:
        damaged: Tensors = dict(tensors)
        DAMAGE[damage](damaged, name)
        sentence = refusal(
            lambda damaged=damaged: read_checkpoint(path, lambda _: (damaged, hints))
        )
        assert path.name in sentence, (name, sentence)


def test_swapped_tensors(narrow: RandomModel) -> None:
    """Two of another shape that change their names; of equal shape nobody could tell."""
    tensors, hints = narrow.components.to_original(), narrow.components.config.hints
    names = list(tensors)
    for one, other in list(pairwise(names))[::3]:
        if tensors[one].shape != tensors[other].shape:
            damaged = {**tensors, one: tensors[other], other: tensors[one]}
            refusal(
                lambda damaged=damaged: read_checkpoint(Path("x.ckpt"), lambda _: (damaged, hints))
            )


def test_encoder_of_another_model(narrow: RandomModel) -> None:
    wide = random_model(SHAPES["wide"]).components.to_original()
    mixed: dict[str, Tensor] = {
        name: tensor
        for name, tensor in (*wide.items(), *narrow.components.to_original().items())
        if name.startswith(("model.", "first_")) == (name in wide and tensor is wide[name])
    }
    sentence = refusal(
        lambda: read_checkpoint(Path("mixed.ckpt"), lambda _: (mixed, {"exemplar_model": "{}"}))
    )
    assert "takes a context of 768 channels where the encoder makes 48" in sentence


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, narrow: RandomModel) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("files")
    contents: dict[str, bytes] = {}
    for name, write in (("x.safetensors", write_safetensors), ("x.ckpt", write_lightning)):
        write(folder / name, narrow)
        contents[name] = (folder / name).read_bytes()
    return contents


@pytest.mark.parametrize("name", ["x.safetensors", "x.ckpt"])
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_byte(tmp_path: Path, files: dict[str, bytes], name: str, data: st.DataObject) -> None:
    """Flipped bits and files cut short: refused, or, among the numbers, a model all the same."""
    content = bytearray(files[name])
    # names and shapes stand at the beginning of both formats, and in a zip file at the end as well
    place = st.integers(0, 100_000) | st.integers(len(content) - 60_000, len(content) - 1)
    for position in data.draw(st.lists(place, max_size=4)):
        content[position] ^= 1 << data.draw(st.integers(0, 7))
    end = data.draw(st.just(len(content)) | st.integers(0, len(content)))
    path = tmp_path / name
    path.write_bytes(content[:end])
    try:
        components = Components.from_checkpoint(read_checkpoint(path))
    except CheckpointError as error:
        assert name in str(error) and "\n" not in str(error)
    else:
        assert len(components.to_original()) == 684
