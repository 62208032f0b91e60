"""Configuration of a training run: a YAML file, checked key by key, with `key=value` overrides.

The sections `data` and `augmentation` are in `data_config.py`, `model` is `ModelConfig`.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator

from ..standalone.components import ModelConfig
from .data_config import Augmentation, Data
from .section import ConfigError, Section

SHIPPED = resources.files(__name__.rpartition(".")[0]) / "configs"


def _bare_no(value: Any) -> Any:
    # YAML reads `precision: no` as false
    return "no" if value is False else value


Precision = Annotated[Literal["no", "fp16", "bf16"], BeforeValidator(_bare_no)]


class InitialWeights(Section):
    """Files with the weights to start from; weights that are in none of them start random."""

    stable_diffusion: Path | None = None
    """Stable Diffusion 1 checkpoint, file or diffusers folder: its autoencoder, and its UNet, whose
    first convolution gets five more input channels with zero weights."""
    model: Path | None = None
    """Paint by Example checkpoint: all weights, unless one of the other files has them."""
    tower: Path | None = None
    """CLIP vision tower: a Hugging Face folder or file, or what `stage: tower` exported."""
    autoencoder: Path | None = None
    """KL autoencoder: a checkpoint that holds one, such as what `stage: autoencoder` exported."""


class Validation(Section):
    """Losses and preview pictures during training, always of the same held-out samples."""

    data: Data | None = None
    """Held-out pictures; if left out, nothing is validated."""
    every: int = Field(default=2_000, ge=1)
    """Updates from one validation to the next; the last update is always validated."""
    samples: int = Field(default=64, ge=2, multiple_of=2)
    """Held-out samples that the losses are measured on; even, as each sample is also tried with the
    exemplar of another."""
    previews: int = Field(default=8, ge=0)
    """Held-out samples that each validation also draws, one row each, into `OUT/previews`."""
    steps: int = Field(default=25, ge=1)
    """Denoiser stage: sampling steps of a preview."""
    cfg: float = 5.0
    """Denoiser stage: classifier-free guidance scale of a preview."""


class TrainConfig(Section):
    """A training run."""

    stage: Literal["denoiser", "autoencoder", "tower"] = "denoiser"
    """What is trained: the denoiser, as in the paper, or the autoencoder or vision tower of a small
    model, before its denoiser."""
    out: Path
    """Folder for checkpoints, logs, previews and `model.safetensors`."""
    data: Data
    """Training pictures; its key `kind` says how they are stored."""
    augmentation: Augmentation = Augmentation()
    """How random holes and exemplars are made from pictures."""
    model: ModelConfig = ModelConfig()
    """Sizes of the model; the default is the published one."""
    init: InitialWeights = InitialWeights()
    """Files with the weights to start from."""
    validation: Validation = Validation()
    """Losses and previews of held-out pictures."""

    resolution: int = Field(default=512, ge=8)
    """Side of the training pictures, in pixels."""
    steps: int = Field(ge=1)
    """Updates of the weights (optimizer steps) in the whole run."""
    batch: int = Field(ge=1)
    """Samples per update, over all processes: a multiple of `micro_batch` × processes."""
    micro_batch: int = Field(default=4, ge=1)
    """Samples per process and forward pass; gradients of several passes are accumulated into one
    update of `batch` samples."""
    workers: int = Field(default=4, ge=0)
    """Data-loading worker processes of each training process; 0 loads in the training process."""
    keep_samples: bool = False
    """Cut and augment each sample only once and keep it in memory, for small models that would wait
    for their data. With `workers` above 0 every worker keeps samples of its own."""
    seed: int = Field(default=23, ge=0)
    """Seed of the initial weights and, with epoch and number of a sample, of all that is random in
    that sample."""

    learning_rate: float = Field(default=1e-5, gt=0)
    """Learning rate of AdamW after warm-up."""
    warmup: int = Field(default=10_000, ge=0)
    """Updates over which the learning rate rises linearly from zero."""
    decay: Literal["constant", "cosine"] = "constant"
    """Learning rate after warm-up; cosine falls to a hundredth of it at the end of `steps`."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Weight decay of AdamW."""
    gradient_clip: float | None = Field(default=None, gt=0)
    """Largest norm of the gradient; null (the reference) clips nothing."""
    precision: Precision = "no"
    """Number format of mixed precision (autocast); "no" computes in fp32. Trained weights stay
    fp32. On a CPU, fp16 is computed in fp32."""
    gradient_checkpointing: bool = False
    """Recompute the UNet's activations in the backward pass: less memory, more time."""
    channels_last: bool = False
    """Channels-last memory format for convolutions: faster on some machines, so measure it."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay of an exponential moving average of the weights (EMA), which is then validated and
    exported in their place; null keeps none."""

    drop: float = Field(default=0.2, ge=0, le=1)
    """Denoiser stage: probability that a sample sees the learned null vector in place of its
    exemplar, for classifier-free guidance."""
    drop_per: Literal["sample", "batch"] = "sample"
    """Denoiser stage: whether each sample is dropped on its own or, as in the reference code, a
    whole micro-batch at once."""
    min_snr: float | None = Field(default=None, gt=0)
    """Denoiser stage: γ of the loss weight min(SNR, γ) / SNR (Hang et al. 2023); null, as in the
    paper, weights all timesteps alike."""
    timestep_sampling: Literal["uniform", "min_snr"] = "uniform"
    """Denoiser stage: where `min_snr` acts. "uniform" draws all timesteps with equal probability
    and weights the loss; "min_snr" draws timesteps in proportion to the weight and leaves the loss
    unweighted. The expected gradient is the same up to a constant factor."""
    hole_weight: float = Field(default=1.0, ge=1)
    """Denoiser stage: weight of the loss inside the hole relative to outside; 1 in the paper."""
    masked_share: float = Field(default=0.5, ge=0, le=1)
    """Autoencoder stage: probability that a sample's latents outside the hole are those of the
    masked image when it is decoded, as they are after sampling."""
    shift_weight: float = Field(default=3.0, ge=0)
    """Autoencoder stage: loss weight of the change that a hole makes in the latents around it."""
    kl_weight: float = Field(default=1e-4, ge=0)
    """Autoencoder stage: loss weight of the KL divergence, as a mean over all latent values."""
    edge_weight: float = Field(default=0.0, ge=0)
    """Autoencoder stage: loss weight of the L1 distance between the gradients (differences of
    neighboring pixels) of picture and reconstruction, for sharp edges."""
    edge_from: float = Field(default=0.5, ge=0, le=1)
    """Autoencoder stage: fraction of `steps` after which `edge_weight` counts."""

    checkpoint_every: int = Field(default=1_000, ge=1)
    """Updates from one checkpoint to the next."""
    keep_checkpoints: int = Field(default=3, ge=1)
    """Checkpoints that are kept, the newest ones."""
    export_dtype: Literal["fp16", "fp32"] = "fp16"
    """Number format of `model.safetensors`."""

    @field_validator("timestep_sampling")
    @classmethod
    def _needs_min_snr(cls, value: str, info: ValidationInfo) -> str:
        if value == "min_snr" and info.data.get("min_snr") is None:
            raise ValueError("it needs a value for the key min_snr, such as 5")
        return value


