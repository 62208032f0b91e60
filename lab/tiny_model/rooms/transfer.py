"""Does the exemplar come across? Held-out objects painted into the holes of empty rooms, measured.

    python -m lab.tiny_model.rooms.transfer --model FILE

Each object is painted into three rooms with two seeds, by four exemplars: the same pose in another
room and light, a view turned by 35°, an object that does not belong there ("shuffled") and none
(the null vector alone). Beside them the same measures of pictures that no model painted: the true
picture, the true picture encoded and decoded, cut-and-paste of both exemplars and Poisson blending.

- top-1, top-5: share of results in which the object that belongs in the hole is the nearest, or
  among the five nearest, of all objects cut out and pasted there alike (`measures.drawn_alike`).
  Chance is 1 and 5 in the number of objects.
- IoU: intersection over union of the silhouette, which is what differs from the empty room, and
  the true outline.
- shadow: error around the object, in the hole, to the true picture; light: the same of means over
  5×5 pixels, which texture and the autoencoder's noise do not touch. "Less" is the share of
  results with less error than cut-and-paste of the same exemplar, which leaves the room as it was.
- kept: peak signal-to-noise ratio of the pixels outside the hole to the empty room, before pasting;
  100 dB where they were not touched. (The true picture has the object's shadow there.)

Medians and shares stand with their 95 % bootstrap interval, drawn over objects, each with all its
rooms and seeds, as those resemble each other.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from exemplar_model.standalone.components import Components
from exemplar_model.standalone.pipeline import decode_latents, encode_images, paint
from exemplar_model.weights.checkpoint import read_checkpoint

from .cut_and_paste import blend_poisson, cut_and_paste, fit
from .held_out import FOLDER
from .measures import (
    SMOOTH,
    band_error,
    descriptor,
    drawn_alike,
    filled_iou,
    iou,
    kept_decibels,
    rank,
    silhouette,
)
from .placement import Placement, read_placements
from .results import Interval, Record, as_table, compare_with_pasting, summarize
from .sheets import contact_sheet, matching_test

SEEDS = (0, 1)
PAINTED = ("same view", "other view", "shuffled", "null")
console = Console()
Pictures = dict[str, list[Tensor]]
"""By kind of picture: for each room [N, H, W, 3] in [0, 1], in the order of the objects."""


def main() -> None:
    """Measure a model; print a table, write numbers, contact sheet and matching test."""
    parser = argparse.ArgumentParser(
        prog="transfer",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", type=Path, default=Path("models/exemplar-tiny.safetensors"))
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--cfg", type=float, default=3.5)
    parser.add_argument("--held-out", type=Path, default=FOLDER)
    parser.add_argument("--output", type=Path, default=Path("lab/output/rooms-transfer"))
    arguments = parser.parse_args()
    if not arguments.model.is_file():
        raise SystemExit(f"There is no {arguments.model}; --model names a model file.")
    rooms = read_placements(arguments.held_out)
    if not rooms:
        raise SystemExit(f"No pictures in {arguments.held_out}; held_out.py makes them.")
    components = Components.from_checkpoint(read_checkpoint(arguments.model))
    references = reference_pictures(components, rooms)
    records = measure(rooms, references)
    paintings: Pictures = {}
    for seed in SEEDS:
        painted = paint_all(components, rooms, seed, arguments.steps, arguments.cfg)
        records += measure(rooms, painted, seed)
        paintings = paintings or painted
    records = compare_with_pasting(records)
    summary = summarize(records)
    arguments.output.mkdir(parents=True, exist_ok=True)
    write_numbers(arguments.output / "transfer.json", arguments, summary, records)
    contact_sheet(rooms, paintings, references).save(arguments.output / "sheet.png")
    test, key = matching_test(rooms, paintings["same view"])
    test.save(arguments.output / "matching.png")
    (arguments.output / "matching-key.txt").write_text(key)
    console.print(as_table(summary))
    filled = np.median([filled_iou(placement) for room in rooms for placement in room])
    count = len(rooms[0])
    half_way = (filled + summary["true picture"]["silhouette"][0]) / 2
    console.print(
        f"{count} objects, chance {1 / count:.1%} and {min(1, 5 / count):.1%}. "
        f"The filled hole has an IoU of {filled:.2f}; half-way from it to the true picture is "
        f"{half_way:.2f}. Written to {arguments.output}."
    )


def exemplars(room: Sequence[Placement], kind: str) -> list[Tensor]:
    """Pictures [h, w, 3] of what is painted; for the null vector they do not matter."""
    if kind == "other view":
        return [placement.turned.exemplar for placement in room]
    shown = [placement.same.exemplar for placement in room]
    away = len(room) // 2 if kind == "shuffled" else 0  # everyone gets another's
    return shown[away:] + shown[:away]


def paint_all(
    components: Components, rooms: list[list[Placement]], seed: int, steps: int, cfg: float
) -> Pictures:
    """Sampled regions, before pasting, at the pictures' own size; same noise for every kind."""
    return {
        kind: [
            paint(
                components,
                torch.stack([placement.empty for placement in room]),
                torch.stack([placement.mask for placement in room]),
                exemplars(room, kind),
                seed=seed * len(rooms) + number,
                steps=steps,
                cfg=0.0 if kind == "null" else cfg,
                context=None,
                resolution=len(room[0].empty),
                match_color=False,
            ).regions
            for number, room in enumerate(
                track(rooms, f"Painting, seed {seed}, {kind}", console=console)
            )
        ]
        for kind in PAINTED
    }


