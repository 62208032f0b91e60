"""How much of an exemplar comes across when it is small, noisy, squeezed or in a busy picture."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from exemplar_model.exemplar import exemplar_view
from exemplar_model.standalone.components import Components
from exemplar_model.standalone.measures import change_outside
from lab.panels import captioned_grid
from lab.tiny_model.held_out import Scene, as_pixels, exemplar_picture

from .likeness import rank_of, token_likeness, tokens
from .painted_object import PaintedObject
from .report import Section, to_image

Exemplar = Callable[[Image.Image, Scene], Tensor]
"""From an object (RGBA) and the scene that it is shown on to a picture [H, W, 3] in [0, 1]."""

VIEW = 224
SHOWN = 6
CLUTTER = 3.0
"""Side of the busy picture, as a multiple of the object's longer side."""


def clean(thing: Image.Image, scene: Scene) -> Tensor:
    """The object large, on a photo."""
    return as_pixels(exemplar_picture(thing, scene.photo))


def small(thing: Image.Image, scene: Scene) -> Tensor:
    """An eighth of the width and height."""
    picture = exemplar_picture(thing, scene.photo)
    return as_pixels(picture.resize((max(1, picture.width // 8), max(1, picture.height // 8))))


def compressed(thing: Image.Image, scene: Scene) -> Tensor:
    """JPEG of quality 10."""
    data = io.BytesIO()
    exemplar_picture(thing, scene.photo).save(data, "JPEG", quality=10)
    return as_pixels(Image.open(data))


def noisy(thing: Image.Image, scene: Scene) -> Tensor:
    """White noise of standard deviation 0.1 (26 of 255)."""
    picture = clean(thing, scene)
    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
    return (picture + 0.1 * noise).clamp(0.0, 1.0)


def squeezed(thing: Image.Image, scene: Scene) -> Tensor:
    """The object in the middle of a picture three times as wide as high."""
    side = max(thing.size)
    picture = scene.photo.resize((3 * side, side))
    picture.paste(thing, ((3 * side - thing.width) // 2, (side - thing.height) // 2), thing)
    return as_pixels(picture)


def cluttered(thing: Image.Image, scene: Scene) -> Tensor:
    """The object a third of the picture's side, off the center."""
    return as_pixels(_busy_picture(thing, scene)[0])


def cluttered_with_mask(thing: Image.Image, scene: Scene) -> Tensor:
    """The same, with the object's outline as the mask of *Encode Exemplar*."""
    picture, outline = _busy_picture(thing, scene)
    mask = as_pixels(outline)[..., 0]
    return exemplar_view(as_pixels(picture), VIEW, mask=mask)


def _busy_picture(thing: Image.Image, scene: Scene) -> tuple[Image.Image, Image.Image]:
    side = round(CLUTTER * max(thing.size))
    picture = scene.photo.resize((side, side))
    draw = ImageDraw.Draw(picture)
    for number, color in enumerate(("crimson", "gold", "teal", "navy")):
        x = side * (0.05 + 0.22 * number)
        draw.rectangle((x, side * 0.75, x + side * 0.15, side * 0.95), fill=color)
    place = (side // 8, side // 8)
    picture.paste(thing, place, thing)
    outline = Image.new("L", picture.size)
    outline.paste(thing.getchannel("A"), place)
    return picture, outline


POOR: dict[str, Exemplar] = {
    "clean": clean,
    "downscaled 8×": small,
    "JPEG quality 10": compressed,
    "noise": noisy,
    "aspect 3:1": squeezed,
    "cluttered": cluttered,
    "cluttered, with mask": cluttered_with_mask,
}


def study_exemplars(components: Components, kinds: dict[str, list[PaintedObject]]) -> Section:
    """Recognise the objects in the paintings of each kind of exemplar.

    Args:
        components: the model that painted them, to encode with.
        kinds: paintings by kind of exemplar, the first kind being the clean one, all of the same
            objects and scenes in the same order.
    """
    first = next(iter(kinds.values()))
    clean_tokens = tokens(components, [each.exemplar for each in first])
    rows: list[list[str]] = []
    drawn: list[list[list[Image.Image]]] = []
    for name, painted in kinds.items():
        pasted = [each.paste() for each in painted]
        pictures = [picture for picture, _ in pasted]
        ranks = np.array([rank_of(*each) for each in zip(pictures, painted, strict=True)])
        given = tokens(components, [each.exemplar for each in painted])
        likeness = torch.cosine_similarity(given, clean_tokens, dim=1)
        outside = (
            change_outside(picture, each.regions.images[0], weight)
            for (picture, weight), each in zip(pasted, painted, strict=True)
        )
        rows.append(
            [
                name,
                f"{np.mean(ranks < 1):.0%}",
                f"{np.mean(ranks < 5):.0%}",
                f"{float(likeness.mean()):.2f}",
                f"{float(token_likeness(components, pictures, first).mean()):.2f}",
                str(max(outside)),
            ]
        )
        numbers = np.linspace(0, len(painted) - 1, SHOWN).round().astype(int)
        drawn.append([[to_image(painted[n].exemplar), to_image(pictures[n])] for n in numbers])
    captions = [text for name in kinds for text in (name, "")]
    lines = [[picture for pair in line for picture in pair] for line in zip(*drawn, strict=True)]
    return Section(
        "Poor exemplars",
        f"{len(first)} paintings of each kind. Top-1 and top-5 among the twenty held-out objects "
        "(chance 5 % and 25 %), as `nox -s transfer` recognizes them; given: cosine of the "
        "exemplar's token to that of the clean exemplar; painted: cosine of the token of the "
        "painted area to it; outside: largest change where nothing was pasted, of 255.",
        ["exemplar", "top-1", "top-5", "given", "painted", "outside"],
        rows,
        {"exemplars.png": captioned_grid(captions, lines)},
    )
