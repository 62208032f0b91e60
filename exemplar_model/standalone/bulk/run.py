"""A run from table to pictures, as the command asks for it."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from . import workers
from .errors import BulkError, RowError
from .fingerprint import fingerprint
from .forecast import Costs
from .journal import Journal
from .review import SHOWN, Gates, write_contact_sheet, write_failures, write_review
from .rows import Row, Settings
from .table import Table
from .worker import Job

SPEED_SECONDS = 600.0
"""Over which pictures per second are averaged: a batch may take minutes."""
LOST = "Its worker was lost; run the same command again."


@dataclass(frozen=True)
class Options:
    """How to run.

    Attributes:
        model: file or folder.
        dtype: of the weights, such as "fp16".
        batch: pictures painted together, at most.
        workers: number of processes; None = one per GPU, or per four cores.
        threads: of the CPU, for each; None = an equal share of the cores.
        address: of a Ray cluster; None = this machine.
        defaults: settings of empty cells.
        gates: what is listed for review.
    """

    model: Path
    dtype: str = "fp32"
    batch: int = 4
    workers: int | None = None
    threads: int | None = None
    address: str | None = None
    defaults: Settings = field(default_factory=Settings)
    gates: Gates = field(default_factory=Gates)


class PicturesPerSecond(ProgressColumn):
    """The speed at which rows get finished."""

    def render(self, task: Task) -> Text:
        """A number with its unit; nothing before the second report."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.2f} pictures/s" if speed else "")


COLUMNS = (
    BarColumn(),
    MofNCompleteColumn(),
    PicturesPerSecond(),
    TimeRemainingColumn(),
    TextColumn("{task.fields[failed]} failed, {task.fields[review]} to review"),
)


@dataclass
class Outcome:
    """What a run left.

    Attributes:
        journal: what is finished, by this run and those before it.
        failures: reason by id of the rows that could not be painted.
        costs: of what was painted now.
        workers: number of them; 0 if there was nothing to do.
    """

    journal: Journal
    failures: dict[str, str] = field(default_factory=dict)
    costs: Costs = field(default_factory=Costs)
    workers: int = 0


def paint_table(table: Table, out: Path, options: Options) -> Outcome:
    """Paint all rows that are not finished; list what failed, and what to look at.

    Args:
        table: what to paint.
        out: folder of the run, which all workers can write to.
        options: how to paint.

    Raises:
        BulkError: the folder belongs to another run, or the workers cannot work.
        CheckpointError: no model to paint with.
    """
    identity = fingerprint(options.model, options.dtype)
    journal = Journal(out, identity, options.model.name)
    journal.keep_existing()
    _require_same_rows(table, journal, identity, options.defaults)
    outcome = Outcome(journal)
    chunks = [
        chunk
        for chunk in table.chunks(options.batch)
        if not journal.records.keys() >= set(chunk["id"].to_pylist())
    ]
    try:
        if chunks:
            _work(table, chunks, identity, options, outcome)
    finally:
        write_failures(out, outcome.failures)
        _review(table, outcome, options)
    return outcome


def _require_same_rows(table: Table, journal: Journal, identity: str, defaults: Settings) -> None:
    """What is finished must be what the table asks for."""
    for cells in _cells(table, journal.records):
        row_id = cells["id"] or ""
        try:
            same = Row.read(cells, defaults).digest(identity) == journal.records[row_id].digest
        except RowError:
            same = False
        if not same:
            raise BulkError(
                f"{journal.out} has a picture of row {row_id} that was painted with other files or "
                "settings than the table names now; give a new folder as --out."
            )


def _cells(table: Table, ids: Container[str]) -> Iterator[dict[str, str | None]]:
    """The rows that have one of the ids."""
    for batch in table.cells.to_batches(max_chunksize=4096):
        yield from (cells for cells in batch.to_pylist() if cells["id"] in ids)


def _work(
    table: Table, chunks: list[pa.Table], identity: str, options: Options, outcome: Outcome
) -> None:
    journal, failures = outcome.journal, outcome.failures
    job = Job(
        model=options.model.absolute(),
        fingerprint=identity,
        dtype=options.dtype,
        out=journal.out.absolute(),
        folder=table.folder,
        defaults=options.defaults,
        batch=options.batch,
    )
    missing = {row_id for row_id in table.ids if row_id not in journal.records}
    total, already = len(table), len(table) - len(missing)
    review = len(options.gates.flagged(journal.records.values()))
    with (
        workers.started(
            options.address, options.workers, options.threads, table.cells.nbytes
        ) as staff,
        journal.appending(),
        Progress(*COLUMNS, speed_estimate_period=SPEED_SECONDS) as progress,
    ):
        outcome.workers = staff.count
        task = progress.add_task("", total=total, completed=already, failed=0, review=review)
        for report in workers.run(job, chunks, staff):
            review += len(options.gates.flagged(journal.add(report.records)))
            failures.update(report.failures)
            outcome.costs.add(report)
            missing -= {record.id for record in report.records} | report.failures.keys()
            progress.update(
                task,
                completed=total - len(missing),
                failed=len(failures),
                review=review,
            )
    failures.update(dict.fromkeys(missing, LOST))


def _review(table: Table, outcome: Outcome, options: Options) -> None:
    """List what does not pass the gates, in the table and in a picture."""
    ids = set(table.ids)
    records = (each for each in outcome.journal.records.values() if each.id in ids)
    flagged = options.gates.flagged(records)
    out = outcome.journal.out
    write_review(out, flagged, options.gates)
    shown = {record.id: record for record in flagged[:SHOWN]}
    rows = {cells["id"]: Row.read(cells, options.defaults) for cells in _cells(table, shown)}
    pairs = [(rows[row_id], record) for row_id, record in shown.items()]
    if pairs:
        write_contact_sheet(out, pairs, table.folder, options.gates)
    else:
        (out / "review.jpg").unlink(missing_ok=True)
