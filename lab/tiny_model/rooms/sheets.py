"""Held-out objects in rooms beside each other, to look at."""

from __future__ import annotations

import string
from random import Random

import torch
from PIL import Image, ImageDraw, ImageOps
from torch import Tensor

from exemplar_model.image import to_bytes
from lab.panels import captioned_grid

from .placement import Placement

CELL = 128
ACROSS = 6
"""Pictures beside each other in the matching test."""
GRAY = 0.5


def contact_sheet(
    rooms: list[list[Placement]],
    paintings: dict[str, list[Tensor]],
    references: dict[str, list[Tensor]],
) -> Image.Image:
    """A row for each object, in one of the rooms by turns.

    Args:
        rooms: for each room the placements of all objects.
        paintings: by exemplar, for each room sampled regions [N, H, W, 3] before pasting.
        references: the same of pictures that no model painted.
    """
    rows: list[dict[str, Tensor]] = []
    for number in range(len(rooms[0])):
        turn = number % len(rooms)
        placement = rooms[turn][number]
        painted = {
            kind: pasted(pictures[turn][number], placement)
            for kind, pictures in {**paintings, **references}.items()
        }
        rows.append(
            {
                "room": pasted(torch.full_like(placement.empty, GRAY), placement),
                "exemplar": placement.same.exemplar,
                "true picture": placement.true.pixels,
                "same view": painted["same view"],
                "turned": placement.turned.exemplar,
                "other view": painted["other view"],
                "shuffled": painted["shuffled"],
                "null": painted["null"],
                "cut-and-paste": painted["cut-and-paste"],
                "Poisson": painted["Poisson blending"],
            }
        )
    squares = [
        [ImageOps.pad(_image(each), (CELL, CELL), color="white") for each in row.values()]
        for row in rows
    ]
    return captioned_grid(list(rows[0]), squares, CELL)


def matching_test(rooms: list[list[Placement]], painted: list[Tensor]) -> tuple[Image.Image, str]:
    """Which result shows which exemplar? Results by number, exemplars by letter, both shuffled.

    Exemplars are stretched to squares, so that the shape of the hole tells less.

    Args:
        rooms: for each room the placements of all objects, 26 at most.
        painted: for each room sampled regions [N, H, W, 3] before pasting.

    Returns:
        The picture, and the key to it, a line for each result.
    """
    N = len(rooms[0])
    rng = Random(0)
    results, shown = rng.sample(range(N), N), rng.sample(range(N), N)
    letters = dict(zip(shown, string.ascii_uppercase, strict=False))
    places = {number: rooms[number % len(rooms)][number] for number in range(N)}
    upper = [pasted(painted[n % len(rooms)][n], places[n]) for n in results]
    lower = [places[n].same.exemplar for n in shown]
    labels = [str(position) for position in range(1, N + 1)]
    height = -(-N // ACROSS) * CELL
    picture = Image.new("RGB", (ACROSS * CELL, 2 * height + CELL // 8), "white")
    picture.paste(_labelled(upper, labels), (0, 0))
    picture.paste(_labelled(lower, list(letters.values())), (0, height + CELL // 8))
    key = [
        f"{label} {letters[number]}  {places[number].name}, room {places[number].room}\n"
        for label, number in zip(labels, results, strict=True)
    ]
    return picture, "".join(key)


def pasted(region: Tensor, placement: Placement) -> Tensor:
    """The empty room with a region [H, W, 3] in its hole."""
    return torch.lerp(placement.empty, region, placement.mask[..., None])


def _labelled(pictures: list[Tensor], labels: list[str]) -> Image.Image:
    sheet = Image.new("RGB", (ACROSS * CELL, -(-len(pictures) // ACROSS) * CELL), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        x, y = number % ACROSS * CELL, number // ACROSS * CELL
        sheet.paste(_image(picture).resize((CELL, CELL)), (x, y))
        draw.rectangle((x, y, x + 20, y + 16), fill="white")
        draw.text((x + 3, y + 2), label, fill="black", font_size=12)
    return sheet


def _image(pixels: Tensor) -> Image.Image:
    return Image.fromarray(to_bytes(pixels))
