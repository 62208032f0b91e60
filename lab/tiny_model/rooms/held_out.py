"""Choose the objects that measure transfer out of what `render --held-out` drew.

    python -m lab.tiny_model.rooms.held_out PICTURES MODELS

No model has a say in it. An object can be chosen if its box covers 6 to 50 % of every picture that
shows it. In an order that a fixed seed draws, each one is taken whose file name no other has, and
which differs enough from all that were taken before: in every room its mean colors on a grid,
cut out and stretched to a square, are at least .08 of the range away (root mean square; another
room's light alone moves those of one object by .09 in the median). The first 24 are kept.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from rich.console import Console
from torch import Tensor

from exemplar_model.bounds import Bounds

from .catalogue import Model, creators_by_archive, fault, read_catalogue
from .cut_and_paste import cut_and_paste
from .measures import descriptor
from .placement import Placement, read_drawn, write_placement
from .plan import HELD_OUT_ROOMS

FOLDER = Path(__file__).parent / "held_out"
SEED = 0
OBJECTS = 24
BOX_SHARE = (0.06, 0.5)
LEAST_DISTANCE = 0.08
SQUARE = 48
"""Side, in pixels, that objects are stretched to before they are compared."""
README = """\
# Held-out objects in rooms

{objects} objects in {rooms} rooms each, none of which the bundled model was trained on, drawn by
`lab/tiny_model/rooms/render.py --held-out` and chosen by `lab/tiny_model/rooms/held_out.py`, whose
first lines are the rule. Of each object and room: `ROOM-true.webp`, `ROOM-empty.webp` (the room
without it), `ROOM-same.webp` (the same pose in another room and light), `ROOM-turned.webp` (turned
by 35°, in a third one), and `ROOM-outlines.webp`, the object's outlines in the true picture (red),
in the same pose (green) and turned (blue).

The 3D models come with Debian's package `sweethome3d-furniture` (collected and converted for Sweet
Home 3D by Emmanuel Puybaret).

"""
console = Console()


@dataclass(frozen=True)
class Candidate:
    """An object that may be chosen: its model, and its placement in each room."""

    model: Model
    placements: list[Placement]


def main() -> None:
    """Choose anew and write the pictures and their README."""
    parser = argparse.ArgumentParser(prog="held_out", description=__doc__)
    parser.add_argument("pictures", type=Path, help="folder that render --held-out filled")
    parser.add_argument("models", type=Path, help="folder with the unpacked archives")
    parser.add_argument("--target", type=Path, default=FOLDER)
    parser.add_argument("--objects", type=int, default=OBJECTS)
    arguments = parser.parse_args()
    candidates, undrawn = read_candidates(arguments.pictures, arguments.models)
    if undrawn:
        console.print(f"Not drawn and left out: {', '.join(model.name for model in undrawn)}.")
    try:
        chosen = choose(candidates, arguments.objects)
    except ValueError as error:
        raise SystemExit(str(error)) from error
    shutil.rmtree(arguments.target, ignore_errors=True)
    for candidate in chosen:
        for placement in candidate.placements:
            write_placement(placement, arguments.target)
    text = README.format(objects=len(chosen), rooms=HELD_OUT_ROOMS)
    text += creators_by_archive([candidate.model for candidate in chosen])
    (arguments.target / "README.md").write_text(text, encoding="utf-8")
    names = ", ".join(candidate.model.name for candidate in chosen)
    console.print(f"{len(chosen)} of {len(candidates)} objects: {names}.")


def read_candidates(pictures: Path, models: Path) -> tuple[list[Candidate], list[Model]]:
    """Held-out models whose pictures are all there, and those whose are not."""
    candidates: list[Candidate] = []
    undrawn: list[Model] = []
    for model in read_catalogue(models):
        if not model.held_out or fault(model) is not None:
            continue
        last = pictures / f"{model.name}-{HELD_OUT_ROOMS - 1}-turned-outlines.png"
        if last.is_file():
            rooms = range(HELD_OUT_ROOMS)
            placements = [read_drawn(pictures, model.name, room) for room in rooms]
            candidates.append(Candidate(model, placements))
        else:
            undrawn.append(model)
    return candidates, undrawn


def choose(candidates: list[Candidate], count: int) -> list[Candidate]:
    """The first so many by the rule above, ordered by name.

    Raises:
        ValueError: fewer fulfil it.
    """
    order = sorted(candidates, key=lambda candidate: candidate.model.name)
    Random(SEED).shuffle(order)
    chosen: dict[str, Candidate] = {}
    looks: list[Tensor] = []
    for candidate in order:
        stem = candidate.model.file.stem.lower()
        if stem in chosen or not _fits(candidate):
            continue
        look = torch.stack([_look(placement) for placement in candidate.placements])
        if all(_distance(look, other) >= LEAST_DISTANCE for other in looks):
            chosen[stem] = candidate
            looks.append(look)
        if len(chosen) == count:
            return sorted(chosen.values(), key=lambda candidate: candidate.model.name)
    raise ValueError(f"Only {len(chosen)} of {count} objects are large and different enough.")


def _fits(candidate: Candidate) -> bool:
    least, most = BOX_SHARE
    return all(
        bool(picture.outline.any()) and least <= picture.box_share <= most
        for placement in candidate.placements
        for picture in (placement.true, placement.same, placement.turned)
    )


def _look(placement: Placement) -> Tensor:
    """[D], mean colors of the object, stretched to a square on gray."""
    square = Bounds(0, 0, SQUARE, SQUARE)
    gray = torch.full((SQUARE, SQUARE, 3), 0.5)
    return descriptor(cut_and_paste(gray, placement.true, square), square)


def _distance(look: Tensor, other: Tensor) -> float:
    """Of looks [rooms, D], in the room where it is least."""
    return float((look - other).square().mean(dim=1).sqrt().min())


if __name__ == "__main__":
    main()
