"""What is no fault of the file is not blamed on it: an error in building stays what it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.library import run_in_host_process
from support.models import SHAPES, random_model, write_safetensors

BUILD = """
import json, torch
import comfy.model_detection, comfy.model_management, comfy.sd
from pack.exemplar_model.weights.checkpoint import read_checkpoint
from pack.nodes.host import autoencoder, encoder, errors, files, model

def fail(*arguments, **keywords):
    raise FAULT

checkpoint = read_checkpoint(path, files.read_weights)
answers = []
for module, function, build in (
    (comfy.model_management, "unet_offload_device",
        lambda: model.build_model(checkpoint, "default", path)),
    (comfy.model_detection, "detect_unet_config",
        lambda: model.build_model(checkpoint, "default", path)),
    (comfy.sd, "VAE", lambda: autoencoder.build_autoencoder(checkpoint)),
    (comfy.model_management, "text_encoder_offload_device",
        lambda: encoder.build_encoder(checkpoint, "default", "x")),
):
    working = getattr(module, function)
    setattr(module, function, fail)
    try:
        with torch.inference_mode(), errors.plain_errors():
            build()
        answers.append("built")
    except Exception as error:
        answers.append(f"{type(error).__name__}: {error}")
    setattr(module, function, working)
with torch.inference_mode():
    model.build_model(checkpoint, "default", path)
print(json.dumps(answers))
"""


@pytest.mark.parametrize(
    ("fault", "shown"),
    [
        (
            'RuntimeError("CUDA error: no kernel image")',
            "RuntimeError: CUDA error: no kernel image",
        ),
        ('KeyError("no such option")', "KeyError: 'no such option'"),
        ('NameError("a bug")', "NameError: a bug"),
    ],
)
def test_errors_pass_through(narrow: Path, fault: str, shown: str) -> None:
    assert run_in_host_process(f"FAULT = {fault}\n{BUILD}", narrow) == [shown] * 4


UNEVEN = """
import json, torch
from pack.exemplar_model.weights.checkpoint import read_checkpoint
from pack.exemplar_model.weights.reading import CheckpointError
from pack.nodes.host import files, model

try:
    model.build_model(read_checkpoint(path, files.read_weights), "default", path)
except CheckpointError as error:
    print(json.dumps(str(error)))
"""


def test_widths_that_the_host_cannot_build(tmp_path: Path) -> None:
    """Our trainer can make them; the host would build other widths and load nothing."""
    config = replace(SHAPES["narrow"], unet_channels=(64, 96))
    write_safetensors(tmp_path / "uneven.safetensors", random_model(config))
    sentence = run_in_host_process(UNEVEN, tmp_path / "uneven.safetensors")
    assert "uneven.safetensors has levels of 64, 96 channels" in sentence
