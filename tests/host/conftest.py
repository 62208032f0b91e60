"""One running ComfyUI host for all tests of this folder, with models and pictures in place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.library import comfyui_path
from support.models import SHAPES, RandomModel, random_model, write_safetensors

from lab.host.headless import Host, running_host
from lab.host.pictures import pictures


@pytest.fixture(scope="session")
def models() -> dict[str, RandomModel]:
    return {name: random_model(config, seed) for seed, (name, config) in enumerate(SHAPES.items())}


@pytest.fixture(scope="session")
def narrow(tmp_path_factory: pytest.TempPathFactory, models: dict[str, RandomModel]) -> Path:
    """A model file, for code that runs in a process of its own; nobody changes it."""
    path = tmp_path_factory.mktemp("narrow") / "narrow.safetensors"
    write_safetensors(path, models["narrow"])
    return path


@pytest.fixture(scope="session")
def host(
    tmp_path_factory: pytest.TempPathFactory, models: dict[str, RandomModel]
) -> Iterator[Host]:
    comfyui = comfyui_path()
    folder = tmp_path_factory.mktemp("host")
    for name in ("checkpoints", "diffusers", "diffusion_models", "exemplar", "vae"):
        (folder / "models" / name).mkdir(parents=True)
    exemplar = folder / "models" / "exemplar"
    for name, model in models.items():
        write_safetensors(exemplar / f"{name}.safetensors", model)
    with running_host(comfyui, folder) as running:
        running.upload_pictures()
        for name, picture in pictures().items():
            running.upload(picture, f"{name}.png")
        yield running
