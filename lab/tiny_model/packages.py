"""Fetching the packages whose pictures the shipped model learns from."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from importlib import util
from pathlib import Path

EMOJI = {
    "fluent": "@lobehub/fluent-emoji-3d@1.1.0",
    "noto": "emoji-datasource-google@16.0.0",
}
CLIPART = "openclipart-png"
PHOTOS = {"skimage": "data", "sklearn": "datasets/images"}


class FetchError(Exception):
    """A package cannot be had; the message says what is missing."""


def fetch_packages(folder: Path) -> None:
    """Unpack every package into `folder`, each into a sub-folder; what is there is kept.

    Raises:
        FetchError: no npm, no Debian tools, or a download failed.
    """
    for name, package in EMOJI.items():
        if not (folder / name).is_dir():
            _unpack(folder, name, package)
    if not (folder / "clipart").is_dir():
        _unpack_clipart(folder)
    if not (folder / "photos").is_dir():
        _copy_photos(folder)


def _unpack(folder: Path, name: str, package: str) -> None:
    unfinished = _unfinished(folder, name)
    _run("npm", "pack", package, "--pack-destination", str(unfinished))
    archive = next(unfinished.glob("*.tgz"))
    with tarfile.open(archive) as tar:
        # of Noto the 64² pictures alone: the package repeats them as sheets
        wanted = [
            member
            for member in tar.getmembers()
            if "/assets/" in member.name or "/img/google/64/" in member.name
        ]
        tar.extractall(unfinished, wanted, filter="data")
    archive.unlink()
    unfinished.rename(folder / name)


def _unpack_clipart(folder: Path) -> None:
    unfinished = _unfinished(folder, "clipart")
    _run("apt-get", "download", CLIPART, cwd=unfinished)
    archive = next(unfinished.glob("*.deb"))
    _run("dpkg-deb", "-x", archive.name, ".", cwd=unfinished)
    archive.unlink()
    unfinished.rename(folder / "clipart")


def _copy_photos(folder: Path) -> None:
    unfinished = _unfinished(folder, "photos")
    for package, data in PHOTOS.items():
        spec = util.find_spec(package)
        if spec is None or spec.origin is None:
            raise FetchError(f"{package} is not installed; its photos serve as backgrounds.")
        for file in (Path(spec.origin).parent / data).iterdir():
            if file.suffix in (".png", ".jpg"):
                shutil.copy(file, unfinished)
    unfinished.rename(folder / "photos")


def _unfinished(folder: Path, name: str) -> Path:
    path = folder / f"{name}.unfinished"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def _run(program: str, *arguments: str, cwd: Path | None = None) -> None:
    if shutil.which(program) is None:
        raise FetchError(f"{program} is needed to fetch the pictures, and is not installed.")
    result = subprocess.run([program, *arguments], cwd=cwd, capture_output=True, text=True)
    if result.returncode:
        raise FetchError(f"{program} {arguments[0]} failed: {result.stderr.strip()[-300:]}")
