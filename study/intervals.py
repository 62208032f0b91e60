"""What guidance in a limited interval of the schedule costs and changes."""

from __future__ import annotations

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from .likeness import likeness_cells
from .painter import Painter
from .report import Section, sheet, to_image
from .solver_results import Task

SETTING = Task("plms", "ddim_uniform", 50, 5.0)
"""The paper's."""
INTERVALS = (
    (0.0, 1.0),
    (0.1, 1.0),
    (0.2, 1.0),
    (0.0, 0.9),
    (0.0, 0.8),
    (0.0, 0.6),
    (0.0, 0.4),
    (0.1, 0.8),
    (0.2, 0.8),
)
SEEDS = (0, 1)
SHOWN = 8
console = Console()


def study_intervals(painter: Painter, setting: Task = SETTING) -> Section:
    """Paint with guidance in each interval; the whole schedule comes first, to compare with."""
    rows: list[list[str]] = []
    columns: list[Tensor] = []
    whole: list[Tensor] = []
    for start, end in track(INTERVALS, "Guidance", console=console):
        model = painter.guide_within(painter.model, start, end)
        paintings = [painter.paint(model, setting, seed) for seed in SEEDS]
        pictures = [each.pictures for each in paintings]
        whole = whole or pictures
        columns.append(pictures[0])
        cases = [case for each in pictures for case in painter.cases(each)]
        change = (torch.cat(pictures) - torch.cat(whole)).square().mean().sqrt()
        rows.append(
            [
                f"{start:g} to {end:g}",
                f"{paintings[0].evaluations:g}",
                f"{255 * float(change):.1f}",
                *likeness_cells(painter.components, cases),
            ]
        )
    drawn = [[to_image(each[number]) for each in columns] for number in range(SHOWN)]
    return Section(
        "Guidance in a limited interval",
        f"{len(SEEDS) * len(columns[0])} paintings for each interval: {setting.key}. Change: root "
        "mean square difference of the sampled regions to guidance throughout, of 255. Top-1 and "
        "top-5 among the held-out objects (chance 5 % and 25 %); painted: cosine of the painted "
        "area's token to the exemplar's.",
        ["interval", "evaluations", "change", "top-1", "top-5", "painted"],
        rows,
        {"intervals.png": sheet([row[0] for row in rows], drawn)},
    )
