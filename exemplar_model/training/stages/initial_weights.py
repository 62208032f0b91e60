"""The weights that a run starts from: of the files under `init`, or random."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F

from ...constants import LATENT_CHANNELS, UNET_CHANNELS
from ...encoder import TOWER, load_tower
from ...standalone.components import Components, ModelConfig, load_original, new_autoencoder
from ...weights.checkpoint import Checkpoint, read_checkpoint, read_components
from ...weights.key_maps import autoencoder_names, unet_names
from ...weights.reading import CheckpointError, component_file, read_weights
from ...weights.sizes import STEM
from ..config import TrainConfig
from ..section import ConfigError

TOWER_PREFIXES = ("cond_stage_model.transformer.vision_model.", "vision_model.", "")
"""Of our files, of a CLIP model, and of a vision tower that transformers 5 saved."""


def starting_components(config: TrainConfig) -> Components:
    """The model of a configuration with the weights of the files under `init`, the rest random.

    Raises:
        ConfigError: a file does not fit the sizes in the configuration, or is missing.
        CheckpointError: a file cannot be read.
    """
    init = config.init
    _require_files(config)
    if init.stable_diffusion and not (init.tower or init.model):
        raise ConfigError(
            "init.tower is missing: Stable Diffusion has no vision tower; name a folder with "
            "CLIP ViT-L/14 (openai/clip-vit-large-patch14)."
        )
    whole = init.model
    components = _whole(whole, config.model) if whole else Components.random(config.model)
    if init.stable_diffusion:
        found = read_components(init.stable_diffusion)
        unet = _present(init.stable_diffusion, "UNet", found.unet)
        _fit(init.stable_diffusion, load_original, components.unet, widened(unet), unet_names)
        _load_autoencoder(components.autoencoder, init.stable_diffusion, found)
    if init.autoencoder:
        found = read_components(init.autoencoder)
        _load_autoencoder(components.autoencoder, init.autoencoder, found)
    if init.tower:
        _fit(init.tower, load_tower, components.encoder, read_tower(init.tower))
    return components


def starting_autoencoder(config: TrainConfig) -> AutoencoderKL:
    """The autoencoder that `starting_components` has, without the rest of the model.

    Raises:
        ConfigError: a file does not fit the sizes in the configuration, or is missing.
        CheckpointError: a file cannot be read.
    """
    init = config.init
    _require_files(config)
    whole = init.model
    if whole:
        autoencoder = _whole(whole, config.model).autoencoder
    else:
        autoencoder = new_autoencoder(config.model).eval()
    for path in (init.stable_diffusion, init.autoencoder):
        if path:
            _load_autoencoder(autoencoder, path, read_components(path))
    return autoencoder


def widened(unet: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A UNet of Stable Diffusion whose input also has masked-image latents and keep mask.

    The weights of the five new input channels are zero, so that at first it predicts what it did
    (`scripts/modify_checkpoints.py` of the reference repository).

    Raises:
        CheckpointError: it does not take four channels.
    """
    stem = unet.get(STEM)
    channels = stem.shape[1] if stem is not None and stem.ndim == 4 else 0
    if stem is None or channels != LATENT_CHANNELS:
        raise CheckpointError(
            f"The UNet takes {channels} channels where Stable Diffusion takes {LATENT_CHANNELS}; "
            "choose a text-to-image checkpoint, not an inpainting one."
        )
    return {**unet, STEM: F.pad(stem, (0, 0, 0, 0, 0, UNET_CHANNELS - LATENT_CHANNELS))}


def read_tower(path: Path) -> dict[str, Tensor]:
    """A CLIP vision tower, from a Hugging Face folder or a file, named `clip_vision.…`.

    Raises:
        CheckpointError: there is no vision tower.
    """
    weights = read_weights(component_file(path) if path.is_dir() else path)[0]
    for prefix in TOWER_PREFIXES:
        if f"{prefix}embeddings.class_embedding" in weights:
            return {
                TOWER + key.removeprefix(prefix): tensor
                for key, tensor in weights.items()
                if key.startswith(prefix) and not key.endswith(".position_ids")
            }
    raise CheckpointError(f"{path.name} has no CLIP vision tower (vision_model.*).")


def _whole(path: Path, config: ModelConfig) -> Components:
    checkpoint = read_checkpoint(path)
    if ModelConfig.from_checkpoint(checkpoint) != config:
        raise ConfigError(
            f"init.model: {path.name} has other sizes than the section `model`; change the latter."
        )
    return Components.from_checkpoint(checkpoint)


def _require_files(config: TrainConfig) -> None:
    for key, path in config.init:
        if path is not None and not path.exists():
            raise ConfigError(f"init.{key}: there is no {path}.")


def _load_autoencoder(autoencoder: AutoencoderKL, path: Path, found: Checkpoint) -> None:
    weights = _present(path, "autoencoder", found.autoencoder)
    _fit(path, load_original, autoencoder, weights, autoencoder_names)


def _present(path: Path, name: str, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    if not weights:
        raise CheckpointError(f"{path.name} holds no {name} and cannot start this run.")
    return weights


def _fit(path: Path, load: Callable[..., None], *arguments: Any) -> None:
    try:
        load(*arguments)
    except CheckpointError as error:
        reason = str(error).rstrip(".")
        raise ConfigError(f"{path.name} does not fit the sizes under `model`: {reason}.") from error
