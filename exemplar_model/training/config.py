"""What a training run is told: a YAML file, checked key by key, with `key=value` overrides."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, ValidationError

from ..errors import UserError
from ..standalone.components import ModelConfig

SHIPPED = resources.files(__name__.rpartition(".")[0]) / "configs"


class ConfigError(UserError, ValueError):
    """The configuration cannot be used; the message names the key and the cure."""


class Section(BaseModel):
    """A part of the configuration; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class OpenImagesData(Section):
    """OpenImages in its own format: the boxes' CSV and folders of JPEGs."""

    kind: Literal["openimages"]
    boxes: Path
    """CSV with ImageID, XMin, XMax, YMin, YMax, such as oidv6-train-annotations-bbox.csv."""
    images: Path
    """Folder that holds `<ImageID>.jpg`, at any depth; scanned once."""
    index: Path | None = None
    """Where the parsed CSV is kept (.safetensors); without it, it is parsed at every start."""


class CocoData(Section):
    """COCO-style JSON and a folder of pictures."""

    kind: Literal["coco"]
    annotations: Path
    """JSON with `images` and `annotations`; crowds are left out."""
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
    """Cut-out objects with alpha, pasted over photos; composed anew for every sample."""

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
    """Drawn shapes on gradients: needs no files."""

    kind: Literal["generated"]
    samples: int = Field(default=512, ge=1)
    """Samples in an epoch."""


class EncodedData(Section):
    """Samples that `encode-samples` has already put through the frozen parts."""

    kind: Literal["encoded"]
    folder: Path
    """Folder that `encode-samples` wrote."""


Data = Annotated[
    OpenImagesData | CocoData | ShardData | CutoutData | GeneratedData | EncodedData,
    Field(discriminator="kind"),
]


class Augmentation(Section):
    """How a picture and a box become a sample; the defaults are the published values."""

    arbitrary_shape: float = Field(default=0.5, ge=0, le=1)
    """Share of masks of arbitrary shape; the rest are extended boxes."""
    extension: float = Field(default=0.4, ge=0, le=1)
    """Largest outward shift of each side of the box, as a share of the way to the border."""
    zoom: float = Field(default=0.6, ge=0, le=1)
    """Largest inward shift of the square crop's sides, as a share of the room around the hole."""
    exemplar_padding: int = Field(default=10, ge=0)
    """Pixels of the original picture kept around the box in the exemplar."""
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
    """Probability of an affine jitter."""
    affine_shift: float = Field(default=50 / 224, ge=0)
    """Largest shift of its three control points, as a share of the exemplar's side."""
    antialias: bool = True
    """Resize with antialias; the reference (torchvision 0.12 on tensors) did not."""


def _bare_no(value: Any) -> Any:
    # YAML reads `precision: no` as false
    return "no" if value is False else value


Precision = Annotated[Literal["no", "fp16", "bf16"], BeforeValidator(_bare_no)]


class Parts(Section):
    """Where weights come from before the first step; what is left out starts random."""

    stable_diffusion: Path | None = None
    """Stable Diffusion 1 checkpoint for UNet and autoencoder; five zero channels are added."""
    model: Path | None = None
    """Paint by Example checkpoint to start from, whole."""
    tower: Path | None = None
    """CLIP vision tower: a Hugging Face folder, or the file that a tower stage wrote."""
    autoencoder: Path | None = None
    """File that an autoencoder stage wrote."""


class Validation(Section):
    """What is watched during training, always on the same held-out samples."""

    data: Data | None = None
    """Held-out pictures; none are watched without it."""
    every: int = Field(default=2_000, ge=1)
    """Updates between two validations, each with a sample sheet."""
    samples: int = Field(default=64, ge=2, multiple_of=2)
    """Held-out samples for the losses; an even number, each is compared with another's exemplar."""
    sheet: int = Field(default=8, ge=0)
    """Rows of the sample sheet."""
    steps: int = Field(default=25, ge=1)
    """Sampling steps of the sheet."""
    cfg: float = 5.0
    """Guidance scale of the sheet."""


class TrainConfig(Section):
    """A training run."""

    stage: Literal["denoiser", "autoencoder", "tower"] = "denoiser"
    """What is trained: the paper's model, or one of the parts that it takes as given."""
    out: Path
    """Folder for checkpoints, logs, sheets and `model.safetensors`."""
    data: Data
    """Training pictures."""
    augmentation: Augmentation = Augmentation()
    """From picture and box to sample."""
    model: ModelConfig = ModelConfig()
    """Sizes; those of the published model if left out."""
    init: Parts = Parts()
    """Starting weights."""
    validation: Validation = Validation()
    """Losses and sheets on held-out pictures."""

    resolution: int = Field(default=512, ge=8)
    """Side of the training pictures."""
    steps: int = Field(ge=1)
    """Updates of the weights in the whole run."""
    batch: int = Field(ge=1)
    """Samples per update, over all processes."""
    micro_batch: int = Field(default=4, ge=1)
    """Samples per process and forward pass; the rest of `batch` is accumulated."""
    workers: int = Field(default=4, ge=0)
    """Data loading processes per training process."""
    keep_samples: bool = False
    """Make each sample once and keep it in memory, for small models; takes `workers: 0`."""
    seed: int = Field(default=23, ge=0)
    """Every random number follows from it, the update and the sample."""

    learning_rate: float = Field(default=1e-5, gt=0)
    """Of AdamW, after warm-up."""
    warmup: int = Field(default=10_000, ge=0)
    """Updates over which the learning rate rises linearly."""
    decay: Literal["constant", "cosine"] = "constant"
    """Learning rate after warm-up; cosine ends at a hundredth at `steps`."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Of AdamW."""
    gradient_clip: float | None = Field(default=None, gt=0)
    """Largest norm of the gradient; the reference clips nothing."""
    precision: Precision = "no"
    """Autocast of forward and backward; weights stay fp32."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, a third more time."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay of a running mean of the weights, which is then validated and exported."""

    drop: float = Field(default=0.2, ge=0, le=1)
    """Share of samples that see the null vector in place of their exemplar."""
    drop_per: Literal["sample", "batch"] = "sample"
    """Who draws: each sample, or each micro-batch as a whole as in the reference."""
    min_snr: float | None = Field(default=None, gt=0)
    """Clamp of the signal-to-noise weight (Hang et al. 2023); none in the paper."""
    hole_weight: float = Field(default=1.0, ge=1)
    """Weight of the loss inside the hole; 1 in the paper."""
    masked_share: float = Field(default=0.5, ge=0, le=1)
    """Autoencoder stage: share of samples decoded with the latents of their holed surroundings."""
    shift_weight: float = Field(default=3.0, ge=0)
    """Autoencoder stage: weight of how far a hole moves the latents around it."""
    kl_weight: float = Field(default=1e-4, ge=0)
    """Autoencoder stage: weight of the mean KL divergence of a latent value."""

    checkpoint_every: int = Field(default=1_000, ge=1)
    """Updates between two checkpoints."""
    keep_checkpoints: int = Field(default=3, ge=1)
    """Checkpoints that are kept."""
    export_dtype: Literal["fp16", "fp32"] = "fp16"
    """Of `model.safetensors`."""


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
    parts = [part for before, part in zip(("", *place), place, strict=False) if before != "data"]
    key = ".".join(map(str, parts))
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"there is no key {key}"
    if error["type"] == "missing":
        return f"{key} is missing"
    return f"{key} is {error['input']!r}: {error['msg'][0].lower()}{error['msg'][1:]}"
