"""Colors and patterns on surfaces: of rooms, of invented objects, and recolored furniture."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from random import Random
from typing import Any

import bpy  # pyright: ignore[reportMissingImports]

Color = tuple[float, float, float, float]


def color(
    rng: Random,
    saturation: tuple[float, float],
    value: tuple[float, float],
    hue: float | None = None,
) -> Color:
    """A random color; saturation and value within their bounds."""
    hue = rng.random() if hue is None else hue % 1
    return (*colorsys.hsv_to_rgb(hue, rng.uniform(*saturation), rng.uniform(*value)), 1.0)


def room_surface(rng: Random, name: str, kind: str) -> Any:
    """A material for a floor or a wall: plain, or with a soft pattern of related colors.

    Args:
        kind: "floor" or "wall".
    """
    saturation, value = (
        ((0.05, 0.55), (0.2, 0.85)) if kind == "floor" else ((0.0, 0.45), (0.4, 0.95))
    )
    first = color(rng, saturation, value)
    contrast = rng.uniform(0.75, 0.95)
    second = _dimmed(first, contrast)
    roughness = rng.uniform(0.35, 0.9) if kind == "floor" else 0.9
    patterns = (
        (plain, plain, planks, checks, grain)
        if kind == "floor"
        else (plain, plain, stripes, bricks, grain)
    )
    return _material(name, roughness, rng.choice(patterns), [first, second], rng, scale=1.0)


def object_surface(rng: Random, name: str, colors: list[Color]) -> Any:
    """A material for an invented object: plain, or a bold pattern of its colors."""
    pattern = rng.choice((plain, plain, stripes, rings, checks, dots))
    return _material(name, rng.uniform(0.2, 0.8), pattern, colors, rng, scale=rng.uniform(2.5, 6.0))


def palette(rng: Random) -> list[Color]:
    """Two or three colors that differ."""
    hue = rng.random()
    hues = [hue, hue + rng.uniform(0.2, 0.8), hue + rng.uniform(0.2, 0.8)]
    colors = [color(rng, (0.3, 0.95), (0.25, 0.95), each) for each in hues]
    neutral = rng.choice([0.02, 0.5, 0.9])
    if rng.random() < 0.4:
        colors[1] = (neutral, neutral, neutral, 1.0)
    return colors[: rng.choice([2, 3])]


def _dimmed(color: Color, share: float) -> Color:
    red, green, blue, alpha = color
    return red * share, green * share, blue * share, alpha


Pattern = Callable[[Any, list[Color], Random, float], Any]


def _material(
    name: str, roughness: float, pattern: Pattern, colors: list[Color], rng: Random, scale: float
) -> Any:
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    tree = material.node_tree
    shader = tree.nodes["Principled BSDF"]
    shader.inputs["Roughness"].default_value = roughness
    output = pattern(tree, colors, rng, scale)
    if output is None:
        shader.inputs["Base Color"].default_value = colors[0]
    else:
        tree.links.new(output, shader.inputs["Base Color"])
    return material


def plain(tree: Any, colors: list[Color], rng: Random, scale: float) -> Any:
    """One color."""
    return None


def checks(tree: Any, colors: list[Color], rng: Random, scale: float) -> Any:
    """Squares in two colors."""
    node = _textured(tree, "ShaderNodeTexChecker", scale * rng.uniform(1.0, 3.0))
    node.inputs["Color1"].default_value, node.inputs["Color2"].default_value = colors[0], colors[1]
    return node.outputs["Color"]


def stripes(tree: Any, colors: list[Color], rng: Random, scale: float) -> Any:
    """Bands side by side."""
    return _bands(tree, colors, rng, scale, "X")


def rings(tree: Any, colors: list[Color], rng: Random, scale: float) -> Any:
    """Bands one above the other."""
    return _bands(tree, colors, rng, scale, "Z")


def _bands(tree: Any, colors: list[Color], rng: Random, scale: float, direction: str) -> Any:
    wave = _textured(tree, "ShaderNodeTexWave", scale * rng.uniform(0.4, 1.2))
    wave.bands_direction = direction
    return _steps(tree, wave.outputs["Fac"], colors, rng.uniform(0.35, 0.65))


def dots(tree: Any, colors: list[Color], rng: Random, scale: float) -> Any:
    """Round spots."""
    cells = _textured(tree, "ShaderNodeTexVoronoi", scale * rng.uniform(1.0, 2.0))
    cells.inputs["Randomness"].default_value = rng.choice([0.0, 0.4])
    return _steps(tree, cells.outputs["Distance"], colors[:2], rng.uniform(0.25, 0.4))


def grain(tree: Any, colors: list[Color], rng: Random, scale: float) -> Any:
    """Soft noise between two colors, as in carpets and plaster."""
    noise = _textured(tree, "ShaderNodeTexNoise", scale * rng.uniform(3.0, 12.0))
    ramp = tree.nodes.new("ShaderNodeValToRGB")
    for element, each in zip(ramp.color_ramp.elements, colors, strict=False):
        element.color = each
    ramp.color_ramp.elements[0].position, ramp.color_ramp.elements[1].position = 0.35, 0.65
    tree.links.new(noise.outputs["Fac"], ramp.inputs["Fac"])
    return ramp.outputs["Color"]


def planks(tree: Any, colors: list[Color], rng: Random, scale: float) -> Any:
    """Long boards."""
    return _masonry(tree, colors, width=rng.uniform(0.9, 1.6), height=rng.uniform(0.12, 0.25))


def bricks(tree: Any, colors: list[Color], rng: Random, scale: float) -> Any:
    """Tiles or bricks with joints."""
    height = rng.uniform(0.12, 0.4)
    return _masonry(tree, colors, width=height * rng.uniform(1.0, 2.5), height=height)


def _masonry(tree: Any, colors: list[Color], width: float, height: float) -> Any:
    node = _textured(tree, "ShaderNodeTexBrick", 1.0)
    node.inputs["Brick Width"].default_value = width
    node.inputs["Row Height"].default_value = height
    node.inputs["Mortar Size"].default_value = 0.012
    dark = _dimmed(colors[1], 0.6)
    for socket, each in (("Color1", colors[0]), ("Color2", colors[1]), ("Mortar", dark)):
        node.inputs[socket].default_value = each
    return node.outputs["Color"]


def _textured(tree: Any, kind: str, scale: float) -> Any:
    """A texture node in the object's own coordinates, so that patterns keep to the object."""
    node = tree.nodes.new(kind)
    place = tree.nodes.new("ShaderNodeTexCoord")
    tree.links.new(place.outputs["Object"], node.inputs["Vector"])
    node.inputs["Scale"].default_value = scale
    return node


