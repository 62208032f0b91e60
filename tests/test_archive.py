"""What users install: the archive as ComfyUI's registry builds it, and the pack running from it."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.library import comfyui_path

from lab.demo.__main__ import node_of
from lab.host.headless import PACK, PACK_NAME, running_host

MEGABYTES = 2.5
"""For all but the bundled model; measured: 2.1."""
FLAGGED_MODULES = {
    *("ctypes", "ftplib", "http", "httpx", "multiprocessing", "requests", "socket", "subprocess"),
    *("aiohttp", "urllib", "urllib3", "webbrowser", "websocket"),
}
FLAGGED = re.compile(r"(?<![\w.])(eval|exec|__import__)\(|\bos\.(environ|getenv|popen|system)\b")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of what git tracks here, as it stands in the working tree."""
    pytest.importorskip("comfy_cli", reason="comfy-cli, which builds the archive, is not installed")
    if shutil.which("git") is None or not (PACK / ".git").exists():
        pytest.skip("the archive is made of what git tracks, and this is no clone")
    target = tmp_path_factory.mktemp("archive") / "repository"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PACK, capture_output=True, check=True)
    for name in listed.stdout.decode().rstrip("\0").split("\0"):
        if (PACK / name).is_file():  # not one that is about to be deleted
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PACK / name, target / name)
    subprocess.run(["git", "init", "--quiet"], cwd=target, check=True)
    subprocess.run(["git", "add", "--all", "--force"], cwd=target, check=True)
    return target


def comfy(tree: Path, *arguments: str) -> str:
    """What ComfyUI's command line prints; it sends no statistics and leaves no files at home."""
    command = [sys.executable, "-m", "comfy_cli", "--skip-prompt", "--no-json", *arguments]
    environment = os.environ | {"DO_NOT_TRACK": "1", "HOME": str(tree.parent)}
    ended = subprocess.run(
        command, cwd=tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    printed = ended.stdout.decode()
    assert ended.returncode == 0, printed
    return printed


@pytest.fixture(scope="module")
def archive(tree: Path) -> Path:
    comfy(tree, "node", "pack")
    return tree / "node.zip"


@pytest.fixture(scope="module")
def installed(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pack's folder in the custom_nodes of a new host."""
    target = tmp_path_factory.mktemp("installed") / "custom_nodes" / PACK_NAME
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(target)
    return target


def test_the_registry_s_own_checks_pass(tree: Path) -> None:
    printed = comfy(tree, "node", "validate")
    assert "All validation checks passed" in printed
    assert "arning" not in printed


def test_only_what_users_need_is_in_it(installed: Path, archive: Path) -> None:
    assert {path.name for path in installed.iterdir()} == {
        *("__init__.py", "nodes", "exemplar_model", "models", "web", "example_workflows"),
        *("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"),
    }
    with zipfile.ZipFile(archive) as opened:
        sizes = {each.filename: each.compress_size for each in opened.infolist()}
    assert sizes.pop("models/exemplar-tiny.safetensors") > 0
    assert sum(sizes.values()) < MEGABYTES * 1e6


def test_nothing_in_it_keeps_the_registry_from_installing_it(installed: Path) -> None:
    found: list[str] = []
    for path in installed.rglob("*.py"):
        text, name = path.read_text(), path.relative_to(installed)
        found += [f"{name}: {match[0]}" for match in FLAGGED.finditer(text)]
        for node in ast.walk(ast.parse(text)):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [f"{node.module}.{each.name}" for each in node.names]
            found += [
                f"{name}: {each}"
                for each in names
                if each.split(".")[0] in FLAGGED_MODULES or FLAGGED.search(each)
            ]
    assert not found, "\n".join(found)


def test_the_host_runs_it(installed: Path) -> None:
    prompt = json.loads((PACK / "tests" / "api" / "basic.json").read_text())
    prompt[node_of(prompt, "ExemplarInpaintSampler")]["inputs"]["steps"] = 1
    with running_host(comfyui_path(), installed.parents[1]) as host:
        host.upload_pictures()
        outputs = host.run(prompt)
    assert host.output(outputs[node_of(prompt, "SaveImage")]["images"][0]).is_file()
