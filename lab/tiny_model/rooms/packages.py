"""Fetching the 3D models, and Blender as a Python module in an environment of its own."""

from __future__ import annotations

import shutil
import subprocess
import venv
from pathlib import Path

from .catalogue import unpack

FURNITURE = "sweethome3d-furniture"
BLENDER = ("bpy==4.5.15", "numpy", "pillow")
"""Blender's long-term release, whose wheels fit Python 3.11; GPL, needed for rebuilding alone."""


class FetchError(Exception):
    """Something cannot be had; the message says what is missing."""


def fetch_models(folder: Path) -> None:
    """Unpack Debian's package of 3D models into `folder`, unless that has been done.

    Raises:
        FetchError: no Debian tools, or the download failed.
    """
    if folder.is_dir():
        return
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    package = unfinished / "package"
    package.mkdir(parents=True)
    _run("apt-get", "download", FURNITURE, cwd=package)
    archive = next(package.glob("*.deb"))
    _run("dpkg-deb", "-x", archive.name, ".", cwd=package)
    unpack(package, unfinished / "models")
    (unfinished / "models").rename(folder)
    shutil.rmtree(unfinished)


def blender_python(folder: Path) -> Path:
    """Python of an environment with Blender, made on the first call: about 1 GB.

    Raises:
        FetchError: the installation failed.
    """
    python = folder / "bin" / "python"
    stamp = folder / "installed"
    if not stamp.is_file():
        venv.create(folder, with_pip=True, clear=True)
        _run(str(python), "-m", "pip", "install", "--quiet", *BLENDER)
        stamp.touch()
    return python


def _run(program: str, *arguments: str, cwd: Path | None = None) -> None:
    if shutil.which(program) is None:
        raise FetchError(f"{program} is needed to rebuild the bundled model, and is not installed.")
    result = subprocess.run([program, *arguments], cwd=cwd, capture_output=True, text=True)
    if result.returncode:
        raise FetchError(f"{program} {arguments[0]} failed: {result.stderr.strip()[-300:]}")
