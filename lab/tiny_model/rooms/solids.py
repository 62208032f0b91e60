"""Invented objects without end: turned shapes, boxes, cushions, lamps and stacks of solids.

Each is made of Blender's own primitives and modifiers, stands on z = 0 and has two or three
colors, so that shape and colors can come from the exemplar alone.
"""

from __future__ import annotations

import math
from random import Random
from typing import Any

import bpy  # pyright: ignore[reportMissingImports]
from mathutils import Matrix  # pyright: ignore[reportMissingImports]

from .surfaces import Color, object_surface, palette

TURNED = {
    "vase": ((0.0, 0.28), (0.12, 0.34), (0.45, 0.42), (0.75, 0.2), (0.9, 0.16), (1.0, 0.26)),
    "bottle": ((0.0, 0.2), (0.5, 0.22), (0.68, 0.18), (0.78, 0.07), (1.0, 0.07)),
    "bowl": ((0.0, 0.2), (0.06, 0.22), (0.25, 0.5), (0.5, 0.62)),
    "pawn": (
        (0.0, 0.3),
        (0.1, 0.3),
        (0.18, 0.16),
        (0.6, 0.1),
        (0.66, 0.2),
        (0.85, 0.2),
        (1.0, 0.02),
    ),
    "spindle": ((0.0, 0.22), (0.2, 0.3), (0.4, 0.12), (0.6, 0.3), (0.8, 0.12), (1.0, 0.2)),
    "barrel": ((0.0, 0.32), (0.4, 0.42), (0.8, 0.32)),
}
"""Outlines as (height, radius), bent at random before they are turned."""


def invent(rng: Random) -> list[Any]:
    """A new object's parts."""
    return rng.choice((turned, turned, box, cushion, lamp, stack, stack, table, seat))(rng)


def turned(rng: Random) -> list[Any]:
    """A shape turned on a lathe."""
    outline = TURNED[rng.choice(list(TURNED))]
    height, width = rng.uniform(0.7, 1.3), rng.uniform(0.7, 1.3)
    points = [
        (max(0.015, radius * width * rng.uniform(0.75, 1.3)), 0.0, level * height)
        for level, radius in outline
    ]
    parts = [_screwed(points, rng.choice([5, 6, 8, 48, 48, 48]))]
    colors = palette(rng)
    parts[0].data.materials.append(object_surface(rng, "turned", colors))
    return parts


def _screwed(points: list[tuple[float, float, float]], sides: int) -> Any:
    mesh = bpy.data.meshes.new("outline")
    mesh.from_pydata(points, [(i, i + 1) for i in range(len(points) - 1)], [])
    part = _linked(bpy.data.objects.new("turned", mesh))
    if sides > 8:
        bend = part.modifiers.new("bend", "SUBSURF")
        bend.levels = bend.render_levels = 3
    screw = part.modifiers.new("screw", "SCREW")
    screw.steps = screw.render_steps = sides
    screw.use_smooth_shade = sides > 8
    screw.use_merge_vertices = True
    wall = part.modifiers.new("wall", "SOLIDIFY")
    wall.thickness = 0.015
    return part


def box(rng: Random) -> list[Any]:
    """A box with rounded edges, some with a lid of another color."""
    colors = palette(rng)
    sides = (rng.uniform(0.4, 1.0), rng.uniform(0.4, 1.0), rng.uniform(0.25, 1.0))
    parts = [_block((0, 0, sides[2] / 2), sides, rng.uniform(0.01, 0.12))]
    parts[0].data.materials.append(object_surface(rng, "box", colors))
    if rng.random() < 0.5:
        lid = (sides[0] * 1.06, sides[1] * 1.06, rng.uniform(0.06, 0.15))
        parts.append(_block((0, 0, sides[2] + lid[2] / 2), lid, 0.02))
        parts[1].data.materials.append(object_surface(rng, "lid", colors[::-1]))
    return parts


def cushion(rng: Random) -> list[Any]:
    """A soft block, lying or leaning on nothing."""
    sides = (rng.uniform(0.7, 1.0), rng.uniform(0.5, 1.0), rng.uniform(0.25, 0.5))
    part = _block((0, 0, sides[2] / 2), sides, 0.0)
    soft = part.modifiers.new("soft", "SUBSURF")
    soft.levels = soft.render_levels = 3
    for face in part.data.polygons:
        face.use_smooth = True
    part.data.materials.append(object_surface(rng, "cushion", palette(rng)))
    return [part]


