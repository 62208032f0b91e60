"""The solver study in a process of its own: what it measures, on a random model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.library import comfyui_path, run_in_process
from support.models import SHAPES, random_model, write_safetensors

MEASURE = """
import json
from exemplar_model.standalone.pipeline import paint
from lab.study import compare, host_sampler, intervals, precision, solvers
from lab.study.painted_object import CONTEXT
from lab.study.solver_results import Task
from lab.tiny_model import held_out

host_sampler.objects = lambda: held_out.objects()[:4]
study = solvers.SolverStudy(comfyui, path, 64)
tasks = [
    Task("ddim", "simple", 20, 3.0), Task("plms", "ddim_uniform", 20, 3.0),
    Task("euler", "simple", 20, 3.0), Task("heun", "simple", 20, 3.0),
]
entries = [study.measure(task) for task in tasks]
compare.SEEDS, compare.SHOWN = (0,), 4
intervals.INTERVALS = ((0.0, 1.0), (0.2, 0.8))
converged = paint(
    study.components, study.images, study.masks, study.exemplars,
    steps=1000, cfg=3.0, algorithm="ddim", context=CONTEXT, resolution=64,
).latents
ends = [study.solution(3.0).at_timestep_0, study.solution(3.0).without_noise]
print(json.dumps({
    "entries": entries,
    "unguided": study.sample(study.model, Task("euler", "simple", 20, 1.0), 0).evaluations,
    "ends": [float((end - converged).norm() / converged.norm()) for end in ends],
    "intervals": intervals.study_intervals(study, Task("plms", "ddim_uniform", 5, 5.0)).rows,
    "precision": precision.study_precision(study, Task("euler", "normal", 3, 2.0)).rows,
}))
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """With four of the twenty objects and a smaller UNet still, as 1000 steps take long."""
    path = tmp_path_factory.mktemp("solvers") / "model.safetensors"
    write_safetensors(path, random_model(replace(SHAPES["narrow"], unet_channels=(32, 32))))
    return run_in_process(MEASURE, comfyui=comfyui_path(), path=path)


@pytest.fixture(scope="module")
def entries(measured: dict[str, Any]) -> list[dict[str, float]]:
    return measured["entries"]


def test_evaluations_count_both_halves_of_a_guided_step(
    measured: dict[str, Any], entries: list[dict[str, float]]
) -> None:
    assert [entry["evaluations"] for entry in entries] == [40, 42, 40, 78]
    assert measured["unguided"] == 20


def test_errors_are_small_where_the_solution_is_the_same(entries: list[dict[str, float]]) -> None:
    """The host's DDIM is its Euler, and goes where the solution goes."""
    assert entries[0]["error"] < 0.1
    assert entries[0]["error"] == pytest.approx(entries[2]["error"], rel=0.01)
    assert all(0 < entry["pixels"] < 255 for entry in entries)


def test_a_limited_interval_costs_less_and_changes_the_picture(measured: dict[str, Any]) -> None:
    whole, limited = measured["intervals"]
    assert whole[:3] == ["0 to 1", "12", "0.0"]
    assert 6 < float(limited[1]) < 12 and float(limited[2]) > 0


def test_the_solution_is_that_of_1000_ddim_steps_and_one_more_to_no_noise(
    measured: dict[str, Any],
) -> None:
    at_timestep_0, without_noise = measured["ends"]
    assert at_timestep_0 < 1e-3
    assert at_timestep_0 < without_noise < 0.1


def test_smaller_weights_change_the_picture_the_more_the_smaller_they_are(
    measured: dict[str, Any],
) -> None:
    rows = measured["precision"]
    assert [row[0] for row in rows] == ["fp32", "fp16", "bf16", "fp8_e4m3fn"]
    assert rows[0][1:4] == ["float32", "0.00", "0.00"]
    changes = [float(row[2]) for row in rows]
    assert changes == sorted(changes) and changes[2] > 0
    assert all(float(row[3]) >= float(row[2]) for row in rows)
