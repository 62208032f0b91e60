"""How much a finished picture [H, W, 3] in [0, 1] shows the object that was to be painted."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from exemplar_model.standalone.components import Components
from exemplar_model.standalone.pipeline import encode
from lab.tiny_model.held_out import Scene, objects
from lab.tiny_model.transfer import descriptor, drawn_into, rank

from .painted_object import PaintedObject


def rank_of(picture: Tensor, painted: PaintedObject) -> int:
    """How many objects the picture resembles more than its own."""
    scene = painted.scene
    wanted = np.stack([descriptor(drawn_into(each, scene), scene) for each in objects()])
    return rank(descriptor(picture.numpy(), scene), wanted, painted.number)


def likeness_cells(components: Components, painted: list[PaintedObject]) -> list[str]:
    """Of the finished pictures, for a table: top-1 and top-5 among the objects, mean cosine."""
    finished = [each.paste()[0] for each in painted]
    ranks = np.array([rank_of(*each) for each in zip(finished, painted, strict=True)])
    cosine = token_likeness(components, finished, painted).mean()
    return [f"{np.mean(ranks < 1):.1%}", f"{np.mean(ranks < 5):.1%}", f"{float(cosine):.3f}"]


def color_difference(picture: Tensor, painted: PaintedObject) -> float:
    """Of colors' mean and standard deviation to those of the object drawn into the hole.

    Both summed, mean of channels, of 255.
    """
    drawn_there = torch.from_numpy(drawn_into(objects()[painted.number], painted.scene))
    pictures = picture, drawn_there
    found, drawn = (hole_of(each, painted.scene).reshape(-1, 3) for each in pictures)
    means = (found.mean(dim=0) - drawn.mean(dim=0)).abs()
    deviations = (found.std(dim=0) - drawn.std(dim=0)).abs()
    return 255 * float((means + deviations).mean())


def token_likeness(
    components: Components, pictures: list[Tensor], painted: list[PaintedObject]
) -> Tensor:
    """Cosines [N] of the painted areas' tokens to those of their exemplars."""
    areas = [hole_of(*each) for each in zip(pictures, (p.scene for p in painted), strict=True)]
    exemplars = [each.exemplar for each in painted]
    return torch.cosine_similarity(tokens(components, areas), tokens(components, exemplars), dim=1)


def tokens(components: Components, pictures: list[Tensor]) -> Tensor:
    """Of pictures, [N, D], centered on the null vector."""
    with torch.inference_mode():
        context, null = encode(components, pictures)
        return (context - null)[:, 0]


def hole_of(picture: Tensor, scene: Scene) -> Tensor:
    """View of what lies in the hole of the scene."""
    left, top, right, bottom = scene.hole
    return picture[top:bottom, left:right]
