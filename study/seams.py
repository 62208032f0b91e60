"""Seams and colours: the same paintings pasted in every way."""

from __future__ import annotations

import numpy as np
from PIL import Image

from exemplar_model.image import resize_image

from .cases import FEATHER, Case
from .measures import change_outside, color_distance, seam
from .report import Section, sheet, to_image
from .treatments import TREATMENTS

OPTIONS = [(name, feather) for feather in (0, FEATHER) for name in TREATMENTS]
UNTREATED = ("no match", 0)
DEFAULT = ("block least squares", FEATHER)
"""What *Exemplar Inpaint Sampler* does unless told otherwise."""
SHOWN = 8


def study_seams(cases: list[Case]) -> Section:
    """Measure every option on every case, and draw the first eight of different objects."""
    seams: dict[tuple[str, int], list[float]] = {option: [] for option in OPTIONS}
    colors: dict[tuple[str, int], list[float]] = {option: [] for option in OPTIONS}
    outside: dict[tuple[str, int], int] = dict.fromkeys(OPTIONS, 0)
    shown = {round(number) for number in np.linspace(0, len(cases) - 1, SHOWN)}
    drawn: list[list[Image.Image]] = []
    for number, case in enumerate(cases):
        bounds = case.regions.bounds[0]
        original = case.regions.images[0]
        before, mask = bounds.cut(original), case.regions.masks[0]
        patch = resize_image(case.patch[None], (bounds.height, bounds.width))[0]
        results: dict[tuple[str, int], Image.Image] = {}
        for name, treat in TREATMENTS.items():
            treated = treat(patch, before, bounds.cut(mask) < 0.5)
            drift = color_distance(treated, before, bounds.cut(mask))
            for feather in (0, FEATHER):
                option = (name, feather)
                result, pasted = case.paste(treated, feather)
                seams[option].append(seam(result, original, mask))
                colors[option].append(drift)
                outside[option] = max(outside[option], change_outside(result, original, pasted))
                results[option] = to_image(result)
        if number in shown:
            drawn.append([to_image(original), *results.values()])
    untreated = np.array(seams[UNTREATED])
    rows = [
        [
            f"{name} (default)" if (name, feather) == DEFAULT else name,
            f"{feather} px",
            f"{np.mean(seams[name, feather]):.1f}",
            f"{np.mean(np.array(seams[name, feather]) < untreated):.0%}",
            f"{np.mean(colors[name, feather]):.2f}",
            str(outside[name, feather]),
        ]
        for name, feather in OPTIONS
    ]
    captions = ["scene", *(f"{name}, {feather} px" for name, feather in OPTIONS)]
    return Section(
        "Seams",
        f"{len(cases)} paintings, each pasted in every way. Seam: false gradient in the band of 8 "
        "pixels outside the mask and across its border, of 255; better: share of paintings with a "
        "lower seam than a plain paste. Colour: CIEDE2000 of the painted region in that band, "
        "before it is pasted. Outside: largest change where nothing was pasted, of 255.",
        ["colours", "feather", "seam", "better", "colour", "outside"],
        rows,
        {"seams.png": sheet(captions, drawn)},
    )
