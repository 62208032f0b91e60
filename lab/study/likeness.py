"""How much a finished picture [H, W, 3] in [0, 1] shows the object that was to be painted."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from exemplar_model.standalone.components import Components
from exemplar_model.standalone.pipeline import encode
from lab.tiny_model.held_out import objects
from lab.tiny_model.transfer import descriptor, drawn_into, rank

from .cases import Case

Pixels = np.ndarray[Any, Any]


def rank_of(picture: Tensor, case: Case) -> int:
    """How many objects the picture resembles more than its own."""
    scene = case.scene
    wanted = np.stack([descriptor(drawn_into(thing, scene), scene) for thing in objects()])
    return rank(descriptor(picture.numpy(), scene), wanted, case.thing)


def likeness_cells(components: Components, cases: list[Case]) -> list[str]:
    """Of the finished pictures, for a table: top-1 and top-5 among the objects, mean cosine."""
    finished = [case.finish()[0] for case in cases]
    ranks = np.array([rank_of(*each) for each in zip(finished, cases, strict=True)])
    cosine = token_likeness(components, finished, cases).mean()
    return [f"{np.mean(ranks < 1):.1%}", f"{np.mean(ranks < 5):.1%}", f"{float(cosine):.3f}"]


def grid_difference(picture: Tensor, case: Case) -> float:
    """Mean difference to the object drawn into the hole, over a grid of colours, of 255."""
    found, drawn = (descriptor(each, case.scene) for each in (picture.numpy(), _drawn(case)))
    return 255 * float(np.abs(found - drawn).mean())


def color_difference(picture: Tensor, case: Case) -> float:
    """Of colours' mean and standard deviation to those of the object drawn into the hole.

    Both summed, mean of channels, of 255.
    """
    pictures = picture, torch.from_numpy(_drawn(case))
    found, drawn = (hole_of(each, case).reshape(-1, 3) for each in pictures)
    means = (found.mean(dim=0) - drawn.mean(dim=0)).abs()
    deviations = (found.std(dim=0) - drawn.std(dim=0)).abs()
    return 255 * float((means + deviations).mean())


def token_likeness(components: Components, pictures: list[Tensor], cases: list[Case]) -> Tensor:
    """Cosines [N] of the painted areas' tokens to those of the exemplars of the cases."""
    areas = [hole_of(picture, case) for picture, case in zip(pictures, cases, strict=True)]
    exemplars = [case.exemplar for case in cases]
    return torch.cosine_similarity(tokens(components, areas), tokens(components, exemplars), dim=1)


def tokens(components: Components, pictures: list[Tensor]) -> Tensor:
    """Of pictures, [N, D], centred on the null vector."""
    with torch.inference_mode():
        context, null = encode(components, pictures)
        return (context - null)[:, 0]


def hole_of(picture: Tensor, case: Case) -> Tensor:
    """View of what lies in the hole of the scene."""
    left, top, right, bottom = case.scene.hole
    return picture[top:bottom, left:right]


def _drawn(case: Case) -> Pixels:
    return drawn_into(objects()[case.thing], case.scene)
