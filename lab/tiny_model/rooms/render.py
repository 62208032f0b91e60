"""Draw rooms with Blender as a module; the same command goes on where it stopped.

    python -m lab.tiny_model.rooms.render MODELS OUT --worker 0 --workers 2

Runs in an environment of its own with `bpy`, `numpy` and `pillow`. A worker takes every
`workers`-th group of views: one object, four views of it, each in a room of its own. A group is
done when its line stands in a log, `OUT/worker-N.jsonl`. The groups are ordered so that whatever
has been drawn when it is stopped shows all objects about equally often.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import bpy  # pyright: ignore[reportMissingImports]
import numpy as np
from PIL import Image

from .catalogue import Model, fault, read_catalogue
from .log import append, log_file, read_groups
from .plan import Group, held_out_groups, training_groups
from .room import Room, Thing
from .solids import invent
from .surfaces import Recolor

MOST_OTHERS = 3


def main() -> None:
    """Draw what is not drawn yet."""
    parser = argparse.ArgumentParser(prog="render", description=__doc__)
    parser.add_argument("models", type=Path, help="folder with the unpacked archives")
    parser.add_argument("out", type=Path)
    parser.add_argument("--held-out", action="store_true", help="draw the held-out objects instead")
    parser.add_argument("--rounds", type=int, default=6, help="groups of each object")
    parser.add_argument("--side", type=int, default=128, help="of a picture, in pixels")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no group after this")
    parser.add_argument("--worker", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    usable = [model for model in read_catalogue(arguments.models) if fault(model) is None]
    chosen = [model for model in usable if model.held_out == arguments.held_out]
    plan = (
        held_out_groups(chosen) if arguments.held_out else training_groups(chosen, arguments.rounds)
    )
    draw_groups(plan[arguments.worker :: arguments.workers], chosen, arguments)


def draw_groups(groups: list[Group], models: list[Model], arguments: argparse.Namespace) -> None:
    """Draw the groups that have no line yet."""
    log = log_file(arguments.out, arguments.worker)
    done = {line["group"] for line in read_groups(arguments.out)}
    began, drawn = time.monotonic(), 0
    for group in groups:
        key = group.views[0].file
        if key in done:
            continue
        if time.monotonic() - began > 60 * arguments.minutes:
            break
        try:
            with quiet(), tempfile.TemporaryDirectory() as scratch:
                pictures = draw_group(group, models, arguments.out, arguments.side, Path(scratch))
            line: dict[str, Any] = {"group": key, "pictures": pictures}
        except (ValueError, RuntimeError) as error:  # a model that Blender cannot read
            line = {"group": key, "pictures": [], "fault": str(error).strip()[-200:]}
        append(log, line)
        drawn += len(line["pictures"])
        seconds = (time.monotonic() - began) / max(drawn, 1)
        sys.stderr.write(f"\r{drawn} pictures, {seconds:.2f} s each, last {group.name:40.40}")


def draw_group(
    group: Group, models: list[Model], out: Path, side: int, scratch: Path
) -> list[dict[str, Any]]:
    """Draw the views of a group; gives what is known of each picture."""
    room = Room(side, scratch)
    rng = Random(f"group-{group.name}-{group.views[0].file}")
    parts = invent(Random(group.name)) if group.model is None else _imported(group.model)
    thing = Thing(parts, number=1)
    recolor = Recolor(_materials(parts))
    others = _others(rng, models, group)
    pictures: list[dict[str, Any]] = []
    for view in group.views:
        room_rng = Random(f"room-{view.room}")
        room.furnish(room_rng, thing, view.pose)
        shown = room_rng.choice([0, 0, 1, 1, 2, 3]) if not view.empty else 0
        for _, other, _ in others:
            other.show(False)
        visible = others[:shown]
        for _, other, other_colors in visible:
            other.show(True)
            other_colors.apply(room_rng)
        room.stand_behind(room_rng, [other for _, other, _ in visible], thing.sides.length / 2)
        if view.variant is not None:
            recolor.apply(Random(f"variant-{view.variant}"))
        room.render(out / f"{view.file}.png")
        objects = [group.name, *(name for name, _, _ in visible)]
        _save_outlines(scratch, out / f"{view.file}-outlines.png")
        pictures.append({"file": f"{view.file}.png", "objects": objects})
        if view.empty:
            thing.show(False)
            room.render(out / f"{view.file}-empty.png")
            thing.show(True)
    return pictures


def _others(rng: Random, models: list[Model], group: Group) -> list[tuple[str, Thing, Recolor]]:
    """Furniture to stand behind: name, object, its colors."""
    found: list[tuple[str, Thing, Recolor]] = []
    for number in range(MOST_OTHERS):
        if rng.random() < 0.3:
            name = f"invented-beside-{group.views[0].file}-{number}"
            parts = invent(Random(name))
        else:
            model = rng.choice(models)
            name, parts = model.name, _imported(model)
        found.append((name, Thing(parts, number=number + 2), Recolor(_materials(parts))))
    return found


def _imported(model: Model) -> list[Any]:
    before = set(bpy.context.scene.objects)
    bpy.ops.wm.obj_import(filepath=str(model.file))
    parts = [
        each for each in bpy.context.scene.objects if each not in before and each.type == "MESH"
    ]
    if not parts:
        raise ValueError("holds no mesh")
    return parts


def _materials(parts: list[Any]) -> list[Any]:
    return list({id(m): m for part in parts for m in part.data.materials if m is not None}.values())


def _save_outlines(scratch: Path, target: Path) -> None:
    """The number of the object at each pixel as an 8-bit PNG; 0 is the room."""
    image = bpy.data.images.load(str(next(scratch.glob("outline*.exr"))), check_existing=False)
    width, height = image.size
    values = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(values)
    bpy.data.images.remove(image)
    numbers = values.reshape(height, width, 4)[::-1, :, 0]  # Blender's rows start at the bottom
    Image.fromarray(numbers.round().astype(np.uint8)).save(target, optimize=True)


@contextmanager
def quiet() -> Iterator[None]:
    """Blender prints a line for every sample."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


if __name__ == "__main__":
    main()
