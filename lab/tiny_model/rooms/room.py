"""One room: floor, walls, light and camera around an object that stands at the origin."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random
from typing import Any

import bpy  # pyright: ignore[reportMissingImports]
from mathutils import Matrix, Vector  # pyright: ignore[reportMissingImports]

from .plan import Pose
from .surfaces import color, room_surface

SAMPLES, BOUNCES = 12, 3
FIELD_OF_VIEW = 2 * math.atan(18 / 50)
"""Of Blender's default camera: 50 mm on a sensor of 36 mm."""
LARGEST = 30.0
"""Side of floor and walls; the object's longest side is 1."""


class Thing:
    """An object in the scene, moved as one.

    Blender's import turns each part by itself, so the parts hang on an empty that is moved.
    """

    def __init__(self, parts: list[Any], number: int) -> None:
        """
        Args:
            parts: mesh objects as imported or invented.
            number: the object's value in the outlines, from 1.
        """
        bpy.context.view_layer.update()
        evaluated = bpy.context.evaluated_depsgraph_get()
        corners = [
            part.matrix_world @ Vector(corner)
            for part in parts
            for corner in part.evaluated_get(evaluated).bound_box
        ]
        self.parts = parts
        self.low = Vector([min(corner[i] for corner in corners) for i in range(3)])
        self.high = Vector([max(corner[i] for corner in corners) for i in range(3)])
        if max(self.high - self.low) <= 0:
            raise ValueError("has no volume")
        self.root = bpy.data.objects.new("root", None)
        bpy.context.scene.collection.objects.link(self.root)
        for part in parts:
            part.parent = self.root
            part.pass_index = number

    def place(self, x: float, y: float, turn: float, longest: float) -> None:
        """Stand it on the floor at (x, y), scaled to a longest side."""
        scale = longest / max(self.high - self.low)
        middle = (self.low + self.high) / 2
        foot = Matrix.Rotation(turn, 3, "Z") @ Vector((middle.x, middle.y, self.low.z))
        self.root.scale = (scale,) * 3
        self.root.rotation_euler = (0, 0, turn)
        self.root.location = Vector((x, y, 0)) - foot * scale

    @property
    def sides(self) -> Vector:
        """Width, depth and height with a longest side of 1."""
        sides = self.high - self.low
        return sides / max(sides)

    def show(self, visible: bool) -> None:
        """Draw it or leave it out."""
        for part in self.parts:
            part.hide_render = not visible


