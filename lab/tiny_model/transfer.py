"""Does the exemplar come across? Held-out objects painted into held-out scenes, and recognised.

Each result is compared with the twenty objects by a simple descriptor: mean colours on a 6×6 grid
over the hole. That of an object is taken from the scene with the object drawn into the hole,
upright and as large as fits, so that what lies around it counts alike for all. The nearest object
wins; chance is 1 in 20. With the null vector in place of the exemplar (guidance 0) nothing can
come across.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from exemplar_model.image import to_bytes
from exemplar_model.standalone.components import Components
from exemplar_model.standalone.pipeline import decode_latents, encode_images, paint
from exemplar_model.weights.checkpoint import read_checkpoint

from .held_out import Scene, as_pixels, exemplar_picture, objects, scenes

GRID = 6
SEEDS = (0, 1)
console = Console()
Pixels = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Transfer:
    """What was measured.

    Attributes:
        top1, top5: share of results whose own exemplar is the nearest, or among the five nearest.
        null_top1, null_top5: the same with the null vector.
        kept_psnr: of the kept pixels of the sampled regions, before pasting, in dB.
        autoencoder_psnr: of the same pixels, encoded and decoded alone.
    """

    top1: float
    top5: float
    null_top1: float
    null_top5: float
    kept_psnr: float
    autoencoder_psnr: float


def main() -> None:
    """Measure a model, print a table and write the contact sheet."""
    parser = argparse.ArgumentParser(prog="transfer", description=__doc__)
    add_settings(parser)
    parser.add_argument("--output", type=Path, default=Path("lab/output/transfer.png"))
    arguments = parser.parse_args()
    if not arguments.model.is_file():
        raise SystemExit(f"There is no {arguments.model}; nox -s train_tiny makes it.")
    components = Components.from_checkpoint(read_checkpoint(arguments.model))
    settings = {"steps": arguments.steps, "resolution": arguments.resolution}
    transfer, sheet = measure(components, scenes(), arguments.cfg, settings)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(arguments.output)
    console.print(as_table(transfer))
    console.print(f"Contact sheet: {arguments.output}", soft_wrap=True)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """The model, and how it paints for show."""
    parser.add_argument("--model", type=Path, default=Path("models/exemplar-tiny.safetensors"))
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--cfg", type=float, default=3.5)
    parser.add_argument("--resolution", type=int, default=64)


def as_table(transfer: Transfer) -> Table:
    """The numbers, for people."""
    table = Table("", "exemplar", "null vector", "chance")
    table.add_row("top-1", f"{transfer.top1:.1%}", f"{transfer.null_top1:.1%}", "5 %")
    table.add_row("top-5", f"{transfer.top5:.1%}", f"{transfer.null_top5:.1%}", "25 %")
    psnr, own = transfer.kept_psnr, transfer.autoencoder_psnr
    table.add_row("kept pixels", f"{psnr:.2f} dB", f"autoencoder alone {own:.2f} dB", "")
    return table


def measure(
    components: Components, places: list[Scene], cfg: float, settings: dict[str, Any]
) -> tuple[Transfer, Image.Image]:
    """Paint every object into every scene, with both seeds, and recognise the results."""
    things = objects()
    elsewhere = scenes()
    ranks: dict[str, list[int]] = {"exemplar": [], "null": []}
    kept: list[float] = []
    own: list[float] = []
    columns: list[Tensor] = []
    for number, scene in enumerate(track(places, "Painting", console=console)):
        other = elsewhere[(number + 1) % len(elsewhere)]
        shown = [exemplar_picture(thing, other.photo) for thing in things]
        exemplars = [as_pixels(picture) for picture in shown]
        wanted = np.stack([descriptor(drawn_into(thing, scene), scene) for thing in things])
        for seed in SEEDS:
            for kind, guidance in (("exemplar", cfg), ("null", 0.0)):
                regions = paint_all(components, scene, exemplars, seed, guidance, settings)
                found = np.stack([descriptor(region.numpy(), scene) for region in regions])
                ranks[kind] += [rank(found[i], wanted, i) for i in range(len(things))]
                if kind == "exemplar":
                    kept.append(kept_error(regions, scene))
                    if seed == SEEDS[0]:
                        columns.append(regions)
        own.append(kept_error(reconstruction(components, scene, settings["resolution"]), scene))
    top = {
        kind: [float(np.mean(np.array(values) < most)) for most in (1, 5)]
        for kind, values in ranks.items()
    }
    transfer = Transfer(
        *top["exemplar"], *top["null"], kept_psnr=_psnr(kept), autoencoder_psnr=_psnr(own)
    )
    return transfer, contact_sheet(things, places, columns)


def paint_all(
    components: Components,
    scene: Scene,
    exemplars: list[Tensor],
    seed: int,
    cfg: float,
    settings: dict[str, Any],
) -> Tensor:
    """Sampled regions [N, S, S, 3], before pasting, one for each exemplar."""
    N = len(exemplars)
    image = as_pixels(scene.photo)[None].expand(N, -1, -1, -1)
    painting = paint(
        components,
        image,
        scene.mask.expand(N, -1, -1),
        exemplars,
        seed=seed,
        cfg=cfg,
        context=None,
        match_color=False,
        feather=0,
        **settings,
    )
    return painting.regions


def drawn_into(thing: Image.Image, scene: Scene) -> Pixels:
    """The scene with the object in the hole."""
    left, top, right, bottom = scene.hole
    scale = min((right - left) / thing.width, (bottom - top) / thing.height)
    thing = thing.resize((round(thing.width * scale), round(thing.height * scale)))
    place = ((left + right - thing.width) // 2, (top + bottom - thing.height) // 2)
    picture = scene.photo.copy()
    picture.paste(thing, place, thing)
    return as_pixels(picture).numpy()


def descriptor(picture: Pixels, scene: Scene) -> Pixels:
    """Mean colours on a grid over the hole: [6 × 6 × 3]."""
    scale = picture.shape[0] / scene.photo.height
    left, top, right, bottom = (round(side * scale) for side in scene.hole)
    hole = torch.from_numpy(picture[top:bottom, left:right]).permute(2, 0, 1)
    return torch.nn.functional.adaptive_avg_pool2d(hole, GRID).numpy().ravel()


def rank(found: Pixels, wanted: Pixels, own: int) -> int:
    """How many objects are nearer to a result than its own."""
    distances = np.linalg.norm(wanted - found, axis=1)
    return int((distances < distances[own]).sum())


def reconstruction(components: Components, scene: Scene, resolution: int) -> Tensor:
    """The scene through the autoencoder alone, [1, S, S, 3]."""
    with torch.inference_mode():
        photo = as_pixels(scene.photo.resize((resolution, resolution)))[None]
        return decode_latents(components, encode_images(components, photo))


def kept_error(regions: Tensor, scene: Scene) -> float:
    """Mean squared error of regions [N, S, S, 3] outside the hole."""
    side = regions.shape[1]
    photo = as_pixels(scene.photo.resize((side, side)))
    scale = side / scene.photo.height
    left, top, right, bottom = (round(edge * scale) for edge in scene.hole)
    keep = torch.ones(side, side, dtype=torch.bool)
    keep[top:bottom, left:right] = False
    return float((regions - photo)[:, keep].square().mean())


def contact_sheet(
    things: list[Image.Image], places: list[Scene], columns: list[Tensor], side: int = 96
) -> Image.Image:
    """Objects down, scenes across."""
    sheet = Image.new("RGB", ((len(places) + 1) * side, (len(things) + 1) * side), "white")
    for column, (scene, regions) in enumerate(zip(places, columns, strict=True), start=1):
        holed = scene.photo.copy()
        holed.paste((128, 128, 128), scene.hole)
        sheet.paste(holed.resize((side, side)), (column * side, 0))
        for row, region in enumerate(regions, start=1):
            cell = Image.fromarray(to_bytes(region))
            sheet.paste(cell.resize((side, side)), (column * side, row * side))
    for row, thing in enumerate(things, start=1):
        small = thing.copy()
        small.thumbnail((side, side))
        sheet.paste(small, ((side - small.width) // 2, row * side), small)
    return sheet


def _psnr(errors: list[float]) -> float:
    return float(-10 * np.log10(np.mean(errors)))


if __name__ == "__main__":
    main()
