"""The bundled model's world: path-traced rooms with furniture and invented objects.

`catalogue` reads free 3D models of furniture, `render` draws them in rooms by Blender as a Python
module (an environment of its own, only for rebuilding), `annotations` gathers what was drawn into
COCO's format.
"""
