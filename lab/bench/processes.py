"""Functions called in a process of their own, so that each has its own peak of memory."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from typing import Any

from lab import PACK


def in_process(module: str, function: str, **arguments: Any) -> Any:
    """Call a function of a module of this package in a new process.

    Args:
        module: name within `bench`.
        function: its arguments and what it returns are JSON.

    Raises:
        subprocess.CalledProcessError: it failed; the process has said why.
    """
    command = [sys.executable, "-m", "lab.bench.processes", module, function, json.dumps(arguments)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=PACK)
    return json.loads(ended.stdout.splitlines()[-1])  # libraries may print before


if __name__ == "__main__":
    _module, _function, _arguments = sys.argv[1:]
    _result = getattr(importlib.import_module(f"lab.bench.{_module}"), _function)(
        **json.loads(_arguments)
    )
    sys.stdout.write("\n" + json.dumps(_result) + "\n")