def lamp(rng: Random) -> list[Any]:
    """Foot, pole and shade."""
    colors = palette(rng)
    height, shade = rng.uniform(0.5, 1.4), rng.uniform(0.2, 0.45)
    parts = [
        _primitive("cylinder", (0, 0, 0.03), radius=rng.uniform(0.12, 0.3), depth=0.06),
        _primitive("cylinder", (0, 0, height / 2), radius=rng.uniform(0.015, 0.05), depth=height),
        _primitive(
            "cone",
            (0, 0, height + shade / 4),
            radius1=shade,
            radius2=shade * rng.uniform(0.3, 1.0),
            depth=shade * rng.uniform(0.7, 1.4),
        ),
    ]
    _dress(rng, parts, colors)
    return parts


def stack(rng: Random) -> list[Any]:
    """A toy of two to four solids, one on the other."""
    parts: list[Any] = []
    level = 0.0
    for _ in range(rng.choice([2, 3, 3, 4])):
        size = rng.uniform(0.25, 0.55)
        kind = rng.choice(("block", "ball", "cylinder", "cone", "ring"))
        if kind == "block":
            sides = (size, size * rng.uniform(0.6, 1.2), size * rng.uniform(0.4, 1.0))
            parts.append(_block((0, 0, level + sides[2] / 2), sides, rng.uniform(0.01, 0.05)))
            level += sides[2]
        elif kind == "ball":
            parts.append(_primitive("uv_sphere", (0, 0, level + size / 2), radius=size / 2))
            level += size * 0.95
        elif kind == "ring":
            thick = size * rng.uniform(0.15, 0.3)
            parts.append(
                _primitive(
                    "torus", (0, 0, level + thick), major_radius=size / 2, minor_radius=thick
                )
            )
            level += 2 * thick
        else:
            depth = size * rng.uniform(0.4, 1.2)
            place = (0, 0, level + depth / 2)
            sizes = (
                {"radius": size / 2}
                if kind == "cylinder"
                else {"radius1": size / 2, "radius2": 0.08}
            )
            parts.append(_primitive(kind, place, depth=depth, **sizes))
            level += depth
    _dress(rng, parts, palette(rng))
    return parts


def table(rng: Random) -> list[Any]:
    """A board on legs."""
    width, depth, height = rng.uniform(0.7, 1.2), rng.uniform(0.5, 0.9), rng.uniform(0.4, 0.9)
    parts = [_block((0, 0, height), (width, depth, rng.uniform(0.04, 0.12)), 0.01)]
    parts += _legs(rng, width, depth, height)
    _dress(rng, parts, palette(rng))
    return parts


def seat(rng: Random) -> list[Any]:
    """A chair or an armchair of blocks."""
    width, depth, height = rng.uniform(0.5, 1.2), rng.uniform(0.5, 0.7), rng.uniform(0.3, 0.5)
    thick, back = rng.uniform(0.06, 0.25), rng.uniform(0.4, 0.7)
    parts = [
        _block((0, 0, height), (width, depth, thick), 0.03),
        _block((0, depth / 2, height + back / 2), (width, thick * 0.7, back), 0.03),
    ]
    if rng.random() < 0.5:
        for side in (-1, 1):
            place = (side * width / 2, 0, height + 0.1)
            parts.append(_block(place, (thick * 0.8, depth, 0.25), 0.02))
    parts += _legs(rng, width, depth, height)
    _dress(rng, parts, palette(rng))
    return parts


def _legs(rng: Random, width: float, depth: float, height: float) -> list[Any]:
    radius = rng.uniform(0.02, 0.06)
    return [
        _primitive(
            "cylinder",
            (x * width * 0.43, y * depth * 0.43, height / 2),
            radius=radius,
            depth=height,
        )
        for x in (-1, 1)
        for y in (-1, 1)
    ]


def _dress(rng: Random, parts: list[Any], colors: list[Color]) -> None:
    """Give the parts the colors in turn, each plain or in a pattern."""
    for number, part in enumerate(parts):
        turn = number % len(colors)
        part.data.materials.append(object_surface(rng, "part", colors[turn:] + colors[:turn]))


def _block(
    place: tuple[float, float, float], sides: tuple[float, float, float], round_by: float
) -> Any:
    part = _primitive("cube", place, size=1)
    part.data.transform(Matrix.Diagonal((*sides, 1.0)))
    if round_by:
        bevel = part.modifiers.new("bevel", "BEVEL")
        bevel.width, bevel.segments = min(round_by, min(sides) / 3), 3
    return part


def _primitive(kind: str, place: tuple[float, float, float], **sizes: float) -> Any:
    getattr(bpy.ops.mesh, f"primitive_{kind}_add")(location=place, **sizes)
    part = bpy.context.object
    if kind in ("uv_sphere", "torus", "cylinder", "cone"):
        for face in part.data.polygons:
            face.use_smooth = len(face.vertices) <= 4 and not math.isclose(abs(face.normal.z), 1.0)
    return part


def _linked(part: Any) -> Any:
    bpy.context.scene.collection.objects.link(part)
    return part