def reference_pictures(components: Components, rooms: list[list[Placement]]) -> Pictures:
    """What stands in the hole without the denoiser."""

    def each(make: Callable[[Placement], Tensor]) -> list[Tensor]:
        return [torch.stack([make(placement) for placement in room]) for room in rooms]

    return {
        "true picture": each(lambda p: p.true.pixels),
        "autoencoder": [reconstruct(components, room) for room in rooms],
        "cut-and-paste": each(lambda p: cut_and_paste(p.empty, p.same, p.true.box)),
        "cut-and-paste, other view": each(
            lambda p: cut_and_paste(p.empty, p.turned, fit(p.turned, p.true.box))
        ),
        "Poisson blending": each(lambda p: blend_poisson(p.empty, p.same, p.true.box)),
    }


@torch.inference_mode()
def reconstruct(components: Components, room: Sequence[Placement]) -> Tensor:
    """Encoded and decoded, [N, H, W, 3]: the true picture in the hole, the empty room around it.

    Each comes from its own picture, as the object casts its shadow beyond the hole too.
    """
    true, empty = (
        decode_latents(components, encode_images(components, torch.stack(pictures)))
        for pictures in zip(*((each.true.pixels, each.empty) for each in room), strict=True)
    )
    return torch.lerp(empty, true, torch.stack([each.mask for each in room])[..., None])


def measure(rooms: list[list[Placement]], pictures: Pictures, seed: int = 0) -> list[Record]:
    """Measure pictures of every object in every room."""
    records: list[Record] = []
    for number, room in enumerate(rooms):
        objects = [placement.true for placement in room]
        for own, placement in enumerate(room):
            wanted = drawn_alike(placement, objects)
            for kind, of_rooms in pictures.items():
                picture = of_rooms[number][own]
                found = silhouette(picture, placement)
                records.append(
                    Record(
                        kind,
                        placement.room,
                        placement.name,
                        seed,
                        rank(descriptor(picture, placement.hole), wanted, own),
                        iou(found, placement.true.outline),
                        band_error(picture, placement),
                        band_error(picture, placement, SMOOTH),
                        kept_decibels(picture, placement),
                    )
                )
    return records


def write_numbers(
    target: Path,
    arguments: argparse.Namespace,
    summary: dict[str, dict[str, Interval]],
    records: list[Record],
) -> None:
    """Settings, summary and all records as JSON."""
    content = {
        "settings": {name: str(value) for name, value in vars(arguments).items()},
        "summary": summary,
        "records": [asdict(record) for record in records],
    }
    target.write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
