"""A small folder of JPEGs with OpenImages' CSV of boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

HEADER = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded"


def write_jpeg(path: Path, size: tuple[int, int] = (40, 30), number: int = 0, **options) -> None:
    """A picture whose mean colour tells its number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 30, (size[1], size[0], 3))
    Image.fromarray((pixels + 5 * number % 200).astype(np.uint8)).save(path, **options)


def write_csv(path: Path, rows: list[tuple[str, float, float, float, float]]) -> None:
    """Rows of id, x0, y0, x1, y1, in the column order of OpenImages."""
    lines = [f"{i},xclick,/m/01,1,{x0},{x1},{y0},{y1},0" for i, x0, y0, x1, y1 in rows]
    path.write_text("\n".join([HEADER, *lines]) + "\n")


def write_open_images(folder: Path, pictures: int) -> dict[str, str]:
    """Pictures `id00`, `id01` … with a box each; returns the `data` section."""
    names = [f"id{number:02d}" for number in range(pictures)]
    for number, name in enumerate(names):
        write_jpeg(folder / "images" / f"{name}.jpg", number=number)
    write_csv(folder / "boxes.csv", [(name, 0.2, 0.2, 0.7, 0.8) for name in names])
    return {
        "kind": "openimages",
        "boxes": str(folder / "boxes.csv"),
        "images": str(folder / "images"),
    }
