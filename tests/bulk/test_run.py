"""The command under Ray: it loses a worker, then its own process, and ends as if it had not."""

from __future__ import annotations

import csv
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from support.bulk import contents, new_worker, write_csv, write_model, write_pictures
from support.training import ROOT, command, environment
from typer.testing import CliRunner

from exemplar_model.__main__ import command_line

PATIENCE = 240
"""Seconds; a worker imports PyTorch, on a busy machine."""


def arguments(table: Path, model: Path, out: Path, *more: str) -> list[str]:
    shared = ("--steps", "2", "--resolution", "64", "--batch", "1", "--threads", "1", *more)
    return command("paint", str(table), "--model", str(model), "--out", str(out), *shared)


def run(*parts: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments(*parts), cwd=ROOT, env=environment(), capture_output=True, text=True
    )


def refused(*parts: object) -> str:
    """The sentence of a command that does not start; in this process, as Ray has no part in it."""
    result = CliRunner().invoke(command_line(), arguments(*parts)[3:], env={"COLUMNS": "250"})
    assert (result.exit_code, result.stdout) == (1, "")
    return result.stderr


def pictures(out: Path) -> int:
    return len(list(out.rglob("*.png")))


def is_worker(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return any("MapWorker" in word for word in process.cmdline())
    return False


def wait_for(out: Path, count: int, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE
    while pictures(out) < count:
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)


def test_a_run_survives_its_workers_and_its_own_end(tmp_path: Path) -> None:
    rows = write_pictures(tmp_path, 24)
    bad = [
        rows[0] | {"id": "absent", "image": "nowhere.png"},
        rows[0] | {"id": "setting", "steps": "none"},
    ]
    table, model = write_csv(tmp_path / "table.csv", [*rows, *bad]), write_model(tmp_path)
    for start in range(0, 24, 8):  # the command's chunks, in this process
        list(new_worker(model, tmp_path, tmp_path / "undisturbed", 1).work(rows[start : start + 8]))

    out = tmp_path / "out"
    process = subprocess.Popen(
        arguments(table, model, out, "--workers", "2"),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    wait_for(out, 2, process)
    below = psutil.Process(process.pid).children(recursive=True)
    next(each for each in below if is_worker(each)).kill()
    before = pictures(out)
    wait_for(out, before + 2, process)
    process.kill()  # leaves no time to tidy up
    process.wait()
    assert not psutil.wait_procs(list(filter(is_worker, below)), timeout=PATIENCE)[1]
    for each in below:  # Ray's agents notice within a minute or two
        with suppress(psutil.NoSuchProcess):
            each.kill()
    assert before < pictures(out)

    done = run(table, model, out, "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert "24 of 26 rows are painted" in done.stdout
    assert "2 rows failed" in done.stdout
    assert contents(out) == contents(tmp_path / "undisturbed")
    with (out / "results.csv").open() as file:
        assert sorted(line["id"] for line in csv.DictReader(file)) == [row["id"] for row in rows]
    with (out / "failed.csv").open() as file:
        failed = {line["id"]: line["reason"] for line in csv.DictReader(file)}
    assert failed == {
        "absent": "The image nowhere.png does not exist.",
        "setting": "steps is 'none'; it must be a whole number from 1 to 1000.",
    }

    assert "painted with other files or settings" in refused(table, model, out, "--cfg", "2")
    assert "was begun with model0.safetensors" in refused(table, write_model(tmp_path, 1), out)


def test_a_dry_run_forecasts_and_leaves_the_folder_alone(tmp_path: Path) -> None:
    table = write_csv(tmp_path / "table.csv", write_pictures(tmp_path, 6))
    out = tmp_path / "out"
    done = run(table, write_model(tmp_path), out, "--dry-run", "2", "--min-likeness", "1.1")
    assert done.returncode == 0, done.stderr
    assert "6 rows would take about" in done.stdout
    assert not out.exists()
    dry = tmp_path / "out-dry-run"
    assert contents(dry).keys() == {"row-000", "row-003"}
    assert len((dry / "review.csv").read_text().splitlines()) == 3
    assert (dry / "review.jpg").is_file()


@pytest.mark.parametrize(
    ("table", "more", "told"),
    [
        ("id,image,mask\n1,a,b\n", (), "lacks the column exemplar"),
        ("id,image,mask,exemplar\n1,a,b,c\n", (), "cannot be read as a model file"),
        ("id,image,mask,exemplar\n1,a,b,c\n", ("--cfg", "-1"), "Of the options, cfg is '-1'"),
    ],
)
def test_mistakes_are_told_before_anything_starts(
    table: str, more: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    (tmp_path / "table.csv").write_text(table)
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    out = tmp_path / "out"
    assert told in refused(tmp_path / "table.csv", tmp_path / "model.safetensors", out, *more)
    assert not out.exists()
