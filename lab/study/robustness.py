"""How much of the exemplar comes across when it is shown badly."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from exemplar_model.standalone.components import Components

from .cases import Case
from .likeness import rank_of, token_likeness, tokens
from .measures import change_outside
from .report import Section, sheet, to_image

SHOWN = 6


def study_exemplars(components: Components, cases: dict[str, list[Case]]) -> Section:
    """Recognise the objects in the paintings of each kind of exemplar.

    Args:
        components: the model that painted them, to encode with.
        cases: paintings by kind of exemplar, the first kind being the clean one, all of the same
            objects and scenes in the same order.
    """
    first = next(iter(cases.values()))
    clean = tokens(components, [case.exemplar for case in first])
    rows: list[list[str]] = []
    for name, paintings in cases.items():
        results = [case.finish()[0] for case in paintings]
        ranks = [rank_of(*each) for each in zip(results, paintings, strict=True)]
        given = tokens(components, [case.exemplar for case in paintings])
        likeness = torch.cosine_similarity(given, clean, dim=1)
        painted = token_likeness(components, results, first)
        rows.append(
            [
                name,
                f"{np.mean(np.array(ranks) < 1):.0%}",
                f"{np.mean(np.array(ranks) < 5):.0%}",
                f"{float(likeness.mean()):.2f}",
                f"{float(painted.mean()):.2f}",
                str(max(_change_outside(case) for case in paintings)),
            ]
        )
    numbers = np.linspace(0, len(first) - 1, SHOWN).round().astype(int)
    drawn = [
        [to_image(each) for case in (cases[name][n] for name in cases) for each in _pair(case)]
        for n in numbers
    ]
    captions = [text for name in cases for text in (name, "")]
    return Section(
        "Poor exemplars",
        f"{len(first)} paintings of each kind. Top-1 and top-5 among the twenty held-out objects "
        "(chance 5 % and 25 %), as `nox -s transfer` recognises them; given: cosine of the "
        "exemplar's token to that of the clean exemplar; painted: cosine of the token of the "
        "painted area to it; outside: largest change where nothing was pasted, of 255.",
        ["exemplar", "top-1", "top-5", "given", "painted", "outside"],
        rows,
        {"exemplars.png": sheet(captions, drawn)},
    )


def _change_outside(case: Case) -> int:
    result, pasted = case.finish()
    return change_outside(result, case.regions.images[0], pasted)


def _pair(case: Case) -> tuple[Tensor, Tensor]:
    return case.exemplar, case.finish()[0]
