"""One worker: paints chunks of rows in batches of equal shape."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from .attempts import Attempts
from .errors import RowError, reason_of
from .painter import Painter, Planned, Prepared
from .pictures import Record, picture_path, read_record
from .rows import Row, Settings

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """What every worker of a run is told.

    Attributes:
        model: file or folder.
        fingerprint: of the model and its dtype, for the digests of rows.
        dtype: of the weights, such as "fp16".
        out: folder of the run, the same for all workers.
        folder: of the table, where relative paths start.
        defaults: settings of empty cells.
        batch: pictures painted together, at most.
    """

    model: Path
    fingerprint: str
    dtype: str
    out: Path
    folder: str
    defaults: Settings
    batch: int


@dataclass
class Report:
    """What became of some rows, and what it cost since the last report of the same worker.

    Attributes:
        records: of pictures that are finished, painted now or before.
        failures: reason by id.
        painted: pictures painted now.
        seconds: in all.
        sampling: seconds of these in which the model painted.
        read: bytes of pictures and masks.
        written: bytes of pictures.
    """

    records: list[Record] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    painted: int = 0
    seconds: float = 0.0
    sampling: float = 0.0
    read: int = 0
    written: int = 0

    def to_json(self) -> str:
        """For the way to another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Report:
        """What `to_json` wrote."""
        values = json.loads(text)
        return cls(**values | {"records": [Record(**each) for each in values["records"]]})


@dataclass
class Batch:
    """Rows that are painted together, all of them again if one of them is not finished.

    Attributes:
        rows: by id, in the order of the chunk.
        finished: records of pictures that are there already.
        prepared: the rows on their way to the model, by id.
        written: those on their way to the disk.
    """

    rows: dict[str, Planned]
    finished: dict[str, Record] = field(default_factory=dict)
    prepared: dict[str, Future[Prepared]] = field(default_factory=dict)
    written: dict[str, Future[Record]] = field(default_factory=dict)


