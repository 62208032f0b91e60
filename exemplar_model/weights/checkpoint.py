"""Paint by Example models in every layout: the keys tell what a file is, the shapes its sizes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from ..constants import LATENT_CHANNELS, OFFICIAL_MODEL, UNET_CHANNELS, UNET_HEADS
from .key_maps import (
    ENCODER_ORIGINAL,
    autoencoder_from_diffusers,
    encoder_from_diffusers,
    encoder_to_original,
    unet_from_diffusers,
)
from .reading import (
    CheckpointError,
    ReadFile,
    StateDict,
    component_file,
    read_file,
    read_weights,
)
from .shapes import autoencoder_shapes, encoder_shapes, require_shapes, unet_shapes
from .sizes import STEM, AutoencoderConfig, EncoderConfig, UNetConfig

UNET_PREFIX = "model.diffusion_model."
AUTOENCODER_PREFIX = "first_stage_model."
FOLDERS = ("unet", "vae", "image_encoder")
HINTS = "exemplar_model"
"""Metadata with what tensor shapes cannot tell, as JSON."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights of one model in the original layout, and the numbers of heads, which no shape tells.

    `unet` and `autoencoder` carry the original names without their prefix, `encoder` those of
    `ExemplarEncoder`, with the tower as `clip_vision.embeddings…`. Tensors may be read-only views
    of a mapped file: never change them.
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


def read_checkpoint(path: Path, read: ReadFile = read_file) -> Checkpoint:
    """Read a model from the original `.ckpt` or `.safetensors`, or from a diffusers folder.

    Whatever comes back has every tensor, in the shape that its sizes ask for, and no other.

    Args:
        path: a file, or a folder with `unet/`, `vae/` and `image_encoder/`.
        read: reads one file, in place of `reading.read_file`; a host passes its own safe reader.

    Raises:
        CheckpointError: unreadable, incomplete, or another kind of model.
    """
    absent = [folder for folder in FOLDERS if path.is_dir() and not (path / folder).is_dir()]
    if absent:
        raise CheckpointError(
            f"The folder {path.name} is no diffusers Paint by Example model: it lacks "
            f"{', '.join(f'{folder}/' for folder in absent)}; download the whole repository."
        )
    checkpoint = read_components(path, read)
    _require_kind(path.name, checkpoint)
    _require_complete(path.name, checkpoint)
    return checkpoint


def read_components(path: Path, read: ReadFile = read_file) -> Checkpoint:
    """UNet, autoencoder and exemplar encoder of a file or folder; empty for those that it lacks.

    Raises:
        CheckpointError: unreadable, or a folder with tensors that are none of theirs.
    """
    if not path.is_dir():
        return split_original(*read_weights(path, read))
    tensors = {
        name: read_weights(component_file(path / name), read)[0] if (path / name).is_dir() else {}
        for name in FOLDERS
    }
    unet_config = _component_config(path / "unet")
    # diffusers calls the number of heads "attention_head_dim" in models of this age
    heads = unet_config.get("num_attention_heads") or unet_config.get("attention_head_dim")
    vision_heads = _component_config(path / "image_encoder").get("num_attention_heads")
    try:
        return Checkpoint(
            unet=unet_from_diffusers(tensors["unet"]),
            autoencoder=autoencoder_from_diffusers(tensors["vae"]),
            encoder=encoder_from_diffusers(tensors["image_encoder"]),
            unet_heads=_heads(heads) or UNET_HEADS,
            vision_heads=_heads(vision_heads),
        )
    except ValueError as error:
        raise CheckpointError(
            f"The folder {path.name} is no diffusers Paint by Example model ({error}); download "
            "Fantasy-Studio/Paint-by-Example from Hugging Face."
        ) from error


def split_original(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Checkpoint:
    """UNet, autoencoder and exemplar encoder of the original layout; empty where one is lacking."""
    encoder: StateDict = {}
    for key, tensor in tensors.items():
        prefix = next((prefix for prefix in ENCODER_ORIGINAL if key.startswith(prefix)), None)
        if prefix is not None and not key.endswith(".position_ids"):
            encoder[ENCODER_ORIGINAL[prefix] + key.removeprefix(prefix)] = tensor
    hints = _json_object(metadata.get(HINTS, "{}"))
    return Checkpoint(
        unet=_strip(tensors, UNET_PREFIX),
        autoencoder=_strip(tensors, AUTOENCODER_PREFIX),
        encoder=encoder,
        unet_heads=_heads(hints.get("unet_heads")) or UNET_HEADS,
        vision_heads=_heads(hints.get("vision_heads")),
    )


def _strip(tensors: Mapping[str, Tensor], prefix: str) -> StateDict:
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}


