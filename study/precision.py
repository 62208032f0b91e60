"""What smaller weights change in the picture."""

from __future__ import annotations

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from .likeness import likeness_cells
from .painter import Painter
from .report import Section, sheet, to_image
from .solver_results import Task

SEEDS = (0, 1)
SHOWN = 6
console = Console()


def study_precision(painter: Painter, setting: Task) -> Section:
    """Paint with the denoiser's weights in each type; fp32 comes first, to compare with."""
    rows: list[list[str]] = []
    columns: list[Tensor] = []
    exact: list[Tensor] = []
    for weight_dtype in track(painter.weight_dtypes, "Precision", console=console):
        model = painter.load(weight_dtype)
        computes_in = model.model.manual_cast_dtype or model.model.get_dtype()
        pictures = [painter.paint(model, setting, seed).pictures for seed in SEEDS]
        exact = exact or pictures
        columns.append(pictures[0])
        cases = [case for each in pictures for case in painter.cases(each)]
        difference = torch.cat(pictures) - torch.cat(exact)
        changes = 255 * difference.square().mean(dim=(1, 2, 3)).sqrt()
        rows.append(
            [
                weight_dtype,
                str(computes_in).removeprefix("torch."),
                f"{float(changes.mean()):.2f}",
                f"{float(changes.max()):.2f}",
                *likeness_cells(painter.components, cases),
            ]
        )
    drawn = [[to_image(each[number]) for each in columns] for number in range(SHOWN)]
    return Section(
        "Smaller weights",
        f"{len(SEEDS) * len(columns[0])} paintings in the host for each *weight_dtype* ("
        f"{setting.key}), on this machine's CPU. Change: root mean square difference of a sampled "
        "region to that of fp32, of 255, mean and largest of the paintings; top-1, top-5 and "
        "painted as with poor exemplars.",
        ["weights", "computes in", "change", "largest", "top-1", "top-5", "painted"],
        rows,
        {"precision.png": sheet([row[0] for row in rows], drawn)},
    )
