"""An encoded exemplar as a file: what to paint, without the picture and without encoding again."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from .errors import UserError
from .files import written_whole
from .image import to_bytes, to_rgb
from .weights.reading import read_safetensors

METADATA = "exemplar"
"""Key under which the file describes itself, in JSON."""

VERSION = 1


class SavedExemplarError(UserError, ValueError):
    """The file cannot be used; the message names the cause and the cure in one sentence."""


@dataclass(frozen=True)
class ModelIdentity:
    """The model whose encoder made a context; to every other model it means nothing.

    Attributes:
        name: as the user knows the file.
        fingerprint: of its encoder, see `fingerprint`.
    """

    name: str
    fingerprint: str

    def __str__(self) -> str:
        return f"{self.name} ({self.fingerprint[:8]})"


def fingerprint(encoder: Mapping[str, Tensor]) -> str:
    """SHA-256 of the null vector and the projection, which every training changes.

    It is taken in half precision, so that a model converted from fp32 to fp16 keeps its own.

    Args:
        encoder: tensors named as `ExemplarEncoder` names them, as the file holds them.
    """
    digest = hashlib.sha256()
    for name in ("uncond_vector", "proj_out.weight"):
        digest.update(encoder[name].to("cpu", torch.float16).contiguous().numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class SavedExemplar:
    """What Encode Exemplar makes, with the model that it belongs to.

    Attributes:
        context: [B, T, D]; the encoder makes one token, T = 1.
        uncond_vector: [B or 1, T, D], the null condition, which guidance leads away from.
        view: [N, H, W, 3] in [0, 1], what the encoder saw; kept in 8 bit.
        model: whose encoder made it.
    """

    context: Tensor
    uncond_vector: Tensor
    view: Tensor
    model: ModelIdentity

    def write(self, path: Path) -> None:
        """Write a safetensors file, which appears whole or not at all."""
        views = to_bytes(to_rgb(self.view))  # [N, H, W, 3]
        png = io.BytesIO()
        Image.fromarray(views.reshape(-1, *views.shape[2:])).save(png, "PNG")  # one below the other
        tensors = {
            # clones, since one tensor may serve twice, and a file holds no tensor twice
            "context": self.context.cpu().clone(memory_format=torch.contiguous_format),
            "uncond_vector": self.uncond_vector.cpu().clone(memory_format=torch.contiguous_format),
            "view_png": torch.tensor(np.frombuffer(png.getvalue(), np.uint8)),
        }
        about = {
            "version": VERSION,
            "model": self.model.name,
            "fingerprint": self.model.fingerprint,
            "tokens": self.context.shape[1],
            "views": len(views),
        }
        with written_whole(path) as unfinished:
            save_file(tensors, unfinished, metadata={METADATA: json.dumps(about)})

    @classmethod
    def read(cls, path: Path) -> SavedExemplar:
        """Read what `write` wrote; context and null vector come back bit by bit.

        Raises:
            SavedExemplarError: damaged, of another kind, or of a newer version.
        """
        try:
            tensors, metadata = read_safetensors(path)
            if METADATA not in metadata:
                raise SavedExemplarError(
                    f"{path.name} is no saved exemplar; choose a file that Save Exemplar wrote."
                )
            about: dict[str, Any] = json.loads(metadata[METADATA])
            if int(about["version"]) > VERSION:
                raise SavedExemplarError(
                    f"{path.name} was saved by a newer version of this pack; update the pack, or "
                    "save the exemplar again."
                )
            # clones, since the file may be replaced while it is mapped
            context, uncond_vector = (
                tensors[each].clone() for each in ("context", "uncond_vector")
            )
            if context.ndim != 3 or context.shape[2:] != uncond_vector.shape[2:]:
                raise ValueError("tensors of another shape")
            return cls(
                context,
                uncond_vector,
                _read_view(tensors["view_png"], int(about["views"])),
                ModelIdentity(str(about["model"]), str(about["fingerprint"])),
            )
        except (MemoryError, PermissionError, SavedExemplarError):
            raise
        except Exception as error:  # every reader has its own; all mean the same to a user
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise SavedExemplarError(
                f"{path.name} cannot be read as a saved exemplar, it is damaged or incomplete "
                f"({reason}); save the exemplar again."
            ) from error

    def require_model(self, model: ModelIdentity, name: str) -> None:
        """Raise SavedExemplarError, naming both, if the exemplar belongs to another model.

        Args:
            model: of the encoder in use.
            name: of the file, for the message.
        """
        if self.model.fingerprint != model.fingerprint:
            raise SavedExemplarError(
                f"{name} was encoded by {self.model} and the encoder is that of {model}, to which "
                f"it means something else; load {self.model.name}, or encode the exemplar again."
            )


def _read_view(png: Tensor, count: int) -> Tensor:
    with Image.open(io.BytesIO(png.numpy().tobytes()), formats=("PNG",)) as picture:
        stacked = np.array(picture.convert("RGB"))  # one below the other
    views = stacked.reshape(count, -1, *stacked.shape[1:])
    return torch.tensor(views).float() / 255