class Worker:
    """Paints chunks; one is made in every process, as the function of Ray Data's `map_batches`."""

    def __init__(self, job: Job, threads: int) -> None:
        """Load the model.

        Args:
            job: what to do.
            threads: of the CPU, to compute with; as many read and write.
        """
        self.job = job
        torch.set_num_threads(threads)
        self.painter = Painter(job.model, job.dtype, job.folder)
        self.pool = ThreadPoolExecutor(max_workers=max(2, threads))
        self.attempts = Attempts(job.out)
        self.report = Report()
        self.reported = time.perf_counter()

    def __call__(self, chunk: pa.Table) -> Iterator[dict[str, Any]]:
        """Reports as JSON, one at a time."""
        for report in self.work(chunk.to_pylist()):
            yield {"report": np.array([report.to_json()])}

    def work(self, chunk: list[dict[str, str | None]]) -> Iterator[Report]:
        """Paint what is not finished of a chunk: a report per batch, and one for what failed.

        While a batch is sampled, the next one is prepared and the one before it written. A worker
        that takes over from a lost one gives as many reports in the same order, by which Ray tells
        those that it has.
        """
        self.report, self.reported = Report(), time.perf_counter()
        failures: dict[str, str] = {}
        batches = self._plan(chunk, failures)
        for step in range(len(batches) + 2):
            if step < len(batches):
                self._prepare(batches[step], failures)
            if 1 <= step <= len(batches):
                self._paint(batches[step - 1], failures)
            if step >= 2:
                self._collect(batches[step - 2], failures)
                yield self._next_report()
        cells = {row["id"]: row for row in chunk}
        for row_id in failures:
            self._retry(cells[row_id])
        yield self._next_report()

    def _plan(self, chunk: list[dict[str, str | None]], failures: dict[str, str]) -> list[Batch]:
        """Batches of rows that are alike, in the order of the chunk."""
        planned = [self.pool.submit(self._plan_row, cells) for cells in chunk]
        alike: dict[Any, list[Planned]] = {}
        for cells, future in zip(chunk, planned, strict=True):
            if (row := self._outcome(future, cells["id"] or "", failures)) is not None:
                self.report.read += row.read
                alike.setdefault(row.alike, []).append(row)
        size = self.job.batch
        return [
            Batch({each.row.id: each for each in rows[start : start + size]})
            for rows in alike.values()
            for start in range(0, len(rows), size)
        ]

    def _plan_row(self, cells: dict[str, str | None]) -> Planned:
        return self.painter.plan(Row.read(cells, self.job.defaults))

    def _prepare(self, batch: Batch, failures: dict[str, str]) -> None:
        """Start to decode what the batch needs, unless all of it is finished."""
        for row_id, planned in batch.rows.items():
            if (record := self._finished(planned.row)) is not None:
                batch.finished[row_id] = record
        wanted = batch.rows.keys() - batch.finished.keys()
        if not wanted:
            return
        try:
            self.attempts.begin(list(batch.rows))
        except RowError as error:
            failures.update(dict.fromkeys(wanted, str(error)))
            return
        for row_id, planned in batch.rows.items():
            batch.prepared[row_id] = self.pool.submit(self.painter.prepare, planned)

    def _finished(self, row: Row) -> Record | None:
        """The record of a row that has its picture already, of this model and these settings."""
        record = read_record(self.job.out, row.id)
        same = record is not None and record.digest == row.digest(self.job.fingerprint)
        return record if same else None

    def _paint(self, batch: Batch, failures: dict[str, str]) -> None:
        """Paint a batch whole, and start to write those of its pictures that are not there."""
        outcomes = {
            row_id: self._outcome(future, row_id, failures)
            for row_id, future in batch.prepared.items()
        }
        ready = {row_id: each for row_id, each in outcomes.items() if each is not None}
        wanted = ready.keys() - batch.finished.keys()
        if not wanted:
            return
        try:
            patches = self._sample(list(ready.values()))
        except Exception as error:  # out of memory, say: its rows are tried again one by one
            failures.update(dict.fromkeys(wanted, reason_of(error)))
            return
        for (row_id, each), patch in zip(ready.items(), patches, strict=True):
            if row_id in wanted:
                batch.written[row_id] = self.pool.submit(self._write, each, patch)

    def _sample(self, ready: list[Prepared]) -> Tensor:
        started = time.perf_counter()
        patches = self.painter.paint(ready)
        self.report.sampling += time.perf_counter() - started
        return patches

    def _write(self, prepared: Prepared, patch: Tensor) -> Record:
        digest = prepared.row.digest(self.job.fingerprint)
        return self.painter.finish(prepared, patch, digest, self.job.out)

    def _collect(self, batch: Batch, failures: dict[str, str]) -> None:
        """Wait until a batch is written, and report it."""
        for row_id, future in batch.written.items():
            if (record := self._outcome(future, row_id, failures)) is not None:
                self._report_painted(record)
        self.report.records += batch.finished.values()
        if batch.prepared:
            self.attempts.end(list(batch.rows))
        batch.prepared.clear()  # pictures in full
        batch.written.clear()

    def _retry(self, cells: dict[str, str | None]) -> None:
        """Try a row once more, from its files on and alone."""
        row_id = cells["id"] or ""
        try:
            planned = self._plan_row(cells)
            if (record := self._finished(planned.row)) is not None:
                self.report.records.append(record)
                return
            self.attempts.begin([row_id])
            try:
                prepared = self.painter.prepare(planned)
                self._report_painted(self._write(prepared, self._sample([prepared])[0]))
            finally:
                self.attempts.end([row_id])
        except Exception as error:  # whatever it is, it costs this row and no other
            self.report.failures[row_id] = reason_of(error)

    def _report_painted(self, record: Record) -> None:
        self.report.records.append(record)
        self.report.painted += 1
        self.report.written += picture_path(self.job.out, record.id).stat().st_size

    def _outcome(self, future: Future[T], row_id: str, failures: dict[str, str]) -> T | None:
        """A future's result; None, and a failure, if it raised."""
        try:
            return future.result()
        except Exception as error:  # whatever it is, it costs this row and no other
            failures[row_id] = reason_of(error)
            return None

    def _next_report(self) -> Report:
        report, now = self.report, time.perf_counter()
        report.seconds = now - self.reported
        self.report, self.reported = Report(), now
        return report
