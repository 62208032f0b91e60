"""Which pictures are drawn: objects, rooms, poses and file names, all following from names alone.

Needs no Blender. A group is named by its first file; whoever changes names or order here draws
everything anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from random import Random

from .catalogue import Model

VIEWS = 4
"""Views in a group; they share the import of the model."""
INVENTED = 0.5
"""Invented objects for each model in a round."""
HELD_OUT_ROOMS = 3
TURN = math.radians(35)
"""How far the object of the other view is turned."""


@dataclass(frozen=True)
class Pose:
    """How the object stands to the camera.

    Attributes:
        turn: of the object about its upright axis, in radians; 0 shows its front.
        aside, above: direction of the camera from the object, in radians.
        distance: of the camera; at 1 the object's bounding sphere just fits into the picture.
        shift: of the object from the picture's centre, as a share of what the distance leaves.
    """

    turn: float
    aside: float
    above: float
    distance: float
    shift: tuple[float, float]

    @classmethod
    def draw(cls, rng: Random) -> Pose:
        """A random pose; the front is seen more often than the back."""
        front = rng.random() < 0.65
        return cls(
            turn=rng.uniform(-0.9, 0.9) if front else rng.uniform(-math.pi, math.pi),
            aside=rng.uniform(-0.45, 0.45),
            above=rng.uniform(0.12, 0.55),
            distance=rng.uniform(0.95, 1.5),
            shift=(rng.uniform(-1, 1), rng.uniform(-0.6, 0.6)),
        )


@dataclass(frozen=True)
class View:
    """One picture to draw.

    Attributes:
        file: name without suffix.
        room: seed of floor, walls, light and other objects.
        pose: of the main object.
        variant: seed of the main object's colors; None leaves them as they are.
        empty: draw the room without the main object too.
    """

    file: str
    room: str
    pose: Pose
    variant: str | None
    empty: bool = False


@dataclass(frozen=True)
class Group:
    """Views of one object: a model of the package, or an invented one, whose seed is its name."""

    name: str
    model: Model | None
    views: list[View]


def training_groups(models: list[Model], rounds: int) -> list[Group]:
    """Every model and half as many invented objects, in each round anew and in another order."""
    groups: list[Group] = []
    for number in range(rounds):
        invented = [f"invented-{number}-{i}" for i in range(round(INVENTED * len(models)))]
        objects = [(model.name, model) for model in models] + [(name, None) for name in invented]
        Random(number).shuffle(objects)
        for name, model in objects:
            views = [
                View(
                    file=f"{name}-{view:03d}",
                    room=f"{name}-{view}",
                    pose=Pose.draw(Random(f"pose-{name}-{view}")),
                    variant=f"{name}-{view}" if model else None,
                )
                for view in range(number * VIEWS, (number + 1) * VIEWS)
            ]
            groups.append(Group(name, model, views))
    return groups


def held_out_groups(models: list[Model]) -> list[Group]:
    """Each object in three rooms: the true picture, the empty room, and two exemplars.

    One exemplar shows the same pose in another room and light, the other a view turned by `TURN`.
    """
    groups: list[Group] = []
    for model in models:
        views: list[View] = []
        for room in range(HELD_OUT_ROOMS):
            pose = Pose.draw(Random(f"pose-{model.name}-{room}"))
            # seen from the front, where objects differ most
            pose = replace(pose, turn=Random(f"{model.name}-{room}").uniform(-0.6, 0.6))
            turned = replace(pose, turn=pose.turn + (TURN if pose.turn < 0 else -TURN))
            name = f"{model.name}-{room}"
            views += [
                View(f"{name}-true", f"held-out-{room}", pose, None, empty=True),
                View(f"{name}-same", f"elsewhere-{name}", pose, None),
                View(f"{name}-turned", f"elsewhere-too-{name}", turned, None),
            ]
        groups.append(Group(model.name, model, views))
    return groups
