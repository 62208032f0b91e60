"""Configuration of a training run: a YAML file, checked key by key, with `key=value` overrides."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from ..errors import UserError
from ..standalone.components import ModelConfig

SHIPPED = resources.files(__name__.rpartition(".")[0]) / "configs"


class ConfigError(UserError, ValueError):
    """The configuration cannot be used; the message names the key and the cure."""


class Section(BaseModel):
    """A group of keys; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class OpenImagesData(Section):
    """OpenImages in its own format: the boxes' CSV and folders of JPEGs."""

    kind: Literal["openimages"]
    boxes: Path
    """CSV with ImageID, XMin, XMax, YMin, YMax, such as oidv6-train-annotations-bbox.csv."""
    images: Path
    """Folder that holds `<ImageID>.jpg`, at any depth; scanned once."""
    index: Path | None = None
    """File for the parsed CSV (.safetensors); if left out, the CSV is parsed at every start."""


class CocoData(Section):
    """COCO-style JSON and a folder of pictures."""

    kind: Literal["coco"]
    annotations: Path
    """JSON with `images` and `annotations`; boxes of crowds (`iscrowd`) are left out."""
    images: Path
    """Folder that the `file_name`s of the JSON are relative to."""
    only: Path | None = None
    """Text file with one `file_name` per line: no other pictures are used."""
    without: Path | None = None
    """Text file with one `file_name` per line: pictures to leave out, such as held-out ones."""


class ShardData(Section):
    """WebDataset tar shards of `<id>.jpg` and `<id>.json` (`boxes`: relative x0, y0, x1, y1)."""

    kind: Literal["shards"]
    urls: str
    """Shards as WebDataset names them, such as `data/train-{000000..000554}.tar`."""


class CutoutData(Section):
    """Cut-out objects with alpha, pasted over photos, at random for every sample."""

    kind: Literal["cutouts"]
    objects: Path
    """Folder of RGBA pictures."""
    backgrounds: Path
    """Folder of photos."""
    canvas: tuple[PositiveInt, PositiveInt] = (208, 160)
    """Longer and shorter side of a composed picture, in pixels."""
    samples: int = Field(default=100_000, ge=1)
    """Samples in an epoch."""


class GeneratedData(Section):
    """Drawn shapes on colour gradients; needs no files."""

    kind: Literal["generated"]
    samples: int = Field(default=512, ge=1)
    """Samples in an epoch."""


class EncodedData(Section):
    """Samples that `encode-samples` has already put through autoencoder and vision tower."""

    kind: Literal["encoded"]
    folder: Path
    """Folder that `encode-samples` wrote."""


Data = Annotated[
    OpenImagesData | CocoData | ShardData | CutoutData | GeneratedData | EncodedData,
    Field(discriminator="kind"),
]


class Augmentation(Section):
    """How a picture and one of its boxes become a sample; the defaults are the published values."""

    arbitrary_shape: float = Field(default=0.5, ge=0, le=1)
    """Share of holes of arbitrary shape; the others are boxes, extended at random."""
    extension: float = Field(default=0.4, ge=0, le=1)
    """Largest outward shift of each side of the box, as a share of the way to the border."""
    zoom: float = Field(default=0.6, ge=0, le=1)
    """Largest inward shift of the square crop's sides, as a share of the room around the hole."""
    exemplar_padding: int = Field(default=10, ge=0)
    """Margin of the exemplar around its box, in pixels of the original picture."""
    jitter: int = Field(default=5, ge=0)
    """Largest shift of each point of an arbitrary shape, in pixels of the original picture."""
    flip: float = Field(default=0.5, ge=0, le=1)
    """Probability of a mirrored exemplar."""
    rotate: float = Field(default=0.5, ge=0, le=1)
    """Probability of a rotated exemplar."""
    rotate_degrees: float = Field(default=20, ge=0)
    """Largest rotation, in degrees."""
    blur: float = Field(default=0.3, ge=0, le=1)
    """Probability of a box blur of 3, 5 or 7 px on the 224² exemplar."""
    affine: float = Field(default=0.3, ge=0, le=1)
    """Probability that the exemplar is distorted by a random affine map."""
    affine_shift: float = Field(default=50 / 224, ge=0)
    """Largest shift of the three points that define that map, as a share of the exemplar's side."""
    antialias: bool = True
    """Resize with antialiasing; the reference (torchvision 0.12 on tensors) did not."""


def _bare_no(value: Any) -> Any:
    # YAML reads `precision: no` as false
    return "no" if value is False else value


Precision = Annotated[Literal["no", "fp16", "bf16"], BeforeValidator(_bare_no)]


class InitialWeights(Section):
    """Files of the weights before the first update; what no file gives starts random."""

    stable_diffusion: Path | None = None
    """Stable Diffusion 1 checkpoint: UNet, whose input gets five zero channels, and autoencoder."""
    model: Path | None = None
    """Paint by Example checkpoint: all weights."""
    tower: Path | None = None
    """CLIP vision tower: a Hugging Face folder, or the file that `stage: tower` exported."""
    autoencoder: Path | None = None
    """Autoencoder: the file that `stage: autoencoder` exported."""


