"""The solver study's bench in a process of its own: what it measures, on a random model."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from support.library import comfyui_path
from support.models import RandomModel, write_safetensors

from demo.headless import PACK

MEASURE = """
import json, sys
from pathlib import Path
import study.solvers
from study.solver_results import Task
from exemplar_model.config import LATENT_SCALE
from exemplar_model.pipeline import paint
from study.cases import CONTEXT
bench = study.solvers.Bench(Path(sys.argv[1]), Path(sys.argv[2]), 64)
tasks = [("ddim", 3.0), ("plms", 3.0), ("euler", 3.0), ("euler", 1.0), ("heun", 3.0)]
entries = [bench.measure(Task(name, "ddim_uniform", 20, cfg)) for name, cfg in tasks]
import study.intervals
study.intervals.INTERVALS, study.intervals.SEEDS = ((0.0, 1.0), (0.2, 0.8)), (0,)
rows = study.intervals.study_intervals(bench, Task("plms", "ddim_uniform", 5, 5.0)).rows
converged = paint(
    bench.components, bench.images, bench.masks, bench.exemplars,
    steps=1000, cfg=3.0, algorithm="ddim", context=CONTEXT, resolution=64,
).latents
ends = [bench.solution(3.0).at_timestep_0, bench.solution(3.0).without_noise]
distances = [float((end - converged).norm() / converged.norm()) for end in ends]
print(json.dumps([entries, rows, distances]))
"""


@pytest.fixture(scope="module")
def measured(
    tmp_path_factory: pytest.TempPathFactory, models: dict[str, RandomModel]
) -> tuple[list[dict[str, float]], list[list[str]]]:
    comfyui = str(comfyui_path())
    path = tmp_path_factory.mktemp("solvers") / "narrow.safetensors"
    write_safetensors(path, models["narrow"])
    command = [sys.executable, "-c", MEASURE, comfyui, str(path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PACK).stdout
    return json.loads(output.splitlines()[-1])


@pytest.fixture(scope="module")
def entries(
    measured: tuple[list[dict[str, float]], list[list[str]]],
) -> list[dict[str, float]]:
    return measured[0]


def test_evaluations_count_both_halves_of_a_guided_step(entries: list[dict[str, float]]) -> None:
    assert [entry["evaluations"] for entry in entries] == [40, 42, 40, 20, 78]


def test_errors_are_small_where_the_solution_is_the_same(entries: list[dict[str, float]]) -> None:
    """The host's DDIM is the reference's but for its first noise and its last level."""
    assert entries[0]["error"] < 0.1
    assert entries[0]["error"] == pytest.approx(entries[2]["error"], rel=0.01)
    assert all(0 < entry["pixels"] < 255 for entry in entries)


def test_a_limited_interval_costs_less_and_changes_the_picture(
    measured: tuple[list[dict[str, float]], list[list[str]]],
) -> None:
    whole, limited = measured[1]
    assert whole[:3] == ["0 to 1", "12", "0.0"]
    assert 6 < float(limited[1]) < 12 and float(limited[2]) > 0