def load_config(name: str, overrides: Iterable[str] = ()) -> TrainConfig:
    """Read and check a configuration.

    Args:
        name: path of a YAML file, or the name of a shipped one, such as `smoke`.
        overrides: `key=value`, dots for sections (`data.samples=64`), values in YAML.

    Raises:
        ConfigError: no such file, no YAML, an unknown key or a value out of range.
    """
    path = Path(name)
    source = path if path.is_file() else SHIPPED / f"{name}.yaml"
    if not source.is_file():
        known = ", ".join(sorted(f.name[:-5] for f in SHIPPED.iterdir() if f.name[-5:] == ".yaml"))
        raise ConfigError(f"There is no configuration {name}; give a YAML file or one of {known}.")
    values = _parse(source.read_text(encoding="utf-8"), name)
    if not isinstance(values, dict):
        raise ConfigError(
            f"{name} holds no keys; write lines of `key: value`, such as `steps: 20`."
        )
    for override in overrides:
        _override(values, override)
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{name}: " + "; ".join(map(_explain, error.errors())) + ".") from error


def _parse(text: str, name: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{name} is not valid YAML ({reason}).") from error


def _override(values: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    if not key or not separator:
        raise ConfigError(f"{override} is not an override; write key=value, such as steps=20.")
    *sections, last = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"{key}: {section} is a value, not a section.")
    values[last] = _parse(value, override)


def _explain(error: Any) -> str:
    place: tuple[str | int, ...] = error["loc"]
    # after `data` comes its kind, which is no key of the file
    keys = [name for before, name in zip(("", *place), place, strict=False) if before != "data"]
    key = ".".join(map(str, keys))
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"there is no key {key} (correct or delete it)"
    if error["type"] == "missing":
        return f"{key} is missing"
    reason = error["msg"].removeprefix("Value error, ")
    return f"{key} is {error['input']!r}: {reason[0].lower()}{reason[1:]}"
