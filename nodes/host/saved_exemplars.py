"""Where saved exemplars are found, and where new ones are written."""

from __future__ import annotations

import os
from pathlib import Path

import comfy.model_management as management
import folder_paths

from ...exemplar_model.saved import SavedExemplar
from .files import FileChoices, register_folder

EXEMPLAR_FOLDER = "exemplar_embeddings"
OUTPUT_FOLDER = "exemplars"
SUFFIX = ".safetensors"
FROM_OUTPUT = " [output]"
"""Marks names of the output folder, as the host marks them; a name may exist in both folders."""


def register_exemplar_folder() -> None:
    """Make `models/exemplar_embeddings` known to the host."""
    register_folder(EXEMPLAR_FOLDER, {SUFFIX})


def _exemplars() -> dict[str, Path]:
    found: dict[str, Path] = {}
    places = [(Path(folder), "") for folder in folder_paths.get_folder_paths(EXEMPLAR_FOLDER)]
    for folder, mark in [*places, (_output_folder(), FROM_OUTPUT)]:
        # the host's cached list fails for good once a folder in it is deleted, as outputs are
        files, _ = folder_paths.recursive_search(str(folder))
        for name in folder_paths.filter_files_extensions(files, {SUFFIX}):
            found.setdefault(Path(name).as_posix() + mark, folder / name)
    return found


def _output_folder() -> Path:
    return Path(folder_paths.get_output_directory(), OUTPUT_FOLDER)


EXEMPLARS = FileChoices(
    _exemplars,
    f"There is no saved exemplar '{{name}}'; put it into models/{EXEMPLAR_FOLDER} and refresh, or "
    "save one with Save Exemplar.",
)
"""Files of the model folder first, then those of the output folder."""


def new_exemplar_path(prefix: str) -> Path:
    """A path in the output folder that no file has yet: the prefix and the next number.

    Raises:
        ValueError: the prefix names nothing, or leads out of the folder.
    """
    folder = _output_folder()
    if folder not in Path(os.path.normpath(folder / prefix)).parents:
        raise ValueError(
            f"filename_prefix '{prefix}' is no name within output/{OUTPUT_FOLDER}; give one such "
            "as rose, or flowers/rose for a subfolder."
        )
    place, name, counter, _, _ = folder_paths.get_save_image_path(prefix, str(folder))
    return Path(place, f"{name}_{counter:05}_{SUFFIX}")


def output_entry(path: Path) -> dict[str, str]:
    """How the host names a file of its output folder to the front end."""
    subfolder = path.parent.relative_to(folder_paths.get_output_directory()).as_posix()
    return {"filename": path.name, "subfolder": subfolder, "type": "output"}


def to_conditioning(saved: SavedExemplar) -> tuple[list[list[object]], list[list[object]]]:
    """Positive and negative CONDITIONING, where the encoder would have put them."""
    home = management.intermediate_device()
    return [[saved.context.to(home), {}]], [[saved.uncond_vector.to(home), {}]]
