"""Seams and colours: the same paintings pasted in every way."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from exemplar_model.image import resize_image
from exemplar_model.standalone.components import Components

from .cases import FEATHER, Case
from .likeness import color_difference, rank_of, token_likeness
from .measures import change_outside, color_distance, seam
from .report import Section, sheet, to_image
from .treatments import TREATMENTS

OPTIONS = [(name, feather) for feather in (0, FEATHER) for name in TREATMENTS]
UNTREATED = ("no match", 0)
DEFAULT = ("screened Poisson", 0)
"""What *Exemplar Inpaint Sampler* does unless told otherwise."""
SHOWN = 8


def study_seams(components: Components, cases: list[Case]) -> Section:
    """Measure every option on every case, and draw eight cases of different objects.

    Args:
        components: the model that painted them, to encode with.
        cases: the paintings.
    """
    measured: dict[tuple[str, int], list[list[float]]] = {option: [] for option in OPTIONS}
    finished: dict[tuple[str, int], list[Tensor]] = {option: [] for option in OPTIONS}
    for case in cases:
        bounds, mask = case.regions.bounds[0], case.regions.masks[0]
        original = case.regions.images[0]
        before = bounds.cut(original)
        patch = resize_image(case.patch[None], (bounds.height, bounds.width))[0]
        for name, feather in OPTIONS:
            _, pasted = case.paste(patch, feather)
            treated = TREATMENTS[name](patch, before, bounds.cut(pasted) == 0)
            result, _ = case.paste(treated, feather)
            finished[name, feather].append(result)
            measured[name, feather].append(
                [
                    seam(result, original, mask),
                    color_distance(treated, before, bounds.cut(mask)),
                    color_difference(result, case),
                    rank_of(result, case) < 1,
                    change_outside(result, original, pasted),
                    change_outside(result, original, mask),
                ]
            )
    plain = np.array([case[0] for case in measured[UNTREATED]])
    rows: list[list[str]] = []
    for option in OPTIONS:
        seams, colors, things, first, outside, beyond = np.array(measured[option]).T
        name, feather = option
        likeness = token_likeness(components, finished[option], cases)
        rows.append(
            [
                f"{name} (default)" if option == DEFAULT else name,
                f"{feather} px",
                f"{seams.mean():.1f}",
                f"{np.mean(seams < plain):.0%}",
                f"{colors.mean():.2f}",
                f"{things.mean():.1f}",
                f"{first.mean():.0%}",
                f"{float(likeness.mean()):.3f}",
                f"{outside.max():.0f}",
                f"{beyond.max():.0f}",
            ]
        )
    numbers = np.linspace(0, len(cases) - 1, SHOWN).round().astype(int)
    drawn = [
        [to_image(cases[n].regions.images[0]), *(to_image(finished[o][n]) for o in OPTIONS)]
        for n in numbers
    ]
    captions = ["scene", *(f"{name}, {feather} px" for name, feather in OPTIONS)]
    return Section(
        "Seams",
        f"{len(cases)} paintings, each pasted in every way. Seam: false gradient in the band of 8 "
        "pixels outside the mask and across its border, of 255; better: share of paintings with a "
        "lower seam than a plain paste. Colour: CIEDE2000 of the painted region in that band, "
        "before it is pasted. Object: distance of the hole's colours (mean and deviation) to those "
        "of the object drawn into it, of 255; top-1: recognised among twenty objects; likeness: "
        "cosine of the hole's token to the exemplar's. Outside: largest change where nothing was "
        "pasted, and anywhere outside the mask, of 255.",
        [
            "colours",
            "feather",
            "seam",
            "better",
            "colour",
            "object",
            "top-1",
            "likeness",
            "outside",
            "outside the mask",
        ],
        rows,
        {"seams.png": sheet(captions, drawn)},
    )
