"""A running host, and Chromium to open its front end with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.library import comfyui_path

from lab.host.headless import Host, running_host

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def comfyui() -> Path:
    return comfyui_path()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no Chromium on PATH; Debian's comes with `apt-get install chromium`")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium)
        yield running
        running.close()


@pytest.fixture(scope="session")
def host(
    browser: Browser, comfyui: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Host]:
    with running_host(comfyui, tmp_path_factory.mktemp("host")) as running:
        running.upload_pictures()
        yield prepared(running)


@pytest.fixture(scope="session")
def host_without_pack(
    browser: Browser, comfyui: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("bare")
    with running_host(comfyui, folder, "--disable-all-custom-nodes") as running:
        yield prepared(running)


def prepared(host: Host) -> Host:
    """A host whose front end greets nobody, and leaves the processor to the painting."""
    settings = {
        "Comfy.TutorialCompleted": True,
        "LiteGraph.Canvas.MaximumFps": 10,
        "LiteGraph.Canvas.MinFontSizeForLOD": 0,  # screenshots show every word
    }
    host.post("settings", settings).raise_for_status()
    return host
