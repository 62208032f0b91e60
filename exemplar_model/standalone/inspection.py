"""What a model file or folder is: told by its keys, sizes by its shapes, no weights loaded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from rich.console import Group
from rich.table import Table
from rich.text import Text
from torch import Tensor

from ..constants import LATENT_CHANNELS, UNET_CHANNELS
from ..weights.checkpoint import (
    AUTOENCODER_PREFIX,
    FOLDERS,
    UNET_PREFIX,
    Checkpoint,
    read_checkpoint,
    read_components,
)
from ..weights.reading import CheckpointError, StateDict, component_file, read_weights
from ..weights.sizes import STEM, AutoencoderConfig, EncoderConfig, UNetConfig

COMPONENTS = {
    "UNet": (UNET_PREFIX, "unet/"),
    "autoencoder": (AUTOENCODER_PREFIX, "vae/"),
    "text encoder": ("cond_stage_model.transformer.text_model.",),
    "tower": ("cond_stage_model.transformer.", "image_encoder/model."),
    "mapper": ("cond_stage_model.mapper.", "image_encoder/mapper."),
    "projection": (
        "cond_stage_model.final_ln.",
        "proj_out.",
        "image_encoder/final_layer_norm.",
        "image_encoder/proj_out.",
    ),
    "null vector": ("learnable_vector", "image_encoder/uncond_vector"),
}
"""Prefixes of the tensors of each component, in files and in diffusers folders."""
OTHER = "other"
CONFIG_KEYS = ("stage", "data.kind", "resolution", "steps", "batch", "learning_rate", "seed")
LONGEST_VALUE = 200
STAGES = {"autoencoder": "init.autoencoder", "tower": "init.tower"}
"""Components that a training stage writes alone, and the configuration key that takes them."""


@dataclass
class Component:
    """Tensors of one purpose: their number, parameters, and dtypes."""

    tensors: int = 0
    parameters: int = 0
    dtypes: set[str] = field(default_factory=set[str])


@dataclass(frozen=True)
class Inspection:
    """What is known of a file or folder.

    Attributes:
        layout: what it is, in a few words.
        megabytes: size of its weights' files.
        components: by name, those present.
        sizes: widths and depths by component, as text.
        metadata: of the files, such as config, step and data of a training run.
        problem: why it cannot be used as a model, in one sentence; None if it can.
    """

    layout: str
    megabytes: float
    components: dict[str, Component]
    sizes: dict[str, str]
    metadata: dict[str, str]
    problem: str | None


def inspect_model(path: Path) -> Inspection:
    """Tell what a file or a folder is.

    Raises:
        CheckpointError: it cannot be read, or holds no weights.
    """
    if not path.exists():
        raise CheckpointError(f"There is no {path}.")
    tensors: StateDict = {}
    metadata: dict[str, str] = {}
    files = _files(path)
    contents = {file: _read_shapes(file) for file in files.values()}
    for prefix, file in files.items():
        found, about = contents[file]
        tensors |= {prefix + name: tensor for name, tensor in found.items()}
        metadata |= about
    weights, problem = Checkpoint({}, {}, {}), None
    try:
        weights = read_components(path, contents.__getitem__)
        read_checkpoint(path, contents.__getitem__)
    except CheckpointError as error:
        problem = str(error)
    components = _components(tensors)
    alone = next(iter(components)) if path.is_file() and len(components) == 1 else None
    if alone in STAGES:
        problem = (
            f"{path.name} is only a component of a model; a training configuration takes it as "
            f"{STAGES[alone]}."
        )
    return Inspection(
        layout=_layout(path, tensors, components, alone),
        megabytes=sum(file.stat().st_size for file in files.values()) / 1e6,
        components=components,
        sizes=_sizes(weights),
        metadata=metadata,
        problem=problem,
    )


def describe(path: Path, found: Inspection) -> Group:
    """The inspection as tables for a terminal."""
    title = f"{path.name}: {found.layout}, {found.megabytes:.1f} MB"
    components = Table("component", title=Text(title))
    for heading in ("tensors", "parameters"):
        components.add_column(heading, justify="right")
    components.add_column("dtype")
    components.add_column("sizes")
    for name, component in found.components.items():
        dtypes = ", ".join(sorted(component.dtypes))
        size = found.sizes.get(name, "")
        count, parameters = str(component.tensors), f"{component.parameters:,}"
        components.add_row(name, count, parameters, dtypes, size)
    if not found.metadata:
        return Group(components)
    metadata = Table("metadata", "value")
    for name, value in sorted(found.metadata.items()):
        metadata.add_row(Text(name), Text(_summary(name, value)))
    return Group(components, metadata)


def _files(path: Path) -> dict[str, Path]:
    """Files with weights, by the prefix that their tensors get here."""
    if not path.is_dir():
        return {"": path}
    files = {f"{name}/": component_file(path / name) for name in FOLDERS if (path / name).is_dir()}
    if not files:
        raise CheckpointError(
            f"The folder {path.name} holds none of {', '.join(f'{name}/' for name in FOLDERS)}; "
            "choose a diffusers folder, or a file."
        )
    return files


def _read_shapes(path: Path) -> tuple[StateDict, dict[str, str]]:
    """Tensors without data, and metadata; the file is mapped, and only its header is read."""
    tensors, metadata = read_weights(path)
    metadata.pop("format", None)  # diffusers' and transformers' own
    return {name: tensor.to("meta") for name, tensor in tensors.items()}, metadata


def _components(tensors: Mapping[str, Tensor]) -> dict[str, Component]:
    found = {name: Component() for name in (*COMPONENTS, OTHER)}
    for key, tensor in tensors.items():
        owners = (name for name, prefixes in COMPONENTS.items() if key.startswith(prefixes))
        owner = OTHER if key.endswith(".position_ids") else next(owners, OTHER)
        component = found[owner]
        component.tensors += 1
        component.parameters += tensor.numel()
        component.dtypes.add(str(tensor.dtype).removeprefix("torch."))
    return {name: component for name, component in found.items() if component.tensors}


def _layout(
    path: Path, tensors: Mapping[str, Tensor], components: Iterable[str], alone: str | None
) -> str:
    if path.is_dir():
        return "diffusers folder"
    if alone in STAGES:
        return f"only {'an' if alone[0] in 'aeiou' else 'a'} {alone}, as a training stage writes it"
    if {"mapper", "null vector"} & set(components):
        return f"original layout, {'safetensors' if path.suffix == '.safetensors' else 'pickle'}"
    stem = tensors.get(UNET_PREFIX + STEM)
    channels = stem.shape[1] if stem is not None and stem.ndim > 1 else 0
    return {
        LATENT_CHANNELS: "Stable Diffusion",
        UNET_CHANNELS: "Stable Diffusion inpainting",
    }.get(channels, "unknown")


def _sizes(model: Checkpoint) -> dict[str, str]:
    """Sizes of the components that are there, by level from the outside in."""
    sizes: dict[str, str] = {}
    with suppress(CheckpointError):
        unet = UNetConfig.from_state_dict(model.unet)
        sizes["UNet"] = (
            f"channels {_list(unet.channels)}, residual blocks {unet.residual_blocks}, "
            f"heads {model.unet_heads}, context {unet.context_dim}"
        )
    with suppress(CheckpointError, LookupError):
        autoencoder = AutoencoderConfig.from_state_dict(model.autoencoder)
        latents = model.autoencoder["post_quant_conv.weight"].shape[1]
        sizes["autoencoder"] = (
            f"channels {_list(autoencoder.widths)}, residual blocks {autoencoder.residual_blocks}, "
            f"latent channels {latents}, factor {autoencoder.factor}"
        )
    with suppress(CheckpointError):
        # a tower alone has no projection, nor a line in which its size would be shown
        projection = {"proj_out.weight": torch.empty(1)}
        encoder = EncoderConfig.from_state_dict(projection | model.encoder, model.vision_heads)
        sizes["tower"] = (
            f"width {encoder.vision_width}, layers {encoder.vision_layers}, "
            f"heads {encoder.vision_heads}, patch {encoder.patch_size}, view {encoder.image_size}"
        )
        sizes["mapper"] = f"blocks {encoder.mapper_blocks}"
        sizes["projection"] = f"{encoder.vision_width} → {encoder.context_dim}"
    return sizes


def _list(numbers: Iterable[int]) -> str:
    return "-".join(map(str, numbers))


def _summary(name: str, value: str) -> str:
    """A value in a line; of a training configuration, what tells most."""
    with suppress(ValueError):
        if name == "config" and isinstance(config := json.loads(value), dict):
            values = cast("dict[str, Any]", config)
            values |= {f"data.{key}": each for key, each in values.get("data", {}).items()}
            return ", ".join(f"{key} {values[key]}" for key in CONFIG_KEYS if key in values)
    return value if len(value) <= LONGEST_VALUE else f"{value[:LONGEST_VALUE]}…"
