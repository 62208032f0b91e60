"""Whichever tensor a file lacks or has in another shape, the refusal is a sentence about it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.library import run_in_host_process
from support.models import RandomModel, write_safetensors

EVERY = 9  # of the tensors; all would take minutes

BUILD = """
import json, torch
from pack.exemplar_model import checkpoint as reading
from pack.nodes.host import model

tensors, metadata = reading.read_safetensors(path)
unexplained = []
for key in list(tensors)[OFFSET::EVERY]:
    damaged = dict(tensors)
    if RESHAPE:
        damaged[key] = torch.cat([tensors[key], tensors[key]])
    else:
        del damaged[key]
    try:
        with torch.inference_mode():
            found = reading.read_checkpoint(path, lambda _: (damaged, metadata))
            model.build_model(found, "default", path)
            model.build_encoder(found, "default", path.name)
            model.build_autoencoder(found, path.name)
        unexplained.append([key, "accepted"])
    except reading.CheckpointError as error:
        text = str(error)
        if path.name not in text or not text.endswith(".") or chr(10) in text:
            unexplained.append([key, text])
    except Exception as error:
        unexplained.append([key, repr(error)])
print(json.dumps(unexplained))
"""


@pytest.mark.parametrize(("reshape", "offset"), [(False, 0), (True, 4)])
def test_any_tensor(
    tmp_path: Path, models: dict[str, RandomModel], reshape: bool, offset: int
) -> None:
    path = tmp_path / "narrow.safetensors"
    write_safetensors(path, models["narrow"])
    settings = f"EVERY, RESHAPE, OFFSET = {EVERY}, {reshape}, {offset}\n"
    assert run_in_host_process(settings + BUILD, path) == []
