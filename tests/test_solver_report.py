"""Results of the solver study: kept, tabled, drawn."""

import pytest
from PIL import Image

from lab.study.report import Section
from lab.study.solver_report import (
    error_table,
    finalist_table,
    screening_table,
    write_solver_report,
)
from lab.study.solver_results import Results, Task

TASKS = [
    Task(sampler, "ddim_uniform", steps, cfg)
    for cfg in (1.0, 5.0)
    for sampler in ("plms", "euler")
    for steps in (10, 25, 50)
]
ERRORS = {"plms": {10: 0.2, 25: 0.05, 50: 0.02}, "euler": {10: 0.4, 25: 0.3, 50: 0.1}}


@pytest.fixture
def entries():
    return {
        task.key: {
            "evaluations": task.steps * (2 if task.cfg > 1 else 1),
            "error": ERRORS[task.sampler][task.steps],
            "pixels": 1.5,
        }
        for task in TASKS
    }


def test_the_table_names_the_fewest_steps_as_close_as_the_reference(entries):
    closer = Task("euler", "ddim_uniform", 10, 5.0)
    entries[closer.key]["error"] = 0.02
    lines = finalist_table(entries, TASKS).splitlines()
    assert lines[0] == "| solver | cfg 1 | cfg 5 |"
    assert lines[2] == "| plms ddim_uniform | 50 steps, 50 | 50 steps, 100 |"
    assert lines[3] == "| euler ddim_uniform | – | 10 steps, 20 |"


def test_errors_are_shown_at_half_and_all_of_the_reference_s_steps(entries):
    lines = error_table(entries, TASKS).splitlines()
    assert lines[2] == "| plms ddim_uniform | 25 | 50 | 0.0500, 1.50 | 0.0500, 1.50 |"
    assert [line.split(" | ")[1] for line in lines[2:]] == ["25", "50"] * 2


def test_the_screening_begins_with_the_best(entries):
    first = screening_table(entries, TASKS[:6]).splitlines()[2]
    assert first == "| plms ddim_uniform | 50 | 50 | 0.0200 | 1.50 |"


def test_report_is_written(entries, tmp_path):
    drawn = {"intervals.png": Image.new("RGB", (8, 8))}
    intervals = Section("Intervals", "Said of them.", ["interval"], [["0 to 1"]], drawn)
    write_solver_report(tmp_path, entries, TASKS, TASKS, intervals)
    assert (tmp_path / "intervals.png").is_file()
    assert "Said of them.\n\n| interval |" in (tmp_path / "solvers.md").read_text()
    assert (tmp_path / "solvers.png").stat().st_size > 1000
    assert (tmp_path / "solvers.md").read_text().count("| plms") == 9


def test_results_of_another_model_do_not_count(tmp_path):
    model, file = tmp_path / "model", tmp_path / "solvers.json"
    model.write_bytes(b"one")
    results = Results(file, of=model)
    results.add(TASKS[0], {"error": 0.5})
    assert Results(file, of=model).entries == {TASKS[0].key: {"error": 0.5}}
    model.write_bytes(b"two")
    assert Results(file, of=model).entries == {}
