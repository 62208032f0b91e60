"""The folder of a run: whose it is, what is finished, what to look at."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.bulk import write_model, write_pictures

from exemplar_model.standalone.bulk.errors import BulkError
from exemplar_model.standalone.bulk.fingerprint import fingerprint
from exemplar_model.standalone.bulk.forecast import Costs
from exemplar_model.standalone.bulk.journal import Journal
from exemplar_model.standalone.bulk.pictures import (
    Record,
    picture_path,
    read_record,
    write_picture,
)
from exemplar_model.standalone.bulk.review import (
    Gates,
    write_contact_sheet,
    write_failures,
    write_review,
)
from exemplar_model.standalone.bulk.rows import Row, Settings
from exemplar_model.standalone.bulk.worker import Report
from exemplar_model.standalone.bulk.workers import Workers

PIXELS = np.zeros((4, 4, 3), np.uint8)


def record(row_id: str, outside: int = 0, seam: float = 1.0, likeness: float = 0.9) -> Record:
    return Record(row_id, "0" * 16, outside, seam, likeness)


def finished(out: Path, *ids: str) -> Journal:
    journal = Journal(out, "fingerprint", "model.ckpt")
    for row_id in ids:
        write_picture(out, PIXELS, record(row_id))
    with journal.appending():
        journal.add(map(record, ids))
    return journal


def test_a_journal_is_read_again_without_a_torn_line(tmp_path: Path) -> None:
    finished(tmp_path / "out", "a", "b")
    with (tmp_path / "out/results.csv").open("a") as file:
        file.write("c,0000,0,1")
    journal = Journal(tmp_path / "out", "fingerprint", "model.ckpt")
    assert list(journal.records) == ["a", "b"]
    with journal.appending():
        journal.add([record("b"), record("d")])
    lines = (tmp_path / "out/results.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["id", "a", "b", "d"]


def test_a_deleted_picture_is_not_finished(tmp_path: Path) -> None:
    journal = finished(tmp_path / "out", "a", "b")
    picture_path(tmp_path / "out", "a").unlink()
    journal.keep_existing()
    assert list(journal.records) == ["b"]


def test_folders_of_others_are_refused(tmp_path: Path) -> None:
    finished(tmp_path / "out", "a")
    with pytest.raises(BulkError, match=r"begun with model\.ckpt, or in another dtype"):
        Journal(tmp_path / "out", "another", "other.ckpt")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/mine.png").touch()
    with pytest.raises(BulkError, match="holds other files"):
        Journal(tmp_path / "photos", "fingerprint", "model.ckpt")
    (tmp_path / "out/results.csv").write_text("id,digest,outside,seam,likeness\na,0,zero,1,1\n")
    with pytest.raises(BulkError, match=r"results\.csv is damaged"):
        Journal(tmp_path / "out", "fingerprint", "model.ckpt")
    (tmp_path / "out/run.json").write_text("[]")
    with pytest.raises(BulkError, match=r"run\.json is damaged"):
        Journal(tmp_path / "out", "fingerprint", "model.ckpt")


def test_pictures_lie_in_hashed_folders(tmp_path: Path) -> None:
    path = picture_path(tmp_path, "007")
    assert path.relative_to(tmp_path).as_posix() == "pictures/62/9f/007.png"
    write_picture(tmp_path, PIXELS, record("007"))
    assert read_record(tmp_path, "007") == record("007")
    assert [each.name for each in path.parent.iterdir()] == ["007.png"]
    path.write_bytes(path.read_bytes()[:20])
    assert read_record(tmp_path, "007") is None


def test_fingerprints_tell_models_and_dtypes_apart(tmp_path: Path) -> None:
    one, other = write_model(tmp_path, 0), write_model(tmp_path, 1)
    copy = tmp_path / "renamed.safetensors"
    copy.write_bytes(one.read_bytes())
    assert fingerprint(one, "fp32") == fingerprint(copy, "fp32")
    assert len({fingerprint(one, "fp32"), fingerprint(one, "fp16"), fingerprint(other, "fp32")}) > 2


def test_gates_list_what_does_not_pass(tmp_path: Path) -> None:
    gates = Gates(max_seam=10, min_likeness=0.5)
    records = [
        record("sound"),
        record("seam", seam=10.5),
        record("unlike", likeness=0.4),
        record("changed", outside=1),
    ]
    flagged = gates.flagged(records)
    assert [each.id for each in flagged] == ["changed", "unlike", "seam"]
    with write_review(tmp_path, flagged, gates).open() as file:
        lines = list(csv.DictReader(file))
    assert [line["reasons"] for line in lines] == [
        "changed outside the mask",
        "little likeness",
        "visible seam",
    ]
    assert lines[0]["picture"] == picture_path(Path(), "changed").as_posix()
    assert write_failures(tmp_path, {"a": "b, c"}).read_text() == 'id,reason\na,"b, c"\n'


def test_the_contact_sheet_shows_picture_exemplar_and_result(tmp_path: Path) -> None:
    cells = write_pictures(tmp_path / "in", 2)
    rows = [Row.read(each, Settings()) for each in cells]
    write_picture(tmp_path, np.full((72, 72, 3), 200, np.uint8), record(rows[0].id))
    pairs = [(row, record(row.id)) for row in rows]  # the second has no result
    sheet = Image.open(write_contact_sheet(tmp_path, pairs, str(tmp_path / "in"), Gates()))
    assert sheet.size == (3 * 192, 2 * 210)
    cells = np.array(sheet).reshape(2, 210, 3, 192, 3)[:, 18:].astype(int)  # below the captions
    cells = cells[:, 8:-8, :, 8:-8]  # JPEG's blocks bleed over the edges
    assert abs(cells[0, :, 2] - 200).max() <= 4
    assert cells[0, :, 0].std() > 20 and cells[0, :, 1].std() > 20
    assert cells[1, :, 2].min() >= 250


def test_costs_are_forecast_by_the_row() -> None:
    costs = Costs()
    for _ in range(2):
        costs.add(Report(painted=5, seconds=10.0, sampling=8.0, read=2**29, written=2**28))
    assert "took 2.00 s of a worker: 1.60 s of sampling, and 0.40 s" in costs.describe()
    forecast = costs.forecast(rows=36000, workers=4)
    assert "about 5.00 hours with 4 such workers" in forecast
    assert "read 3,600.00 GiB and fill 1,800.00 GiB" in forecast


def test_workers_fit_the_machine() -> None:
    assert Workers.plan(0, 2, None, None) == Workers(1, 0, 2, 2)
    assert Workers.plan(0, 16, None, None) == Workers(4, 0, 4, 4)
    assert Workers.plan(0, 2, 3, 1) == Workers(3, 0, 2 / 3, 1)
    assert Workers.plan(8, 64, None, None) == Workers(8, 1, 1, 8)
    assert Workers.plan(1, 8, 2, None) == Workers(2, 0.5, 1, 4)
    assert Workers.plan(8, 64, 12, None) == Workers(12, 0.5, 1, 5)
    assert Workers.plan(4, 8, 2, 1) == Workers(2, 1, 1, 1)
