"""The example workflows in a running host, with the shipped model and small add-ons."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps
from support.addons import write_controlnet, write_lora, write_text_encoder, write_upscaler

from exemplar_model.standalone.components import Components
from exemplar_model.weights.checkpoint import read_checkpoint
from lab.assets.thumbnails import BYPASSED, WORKFLOWS, without_add_ons
from lab.host.headless import PACK, PICTURES, Host

MODEL = PACK / "models" / "exemplar-tiny.safetensors"
STEPS = 4
WHOLE_PICTURE = {"stock-graph"}
"""Workflows that paste nothing back: the whole picture passes through the autoencoder."""
MARGIN = 19
"""Side of the square around each pixel of the mask that a workflow may change: it grows by 8."""
WRITES_FOR = {"saved-exemplar": "mix-exemplars"}
"""Which workflow writes the file that another loads."""

Prompt = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def furnished(host: Host) -> Host:
    """The host with add-ons, under the names that the workflows give."""
    models = host.folder / "models"
    for name in ("controlnet", "loras", "text_encoders", "upscale_models"):
        (models / name).mkdir(exist_ok=True)
    networks = models / "controlnet"
    write_controlnet(networks / "control_v11p_sd15_canny_fp16.safetensors", MODEL)
    write_controlnet(networks / "control_v11p_sd15_scribble_fp16.safetensors", MODEL, context=768)
    components = Components.from_checkpoint(read_checkpoint(MODEL))
    write_lora(models / "loras" / "my-sd15-style.safetensors", components)
    write_text_encoder(models / "text_encoders" / "clip_l.safetensors")
    write_upscaler(models / "upscale_models" / "RealESRGAN_x4plus.pth")
    return host


def graph(name: str) -> Prompt:
    """A workflow, with fewer steps."""
    prompt: Prompt = json.loads(WORKFLOWS[name].read_text())
    for node in prompt.values():
        if "steps" in node["inputs"]:
            node["inputs"]["steps"] = STEPS
    return prompt


def pictures(host: Host, prompt: Prompt, outputs: dict[str, Any], type_: str) -> list[np.ndarray]:
    """[H, W, 3], 8 bit: what the nodes of a type show."""
    return [
        np.array(Image.open(host.output(each)).convert("RGB"))
        for id_, node in prompt.items()
        if node["class_type"] == type_
        for each in outputs[id_]["images"]
    ]


def painted(host: Host, name: str, prompt: Prompt) -> list[np.ndarray]:
    """What a workflow makes: a picture, or the frames of a video."""
    outputs = host.run(prompt)
    return pictures(
        host, prompt, outputs, "PreviewImage" if name == "video-frames" else "SaveImage"
    )


def originals(prompt: Prompt) -> Iterator[np.ndarray]:
    """The picture to edit, or the frames of the video."""
    for node in prompt.values():
        if node["class_type"] == "LoadVideo":
            with av.open(str(PICTURES / node["inputs"]["file"])) as video:
                yield from (frame.to_ndarray(format="rgb24") for frame in video.decode(video=0))
            return
    yield np.array(scene(prompt).convert("RGB"))


def scene(prompt: Prompt) -> Image.Image:
    """The picture with a mask, RGBA."""
    names = [n["inputs"]["image"] for n in prompt.values() if n["class_type"] == "LoadImage"]
    (picture,) = (p for p in (Image.open(PICTURES / name) for name in names) if p.mode == "RGBA")
    return picture


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflow_paints_where_it_should(furnished: Host, name: str) -> None:
    if name in WRITES_FOR:
        furnished.run(graph(WRITES_FOR[name]))
    prompt = graph(name)
    results = painted(furnished, name, prompt)
    expected = list(originals(prompt))
    if name in WHOLE_PICTURE:
        (result,) = results
        assert result.shape == (64, 64, 3) and result.std() > 10
        return
    hole = ImageOps.invert(scene(prompt).getchannel("A"))
    inside = np.array(hole) > 127
    outside = np.array(hole.filter(ImageFilter.MaxFilter(MARGIN))) == 0
    assert len(results) == len(expected) and inside.any() and outside.any()
    for result, original in zip(results, expected, strict=True):
        assert np.array_equal(result[outside], original[outside])
        assert (result != original).any(-1)[inside].mean() > 0.9


@pytest.mark.parametrize("name", ["controlnet", "controlnet-with-text", "lora", "upscale-model"])
def test_add_on_changes_the_picture(furnished: Host, name: str) -> None:
    prompt = graph(name)
    assert any(node["class_type"] in BYPASSED for node in prompt.values())
    (changed,) = painted(furnished, name, prompt)
    (plain,) = painted(furnished, name, without_add_ons(prompt))
    assert (changed != plain).any(-1).mean() > 0.02


def test_the_text_reaches_the_controlnet(furnished: Host) -> None:
    def with_text(text: str) -> np.ndarray:
        prompt = graph("controlnet-with-text")
        for node in prompt.values():
            if node["class_type"] == "CLIPTextEncodeControlnet" and node["inputs"]["text"]:
                node["inputs"]["text"] = text
        return painted(furnished, "controlnet-with-text", prompt)[0]

    assert (with_text("a clock") != with_text("a red helmet")).any()


def test_video_is_written(furnished: Host) -> None:
    prompt = graph("video-frames")
    outputs = furnished.run(prompt)
    (id_,) = (id_ for id_, node in prompt.items() if node["class_type"] == "SaveVideo")
    (entry,) = outputs[id_]["images"]
    path: Path = furnished.output(entry)
    with av.open(str(path)) as video:
        frames = list(video.decode(video=0))
    assert len(frames) == len(list(originals(prompt)))
    assert (frames[0].width, frames[0].height) == (128, 128)
