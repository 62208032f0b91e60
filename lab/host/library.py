"""The host as a library: its code and this pack's nodes in this process."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from lab import PACK

NAME = "pack"


def load_pack(comfyui: Path, *arguments: str) -> Callable[[str], ModuleType]:
    """Make the host importable, and this pack as one of its custom nodes.

    Args:
        comfyui: a ComfyUI tree; it stays untouched.
        arguments: command-line arguments of the host, such as `--cpu`.

    Returns:
        Imports a module of the pack by its name within the pack.
    """
    sys.path.insert(0, str(comfyui))
    spec = importlib.util.spec_from_file_location(
        NAME, PACK / "__init__.py", submodule_search_locations=[str(PACK)]
    )
    assert spec is not None and spec.loader is not None
    sys.modules[NAME] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[NAME])

    def pack(name: str) -> ModuleType:
        return importlib.import_module(f"{NAME}.{name}")

    pack("nodes.host.arguments").parse_arguments(arguments)
    return pack