def _component_config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    return _json_object(file.read_text(errors="replace")) if file.is_file() else {}


def _json_object(text: str) -> dict[str, Any]:
    try:
        found: Any = json.loads(text)
    except ValueError as error:
        raise CheckpointError(
            f"The configuration of the model is damaged ({error}); download the model again."
        ) from error
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _heads(found: Any) -> int | None:
    return found if isinstance(found, int) and found > 0 else None


def _require_kind(name: str, checkpoint: Checkpoint) -> None:
    """Refuse other kinds of models, by saying which kind it is."""
    encoder, unet = checkpoint.encoder, checkpoint.unet
    channels = unet[STEM].shape[1:2] if STEM in unet else ()
    ours = channels == (UNET_CHANNELS,)
    absent = [
        key
        for key, present in (
            ("learnable_vector", "uncond_vector" in encoder),
            ("proj_out.weight", "proj_out.weight" in encoder),
            ("cond_stage_model.mapper.*", any(key.startswith("mapper.") for key in encoder)),
        )
        if not present
    ]
    if absent and ours and not encoder and not checkpoint.autoencoder:
        raise CheckpointError(
            f"{name} holds a UNet and nothing else, as ComfyUI's ModelSave writes it; join it with "
            f"the model that it came from: python -m exemplar_model convert MODEL TARGET "
            f"--unet {name}."
        )
    if absent:
        kind = (
            "a Stable Diffusion inpainting checkpoint" if ours else "a Stable Diffusion checkpoint"
        )
        kind = kind if channels else "no checkpoint of the Stable Diffusion family"
        raise CheckpointError(
            f"{name} is {kind}, not a Paint by Example model: it lacks {', '.join(absent)}; choose "
            f"{OFFICIAL_MODEL}."
        )
    if channels and not ours:
        raise CheckpointError(
            f"The UNet of {name} takes {channels[0]} channels where Paint by Example takes "
            f"{UNET_CHANNELS}; choose {OFFICIAL_MODEL}."
        )
    latents = checkpoint.autoencoder.get("post_quant_conv.weight")
    if latents is not None and latents.shape[1:2] != (LATENT_CHANNELS,):
        raise CheckpointError(
            f"The VAE of {name} has {[*latents.shape[1:2]]} latent channels where Paint by Example "
            f"has {LATENT_CHANNELS}; choose {OFFICIAL_MODEL}."
        )


def _require_complete(name: str, checkpoint: Checkpoint) -> None:
    """Refuse what lacks a tensor, or has one too many, or one of another shape."""
    tower = {key: t for key, t in checkpoint.encoder.items() if key.startswith("clip_vision.")}
    for what, tensors, prefix in (
        ("UNet", checkpoint.unet, UNET_PREFIX),
        ("VAE", checkpoint.autoencoder, AUTOENCODER_PREFIX),
        ("CLIP vision tower", tower, "cond_stage_model.transformer."),
    ):
        if not tensors:
            raise CheckpointError(
                f"{name} has no {what} ({prefix}*); choose a complete file, {OFFICIAL_MODEL}."
            )
    what = "exemplar encoder"
    try:
        encoder = checkpoint.encoder_config
        require_shapes(checkpoint.encoder, encoder_shapes(encoder))
        what = "UNet"
        unet = UNetConfig.from_state_dict(checkpoint.unet)
        require_shapes(checkpoint.unet, unet_shapes(unet))
        if any(width % checkpoint.unet_heads for width in unet.channels):
            raise CheckpointError(f"{checkpoint.unet_heads} heads do not divide {unet.channels}")
        if unet.context_dim != encoder.context_dim:
            raise CheckpointError(
                f"it takes a context of {unet.context_dim} channels where the encoder makes "
                f"{encoder.context_dim}"
            )
        what = "VAE"
        autoencoder = AutoencoderConfig.from_state_dict(checkpoint.autoencoder)
        require_shapes(checkpoint.autoencoder, autoencoder_shapes(autoencoder))
    except CheckpointError as error:
        raise CheckpointError(
            f"The {what} of {name} is incomplete or of another kind ({error}); choose "
            f"{OFFICIAL_MODEL}."
        ) from error
