"""Painting with the add-ons in a running host, by the workflows that come with the pack."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from PIL import Image
from safetensors.torch import save_file

from lab.assets.thumbnails import WORKFLOWS, shown, without_add_ons
from lab.demo.__main__ import node_of
from lab.host.headless import PICTURES, Host

from .pictures import Pair
from .upscaler import upscaler_tensors

LORA, CONTROLNET = "black-and-white.safetensors", "light-and-dark.safetensors"
UPSCALER = "sharpening-x4.safetensors"

Prompt = dict[str, dict[str, Any]]


def install(files: dict[str, Path], folder: Path) -> None:
    """Put the add-ons where a host of this base directory looks for them."""
    for kind in ("loras", "controlnet", "upscale_models"):
        (folder / "models" / kind).mkdir(parents=True, exist_ok=True)
    shutil.copy(files["lora"], folder / "models" / "loras" / LORA)
    shutil.copy(files["controlnet"], folder / "models" / "controlnet" / CONTROLNET)
    save_file(upscaler_tensors(), folder / "models" / "upscale_models" / UPSCALER)


def paint_lora(host: Host, pair: Pair, strength: float | None) -> Image.Image:
    """By the LoRA workflow; None leaves the LoRA out."""
    prompt = read("lora", host, pair.exemplar, pair.scene.with_hole)
    change(prompt, "LoraLoaderModelOnly", lora_name=LORA, strength_model=strength or 0.0)
    return painted(host, without_add_ons(prompt) if strength is None else prompt)


def paint_controlnet(
    host: Host, pair: Pair, control: Image.Image, strength: float | None
) -> Image.Image:
    """By the ControlNet workflow, the control picture in place of its edges; None leaves it out."""
    prompt = read("controlnet", host, pair.exemplar, pair.scene.with_hole)
    change(prompt, "ControlNetLoader", control_net_name=CONTROLNET)
    change(
        prompt,
        "ControlNetApplyAdvanced",
        strength=strength or 0.0,
        end_percent=1.0,
    )
    edges, crop = node_of(prompt, "Canny"), prompt[node_of(prompt, "ExemplarCropToMask")]
    drawn = {"image": host.upload(control, "control.png")}
    prompt["control"] = {"class_type": "LoadImage", "inputs": drawn}
    # the region of the control picture that is painted of the scene
    prompt[edges] = {**crop, "inputs": {**crop["inputs"], "image": ["control", 0]}}
    return painted(host, without_add_ons(prompt) if strength is None else prompt)


def paint_upscaled(
    host: Host, exemplar: Image.Image
) -> tuple[Image.Image, Image.Image, Image.Image, Image.Image]:
    """By the workflow with an upscaler, in its own picture.

    Returns:
        The painted picture without the upscaler and with it, and the painted region before and
        behind it.
    """
    holed = Image.open(PICTURES / "coffee.png")
    prompt = read("upscale-model", host, exemplar, holed)
    change(prompt, "UpscaleModelLoader", model_name=UPSCALER)
    plain = painted(host, without_add_ons(prompt))
    for name, source in (("before", "VAEDecode"), ("behind", "ImageUpscaleWithModel")):
        region = [node_of(prompt, source), 0]
        prompt[name] = {"class_type": "PreviewImage", "inputs": {"images": region}}
    outputs = host.run(prompt)
    before, behind = (
        Image.open(host.output(outputs[name]["images"][0])).convert("RGB")
        for name in ("before", "behind")
    )
    return plain, next(shown(host, prompt, outputs, "SaveImage")), before, behind


def read(name: str, host: Host, exemplar: Image.Image, holed: Image.Image) -> Prompt:
    """A workflow with other pictures."""
    prompt: Prompt = json.loads(WORKFLOWS[name].read_text())
    scene, example = (node for node in prompt.values() if node["class_type"] == "LoadImage")
    scene["inputs"]["image"] = host.upload(holed, "scene.png")
    example["inputs"]["image"] = host.upload(exemplar, "exemplar.png")
    return prompt


def change(prompt: Prompt, class_type: str, **inputs: Any) -> None:
    """Set inputs of the only node of a class."""
    prompt[node_of(prompt, class_type)]["inputs"] |= inputs


def painted(host: Host, prompt: Prompt) -> Image.Image:
    """The picture that a prompt saves."""
    return next(shown(host, prompt, host.run(prompt), "SaveImage"))
