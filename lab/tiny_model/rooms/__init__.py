"""The bundled model's world: path-traced rooms with furniture and invented objects.

`catalogue` reads free 3D models of furniture, `plan` says which pictures there will be, `render`
draws them by Blender as a Python module (an environment of its own, only for rebuilding),
`annotations` gathers what was drawn into COCO's format. `held_out` chooses objects that were never
trained on, and `transfer` measures how far they come across, beside cut-and-paste.
"""
