"""What a run will take, from what some rows took."""

from __future__ import annotations

from dataclasses import dataclass

from .worker import Report

GIB = 2**30


@dataclass
class Costs:
    """Sums over reports of workers."""

    painted: int = 0
    seconds: float = 0.0
    sampling: float = 0.0
    read: int = 0
    written: int = 0

    def add(self, report: Report) -> None:
        """Count a report in."""
        self.painted += report.painted
        self.seconds += report.seconds
        self.sampling += report.sampling
        self.read += report.read
        self.written += report.written

    def describe(self) -> str:
        """What a picture took of a worker's time."""
        a_picture, sampling = self.seconds / self.painted, self.sampling / self.painted
        return (
            f"A picture took {a_picture:.2f} s of a worker: {sampling:.2f} s of sampling, and "
            f"{a_picture - sampling:.2f} s waiting for what is read and written."
        )

    def forecast(self, rows: int, workers: int) -> str:
        """Hours, disk and reading for so many rows; as good as the rows are typical."""
        share = rows / self.painted
        return (
            f"{rows:,} rows would take about {share * self.seconds / workers / 3600:,.2f} hours "
            f"with {workers} such worker{'s' * (workers > 1)}, read {share * self.read / GIB:,.2f} "
            f"GiB and fill {share * self.written / GIB:,.2f} GiB of disk."
        )
