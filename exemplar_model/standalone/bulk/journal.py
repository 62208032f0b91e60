"""The folder of a run: which model it belongs to, and what is finished."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import astuple, fields
from pathlib import Path

from ...files import written_whole
from .errors import BulkError
from .pictures import Record, picture_path

STAT_THREADS = 32
"""A shared disk answers in a millisecond or so: a million one by one take a quarter of an hour."""


class Journal:
    """`results.csv`, one line per finished picture, and `run.json`, which names the model.

    Resuming rests on finished outputs, not on Ray Data's `CheckpointConfig` (beta in Ray 2.60):
    that takes finished rows out before batches are made, so that the others meet new companions
    and change in their last bits; counts failed rows as done; does not see that a picture was
    deleted; and knows nothing of the model.
    """

    def __init__(self, out: Path, fingerprint: str, model_name: str) -> None:
        """Open the folder of a new run, or of one that stopped.

        Args:
            out: the folder; made if it is not there.
            fingerprint: of model and dtype.
            model_name: for people who look into the folder.

        Raises:
            BulkError: it holds a run of another model, or something else.
        """
        self.out, self.file = out, out / "results.csv"
        about = out / "run.json"
        if not about.exists():
            if out.exists() and any(out.iterdir()):
                raise BulkError(f"{out} holds other files; give a new folder as --out.")
            out.mkdir(parents=True, exist_ok=True)
            with written_whole(about) as unfinished:
                unfinished.write_text(json.dumps({"model": model_name, "fingerprint": fingerprint}))
        try:
            found = json.loads(about.read_text())
            same, name = found["fingerprint"] == fingerprint, found["model"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BulkError(f"{about} is damaged; give a new folder as --out.") from error
        if not same:
            raise BulkError(
                f"{out} was begun with {name}, or in another dtype; go on with that, or give a new "
                "folder as --out."
            )
        shutil.rmtree(out / "attempts", ignore_errors=True)  # of the run before
        try:
            self.records = {record.id: record for record in _read(self.file)}
        except (ValueError, KeyError, TypeError) as error:
            raise BulkError(
                f"{self.file} is damaged; delete it, and the same command reads anew what the "
                "pictures tell."
            ) from error

    def keep_existing(self) -> None:
        """Forget what was finished and whose picture is gone."""
        paths = [picture_path(self.out, row_id) for row_id in self.records]
        with ThreadPoolExecutor(STAT_THREADS) as pool:
            exist = list(pool.map(Path.exists, paths))
        pairs = zip(list(self.records.items()), exist, strict=True)
        self.records = {row_id: record for (row_id, record), there in pairs if there}

    @contextmanager
    def appending(self) -> Iterator[None]:
        """Let `add` write; a line that a killed run left torn is gone first."""
        with written_whole(self.file) as unfinished:
            unfinished.write_text(
                _lines([HEADER, *(astuple(each) for each in self.records.values())])
            )
        with self.file.open("a", newline="") as self._opened:
            yield

    def add(self, records: Iterable[Record]) -> list[Record]:
        """Write down what got finished; returns what was not known before."""
        new = {record.id: record for record in records if record.id not in self.records}
        self.records |= new
        self._opened.write(_lines(astuple(record) for record in new.values()))
        self._opened.flush()
        return list(new.values())


HEADER = tuple(each.name for each in fields(Record))


def _lines(rows: Iterable[tuple[object, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _read(file: Path) -> Iterator[Record]:
    """Records of all whole lines; a row of the last one counts, should there be several."""
    if not file.exists():
        return
    with file.open(newline="") as opened:
        whole = (line for line in opened if line.endswith("\n"))
        for cells in csv.DictReader(whole):
            yield Record(
                cells["id"],
                cells["digest"],
                int(cells["outside"]),
                float(cells["seam"]),
                float(cells["likeness"]),
            )
