"""How the cost of a painting grows: with the photo, with the number of regions, with the steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from exemplar_model.region import find_regions

from .measure import AnonymousPeak, about, timed
from .models import SMALL, build_model, load_host, random_components

CONTEXT, FEATHER = 2.0, 0
SIDES = {"full": (512, 1024, 2048, 4096, 8192), "tiny": (128, 256)}
"""Pixels of a side of the photo."""
MASKS = {"full": 300, "tiny": 40}
"""Pixels of a side of the hole in it."""
COUNTS = {"full": (1, 2, 4, 8), "tiny": (1, 2)}
"""Regions of one picture."""
SMALL_REGIONS = {"full": 128, "tiny": 64}
"""Pixels of a side at which small regions are painted."""
STEPS = {"full": (5, 10, 20, 50), "tiny": (2, 4)}
RESOLUTIONS = {"full": 512, "tiny": 64}
FEW_STEPS = 5
"""Wherever the number of steps is not what is asked."""

Paint = Callable[[], Tensor]
Prepare = Callable[[], Paint]
"""Makes what a painting needs, outside of what is measured."""


class SmallModel:
    """A small random model that paints on the CPU as *Exemplar Inpaint Sampler* does."""

    def __init__(self, comfyui: str) -> None:
        pack = load_host(comfyui)
        self.painting: Any = pack("nodes.host.painting")
        self.model, self.vae = build_model(pack, random_components(SMALL))
        self.token = torch.randn(1, 1, SMALL.encoder.context_dim)

    def paint(
        self,
        image: Tensor,
        masks: Tensor,
        resolution: int,
        steps: int = FEW_STEPS,
    ) -> Tensor:
        """Picture [1, H, W, 3] with all masks [N, H, W] painted, as N regions in one batch."""
        regions = find_regions(
            image,
            masks,
            resolution=resolution,
            multiple=self.vae.spacial_compression_encode(),
            context=CONTEXT,
            feather_pixels=FEATHER,
        )
        _, painted = self.painting.paint_regions(
            self.model,
            [[self.token, {}]],
            [[self.token, {}]],
            self.vae,
            *regions.crop(),
            seed=0,
            steps=steps,
            cfg=5.0,
            sampler_name="plms",
            scheduler="ddim_uniform",
            denoise=1.0,
        )
        return regions.paste(painted, FEATHER, True)[0]


@torch.inference_mode()
def measure(comfyui: str, size: str, rounds: int) -> dict[str, Any]:
    """Seconds by round, and the bytes that a painting takes besides its photo and the model.

    Returns:
        `photo`: points by side in pixels; `regions`: by number, with `apart`, the seconds of as
        many paintings of one region each; `small regions` and `small apart`: the same at `small
        resolution`; `steps`: by number; `about` the machine.
    """
    model = SmallModel(comfyui)
    hole = MASKS[size]
    whole, small = RESOLUTIONS[size], SMALL_REGIONS[size]
    sides, numbers, steps = SIDES[size], COUNTS[size], STEPS[size]
    picture = photo(sides[1])
    rows = grid_of_masks(sides[1], numbers[-1])
    one = rows[:1]
    model.paint(picture, one, whole)  # the first call pays for what later ones find ready

    def of_side(side: int) -> Prepare:
        def prepare() -> Paint:
            image, mask = photo(side), centred_mask(side, hole)
            return lambda: model.paint(image, mask, whole)

        return prepare  # each photo lives during its own call only

    def together(number: int, resolution: int) -> Prepare:
        return lambda: lambda: model.paint(picture, rows[:number], resolution)

    def apart(number: int, resolution: int) -> Prepare:
        def paint() -> Tensor:
            result = picture
            for mask in rows[:number]:
                result = model.paint(result, mask[None], resolution)
            return result

        return lambda: paint

    growing: dict[str, dict[int, Prepare]] = {
        "photo": {side: of_side(side) for side in sides},
        "regions": {n: together(n, whole) for n in numbers},
        "apart": {n: apart(n, whole) for n in numbers},
        "small regions": {n: together(n, small) for n in numbers},
        "small apart": {n: apart(n, small) for n in numbers},
        "steps": {n: lambda n=n: lambda: model.paint(picture, one, whole, n) for n in steps},
    }
    points: dict[str, dict[int, dict[str, list[float]]]] = {
        name: {at: {"seconds": [], "bytes": []} for at in functions}
        for name, functions in growing.items()
    }
    for _ in range(rounds):
        for name, functions in growing.items():
            for at, prepare in functions.items():
                function = prepare()
                with AnonymousPeak() as memory:
                    _, seconds = timed(function, torch.device("cpu"))
                points[name][at]["seconds"].append(seconds)
                points[name][at]["bytes"].append(memory.peak - memory.before)
    sizes_used = {"hole": hole, "resolution": whole, "small resolution": small}
    return {**points, **sizes_used, "about": about()}


def photo(side: int) -> Tensor:
    """[1, side, side, 3] in [0, 1]."""
    return torch.rand(1, side, side, 3, generator=torch.Generator().manual_seed(0))


def centred_mask(side: int, hole: int) -> Tensor:
    """[1, side, side] with a square hole of 1."""
    mask, start = torch.zeros(1, side, side), (side - hole) // 2
    mask[:, start : start + hole, start : start + hole] = 1.0
    return mask


def grid_of_masks(side: int, number: int) -> Tensor:
    """[number, side, side], each with a square hole a tenth as wide, side by side in two rows."""
    masks, hole, half = torch.zeros(number, side, side), side // 10, -(-number // 2)
    for index, mask in enumerate(masks):
        top, left = side // 4 + (index // half) * side // 2, (index % half) * side // half
        mask[top : top + hole, left : left + hole] = 1.0
    return masks
