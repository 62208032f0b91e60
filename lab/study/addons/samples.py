"""What the add-ons are trained on: composed pictures after the frozen parts, made once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from exemplar_model.training.config import TrainConfig
from exemplar_model.training.data.dataset import Samples
from exemplar_model.training.data.sample import Batch, Draws, Encoded, collate, draw
from exemplar_model.training.stages.denoiser import DenoiserStage
from exemplar_model.training.stages.latents import encode_moments

BATCH = 16
LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in the light of a picture (ITU-R BT.601)."""


class AddonSample(NamedTuple):
    """What an add-on is trained on, with a first dimension in a batch.

    Attributes:
        encoded: as `DenoiserStage.loss` takes it.
        draws: random numbers of the loss.
        gray_moments: [8, h, w], of the picture whose hole is black-and-white.
        light: [1, h, w] in [0, 1], how light the picture is.
    """

    encoded: Encoded
    draws: Draws
    gray_moments: Tensor
    light: Tensor

    def batch(self) -> Batch:
        """What `DenoiserStage.loss` takes."""
        return Batch(self.encoded, self.draws, [])


class AddonSamples(Dataset[AddonSample]):
    """Samples by (epoch, index), with draws of their own."""

    def __init__(self, tensors: dict[str, Tensor], config: TrainConfig) -> None:
        self.tensors = tensors
        self.seed = config.seed
        self.latent_side = config.resolution // config.model.factor

    def __len__(self) -> int:
        return len(self.tensors["moments"])

    def __getitem__(self, key: tuple[int, int]) -> AddonSample:
        """The sample of an index, with the draws of (epoch, index)."""
        epoch, index = key
        encoded = Encoded(*(self.tensors[name][index] for name in Encoded._fields))
        draws = draw(self.seed, epoch, index, self.latent_side)
        gray, light = self.tensors["gray_moments"][index], self.tensors["light"][index]
        return AddonSample(encoded, draws, gray, light)


@torch.no_grad()
def encode_samples(stage: DenoiserStage, dataset: Samples, count: int) -> dict[str, Tensor]:
    """Put samples through the frozen parts.

    Returns:
        The fields of `Encoded`, `gray_moments` and `light` as in `AddonSample`, each [N, …] in
        fp16.
    """
    parts: dict[str, list[Tensor]] = {}
    for first in track(range(0, count, BATCH), "Encoding samples"):
        batch = collate([dataset[0, index] for index in range(first, min(first + BATCH, count))])
        encoded = stage.encode(batch)
        image, keep_mask, *_ = batch.pictures
        light = luminance(image)
        gray = torch.lerp(light.expand_as(image), image, keep_mask)
        tensors = {
            **encoded._asdict(),
            "gray_moments": encode_moments(stage.autoencoder, gray),
            "light": F.adaptive_avg_pool2d(light / 2 + 0.5, encoded.moments.shape[-1]),
        }
        for name, tensor in tensors.items():
            parts.setdefault(name, []).append(tensor.half())
    return {name: torch.cat(tensors) for name, tensors in parts.items()}


def luminance(image: Tensor) -> Tensor:
    """[B, 3, H, W] → [B, 1, H, W], in the same range."""
    return (image * image.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)
