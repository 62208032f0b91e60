"""The sections `data` and `augmentation`: training pictures, and how samples are made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from .section import Section


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
    """Annotations in COCO's JSON format, and a folder of pictures."""

    kind: Literal["coco"]
    annotations: Path
    """JSON with `images` and `annotations`; annotations of crowds (`iscrowd`) are left out."""
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
    """Cut-out objects (pictures with alpha), pasted over photos anew for every sample."""

    kind: Literal["cutouts"]
    objects: Path
    """Folder of RGBA pictures, searched at any depth."""
    backgrounds: Path
    """Folder of photos, searched at any depth."""
    canvas: tuple[PositiveInt, PositiveInt] = (208, 160)
    """Longer and shorter side of a composed picture, in pixels."""
    samples: int = Field(default=100_000, ge=1)
    """Samples in an epoch."""


class GeneratedData(Section):
    """Drawn shapes on color gradients; needs no files."""

    kind: Literal["generated"]
    samples: int = Field(default=512, ge=1)
    """Samples in an epoch."""


class EncodedData(Section):
    """What `encode-samples` saved of autoencoder and vision tower; for the denoiser stage."""

    kind: Literal["encoded"]
    folder: Path
    """Folder that `encode-samples` wrote."""


Data = Annotated[
    OpenImagesData | CocoData | ShardData | CutoutData | GeneratedData | EncodedData,
    Field(discriminator="kind"),
]


class Augmentation(Section):
    """How hole and exemplar are made from a picture and one of its boxes.

    The defaults are the published values. Pixels are those of the original picture.
    """

    arbitrary_shape: float = Field(default=0.5, ge=0, le=1)
    """Probability that the hole has an arbitrary shape; otherwise it is the extended box."""
    extension: float = Field(default=0.4, ge=0, le=1)
    """Largest random shift of each side of the box outwards, as a fraction of its distance to the
    border of the picture."""
    zoom: float = Field(default=0.6, ge=0, le=1)
    """Largest random shift of the square crop's sides inwards, as a fraction of their distance to
    the extended box."""
    exemplar_padding: int = Field(default=10, ge=0)
    """Margin of the exemplar around its box, in pixels."""
    jitter: int = Field(default=5, ge=0)
    """Largest random shift of each point of an arbitrary shape's outline, in pixels."""
    flip: float = Field(default=0.5, ge=0, le=1)
    """Probability that the exemplar is mirrored."""
    rotate: float = Field(default=0.5, ge=0, le=1)
    """Probability that the exemplar is rotated."""
    rotate_degrees: float = Field(default=20, ge=0)
    """Largest rotation in either direction, in degrees."""
    blur: float = Field(default=0.3, ge=0, le=1)
    """Probability of a box blur of 3, 5 or 7 px on the exemplar, at the vision tower's size."""
    affine: float = Field(default=0.3, ge=0, le=1)
    """Probability that the exemplar is distorted by a random affine map."""
    affine_shift: float = Field(default=50 / 224, ge=0)
    """Largest random shift of the three points that define that map, as a fraction of the
    exemplar's side."""
    antialias: bool = True
    """Resize with antialiasing; the reference code (torchvision 0.12 on tensors) did not."""
