"""Model files, found through the host's folders so that users' extra paths count."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import comfy.utils
import folder_paths
from torch import Tensor

MODEL_FOLDER = "exemplar"
FILE_FOLDERS = (MODEL_FOLDER, "checkpoints", "diffusion_models")
DIFFUSERS_FOLDERS = (MODEL_FOLDER, "diffusers")
DIFFUSERS_INDEX = "model_index.json"


def register_model_folder(bundled: Path) -> None:
    """Make `models/exemplar` known to the host, with the pack's own folder behind it."""
    register_folder(MODEL_FOLDER, folder_paths.supported_pt_extensions)
    paths, extensions = folder_paths.folder_names_and_paths[MODEL_FOLDER]
    paths = [*(path for path in paths if path != str(bundled)), str(bundled)]
    folder_paths.folder_names_and_paths[MODEL_FOLDER] = (paths, extensions)


def register_folder(name: str, extensions: set[str]) -> None:
    """Make a folder of `models` known to the host."""
    folders = folder_paths.folder_names_and_paths
    if name not in folders:  # extra_model_paths.yaml may have added it first
        folders[name] = ([os.path.join(folder_paths.models_dir, name)], extensions)
    paths, known = folders[name]
    folders[name] = (paths, known or extensions)


def _models() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in FILE_FOLDERS:
        for name in folder_paths.get_filename_list(folder):
            path = folder_paths.get_full_path(folder, name)
            if path is not None and not _inside_diffusers(Path(path)):
                found.setdefault(name, Path(path))
    for folder in DIFFUSERS_FOLDERS:
        for root in folder_paths.get_folder_paths(folder):
            for path in _diffusers_folders(Path(root)):
                found.setdefault(path.relative_to(root).as_posix(), path)
    return found


def _inside_diffusers(path: Path) -> bool:
    return (path.parent.parent / DIFFUSERS_INDEX).is_file()


def _diffusers_folders(root: Path) -> Iterator[Path]:
    for pattern in (f"*/{DIFFUSERS_INDEX}", f"*/*/{DIFFUSERS_INDEX}"):
        for index in sorted(root.glob(pattern)):
            yield index.parent


class FileChoices:
    """Files and folders that a combo offers."""

    def __init__(self, find: Callable[[], dict[str, Path]], absent: str) -> None:
        """
        Args:
            find: paths by the names that the combo shows.
            absent: error message for a name that is not found, with the field `{name}`.
        """
        self._find, self._absent = find, absent

    def names(self) -> list[str]:
        """The names that the combo offers, in its order."""
        return list(self._find())

    def path(self, name: str) -> Path:
        """Path of a name that the combo offers, and of no other.

        Raises:
            FileNotFoundError: not offered (any more).
        """
        path = self._find().get(name)
        if path is None:
            raise FileNotFoundError(self._absent.format(name=name))
        return path


MODELS = FileChoices(
    _models,
    f"The model '{{name}}' is in none of the folders {', '.join(FILE_FOLDERS)}, diffusers; put it "
    "into models/exemplar and refresh.",
)
"""Model files first, then diffusers folders, no name twice."""


def file_stamp(path: Path) -> str:
    """A text that changes when the file, or a file in the folder, is replaced."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    stats = [file.stat() for file in files]
    return f"{path}:" + ",".join(f"{each.st_mtime_ns}-{each.st_size}" for each in stats)


def read_weights(path: Path) -> tuple[Mapping[str, Tensor], Mapping[str, str]]:
    """One file through the host's safe loader: mapped safetensors, or a weights-only pickle."""
    tensors, metadata = comfy.utils.load_torch_file(str(path), safe_load=True, return_metadata=True)
    return tensors, metadata or {}
