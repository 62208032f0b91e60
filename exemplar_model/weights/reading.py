"""Reading one file of weights: safetensors, or a pickle, of which nothing is ever run."""

from __future__ import annotations

import codecs
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from ..constants import OFFICIAL_MODEL
from ..errors import UserError

StateDict = dict[str, Tensor]

ReadFile = Callable[[Path], tuple[Any, Mapping[str, str]]]
"""Reads one file: its content (tensors by name, if it is a file of weights) and its metadata."""

LightningCallback = type(
    "ModelCheckpoint", (), {"__module__": "pytorch_lightning.callbacks.model_checkpoint"}
)
_NUMPY_SCALAR = np.float64().__reduce__()[0]
HARMLESS: list[Any] = [
    LightningCallback,
    np.dtype,
    type(np.dtype(np.float64)),
    codecs.encode,
    # numpy 2 renamed the module; files name that of the numpy which wrote them
    (_NUMPY_SCALAR, "numpy.core.multiarray.scalar"),
    (_NUMPY_SCALAR, "numpy._core.multiarray.scalar"),
]
"""What pickles may name besides tensors: the state of a callback of pytorch-lightning 1, which the
official checkpoint has, and numbers of numpy. ComfyUI allows the same."""


class CheckpointError(UserError, ValueError):
    """The file cannot be used; the message names the cause and the cure in one sentence."""


def read_safetensors(path: Path) -> tuple[StateDict, dict[str, str]]:
    """Tensors as views of the memory-mapped file, and its metadata."""
    untyped_open = cast("Any", safe_open)
    with untyped_open(path, framework="pt") as file:
        names: list[str] = list(file.keys())
        return {name: file.get_tensor(name) for name in names}, file.metadata() or {}


def read_file(path: Path) -> tuple[Any, Mapping[str, str]]:
    """Read a safetensors file, or a pickle as far as it holds nothing but tensors and `HARMLESS`.

    Both are mapped into memory where their format allows it. Every kind of damage raises its own
    exception here; `read_weights` makes one of them.
    """
    if path.suffix in (".safetensors", ".sft"):
        return read_safetensors(path)
    mapped = zipfile.is_zipfile(path)  # PyTorch before 1.6 wrote no zip files
    try:
        with torch.serialization.safe_globals(HARMLESS):
            content: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except UnpicklingError as error:  # its own text recommends to run the code
        raise ValueError("a pickle of more than weights, which is never run") from error
    if isinstance(content, dict):
        content = cast("dict[str, Any]", content).get("state_dict", content)
    return content, {}


def read_weights(path: Path, read: ReadFile = read_file) -> tuple[StateDict, dict[str, str]]:
    """Tensors by name, and metadata, of one file.

    Args:
        path: safetensors file or pickle.
        read: reads the file, in place of `read_file`.

    Raises:
        CheckpointError: unreadable, without tensors, or a pickle that carries code.
    """
    try:
        content, metadata = read(path)
    except (MemoryError, PermissionError, CheckpointError):
        raise
    except Exception as error:  # every reader has its own exceptions; all mean the same to a user
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"{path.name} cannot be read as a model file, it is damaged, incomplete or carries "
            f"code ({reason}); download it again, the official file is {OFFICIAL_MODEL}."
        ) from error
    items = cast("dict[Any, Any]", content).items() if isinstance(content, dict) else ()
    tensors = {
        name: value.detach()
        for name, value in items
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if not tensors:
        raise CheckpointError(
            f"{path.name} holds no weights; the official file is {OFFICIAL_MODEL}."
        )
    return tensors, dict(metadata)


def component_file(folder: Path) -> Path:
    """The weights in a folder of diffusers or transformers, full precision first.

    Raises:
        CheckpointError: there are none.
    """
    for pattern in ("*model.safetensors", "*model.fp16.safetensors", "*model.bin"):
        if files := sorted(folder.glob(pattern)):
            return files[0]
    raise CheckpointError(
        f"{folder.parent.name}/{folder.name} holds no weights (*.safetensors or *.bin); download "
        "the folder again."
    )
