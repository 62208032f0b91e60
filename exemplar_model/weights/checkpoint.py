"""Reading Paint by Example weights: what a file is, is told by its keys; sizes by its shapes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import torch
from safetensors import safe_open
from torch import Tensor

from ..constants import LATENT_CHANNELS, OFFICIAL_MODEL, UNET_CHANNELS, UNET_HEADS
from ..encoder import EncoderConfig
from .key_maps import (
    ENCODER_ORIGINAL,
    StateDict,
    autoencoder_from_diffusers,
    encoder_from_diffusers,
    encoder_to_original,
    unet_from_diffusers,
)

UNET_PREFIX = "model.diffusion_model."
AUTOENCODER_PREFIX = "first_stage_model."
FOLDERS = ("unet", "vae", "image_encoder")

ReadFile = Callable[[Path], tuple[Any, Mapping[str, str]]]
"""Reads one file into what it holds, tensors by name in a good case, and its metadata."""


# names a callback's state in checkpoints of pytorch-lightning 1, such as the official one
LightningCallback = type(
    "ModelCheckpoint", (), {"__module__": "pytorch_lightning.callbacks.model_checkpoint"}
)


class CheckpointError(ValueError):
    """The file cannot be used; the message names the cause and the cure in one sentence."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights of one model in the original layout, with what shapes cannot tell.

    `unet` and `autoencoder` carry the original names without their prefix, `encoder` those of
    `ExemplarEncoder`. Tensors may be read-only views of a mapped file: never change them.
    """

    unet: StateDict
    autoencoder: StateDict
    encoder: StateDict
    unet_heads: int = UNET_HEADS
    vision_heads: int | None = None

    @property
    def encoder_config(self) -> EncoderConfig:
        """Sizes of the exemplar encoder."""
        return EncoderConfig.from_state_dict(self.encoder, self.vision_heads)

    def to_original(self) -> StateDict:
        """All weights under the names of the original checkpoint."""
        return {
            **{UNET_PREFIX + key: tensor for key, tensor in self.unet.items()},
            **{AUTOENCODER_PREFIX + key: tensor for key, tensor in self.autoencoder.items()},
            **encoder_to_original(self.encoder),
        }


def read_safetensors(path: Path) -> tuple[StateDict, dict[str, str]]:
    """Tensors as views of the memory-mapped file, and its metadata."""
    untyped_open = cast("Any", safe_open)
    with untyped_open(path, framework="pt") as file:
        names: list[str] = list(file.keys())
        return {name: file.get_tensor(name) for name in names}, file.metadata() or {}


def read_weights(path: Path) -> tuple[StateDict, dict[str, str]]:
    """Tensors of a safetensors file or of a pickle, which may hold tensors only.

    Raises:
        CheckpointError: unreadable, or a pickle that carries code.
    """
    return _read(path, _read_any)


def _read_any(path: Path) -> tuple[Any, Mapping[str, str]]:
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    try:
        with torch.serialization.safe_globals([LightningCallback]):
            content: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except UnpicklingError as error:  # its own text recommends to run the code
        raise ValueError("a pickle of more than weights, which is never run") from error
    return content.get("state_dict", content), {}


def read_checkpoint(path: Path, read_file: ReadFile = read_safetensors) -> Checkpoint:
    """Read a model from the original `.ckpt` or `.safetensors`, or from a diffusers folder.

    Args:
        path: a file, or a folder with `unet/`, `vae/` and `image_encoder/`.
        read_file: reads one file into (tensors, metadata). The default knows safetensors only; a
            host passes its own safe reader, which takes pickles too.

    Raises:
        CheckpointError: unreadable, incomplete, or another kind of model.
    """
    if path.is_dir():
        checkpoint = _from_folder(path, read_file)
    else:
        checkpoint = _from_original(path.name, *_read(path, read_file))
    _check(path.name, checkpoint)
    return checkpoint


def _read(path: Path, read_file: ReadFile) -> tuple[StateDict, dict[str, str]]:
    try:
        content, metadata = read_file(path)
    except (MemoryError, PermissionError, CheckpointError):
        raise
    except Exception as error:  # every reader has its own exceptions; all mean the same to a user
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"{path.name} cannot be read as a model file, it is damaged, incomplete or carries "
            f"code ({reason}); download it again, the official file is {OFFICIAL_MODEL}."
        ) from error
    items = cast("dict[str, Any]", content).items() if isinstance(content, dict) else ()
    tensors = {name: value for name, value in items if isinstance(value, Tensor)}
    if not tensors:
        raise CheckpointError(
            f"{path.name} holds no weights; the official file is {OFFICIAL_MODEL}."
        )
    return tensors, dict(metadata)


def _from_original(
    name: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> Checkpoint:
    checkpoint = split_original(tensors, metadata)
    encoder = checkpoint.encoder
    absent = [
        key
        for key, present in (
            ("learnable_vector", "uncond_vector" in encoder),
            ("proj_out.weight", "proj_out.weight" in encoder),
            ("cond_stage_model.mapper.*", any(key.startswith("mapper.") for key in encoder)),
        )
        if not present
    ]
    if absent and not encoder and not checkpoint.autoencoder and _has_our_channels(checkpoint.unet):
        raise CheckpointError(
            f"{name} holds a UNet and nothing else, as ComfyUI's ModelSave writes it; join it with "
            f"the model that it came from: python -m exemplar_model convert MODEL TARGET "
            f"--unet {name}."
        )
    if absent:
        raise CheckpointError(
            f"{name} is {_kind(checkpoint.unet)}, not a Paint by Example model: it lacks "
            f"{', '.join(absent)}; choose {OFFICIAL_MODEL}."
        )
    return checkpoint


def split_original(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Checkpoint:
    """The parts of a file in the original layout, as far as they are there."""
    encoder: StateDict = {}
    for key, tensor in tensors.items():
        prefix = next((prefix for prefix in ENCODER_ORIGINAL if key.startswith(prefix)), None)
        if prefix is not None and not key.endswith(".position_ids"):
            encoder[ENCODER_ORIGINAL[prefix] + key.removeprefix(prefix)] = tensor
    hints: dict[str, Any] = json.loads(metadata.get("exemplar_model", "{}"))
    return Checkpoint(
        unet=_strip(tensors, UNET_PREFIX),
        autoencoder=_strip(tensors, AUTOENCODER_PREFIX),
        encoder=encoder,
        unet_heads=hints.get("unet_heads", UNET_HEADS),
        vision_heads=hints.get("vision_heads"),
    )


def _strip(tensors: Mapping[str, Tensor], prefix: str) -> StateDict:
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}


def _has_our_channels(unet: Mapping[str, Tensor]) -> bool:
    stem = unet.get("input_blocks.0.0.weight")
    return stem is not None and stem.shape[1] == UNET_CHANNELS


def _kind(unet: Mapping[str, Tensor]) -> str:
    if "input_blocks.0.0.weight" not in unet:
        return "no checkpoint of the Stable Diffusion family"
    if _has_our_channels(unet):
        return "a Stable Diffusion inpainting checkpoint"
    return "a Stable Diffusion checkpoint"


def _from_folder(path: Path, read_file: ReadFile) -> Checkpoint:
    absent = [folder for folder in FOLDERS if not (path / folder).is_dir()]
    if absent:
        raise CheckpointError(
            f"The folder {path.name} is no diffusers Paint by Example model: it lacks "
            f"{', '.join(f'{folder}/' for folder in absent)}; download the whole repository."
        )
    unet, autoencoder, encoder = (
        _read(component_file(path / folder), read_file)[0] for folder in FOLDERS
    )
    try:
        unet_config = _component_config(path / "unet")
        vision_config = _component_config(path / "image_encoder")
        # diffusers calls the number of heads "attention_head_dim" in models of this age
        heads = unet_config.get("num_attention_heads") or unet_config.get("attention_head_dim")
        return Checkpoint(
            unet=unet_from_diffusers(unet),
            autoencoder=autoencoder_from_diffusers(autoencoder),
            encoder=encoder_from_diffusers(encoder),
            unet_heads=heads if isinstance(heads, int) else UNET_HEADS,
            vision_heads=vision_config.get("num_attention_heads"),
        )
    except ValueError as error:
        raise CheckpointError(
            f"The folder {path.name} is no diffusers Paint by Example model ({error}); download "
            "Fantasy-Studio/Paint-by-Example from Hugging Face."
        ) from error


def component_file(folder: Path) -> Path:
    """The weights in a folder of diffusers or transformers, full precision first.

    Raises:
        CheckpointError: there are none.
    """
    for pattern in ("*model.safetensors", "*model.fp16.safetensors", "*model.bin"):
        if files := sorted(folder.glob(pattern)):
            return files[0]
    raise CheckpointError(
        f"{folder.parent.name}/{folder.name} holds no weights (*.safetensors or *.bin); download "
        "the folder again."
    )


def _component_config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    return json.loads(file.read_text()) if file.is_file() else {}


def _check(name: str, checkpoint: Checkpoint) -> None:
    """Refuse what is incomplete; the model classes check every single key when they load."""
    stem = checkpoint.unet.get("input_blocks.0.0.weight")
    if stem is None:
        raise CheckpointError(
            f"{name} has no UNet ({UNET_PREFIX}*); choose a complete file, {OFFICIAL_MODEL}."
        )
    if stem.shape[1] != UNET_CHANNELS:
        raise CheckpointError(
            f"The UNet of {name} takes {stem.shape[1]} channels where Paint by Example takes "
            f"{UNET_CHANNELS}; choose {OFFICIAL_MODEL}."
        )
    needed = ("encoder.conv_in.weight", "decoder.conv_in.weight", "post_quant_conv.weight")
    if any(key not in checkpoint.autoencoder for key in needed):
        raise CheckpointError(
            f"{name} has no VAE ({AUTOENCODER_PREFIX}*); choose a complete file, {OFFICIAL_MODEL}."
        )
    channels = checkpoint.autoencoder["post_quant_conv.weight"].shape[1]
    if channels != LATENT_CHANNELS:
        raise CheckpointError(
            f"The VAE of {name} has {channels} latent channels where Paint by Example has "
            f"{LATENT_CHANNELS}; choose {OFFICIAL_MODEL}."
        )
    for key in ("embeddings.patch_embedding.weight", "encoder.layers.0.mlp.fc1.weight"):
        if f"clip_vision.{key}" not in checkpoint.encoder:
            raise CheckpointError(
                f"{name} has no CLIP vision tower (cond_stage_model.transformer.*); choose a "
                f"complete file, {OFFICIAL_MODEL}."
            )