class Validation(Section):
    """What is measured and shown during training, always on the same held-out samples."""

    data: Data | None = None
    """Held-out pictures; if left out, nothing is validated."""
    every: int = Field(default=2_000, ge=1)
    """Updates between two validations."""
    samples: int = Field(default=64, ge=2, multiple_of=2)
    """Held-out samples for the losses; even, as each is also tried with another's exemplar."""
    previews: int = Field(default=8, ge=0)
    """Held-out samples that each validation also shows as pictures, in `OUT/previews`."""
    steps: int = Field(default=25, ge=1)
    """Sampling steps of a preview (denoiser stage)."""
    cfg: float = 5.0
    """Guidance scale of a preview (denoiser stage)."""


class TrainConfig(Section):
    """A training run."""

    stage: Literal["denoiser", "autoencoder", "tower"] = "denoiser"
    """What is trained: the denoiser as in the paper, or the autoencoder or tower that it needs."""
    out: Path
    """Folder for checkpoints, logs, previews and `model.safetensors`."""
    data: Data
    """Training pictures."""
    augmentation: Augmentation = Augmentation()
    """How pictures become samples."""
    model: ModelConfig = ModelConfig()
    """Sizes of the model; the default is the published one."""
    init: InitialWeights = InitialWeights()
    """Files to start from."""
    validation: Validation = Validation()
    """Losses and previews on held-out pictures."""

    resolution: int = Field(default=512, ge=8)
    """Side of the training pictures, in pixels."""
    steps: int = Field(ge=1)
    """Updates of the weights in the whole run."""
    batch: int = Field(ge=1)
    """Samples per update, over all processes."""
    micro_batch: int = Field(default=4, ge=1)
    """Samples per process and forward pass; the rest of `batch` is accumulated."""
    workers: int = Field(default=4, ge=0)
    """Data loading processes per training process."""
    keep_samples: bool = False
    """Make each sample once and keep it in memory, for small models; needs `workers: 0`."""
    seed: int = Field(default=23, ge=0)
    """Every random number follows from it and the number of the sample."""

    learning_rate: float = Field(default=1e-5, gt=0)
    """Learning rate of AdamW, after warm-up."""
    warmup: int = Field(default=10_000, ge=0)
    """Updates over which the learning rate rises linearly from zero."""
    decay: Literal["constant", "cosine"] = "constant"
    """Learning rate after warm-up; cosine falls to a hundredth of it at the end of `steps`."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Weight decay of AdamW."""
    gradient_clip: float | None = Field(default=None, gt=0)
    """Largest norm of the gradient; null (the reference) clips nothing."""
    precision: Precision = "no"
    """Autocast of the computation; trained weights stay fp32. A CPU computes fp16 in fp32."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, a third more time."""
    channels_last: bool = False
    """Keep convolutions in channels-last memory format: faster on some machines, so measure it."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay of an exponential moving average of the weights, which is validated and exported."""

    drop: float = Field(default=0.2, ge=0, le=1)
    """Denoiser stage: share of samples that get the null vector in place of their exemplar."""
    drop_per: Literal["sample", "batch"] = "sample"
    """Denoiser stage: drop single samples or, as the reference does, whole micro-batches."""
    min_snr: float | None = Field(default=None, gt=0)
    """Denoiser stage: γ of the loss weight min(SNR, γ) / SNR (Hang et al. 2023); paper: none."""
    timestep_sampling: Literal["uniform", "min_snr"] = "uniform"
    """Denoiser stage: draw all timesteps alike and weight the loss by `min_snr`, or draw them in
    proportion to that weight and leave the loss unweighted: the same gradient up to a constant."""
    hole_weight: float = Field(default=1.0, ge=1)
    """Denoiser stage: weight of the loss inside the hole; 1 in the paper."""
    masked_share: float = Field(default=0.5, ge=0, le=1)
    """Autoencoder stage: share of samples whose kept cells are decoded from the masked image."""
    shift_weight: float = Field(default=3.0, ge=0)
    """Autoencoder stage: weight of how much a hole changes the latents around it."""
    kl_weight: float = Field(default=1e-4, ge=0)
    """Autoencoder stage: weight of the mean KL divergence of a latent value."""
    edge_weight: float = Field(default=0.0, ge=0)
    """Autoencoder stage: weight of the L1 distance between the differences of neighbouring pixels
    of picture and reconstruction, for sharp edges."""
    edge_from: float = Field(default=0.5, ge=0, le=1)
    """Autoencoder stage: share of `steps` after which `edge_weight` counts."""

    checkpoint_every: int = Field(default=1_000, ge=1)
    """Updates between two checkpoints."""
    keep_checkpoints: int = Field(default=3, ge=1)
    """Checkpoints that are kept."""
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
        raise ConfigError(f"{name} holds no keys; write lines of `key: value`, such as steps: 20.")
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
        raise ConfigError(f"{name} is no valid YAML ({reason}).") from error


def _override(values: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    if not key or not separator:
        raise ConfigError(f"{override} is no override; write key=value, such as steps=20.")
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
        return f"there is no key {key}"
    if error["type"] == "missing":
        return f"{key} is missing"
    reason = error["msg"].removeprefix("Value error, ")
    return f"{key} is {error['input']!r}: {reason[0].lower()}{reason[1:]}"
