"""Rebuild `exemplar-tiny.safetensors` from packages; the same command goes on where it stopped.

Two processes of one thread each: autoencoder and tower side by side, then encoding and denoiser
together under torchrun.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from .packages import FetchError, fetch_packages
from .pictures import write_pictures

WORK = Path(".tiny")
PICTURES = WORK / "pictures"
SAMPLES = WORK / "samples"
MODEL = "model.safetensors"
TARGET = Path("models") / "exemplar-tiny.safetensors"
TRAINING_DATA = (
    f"data={{kind: cutouts, objects: {PICTURES}/train/objects, "
    f"backgrounds: {PICTURES}/train/backgrounds, samples: 40960}}"
)
PROGRAM = ("-m", "exemplar_model")
TWO_PROCESSES = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
console = Console()


def main() -> None:
    """Run every step that is not done yet."""
    try:
        prepare_pictures()
    except FetchError as error:
        raise SystemExit(str(error)) from error
    console.print("Autoencoder and tower, side by side …")
    finish(
        [*PROGRAM, "train", "tiny_autoencoder"],
        [*PROGRAM, "train", "tiny_tower"],
        models=(WORK / "autoencoder" / MODEL, WORK / "tower" / MODEL),
    )
    console.print("Encoding samples …")
    finish([*TWO_PROCESSES, *PROGRAM, "encode-samples", "tiny", str(SAMPLES), TRAINING_DATA])
    console.print("Denoiser …")
    trained = WORK / "denoiser" / MODEL
    finish([*TWO_PROCESSES, *PROGRAM, "train", "tiny"], models=(trained,))
    TARGET.parent.mkdir(exist_ok=True)
    shutil.copy(trained, TARGET)
    console.print(f"Done: {TARGET}; nox -s transfer measures it.")


def prepare_pictures() -> None:
    """Fetch the packages and cut the pictures out, unless that has been done."""
    if (PICTURES / "counts.json").is_file():
        return
    console.print("Fetching packages and preparing pictures, a few minutes …")
    packages = WORK / "packages"
    fetch_packages(packages)
    shutil.rmtree(PICTURES, ignore_errors=True)
    write_pictures(packages, PICTURES)


def finish(*commands: list[str], models: tuple[Path, ...] = ()) -> None:
    """Run commands of Python at the same time, one thread each, until all are done.

    Args:
        commands: arguments of Python.
        models: what they must leave behind; without it they were stopped, and have saved.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = [subprocess.Popen([sys.executable, *each], env=environment) for each in commands]
    try:
        codes = [process.wait() for process in running]
    except KeyboardInterrupt:
        codes = [process.wait() or 1 for process in running]  # the signal reached them too
    if any(codes) or not all(model.is_file() for model in models):
        raise SystemExit("Stopped; the same command goes on.")


if __name__ == "__main__":
    main()
