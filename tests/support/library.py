"""The host as a library: code that looks at host objects, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lab.host.headless import PACK

PREAMBLE = """
import sys
from pathlib import Path
from lab.host.library import load_pack
load_pack(Path(sys.argv[1]), "--cpu", *sys.argv[3:])
path = Path(sys.argv[2])
"""


def comfyui_path() -> Path:
    """Folder of the host; the test is skipped if nobody names one."""
    path = os.environ.get("COMFYUI_PATH")
    if path is None:
        pytest.skip("COMFYUI_PATH names no ComfyUI; `nox -s tests` provides one")
    return Path(path)


def run_in_host_process(code: str, path: Path, *arguments: str) -> Any:
    """Run code where `comfy` and our package (as `pack`) import; `path` is a model file.

    The last line that the code prints is JSON and is returned. `arguments` go to the host.
    """
    comfyui = str(comfyui_path())
    command = [sys.executable, "-c", PREAMBLE + code, comfyui, str(path), *arguments]
    # what it writes to stderr is for whoever reads the failure
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=PACK).stdout
    return json.loads(output.splitlines()[-1])
