"""Choose the demo's pictures among the held-out ones by a fixed seed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from lab.host.headless import PICTURES
from lab.tiny_model.held_out import exemplar_picture, objects, scenes

SEED = 0
PAIRS = 4


def pairs() -> Iterator[tuple[Image.Image, Image.Image]]:
    """Scenes, transparent where they are to be repainted, and exemplars, on another scene."""
    things, places = objects(), scenes()
    rng = np.random.default_rng(SEED)
    chosen = (rng.permutation(len(each))[:PAIRS] for each in (places, things))
    for place, thing in zip(*chosen, strict=True):
        scene = places[place]
        yield (
            scene.with_hole,
            exemplar_picture(things[thing], places[(place + 1) % len(places)].photo),
        )


def main() -> None:
    """Write the pictures."""
    for number, (image, exemplar) in enumerate(pairs(), start=1):
        image.save(PICTURES / f"scene-{number}.png", optimize=True)
        exemplar.save(PICTURES / f"exemplar-{number}.png", optimize=True)


if __name__ == "__main__":
    main()
