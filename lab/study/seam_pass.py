"""A second pass over the seam: does sampling a thin ring anew hide what pasting leaves?

The picture with the painting pasted in goes through the sampler once more, with a ring along the
border of the mask as its mask and a low denoise. In the graph, a second *Exemplar Inpaint Sampler*
does it.
"""

from __future__ import annotations

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from exemplar_model.mask import grow_mask
from exemplar_model.region import find_regions

from .cases import CONTEXT, Case, default_paste
from .measures import change_outside, color_distance, seam
from .painter import Painter
from .report import Section, sheet, to_image
from .solver_results import Task

DENOISES = (0.2, 0.4, 0.6)
REACH = 4
"""Pixels of the ring on either side of the border."""
SHOWN = 8
console = Console()


def study_seam_pass(painter: Painter, setting: Task, seed: int = 0) -> Section:
    """Compare a plain paste, the default paste, and the default paste with a second pass."""
    cases = painter.cases(painter.paint(painter.model, setting, seed).pictures)
    default = [case.finish() for case in cases]
    rings = [_ring(case.regions.masks[0]) for case in cases]
    regions = [
        find_regions(
            picture[None],
            ring,
            resolution=painter.resolution,
            multiple=painter.components.config.factor,
            context=CONTEXT,
        )
        for (picture, _), ring in zip(default, rings, strict=True)
    ]
    results = {"plain paste": [case.paste(case.patch, 0) for case in cases], "default": default}
    for denoise in track(DENOISES, "Second pass", console=console):
        crops, masks = zip(*(each.crop() for each in regions), strict=True)
        batch = torch.cat(crops), torch.cat(masks)
        again = painter.paint(painter.model, setting, seed, crops=batch, denoise=denoise)
        results[f"second pass, denoise {denoise:g}"] = [
            (picture, torch.maximum(before[1], pasted))
            for each, patch, before in zip(regions, again.pictures, default, strict=True)
            for picture, pasted in [default_paste(each, patch)]
        ]
    return _section(cases, results, setting)


def _ring(mask: Tensor) -> Tensor:
    """What lies within `REACH` pixels of the border of a mask [H, W]."""
    return grow_mask(mask, REACH) * grow_mask(1.0 - mask, REACH)


def _section(
    cases: list[Case], results: dict[str, list[tuple[Tensor, Tensor]]], setting: Task
) -> Section:
    seams: dict[str, list[float]] = {}
    rows: list[list[str]] = []
    for name, pasted in results.items():
        of_case = list(zip(pasted, cases, strict=True))
        measured = [
            (
                seam(picture, case.regions.images[0], case.regions.masks[0]),
                color_distance(picture, case.regions.images[0], case.regions.masks[0]),
                change_outside(picture, case.regions.images[0], weight),
            )
            for (picture, weight), case in of_case
        ]
        seams[name], colors, outside = map(list, zip(*measured, strict=True))
        less = [
            f"{np.mean(np.array(seams[name]) < np.array(seams[other])):.0%}"
            for other in ("plain paste", "default")
            if other in seams and other != name
        ]
        rows.append(
            [
                name,
                f"{np.mean(seams[name]):.1f}",
                *(less + ["–"] * (2 - len(less))),
                f"{np.mean(colors):.2f}",
                str(max(outside)),
            ]
        )
    numbers = np.linspace(0, len(cases) - 1, SHOWN).round().astype(int)
    drawn = [[to_image(pasted[number][0]) for pasted in results.values()] for number in numbers]
    return Section(
        "A second pass over the seam",
        f"{len(cases)} paintings in the host ({setting.key}), pasted plainly, as by default, and "
        f"then sampled anew in a ring of {REACH} pixels on either side of the mask's border. Seam "
        "and outside as above, what the ring reaches counting as pasted; below plain, below "
        "default: share of paintings with a lower seam than that; colour: CIEDE2000 of the "
        "finished picture in the band of 8 pixels outside the mask.",
        ["", "seam", "below plain", "below default", "colour", "outside"],
        rows,
        {"seam-pass.png": sheet(list(results), drawn)},
    )
