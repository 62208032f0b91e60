"""Seams: the same paintings pasted plainly and as the nodes do it, with a ramp and without."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from exemplar_model.standalone.components import Components
from exemplar_model.standalone.measures import change_outside, seam
from lab.panels import captioned_grid

from .likeness import color_difference, rank_of, token_likeness
from .painted_object import FEATHER, PaintedObject
from .report import Section, to_image

PASTES = {
    "plain": {"match_color": False},
    "default": {},
    f"plain, feather {FEATHER}": {"match_color": False, "feather": FEATHER},
    f"default, feather {FEATHER}": {"feather": FEATHER},
}
"""Arguments of `PaintedObject.paste`; the first is what the others are compared with."""
SHOWN = 8


def study_seams(components: Components, painted: list[PaintedObject]) -> Section:
    """Measure every paste of every painting, and draw some of different objects.

    Args:
        components: the model that painted them, to encode with.
        painted: the paintings.
    """
    rows: list[list[str]] = []
    plain: list[float] = []
    finished: dict[str, list[Tensor]] = {}
    for name, settings in PASTES.items():
        pasted = [each.paste(**settings) for each in painted]
        finished[name] = [picture for picture, _ in pasted]
        likeness = token_likeness(components, finished[name], painted)
        measured: list[tuple[float, ...]] = []
        for (picture, weight), each in zip(pasted, painted, strict=True):
            original, mask = each.regions.images[0], each.regions.masks[0]
            measured.append(
                (
                    seam(picture, original, mask),
                    color_difference(picture, each),
                    rank_of(picture, each) < 1,
                    change_outside(picture, original, weight),
                    change_outside(picture, original, mask),
                )
            )
        seams, colors, first, outside, beyond = np.array(measured).T
        plain = plain or list(seams)
        rows.append(
            [
                name,
                f"{seams.mean():.1f}",
                f"{np.mean(seams < plain):.0%}",
                f"{colors.mean():.1f}",
                f"{first.mean():.0%}",
                f"{float(likeness.mean()):.3f}",
                f"{outside.max():.0f}",
                f"{beyond.max():.0f}",
            ]
        )
    numbers = np.linspace(0, len(painted) - 1, SHOWN).round().astype(int)
    drawn = [
        [
            to_image(each)
            for each in (painted[n].regions.images[0], *(of[n] for of in finished.values()))
        ]
        for n in numbers
    ]
    return Section(
        "Seams",
        f"{len(painted)} paintings. Seam: false gradient in the band of 8 pixels outside the mask "
        "and across its border, of 255; better: share of paintings with a lower seam than a plain "
        "paste. Object: distance of the hole's colors (mean and deviation) to those of the object "
        "drawn into it, of 255; top-1: recognised among twenty objects; likeness: cosine of the "
        "hole's token to the exemplar's. Outside: largest change where nothing was pasted, and "
        "anywhere outside the mask, of 255.",
        ["paste", "seam", "better", "object", "top-1", "likeness", "outside", "outside the mask"],
        rows,
        {"seams.png": captioned_grid(["scene", *PASTES], drawn)},
    )
