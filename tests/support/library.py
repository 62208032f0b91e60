"""The host as a library: code that looks at host objects, in a process of its own."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import runpy
import tempfile
from contextlib import redirect_stdout
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import pytest

LIBRARIES = (
    "torch",
    "torchvision",
    "scipy.ndimage",
    "transformers.models.clip.modeling_clip",
    "diffusers.models.autoencoders.autoencoder_kl",
    "diffusers.models.unets.unet_2d_condition",
)
"""What takes longest to import, and is the same whatever arguments the host gets."""
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
    receiver, sender = _context().Pipe(duplex=False)
    process = _context().Process(target=_run, args=(sender, code, variables))
    process.start()
    sender.close()
    try:
        printed = receiver.recv()
    except EOFError:  # what it wrote to stderr is for whoever reads the failure
        pytest.fail("the code failed in its process; stderr shows the traceback")
    finally:
        process.join()
    return json.loads(printed.splitlines()[-1])


@cache
def _context() -> BaseContext:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(LIBRARIES))
    return context


def _run(sender: Connection, code: str, variables: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()) as printed:
        file = Path(folder) / "code.py"
        file.write_text(code)
        runpy.run_path(str(file), variables)
    sender.send(printed.getvalue())
