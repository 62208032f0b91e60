"""Datasets of samples, by epoch and index.

All that is random in a sample follows from (seed, epoch, index), so it is the same whichever
process makes it, and after a resume.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from .sample import Pictures, Sample, draw
from .sample_maker import SampleMaker
from .source import DataError, Source, UnreadablePictureError

MOST_SKIPPED = 100
"""Unreadable pictures in a row after which the data as a whole is taken to be wrong."""


class Samples(Protocol):
    """What every dataset of training samples offers."""

    def __len__(self) -> int:
        """Samples in an epoch."""
        ...

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """The sample of (epoch, index)."""
        ...

    def fingerprint(self) -> str:
        """Short text that changes when the samples change."""
        ...


class ExemplarDataset(Dataset[Sample]):
    """Samples from a source of pictures, made anew in every epoch.

    An unreadable picture is replaced by the next that can be read, and reported in `skipped`.
    """

    def __init__(self, source: Source, maker: SampleMaker, seed: int, latent_side: int) -> None:
        self.source = source
        self.maker = maker
        self.seed = seed
        self.latent_side = latent_side

    def __len__(self) -> int:
        return len(self.source)

    def fingerprint(self) -> str:
        """Fingerprint of the source."""
        return self.source.fingerprint()

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """The sample of (epoch, index).

        Raises:
            DataError: too many pictures in a row cannot be read.
        """
        epoch, index = key
        skipped: list[str] = []
        for attempt in range(MOST_SKIPPED):
            number = (index + attempt) % len(self.source)
            rng = np.random.default_rng((self.seed, epoch, number, 0))
            try:
                pictures = self.maker(self.source.read(number, rng), rng)
            except UnreadablePictureError as error:
                skipped.append(str(error))
                continue
            return Sample(pictures, draw(self.seed, epoch, index, self.latent_side), skipped)
        raise DataError(
            f"{MOST_SKIPPED} pictures in a row cannot be used, the last because {skipped[-1]}; "
            "check the paths under `data`."
        )


class KeptDataset(Dataset[Sample]):
    """The pictures of epoch 0 in every epoch, kept in memory in 8 bit; noise is always fresh.

    For small models, which would wait for their data. A sample with 128² pixels and an exemplar of
    224² takes 0.22 MB, or 0.37 MB with its object.
    """

    def __init__(self, dataset: ExemplarDataset) -> None:
        self.dataset = dataset
        self.kept: dict[int, Pictures] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def fingerprint(self) -> str:
        """Fingerprint of the source."""
        return self.dataset.fingerprint()

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """The sample of (0, index), with the draws of (epoch, index)."""
        epoch, index = key
        skipped: list[str] = []
        if index not in self.kept:
            sample = self.dataset[0, index]
            skipped = sample.skipped
            self.kept[index] = _to_bytes(sample.pictures)
        draws = draw(self.dataset.seed, epoch, index, self.dataset.latent_side)
        return Sample(_from_bytes(self.kept[index]), draws, skipped)


def _to_bytes(pictures: Pictures) -> Pictures:
    def byte(tensor: Tensor) -> Tensor:
        return (tensor.clamp(0.0, 1.0) * 255).round().byte()

    image, keep_mask, exemplar, alone = pictures
    alone = None if alone is None else byte(alone)
    return Pictures(byte(image / 2 + 0.5), byte(keep_mask), byte(exemplar), alone)


def _from_bytes(kept: Pictures) -> Pictures:
    image, keep_mask, exemplar, alone = kept
    alone = None if alone is None else alone / 255
    return Pictures(image / 127.5 - 1, keep_mask / 255, exemplar / 255, alone)
