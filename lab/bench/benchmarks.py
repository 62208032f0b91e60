"""The four benchmarks: each runs in processes of its own and returns one result as JSON."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .processes import in_process

Result = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What a run is asked for.

    Attributes:
        comfyui: the host's folder.
        size: "full", the published sizes, or "tiny".
        rounds: how often each contestant is measured, in turns.
        steps: sampling steps of a whole painting.
        weight_dtype: choice of *Load Exemplar Model* for a whole painting.
        output: for results, and for models while a benchmark needs them.
        call: runs a function of a module of this package; see `in_process`.
    """

    comfyui: Path
    size: str
    rounds: int
    steps: int
    output: Path
    weight_dtype: str = "default"
    call: Callable[..., Any] = in_process

    @property
    def host(self) -> dict[str, Any]:
        """Arguments of what runs in the host."""
        return {"comfyui": str(self.comfyui), "size": self.size}


def step(settings: Settings) -> Result:
    """One guided step; see `step.measure`."""
    return settings.call("step", "measure", **settings.host, rounds=settings.rounds)


def growth(settings: Settings) -> Result:
    """Growth with photo, regions and steps; see `growth.measure`."""
    return settings.call("growth", "measure", **settings.host, rounds=settings.rounds)


def stages(settings: Settings) -> Result:
    """A whole painting by stage, one process a contestant and round; see `stages`."""
    common = {"size": settings.size, "steps": settings.steps}
    runs: dict[str, list[Result]] = {"ours": [], "diffusers": []}
    with _models(settings, ["safetensors fp32", "diffusers folder"]) as paths:
        folder = {"folder": str(paths["diffusers folder"].parent)}
        for _ in range(settings.rounds):
            _read_through(paths["safetensors fp32"])
            own = {"comfyui": str(settings.comfyui), "weight_dtype": settings.weight_dtype}
            ours = settings.call("stages", "ours", **common, **folder, **own)
            _read_through(paths["diffusers folder"])
            theirs = settings.call("stages", "diffusers", **common, **folder)
            runs["ours"].append(ours)
            runs["diffusers"].append(theirs)
        pictures = [np.load(runs[name][-1]["picture"]).astype(float) for name in runs]
    distance = np.linalg.norm(pictures[0] - pictures[1]) / np.linalg.norm(pictures[1])
    about = runs["ours"][0]["about"]
    return {"runs": runs, "difference": float(distance), "steps": settings.steps, "about": about}


def loading(settings: Settings) -> Result:
    """Loading each layout, one process a file and round; see `loading.load`."""
    layouts = ["original .ckpt", "safetensors fp32", "safetensors fp16", "diffusers folder"]
    runs: dict[str, list[Result]] = {layout: [] for layout in layouts}
    with _models(settings, layouts) as paths:
        for _ in range(settings.rounds):
            for layout in layouts:
                _read_through(paths[layout])
                given = {"comfyui": str(settings.comfyui), "path": str(paths[layout])}
                runs[layout].append(settings.call("loading", "load", **given))
    return {"runs": runs, "about": runs[layouts[0]][0]["about"]}


BENCHMARKS: dict[str, Callable[[Settings], Result]] = {
    "step": step,
    "stages": stages,
    "growth": growth,
    "loading": loading,
}


@contextmanager
def _models(settings: Settings, layouts: list[str]) -> Generator[dict[str, Path]]:
    """Path of a random model by layout, as long as the context is open."""
    # a folder whose name says that it can go, should the process be killed
    with tempfile.TemporaryDirectory(prefix="models-", dir=settings.output.resolve()) as folder:
        given = {"folder": folder, "size": settings.size, "layouts": layouts}
        names = settings.call("models", "write_layouts", **given)
        yield {layout: Path(folder) / name for layout, name in names.items()}


def _read_through(path: Path) -> None:
    """Bring a file, or those of a folder, into the page cache, so that the disk does not count."""
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb") as opened:
                while opened.read(2**24):
                    pass
