"""A training sample: pictures or their encodings, and the random numbers of its loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...constants import LATENT_CHANNELS, NUM_TIMESTEPS
from ..section import ConfigError


class Pictures(NamedTuple):
    """The pictures of a sample, with a first dimension [B, …] in a batch.

    Attributes:
        image: [3, S, S] in [-1, 1], the picture without a hole.
        keep_mask: [1, S, S] in [0, 1], 1 = keep; soft at its edges, as it is resized.
        exemplar: [3, V, V] in [0, 1].
        object: [3, V, V] in [0, 1], the exemplar's object alone on gray; None where the source
            does not know its outline (in a batch: of at least one sample).
    """

    image: Tensor
    keep_mask: Tensor
    exemplar: Tensor
    object: Tensor | None = None


class Encoded(NamedTuple):
    """A sample after autoencoder and vision tower, with a first dimension [B, …] in a batch.

    Attributes:
        moments: [8, h, w], mean and log-variance of the picture's latents, unscaled.
        masked_moments: the same of the picture with its hole.
        keep_mask: [1, h, w] in [0, 1], 1 = keep; soft at its edges.
        class_token: [D], of the exemplar.
    """

    moments: Tensor
    masked_moments: Tensor
    keep_mask: Tensor
    class_token: Tensor


class Draws(NamedTuple):
    """The random numbers that the loss of a sample needs, with a first dimension in a batch.

    Attributes:
        timestep: [], 0…999.
        noise: [4, h, w], normal: the ε that the denoiser has to predict.
        posterior_noise: [4, h, w], normal, to sample the picture's latents.
        masked_posterior_noise: [4, h, w], normal, to sample those of the picture with its hole.
        uniform: [], uniform in [0, 1); an event of probability p, such as `drop`, happens to the
            samples where it is below p.
    """

    timestep: Tensor
    noise: Tensor
    posterior_noise: Tensor
    masked_posterior_noise: Tensor
    uniform: Tensor


class Sample(NamedTuple):
    """One training sample, or a batch that `collate` made of several.

    Attributes:
        content: pictures, or what `encode-samples` made of them.
        draws: random numbers of the loss.
        skipped: why each picture before this one, whose place it takes, could not be used.
    """

    content: Pictures | Encoded
    draws: Draws
    skipped: list[str]

    @property
    def pictures(self) -> Pictures:
        """The pictures.

        Raises:
            ConfigError: the samples are encoded.
        """
        if isinstance(self.content, Encoded):
            raise ConfigError(
                "data.kind is encoded, which holds no pictures any more, but this stage needs "
                "them; name the data that the samples were encoded from."
            )
        return self.content

    @property
    def objects(self) -> Tensor:
        """The objects alone on gray.

        Raises:
            ConfigError: the outline of an object is not known.
        """
        if self.pictures.object is None:
            raise ConfigError(
                "A picture comes without the outline of its object, which this stage needs; use "
                "data of kind cutouts, generated, or coco with a segmentation for every box."
            )
        return self.pictures.object

    def to(self, device: torch.device) -> Sample:
        """The sample with its tensors on a device."""
        content = _each(lambda tensor: tensor.to(device), self.content)
        draws = _each(lambda tensor: tensor.to(device), self.draws)
        return Sample(content, draws, self.skipped)


Batch = Sample
"""A `Sample` whose tensors hold several samples along their first dimension."""


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples of one kind into a batch; `skipped` becomes a single list."""
    return Batch(
        _each(lambda *tensors: torch.stack(tensors), *(sample.content for sample in samples)),
        _each(lambda *tensors: torch.stack(tensors), *(sample.draws for sample in samples)),
        [reason for sample in samples for reason in sample.skipped],
    )


def _each(function: Callable[..., Tensor], *samples: Any) -> Any:
    """Apply a function to each field of named tuples of one type; None where one of them is."""
    fields = zip(*samples, strict=True)
    made = [None if any(t is None for t in tensors) else function(*tensors) for tensors in fields]
    return type(samples[0])(*made)


def draw(seed: int, epoch: int, index: int, latent_side: int) -> Draws:
    """Draw the random numbers of one sample, which follow from seed, epoch and index alone.

    Args:
        seed: of the run.
        epoch: in which the sample is used.
        index: of the sample.
        latent_side: h = w of the latents.
    """
    rng = np.random.default_rng((seed, epoch, index, 1))
    shape = (LATENT_CHANNELS, latent_side, latent_side)
    normal = [torch.from_numpy(rng.standard_normal(shape, np.float32)) for _ in range(3)]
    timestep = torch.tensor(int(rng.integers(NUM_TIMESTEPS)))
    uniform = torch.tensor(rng.random(), dtype=torch.float32)
    return Draws(timestep, normal[0], normal[1], normal[2], uniform)
