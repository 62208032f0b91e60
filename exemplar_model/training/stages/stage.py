"""The interface of a training stage, which the engine trains: a module, its loss, its export."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torchvision.utils import make_grid

from ..config import TrainConfig
from ..data.dataset import Samples
from ..data.sample import Batch, collate

Scalars = dict[str, Tensor]
AModule = TypeVar("AModule", bound=nn.Module)


class Stage(ABC):
    """One thing to train.

    Attributes:
        config: of the run.
        device: of all weights and batches.
        module: every parameter with a gradient, and no other, is in it.
    """

    module: nn.Module

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self.config = config
        self.device = device

    def to_device(self, module: AModule) -> AModule:
        """Move a module to the device, in the memory format of the configuration."""
        if not self.config.channels_last:
            return module.to(self.device)
        moved: Any = module  # torch's annotations of `to` lack the format
        return moved.to(self.device, memory_format=torch.channels_last)

    def begin(self, step: int) -> None:  # noqa: B027 - most stages have nothing to do
        """Called before each update; `step` updates are done."""

    @abstractmethod
    def loss(self, module: Any, batch: Batch) -> tuple[Tensor, Scalars]:
        """Loss of a batch, and values to be logged.

        Args:
            module: `self.module`, or what accelerate wrapped it in.
            batch: as `dataset.collate` makes it, on the device.
        """

    @abstractmethod
    def validate(self, module: Any, batches: Iterable[Batch]) -> dict[str, float]:
        """Losses on held-out batches."""

    @abstractmethod
    def preview(self, batch: Batch) -> Tensor:
        """Held-out samples with their results as one picture: [3, H, W] in [0, 1]."""

    @abstractmethod
    def export(self, open_data: Callable[[], Samples]) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Weights under their original names, and metadata that their shapes cannot tell.

        Args:
            open_data: opens the training data, for stages that need them.
        """


def fixed_batches(dataset: Samples, samples: int, size: int) -> Iterable[Batch]:
    """The first samples of epoch 0, in batches."""
    for first in range(0, samples, size):
        yield collate([dataset[0, index] for index in range(first, min(first + size, samples))])


def grid(rows: list[list[Tensor]]) -> Tensor:
    """Pictures [3, S, S] of equal size, in rows and columns: [3, rows × S, columns × S]."""
    cells = [cell for row in rows for cell in row]
    return make_grid(cells, nrow=len(rows[0]), padding=0).clamp(0.0, 1.0)
