"""The benchmarks at their tiny size: whether they measure what they say, not how fast it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from support.library import comfyui_path, run_in_process

from lab.bench.benchmarks import BENCHMARKS
from lab.bench.report import keep, write_report
from lab.bench.step import OURS_BF16
from lab.bench.tables import TABLES, peak_shares
from lab.host.headless import PACK

MEASURE = """
import dataclasses, importlib, json
from lab.bench.benchmarks import BENCHMARKS, Settings

def call_here(module, function, **arguments):
    result = getattr(importlib.import_module("lab.bench." + module), function)(**arguments)
    return json.loads(json.dumps(result))

settings = Settings(comfyui, "tiny", rounds=2, steps=2, output=output, call=call_here)
results = {name: BENCHMARKS[name](settings) for name in ("stages", "growth", "loading")}
in_fp16 = BENCHMARKS["stages"](dataclasses.replace(settings, rounds=1, weight_dtype="fp16"))
print(json.dumps({"results": results, "in fp16": in_fp16}))
"""
Result = dict[str, Any]


@pytest.fixture(scope="module")
def comfyui() -> Path:
    return comfyui_path()


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def everything(comfyui: Path, output: Path) -> dict[str, Any]:
    """Benchmarks whose processes are called within one, as loading the host takes longest."""
    return run_in_process(MEASURE, comfyui=comfyui, output=output)


@pytest.fixture(scope="module")
def measured(everything: dict[str, Any]) -> dict[str, Result]:
    return everything["results"]


@pytest.fixture(scope="module")
def step(comfyui: Path, output: Path) -> Result:
    """The benchmark as a user runs it."""
    command = [
        sys.executable,
        "-m",
        "lab.bench",
        "--comfyui",
        str(comfyui),
        "--output",
        str(output),
    ]
    asked = ["--size", "tiny", "--only", "step", "--rounds", "2"]
    printed = subprocess.run(
        [*command, *asked], stdout=subprocess.PIPE, text=True, check=True, cwd=PACK
    ).stdout
    assert "One guided step" in printed
    return json.loads((output / "step-tiny.json").read_text())


def test_contestants_of_a_step_agree(step: Result) -> None:
    contestants = step["contestants"]
    assert len(contestants.keys() - {OURS_BF16}) == 4
    for name, entry in contestants.items():
        assert entry["difference"] <= (3e-2 if name == OURS_BF16 else 1e-5)
    assert all(len(entry["seconds"]) == 2 for entry in contestants.values())


def test_a_step_of_ours_takes_fewer_operations(step: Result) -> None:
    contestants = step["contestants"]
    full = contestants["diffusers"]["flops"]
    assert 0.9 * full < contestants["ours"]["flops"] < full == contestants["stock host"]["flops"]
    assert all(0 < share.low <= share.high for share in peak_shares(step).values())


def test_a_painting_is_the_same_and_encodes_once(measured: dict[str, Result]) -> None:
    stages = measured["stages"]
    assert stages["difference"] <= 1e-5
    for run in (*stages["runs"]["ours"], *stages["runs"]["diffusers"]):
        assert run["calls"]["VAE encode"] == run["calls"]["VAE decode"] == 1
        assert run["calls"]["UNet"] == 3  # two steps of PLMS
        assert all(seconds > 0 for seconds in run["seconds"].values())
        assert 0 < run["anonymous"] <= run["resident"]


def test_a_painting_can_be_measured_with_other_weights(everything: dict[str, Any]) -> None:
    """The random weights are rounded, which the pictures show."""
    assert 1e-5 < everything["in fp16"]["difference"] < 1e-2


def test_growth_has_every_point(measured: dict[str, Result]) -> None:
    growth = measured["growth"]
    points = {"photo": ["128", "256"], "steps": ["2", "4"]}
    for name in ("regions", "apart", "small regions", "small apart"):
        points[name] = ["1", "2"]
    assert {name: list(growth[name]) for name in points} == points
    for name in points:
        for point in growth[name].values():
            assert all(seconds > 0 for seconds in point["seconds"])
            assert len(point["bytes"]) == 2


def test_loading_copies_only_weights_that_change_type(measured: dict[str, Result]) -> None:
    runs = measured["loading"]["runs"]
    assert len(runs) == 4
    needed = {run["needed"] for entries in runs.values() for run in entries}
    assert len(needed) == 1  # a CPU computes in fp32, whatever the file holds
    peaks = {layout: median(run["peak"] for run in entries) for layout, entries in runs.items()}
    assert peaks["safetensors fp16"] > 0.8 * min(needed)
    assert peaks["safetensors fp32"] < peaks["safetensors fp16"]  # mapped, not copied


def test_models_are_removed_and_all_results_are_reported(
    measured: dict[str, Result], step: Result, output: Path
) -> None:
    assert list(output.glob("models-*")) == []
    for name, result in measured.items():
        made = {key: step[key] for key in ("command", "date", "host")}
        keep(output, name, "tiny", {**result, **made})
    text = write_report(output, "tiny").read_text()
    for name in BENCHMARKS:
        result = json.loads((output / f"{name}-tiny.json").read_text())
        assert all(table.title in text for table in TABLES[name](result))