def _steps(tree: Any, value: Any, colors: list[Color], edge: float) -> Any:
    """Bands of colors without transition."""
    ramp = tree.nodes.new("ShaderNodeValToRGB")
    ramp.color_ramp.interpolation = "CONSTANT"
    elements = ramp.color_ramp.elements
    elements[0].color, elements[1].color, elements[1].position = colors[0], colors[1], edge
    if len(colors) > 2:
        elements.new(min(0.95, edge + 0.25)).color = colors[2]
    tree.links.new(value, ramp.inputs["Fac"])
    return ramp.outputs["Color"]


class Recolor:
    """Turns the colors of imported materials, view by view, and back."""

    def __init__(self, materials: list[Any]) -> None:
        self.mixers = [mixer for material in materials if (mixer := _mixer(material)) is not None]

    def apply(self, rng: Random) -> None:
        """Draw a variant: as it is (a third), another hue, or dyed in one color."""
        kind = rng.choice(("as it is", "hue", "dye"))
        hue = rng.uniform(0.1, 0.9) if kind == "hue" else 0.0
        dye = color(rng, (0.3, 0.9), (0.5, 1.0))
        for shift, mix in self.mixers:
            shift.inputs["Hue"].default_value = 0.5 + (hue if hue <= 0.5 else hue - 1)
            shift.inputs["Saturation"].default_value = (
                rng.uniform(0.9, 1.4) if kind == "hue" else 1.0
            )
            mix["Factor"].default_value = 0.85 if kind == "dye" else 0.0
            mix["B"].default_value = dye


def _mixer(material: Any) -> tuple[Any, dict[str, Any]] | None:
    """Between a material's color and its shader: a node for the hue, inputs of one for the dye."""
    if material is None or not material.use_nodes:
        return None
    tree = material.node_tree
    shader = tree.nodes.get("Principled BSDF")
    if shader is None:
        return None
    socket = shader.inputs["Base Color"]
    shift = tree.nodes.new("ShaderNodeHueSaturation")
    mix = tree.nodes.new("ShaderNodeMix")
    mix.data_type, mix.blend_type = "RGBA", "MULTIPLY"
    # a node has sockets for every data type; of equal names the color's are the ones enabled
    inputs = {each.name: each for each in mix.inputs if each.enabled}
    output = next(each for each in mix.outputs if each.enabled)
    if socket.is_linked:
        tree.links.new(socket.links[0].from_socket, shift.inputs["Color"])
    else:
        shift.inputs["Color"].default_value = socket.default_value
    tree.links.new(shift.outputs["Color"], inputs["A"])
    tree.links.new(output, socket)
    return shift, inputs
