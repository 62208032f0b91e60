"""Held-out objects painted into held-out scenes, once for everything that is compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from exemplar_model.region import Regions, find_regions
from exemplar_model.standalone.components import Components
from exemplar_model.standalone.pipeline import paint
from lab.tiny_model.held_out import Scene, as_pixels, exemplar_picture, objects, scenes

FEATHER = 8
"""Width of the ramp that is compared with none; regions have room for it."""
CONTEXT = 2.0


@dataclass(frozen=True)
class PaintedObject:
    """A held-out object that was painted into a held-out scene.

    Attributes:
        scene: where to.
        number: of the object.
        exemplar: [H, W, 3] in [0, 1], the picture of it.
        regions: the single region of the scene.
        patch: [h, w, 3] in [0, 1], the sampled region before pasting.
    """

    scene: Scene
    number: int
    exemplar: Tensor
    regions: Regions
    patch: Tensor

    def paste(self, *, feather: int = 0, match_color: bool = True) -> tuple[Tensor, Tensor]:
        """Picture [H, W, 3] and weight [H, W] as *Exemplar Inpaint Sampler* gives them."""
        pictures, pasted = self.regions.paste(self.patch[None], feather, match_color)
        return pictures[0], pasted[0]


def clean_exemplars() -> list[list[Tensor]]:
    """For each scene, the objects on the photo of the next one."""
    places = scenes()
    return [
        [
            as_pixels(exemplar_picture(thing, places[(number + 1) % len(places)].photo))
            for thing in objects()
        ]
        for number in range(len(places))
    ]


def paint_objects(
    components: Components, scene: Scene, exemplars: list[Tensor], settings: dict[str, Any]
) -> list[PaintedObject]:
    """Paint every exemplar into a scene.

    Args:
        exemplars: pictures [H, W, 3], in the order of the objects.
        settings: resolution, steps, cfg, seed.
    """
    image = as_pixels(scene.photo)[None]
    mask = scene.mask
    regions = find_regions(
        image,
        mask,
        resolution=settings["resolution"],
        multiple=components.config.factor,
        context=CONTEXT,
        feather_pixels=FEATHER,
    )
    N = len(exemplars)
    painting = paint(
        components,
        image.expand(N, -1, -1, -1),
        mask.expand(N, -1, -1),
        exemplars,
        context=CONTEXT,
        feather=FEATHER,
        **settings,
    )
    return [
        PaintedObject(scene, number, exemplar, regions, patch)
        for number, (exemplar, patch) in enumerate(zip(exemplars, painting.regions, strict=True))
    ]
