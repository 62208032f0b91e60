"""What the add-ons are trained on: composed pictures after the frozen parts, made once."""

from __future__ import annotations

import torch
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from exemplar_model.training.config import TrainConfig
from exemplar_model.training.data.dataset import Sample, Samples, collate, draw_noise
from exemplar_model.training.stages.denoiser import DenoiserStage
from exemplar_model.training.stages.latents import encode_moments

BATCH = 16
LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in the light of a picture (ITU-R BT.601)."""


class AddonSamples(Dataset[Sample]):
    """Samples by (epoch, index), as `DenoiserStage.loss` takes them, with noise of their own."""

    def __init__(self, tensors: dict[str, Tensor], config: TrainConfig) -> None:
        self.tensors = tensors
        self.seed = config.seed
        self.latent_side = config.resolution // config.model.factor

    def __len__(self) -> int:
        return len(self.tensors["moments"])

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """The sample of an index, with noise of (epoch, index)."""
        epoch, index = key
        noise = draw_noise(self.seed, epoch, index, self.latent_side)
        sample = {name: tensor[index] for name, tensor in self.tensors.items()}
        return {**sample, **noise, "skipped": []}


@torch.no_grad()
def encode_samples(stage: DenoiserStage, dataset: Samples, count: int) -> dict[str, Tensor]:
    """Put samples through the frozen parts.

    Returns:
        `moments`, `masked_moments`, `latent_keep_mask`, `class_token` as
        `exemplar_model.training.data.encoded` has them; `grey_moments` [N, 8, h, w] of the picture
        whose hole is black-and-white; `light` [N, 1, h, w] in [0, 1], how light the picture is.
        All in fp16.
    """
    parts: dict[str, list[Tensor]] = {}
    for first in track(range(0, count, BATCH), "Encoding samples"):
        batch = collate([dataset[0, index] for index in range(first, min(first + BATCH, count))])
        encoded = stage.encode(batch)
        image = batch["image"]
        light = luminance(image)
        grey = torch.lerp(light.expand_as(image), image, batch["keep_mask"])
        side = encoded.moments.shape[-1]
        for name, tensor in (
            ("moments", encoded.moments),
            ("masked_moments", encoded.masked_moments),
            ("latent_keep_mask", encoded.keep_mask),
            ("class_token", encoded.class_token),
            ("grey_moments", encode_moments(stage.autoencoder, grey)),
            ("light", F.adaptive_avg_pool2d(light / 2 + 0.5, side)),
        ):
            parts.setdefault(name, []).append(tensor.half())
    return {name: torch.cat(tensors) for name, tensors in parts.items()}


def luminance(image: Tensor) -> Tensor:
    """[B, 3, H, W] → [B, 1, H, W], in the same range."""
    return (image * image.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)
