"""Stage 2 of a small model: its own class-token tower (the paper takes CLIP ViT-L/14).

From the class token of an augmented exemplar, a small decoder must draw the object alone on gray.
The decoder is not exported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...encoder import TOWER, ExemplarEncoder
from ...weights.key_maps import encoder_to_original
from ..config import TrainConfig
from ..data.dataset import Samples
from ..data.sample import Batch
from .stage import Scalars, Stage, grid

DRAWING_SIDE = 32
"""Side of the decoder's drawing, in pixels."""


class Drawing(nn.Module):
    """Exemplar → class token → drawing of the object."""

    def __init__(self, encoder: ExemplarEncoder) -> None:
        super().__init__()
        self.clip_vision = encoder.clip_vision
        self._class_token = encoder.class_token
        width = encoder.config.vision_width
        self.decoder = nn.Sequential(
            nn.Linear(width, 256 * 4 * 4),
            nn.Unflatten(1, (256, 4, 4)),
            *_doubling(256, 128),
            *_doubling(128, 64),
            *_doubling(64, 32),
            nn.Conv2d(32, 3, 3, padding=1),
        )

    def forward(self, view: Tensor) -> Tensor:
        """[B, 3, S, S] in [0, 1] → [B, 3, 32, 32] around 0…1."""
        return self.decoder(self._class_token(view)) + 0.5


def _doubling(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return (
        nn.GroupNorm(8, inputs),
        nn.SiLU(),
        nn.Conv2d(inputs, 4 * outputs, 3, padding=1),
        nn.PixelShuffle(2),
    )


class TowerStage(Stage):
    """Trains the vision tower; needs data with the outlines of objects."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        super().__init__(config, device)
        self.encoder = ExemplarEncoder(config.model.encoder).to(device)
        prepare_to_learn(self.encoder)
        self.module = self.to_device(Drawing(self.encoder))

    def loss(self, module: Any, batch: Batch) -> tuple[Tensor, Scalars]:
        """L1 and four times the squared error of the drawing."""
        difference = module(batch.pictures.exemplar).float() - _target(batch)
        squared = difference.square().mean()
        return difference.abs().mean() + 4.0 * squared, {"squared": squared.detach()}

    @torch.no_grad()
    def validate(self, module: Any, batches: Iterable[Batch]) -> dict[str, float]:
        """Squared error of drawings of held-out objects."""
        errors = [
            (self.module(batch.pictures.exemplar) - _target(batch)).square().mean()
            for batch in batches
        ]
        return {"squared": float(torch.stack(errors).mean())}

    @torch.no_grad()
    def preview(self, batch: Batch) -> Tensor:
        """Rows of exemplar, object and drawing."""
        columns = (
            F.interpolate(batch.pictures.exemplar, size=96, mode="area"),
            F.interpolate(batch.objects, size=96, mode="area"),
            F.interpolate(self.module(batch.pictures.exemplar), size=96, mode="nearest"),
        )
        return grid([[column[i] for column in columns] for i in range(len(columns[0]))])

    def export(self, open_data: Callable[[], Samples]) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The tower alone."""
        original = encoder_to_original(
            {k: v for k, v in self.encoder.state_dict().items() if k.startswith(TOWER)}
        )
        return original, self.config.model.hints


def prepare_to_learn(encoder: ExemplarEncoder) -> None:
    """Initialize the tower with large position embeddings and Xavier-uniform linear layers.

    CLIP's own initialization (position embeddings 50 times smaller than those of patches) suits its
    13 billion samples; with some hundred thousand the class token hardly learns where colors are.
    """
    for module in encoder.clip_vision.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
    for name, parameter in encoder.clip_vision.named_parameters():
        if name.endswith("position_embedding.weight"):
            nn.init.normal_(parameter)


def _target(batch: Batch) -> Tensor:
    return F.interpolate(batch.objects, size=DRAWING_SIDE, mode="area")
