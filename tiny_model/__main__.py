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
MODEL = WORK / "denoiser" / "model.safetensors"
TARGET = Path("models") / "exemplar-tiny.safetensors"
TRAINING_DATA = (
    f"data={{kind: cutouts, objects: {PICTURES}/train/objects, "
    f"backgrounds: {PICTURES}/train/backgrounds, samples: 61440}}"
)
console = Console()


def main() -> None:
    """Run every step that is not done yet."""
    try:
        prepare_pictures()
    except FetchError as error:
        raise SystemExit(str(error)) from error
    console.print("Autoencoder and tower, side by side …")
    together(["train", "tiny_autoencoder"], ["train", "tiny_tower"])
    console.print("Encoding samples …")
    distributed(["encode-samples", "tiny", str(SAMPLES), TRAINING_DATA])
    console.print("Denoiser …")
    distributed(["train", "tiny"])
    TARGET.parent.mkdir(exist_ok=True)
    shutil.copy(MODEL, TARGET)
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


def together(*commands: list[str]) -> None:
    """Run commands at the same time, one thread each."""
    running = [
        subprocess.Popen([sys.executable, "-m", "exemplar_model", *command], env=one_thread())
        for command in commands
    ]
    try:
        codes = [process.wait() for process in running]
    except KeyboardInterrupt:  # each has got the signal too, and saves
        codes = [process.wait() for process in running]
    models = [WORK / name / "model.safetensors" for name in ("autoencoder", "tower")]
    if any(codes) or not all(model.is_file() for model in models):
        raise SystemExit("Stopped; the same command goes on.")


def distributed(command: list[str]) -> None:
    """Run one command on two processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    code = subprocess.call([*launcher, "-m", "exemplar_model", *command], env=one_thread())
    if code:
        raise SystemExit(code)


def one_thread() -> dict[str, str]:
    """Environment in which PyTorch uses one thread."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


if __name__ == "__main__":
    main()
