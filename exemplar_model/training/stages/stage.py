"""What the engine trains: one stage is a module, its loss, and what becomes of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ..config import TrainConfig
from ..data.dataset import Samples
from ..data.sample import Batch, collate

Scalars = dict[str, Tensor]


class Stage(ABC):
    """One thing to train.

    Attributes:
        config: of the run.
        device: where everything lives.
        module: all that is trained, and nothing else that has parameters with gradients.
    """

    module: nn.Module

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self.config = config
        self.device = device

    def begin(self, step: int) -> None:  # noqa: B027 - most stages have nothing to do
        """Before the update after `step` others."""

    @abstractmethod
    def loss(self, module: Any, batch: Batch) -> tuple[Tensor, Scalars]:
        """Loss of a batch, and parts of it worth watching.

        Args:
            module: `self.module`, perhaps wrapped for distribution.
            batch: of samples, on the device.
        """

    @abstractmethod
    def validate(self, module: Any, batches: Iterable[Batch]) -> dict[str, float]:
        """Losses on held-out batches, always the same ones."""

    @abstractmethod
    def sheet(self, batch: Batch) -> Tensor:
        """A picture of what has been learned: [3, H, W] in [0, 1]."""

    @abstractmethod
    def export(self, dataset: Samples) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Weights under their original names, and metadata that their shapes cannot tell."""


def fixed_batches(dataset: Samples, samples: int, size: int) -> Iterable[Batch]:
    """The first samples of epoch 0, in batches."""
    for first in range(0, samples, size):
        yield collate([dataset[0, index] for index in range(first, min(first + size, samples))])


def grid(rows: list[list[Tensor]]) -> Tensor:
    """Pictures [3, S, S] of equal size, in rows and columns: [3, rows × S, columns × S]."""
    return torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1).clamp(0.0, 1.0)
