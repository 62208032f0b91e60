"""Paintings by variants of one MODEL, beside those of the first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor

from lab.panels import captioned_grid

from .host_sampler import HostSampler
from .likeness import likeness_cells
from .report import to_image
from .solver_results import Task

SEEDS = (0, 1)
SHOWN = 8
console = Console()


@dataclass(frozen=True)
class Compared:
    """What one variant painted.

    Attributes:
        evaluations: of the UNet for one picture.
        changes: [N], root mean square difference of each region to the first variant's, of 255.
        likeness: cells of a table, see `likeness_cells`.
        pictures: [M, h, w, 3] in [0, 1], the regions of the first seed.
    """

    evaluations: float
    changes: Tensor
    likeness: list[str]
    pictures: Tensor


def compare(
    sampler: HostSampler, models: Mapping[str, Any], setting: Task, title: str
) -> dict[str, Compared]:
    """Paint the same with every MODEL; the first is what the others are compared with."""
    compared: dict[str, Compared] = {}
    first: Tensor | None = None
    for name, model in track(models.items(), title, console=console):
        paintings = [sampler.sample(model, setting, seed) for seed in SEEDS]
        pictures = torch.cat([each.pictures for each in paintings])
        first = pictures if first is None else first
        painted = [one for each in paintings for one in sampler.in_scenes(each.pictures)]
        compared[name] = Compared(
            paintings[0].evaluations,
            255 * (pictures - first).square().mean(dim=(1, 2, 3)).sqrt(),
            likeness_cells(sampler.components, painted),
            paintings[0].pictures,
        )
    return compared


def contact_sheet(compared: Mapping[str, Compared]) -> Image.Image:
    """Some of the regions, a column a variant."""
    rows = [
        [to_image(each.pictures[number]) for each in compared.values()] for number in range(SHOWN)
    ]
    return captioned_grid(list(compared), rows)
