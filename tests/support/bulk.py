"""A table of small pictures, and a small model with random weights to paint them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from exemplar_model.standalone.bulk.fingerprint import fingerprint
from exemplar_model.standalone.bulk.rows import Settings
from exemplar_model.standalone.bulk.worker import Job, Report, Worker
from support.models import SHAPES, random_model, write_safetensors

SETTINGS = Settings(steps=2, resolution=64)
Cells = dict[str, str | None]


def write_model(folder: Path, seed: int = 0) -> Path:
    """The narrow model in one file."""
    path = folder / f"model{seed}.safetensors"
    write_safetensors(path, random_model(SHAPES["narrow"], seed))
    return path


def write_pictures(folder: Path, count: int) -> list[Cells]:
    """Pictures of two sizes, wide and high holes, two exemplars, one of them with a mask."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = np.random.default_rng(0)

    def save(name: str, size: tuple[int, ...]) -> str:
        Image.fromarray(numbers.integers(0, 255, size, np.uint8)).save(folder / name)
        return name

    def save_mask(name: str, size: tuple[int, int], hole: tuple[slice, slice]) -> str:
        mask = np.zeros(size, np.uint8)
        mask[hole] = 255
        Image.fromarray(mask).save(folder / name)
        return name

    exemplars = [save(f"exemplar{number}.png", (40, 50, 3)) for number in range(2)]
    exemplar_mask = save_mask("object.png", (40, 50), (slice(8, 30), slice(10, 35)))
    rows: list[Cells] = []
    for number in range(count):
        size = (80, 96) if number % 3 else (72, 72)
        hole = (slice(20, 40), slice(10, 60)) if number % 2 else (slice(10, 60), slice(20, 40))
        rows.append(
            {
                "id": f"row-{number:03d}",
                "image": save(f"image{number}.png", (*size, 3)),
                "mask": save_mask(f"mask{number}.png", size, hole),
                "exemplar": exemplars[number % 2],
                "exemplar_mask": exemplar_mask if number % 2 else None,
                "seed": str(number),
            }
        )
    return rows


def write_csv(path: Path, rows: list[Cells]) -> Path:
    """The rows as a table."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
    return path


def new_worker(model: Path, folder: Path, out: Path, batch: int = 2) -> Worker:
    """A worker in this process, without Ray."""
    job = Job(model, fingerprint(model, "fp32"), "fp32", out, str(folder), SETTINGS, batch)
    return Worker(job, threads=1)


def merged(reports: list[Report]) -> Report:
    """All records and failures, and the number of pictures painted."""
    return Report(
        [record for report in reports for record in report.records],
        {row_id: reason for report in reports for row_id, reason in report.failures.items()},
        sum(report.painted for report in reports),
    )


def contents(out: Path) -> dict[str, bytes]:
    """Pictures by id."""
    return {path.stem: path.read_bytes() for path in (out / "pictures").rglob("*.png")}
