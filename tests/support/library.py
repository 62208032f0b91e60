"""The host as a library: code that looks at host objects, in a process of its own."""

from __future__ import annotations

import io
import json
import os
import runpy
import tempfile
from contextlib import redirect_stdout
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from support.processes import starter

LOAD_PACK = """
from lab.host.library import load_pack
load_pack(comfyui, "--cpu", *arguments)
"""


def comfyui_path() -> Path:
    """Folder of the host; the test is skipped if nobody names one."""
    path = os.environ.get("COMFYUI_PATH")
    if path is None:
        pytest.skip("COMFYUI_PATH names no ComfyUI; `nox -s tests` provides one")
    return Path(path)


def run_in_host_process(code: str, path: Path, *arguments: str) -> Any:
    """Run code where `comfy` and our package (as `pack`) import; `path` is a model file.

    Returns what the code prints, see `run_in_process`. `arguments` go to the host.
    """
    return run_in_process(LOAD_PACK + code, comfyui=comfyui_path(), path=path, arguments=arguments)


def run_in_process(code: str, **variables: Any) -> Any:
    """Run code in a process of its own; the last line that it prints is JSON and is returned.

    Where the system can fork, the process is forked from one that has the libraries loaded.
    """
    receiver, sender = starter().Pipe(duplex=False)
    process = starter().Process(target=_run, args=(sender, code, variables))
    process.start()
    sender.close()
    try:
        printed = receiver.recv()
    except EOFError:  # what it wrote to stderr is for whoever reads the failure
        pytest.fail("the code failed in its process; stderr shows the traceback")
    finally:
        process.join()
    return json.loads(printed.splitlines()[-1])


def _run(sender: Connection, code: str, variables: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()) as printed:
        file = Path(folder) / "code.py"
        file.write_text(code)
        runpy.run_path(str(file), variables)
    sender.send(printed.getvalue())
