"""Command-line arguments that the tools of this folder share."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from lab import PACK


def tool_arguments(
    description: str | None, *, output: str | None = None, model: bool = False
) -> argparse.ArgumentParser:
    """A parser of `--comfyui`, by default the folder that COMFYUI_PATH names.

    Args:
        description: of the tool.
        output: the default of `--output`, within `lab/output`; None if there is no such argument.
        model: whether there is `--model`, by default the bundled one.
    """
    parser = argparse.ArgumentParser(description=description)
    host = os.environ.get("COMFYUI_PATH")
    parser.add_argument(
        "--comfyui",
        type=_folder,
        default=host,
        required=host is None,
        help="folder of ComfyUI; by default what COMFYUI_PATH names",
    )
    if model:
        bundled = PACK / "models" / "exemplar-tiny.safetensors"
        parser.add_argument("--model", type=Path, default=bundled)
    if output is not None:
        parser.add_argument("--output", type=Path, default=PACK / "lab" / "output" / output)
    return parser


def _folder(text: str) -> Path:
    return Path(text).resolve()
