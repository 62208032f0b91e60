"""Training samples: every random number of one follows from (seed, epoch, index) alone.

So a sample is the same in every process, however many there are, and after every resume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset, default_collate

from ...constants import LATENT_CHANNELS, NUM_TIMESTEPS
from ..config import Augmentation
from .augment import draw_transform
from .holes import box_hole, extend, pad, shape_hole, square_crop
from .pictures import DataError, Picture, Pixels, Source, UnreadablePictureError

Sample = dict[str, Any]
MOST_SKIPPED = 100
"""So many unreadable pictures in a row mean that the whole folder is wrong."""
PICTURE_RANGES = {"image": -1.0, "keep_mask": 0.0, "exemplar": 0.0, "object": 0.0}
"""Least value of each picture of a sample; the greatest is 1."""
GREY = 0.5
"""What surrounds an object that is shown alone."""


@dataclass(frozen=True)
class SampleMaker:
    """Turns a picture into a sample.

    Attributes:
        augmentation: how.
        resolution: side of the training picture.
        view_size: side of the exemplar, as the tower takes it.
    """

    augmentation: Augmentation
    resolution: int
    view_size: int

    def __call__(self, picture: Picture, rng: np.random.Generator) -> Sample:
        """Make a sample from one of the picture's boxes.

        Returns:
            image: [3, S, S] in [-1, 1].
            keep_mask: [1, S, S] in [0, 1], 1 = keep; soft at its edges, as it is resized.
            exemplar: [3, V, V] in [0, 1].
            object: [3, V, V] in [0, 1], the exemplar's object alone on grey; only where the
                source knows its outline.
        """
        H, W = picture.image.shape[:2]
        size = (W, H)
        number = int(rng.integers(len(picture.boxes)))
        box = picture.boxes[number]

        layers = [picture.image]
        if picture.objects is not None:
            layers.append(picture.objects[number][..., None])
        left, top, right, bottom = pad(box, self.augmentation.exemplar_padding, size)
        view = _to_tensor([layer[top:bottom, left:right] for layer in layers])
        view = self._resize(view, self.view_size)
        view = draw_transform(self.augmentation, self.view_size, rng)(view)

        extended = extend(box, size, rng)
        if rng.random() < self.augmentation.arbitrary_shape:
            hole = shape_hole(box, extended, size, self.augmentation.jitter, rng)
        else:
            hole = box_hole(extended, size)
        left, top, right, bottom = square_crop(extended, size, rng)
        target = _to_tensor([picture.image[top:bottom, left:right]])
        keep_mask = 1.0 - torch.from_numpy(hole[top:bottom, left:right]).float()[None]

        sample: Sample = {
            "image": self._resize(target, self.resolution) * 2.0 - 1.0,
            "keep_mask": self._resize(keep_mask, self.resolution),
            "exemplar": view[:3],
        }
        if picture.objects is not None:
            sample["object"] = torch.lerp(torch.full_like(view[:3], GREY), view[:3], view[3:])
        return sample

    def _resize(self, image: Tensor, side: int) -> Tensor:
        resized = F.interpolate(
            image[None],
            size=(side, side),
            mode="bilinear",
            align_corners=False,
            antialias=self.augmentation.antialias,
        )
        return resized[0].clamp(0.0, 1.0)


def _to_tensor(layers: Sequence[Pixels]) -> Tensor:
    """[H, W, C] uint8 layers → [C, H, W] float in [0, 1]."""
    stacked = torch.from_numpy(np.concatenate(layers, axis=-1))
    return stacked.permute(2, 0, 1).float() / 255


def draw_noise(seed: int, epoch: int, index: int, latent_side: int) -> Sample:
    """What the loss of one sample needs of chance.

    Returns:
        timestep: 0…999.
        noise: [4, h, h], the ε to be predicted.
        posterior_noise, masked_posterior_noise: [4, h, h], for the autoencoder's posterior.
        coin: uniform in [0, 1), which decides about dropping the condition.
    """
    rng = np.random.default_rng((seed, epoch, index, 1))
    shape = (LATENT_CHANNELS, latent_side, latent_side)
    normal = [torch.from_numpy(rng.standard_normal(shape, np.float32)) for _ in range(3)]
    return {
        "timestep": int(rng.integers(NUM_TIMESTEPS)),
        "noise": normal[0],
        "posterior_noise": normal[1],
        "masked_posterior_noise": normal[2],
        "coin": torch.tensor(rng.random(), dtype=torch.float32),
    }


class Samples(Protocol):
    """What every dataset of this package offers."""

    def __len__(self) -> int:
        """Samples in an epoch."""
        ...

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """The sample of (epoch, index)."""
        ...

    def fingerprint(self) -> str:
        """Short text that changes when the pictures do."""
        ...


class ExemplarDataset(Dataset[Sample]):
    """Samples by (epoch, index); unreadable pictures are replaced by the next and reported."""

    def __init__(self, source: Source, maker: SampleMaker, seed: int, latent_side: int) -> None:
        self.source = source
        self.maker = maker
        self.seed = seed
        self.latent_side = latent_side

    def __len__(self) -> int:
        return len(self.source)

    def fingerprint(self) -> str:
        """Of the source."""
        return self.source.fingerprint()

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """The sample of (epoch, index), with `skipped`, the reasons for what was left out."""
        epoch, index = key
        skipped: list[str] = []
        for attempt in range(MOST_SKIPPED):
            number = (index + attempt) % len(self.source)
            rng = np.random.default_rng((self.seed, epoch, number, 0))
            try:
                sample = self.maker(self.source.read(number, rng), rng)
            except UnreadablePictureError as error:
                skipped.append(str(error))
                continue
            noise = draw_noise(self.seed, epoch, index, self.latent_side)
            return {**sample, **noise, "skipped": skipped}
        raise DataError(
            f"{MOST_SKIPPED} pictures in a row cannot be used, the last because {skipped[-1]}; "
            "check the paths under `data`."
        )


class KeptDataset(Dataset[Sample]):
    """Makes each sample once and keeps its pictures in memory, in 8 bit; noise is always fresh.

    For small models, which would wait for their data: 0.25 MB for each sample of 128² pixels.
    """

    def __init__(self, dataset: ExemplarDataset) -> None:
        self.dataset = dataset
        self.kept: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def fingerprint(self) -> str:
        """Of the source."""
        return self.dataset.fingerprint()

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """The sample of (0, index), with the noise of (epoch, index)."""
        epoch, index = key
        skipped: list[str] = []
        if index not in self.kept:
            sample = self.dataset[0, index]
            skipped = sample["skipped"]
            self.kept[index] = {
                name: (sample[name].clamp(low, 1.0).sub(low) / (1.0 - low) * 255).round().byte()
                for name, low in PICTURE_RANGES.items()
                if name in sample
            }
        pictures = {
            name: tensor.float() / 255 * (1.0 - PICTURE_RANGES[name]) + PICTURE_RANGES[name]
            for name, tensor in self.kept[index].items()
        }
        noise = draw_noise(self.dataset.seed, epoch, index, self.dataset.latent_side)
        return {**pictures, **noise, "skipped": skipped}


def collate(samples: list[Sample]) -> Sample:
    """Stack samples into a batch; `skipped` becomes one list."""
    skipped = [reason for sample in samples for reason in sample["skipped"]]
    stacked = default_collate([{k: v for k, v in s.items() if k != "skipped"} for s in samples])
    return {**stacked, "skipped": skipped}