class Room:
    """An empty scene that `furnish` makes a room of, again and again."""

    def __init__(self, side: int, outlines: Path) -> None:
        """
        Args:
            side: of the pictures, in pixels.
            outlines: folder in which every render leaves `outline0001.exr`, the number of the
                object at each pixel.
        """
        bpy.ops.wm.read_factory_settings(use_empty=True)
        self.scene = bpy.context.scene
        self._set_renderer(side)
        self._keep_outlines(outlines)
        self.scene.world = bpy.data.worlds.new("sky")
        self.scene.world.use_nodes = True
        self.floor, self.back, self.flank = (self._plane() for _ in range(3))
        self.back.rotation_euler = (math.pi / 2, 0, 0)
        self.flank.rotation_euler = (math.pi / 2, 0, math.pi / 2)
        self.sun = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
        self.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
        for each in (self.sun, self.camera):
            self.scene.collection.objects.link(each)
        self.scene.camera = self.camera

    def _set_renderer(self, side: int) -> None:
        scene, cycles = self.scene, self.scene.cycles
        scene.render.engine = "CYCLES"
        cycles.device, cycles.samples, cycles.max_bounces = "CPU", SAMPLES, BOUNCES
        cycles.use_denoising, cycles.denoiser = True, "OPENIMAGEDENOISE"
        cycles.use_adaptive_sampling = False
        cycles.caustics_reflective = cycles.caustics_refractive = False
        scene.render.resolution_x = scene.render.resolution_y = side
        scene.render.threads_mode, scene.render.threads = "FIXED", 1
        scene.render.use_persistent_data = True  # views of one object share its acceleration tree
        scene.view_settings.view_transform = "Standard"  # the default, AgX, washes colors out

    def _keep_outlines(self, folder: Path) -> None:
        bpy.context.view_layer.use_pass_object_index = True
        self.scene.use_nodes = True
        tree = self.scene.node_tree
        layers = next(node for node in tree.nodes if node.type == "R_LAYERS")
        output = tree.nodes.new("CompositorNodeOutputFile")
        output.base_path = str(folder)
        output.format.file_format, output.format.color_mode = "OPEN_EXR", "RGB"
        output.file_slots[0].path = "outline"
        tree.links.new(layers.outputs["IndexOB"], output.inputs[0])

    def _plane(self) -> Any:
        bpy.ops.mesh.primitive_plane_add(size=LARGEST)
        return bpy.context.object

    def furnish(self, rng: Random, thing: Thing, pose: Pose) -> None:
        """Draw floor, walls and light, and look at the object, which is placed here."""
        radius = thing.sides.length / 2
        thing.place(0, 0, pose.turn, 1.0)
        self._build(rng, radius, pose)
        self._light(rng)
        reach = pose.distance * radius / math.sin(FIELD_OF_VIEW / 2)
        slack = (pose.distance - 0.9) * radius
        direction = Vector(
            (
                math.sin(pose.aside) * math.cos(pose.above),
                -math.cos(pose.aside) * math.cos(pose.above),
                math.sin(pose.above),
            )
        )
        right = Vector((math.cos(pose.aside), math.sin(pose.aside), 0))
        target = Vector((0, 0, thing.sides.z / 2)) + right * slack * pose.shift[0]
        target.z += slack * pose.shift[1]
        self.camera.location = target + reach * direction
        self.camera.location.z = max(self.camera.location.z, 0.15)
        looking = target - self.camera.location
        self.camera.rotation_euler = looking.to_track_quat("-Z", "Y").to_euler()

    def _build(self, rng: Random, radius: float, pose: Pose) -> None:
        for plane, kind in ((self.floor, "floor"), (self.back, "wall")):
            old = list(plane.data.materials)
            plane.data.materials.clear()
            for material in old:
                bpy.data.materials.remove(material)
            plane.data.materials.append(room_surface(rng, kind, kind))
        if not self.flank.data.materials:
            self.flank.data.materials.append(None)
        self.flank.data.materials[0] = self.back.data.materials[0]
        self.distance = radius + rng.uniform(0.1, 1.4)
        self.back.location = (0, self.distance, LARGEST / 2)
        # a wall at the side that the camera does not stand on
        side = -1 if pose.aside > 0 else 1
        self.flank.location = (side * (radius + rng.uniform(0.3, 1.5)), 0, LARGEST / 2)
        self.flank.hide_render = rng.random() < 0.6

    def _light(self, rng: Random) -> None:
        sky = self.scene.world.node_tree.nodes["Background"]
        sky.inputs[0].default_value = color(rng, (0.0, 0.2), (0.8, 1.0))
        sky.inputs[1].default_value = rng.uniform(0.3, 0.7)
        self.sun.data.energy, self.sun.data.angle = rng.uniform(2.0, 4.5), rng.uniform(0.03, 0.3)
        self.sun.rotation_euler = (
            rng.uniform(0.3, 0.9),
            rng.uniform(-0.3, 0.3),
            rng.uniform(-1, 1),
        )

    def stand_behind(self, rng: Random, things: list[Thing], radius: float) -> None:
        """Place further objects beside the first or behind it, each at a side of its own."""
        sides = [-1.0, 1.0, rng.choice([-0.6, 0.6])]
        rng.shuffle(sides)
        for thing, side in zip(things, sides, strict=False):
            longest = rng.uniform(0.5, 1.2)
            own = longest * max(thing.sides.x, thing.sides.y) / 2
            x = side * (radius + own + rng.uniform(0.0, 0.5))
            far = max(0.1, self.distance - own)
            thing.place(x, rng.uniform(min(0.1, far), far), rng.uniform(-0.8, 0.8), longest)

    def render(self, file: Path) -> None:
        """Path-trace into a PNG file."""
        self.scene.render.filepath = str(file)
        bpy.ops.render.render(write_still=True)
