"""Build a small model of rooms from nothing; the same command goes on where it stopped.

    python -m lab.tiny_model.rooms

Two processes of one thread each work side by side. A picture takes 0.65 s of an idle core, so that
all 21,700 take two cores two hours, or as long as `--minutes` says; training takes hours more.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from .annotations import write_annotations
from .archive import unpack
from .packages import FetchError, blender_python, fetch_models

WORK = Path(".tiny")
MODELS = WORK / "furniture"
PICTURES = {"train": WORK / "rooms" / "train", "held-out": WORK / "rooms" / "held-out"}
SAMPLES = WORK / "rooms-samples"
CONFIGS = Path(__file__).parents[1] / "configs"
ARCHIVES = Path(__file__).parent / "rendered"
"""Folder of what has been rendered before, by the names of `PICTURES`."""
WORKERS = 2
console = Console()


def main() -> None:
    """Run every step that is not done yet."""
    parser = argparse.ArgumentParser(prog="rooms", description=__doc__)
    parser.add_argument("--minutes", type=float, default=math.inf, help="of rendering, at most")
    arguments = parser.parse_args()
    try:
        console.print("Fetching 3D models and Blender …")
        fetch_models(MODELS)
        python = blender_python(WORK / "blender")
    except FetchError as error:
        raise SystemExit(str(error)) from error
    for name, folder in PICTURES.items():
        annotations = folder.with_suffix(".json")
        archive = ARCHIVES / f"{name}.tar"
        if archive.is_file() and not folder.exists():
            unpack(archive, folder)
        if not annotations.is_file():
            console.print(f"Rendering rooms: {name} …")
            render(python, folder, name == "held-out", arguments.minutes)
            console.print(f"{write_annotations(folder, annotations)} pictures of rooms.")
    program = [sys.executable, "-m", "exemplar_model"]
    distributed = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    distributed += [f"--nproc_per_node={WORKERS}", "-m", "exemplar_model"]
    console.print("Autoencoder and tower, side by side …")
    run_together(
        [*program, "train", str(CONFIGS / "rooms_autoencoder.yaml")],
        [*program, "train", str(CONFIGS / "rooms_tower.yaml")],
    )
    console.print("Encoding samples …")
    denoiser = str(CONFIGS / "rooms.yaml")
    pictures = (
        f"data={{kind: coco, annotations: {PICTURES['train'].with_suffix('.json')}, "
        f"images: {PICTURES['train']}}}"
    )
    run_together([*distributed, "encode-samples", denoiser, str(SAMPLES), pictures])
    console.print("Denoiser …")
    run_together([*distributed, "train", denoiser])


def render(python: Path, folder: Path, held_out: bool, minutes: float) -> None:
    """Draw with two processes, for so many minutes at most."""
    command = [str(python), "-m", "lab.tiny_model.rooms.render", str(MODELS), str(folder)]
    command += [f"--minutes={minutes}", f"--workers={WORKERS}"] + ["--held-out"] * held_out
    run_together(*([*command, f"--worker={worker}"] for worker in range(WORKERS)))


def run_together(*commands: list[str]) -> None:
    """Run commands side by side, one thread each."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = [subprocess.Popen(command, env=environment) for command in commands]
    try:
        codes = [process.wait() for process in running]
    except KeyboardInterrupt:
        codes = [process.wait() or 1 for process in running]  # the signal reached them too
    if any(codes):
        raise SystemExit("Stopped; the same command goes on.")


if __name__ == "__main__":
    main()
