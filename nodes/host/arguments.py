"""ComfyUI's command-line arguments, for tools that load these nodes without its server."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from comfy import options


def parse_arguments(arguments: Sequence[str]) -> None:
    """Let ComfyUI read arguments such as `--cpu`, before any other of its modules is imported."""
    own, sys.argv = sys.argv, ["main.py", *arguments]
    try:
        options.enable_args_parsing()
        from comfy import cli_args  # noqa: F401  (parses when it is imported)
    finally:
        sys.argv = own
