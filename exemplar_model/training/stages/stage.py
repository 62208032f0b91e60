"""The interface of a training stage between engine and model: module, loss, export."""

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
    """A model that can be trained.

    Attributes:
        config: of the run.
        device: of all weights and batches.
        module: holds every parameter that is trained, and no frozen one.
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
        """Called before each forward pass, with the number of updates that are done."""

    @abstractmethod
    def loss(self, module: Any, batch: Batch) -> tuple[Tensor, Scalars]:
        """Loss of a batch, and values to be logged.

        Args:
            module: `self.module`, or what accelerate wrapped it in.
            batch: as `data.sample.collate` makes it, on the device.
        """

    @abstractmethod
    def validate(self, module: Any, batches: Iterable[Batch]) -> dict[str, float]:
        """Losses on held-out batches."""

    @abstractmethod
    def preview(self, batch: Batch) -> Tensor:
        """Held-out samples with their results as one picture: [3, H, W] in [0, 1]."""

    @abstractmethod
    def export(self, open_data: Callable[[], Samples]) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Weights in the original key layout, and as metadata what their shapes cannot tell.

        Args:
            open_data: opens the training data, which only some stages need.
        """


def fixed_batches(dataset: Samples, samples: int, size: int) -> Iterable[Batch]:
    """The first samples of epoch 0, in batches."""
    for first in range(0, samples, size):
        yield collate([dataset[0, index] for index in range(first, min(first + size, samples))])


def grid(rows: list[list[Tensor]]) -> Tensor:
    """Pictures [3, S, S] of equal size, in rows and columns: [3, rows × S, columns × S]."""
    cells = [cell for row in rows for cell in row]
    return make_grid(cells, nrow=len(rows[0]), padding=0).clamp(0.0, 1.0)
