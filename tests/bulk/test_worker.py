"""What a worker paints, what it passes over, and what it does when one went before it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.bulk import (
    SETTINGS,
    Cells,
    contents,
    merged,
    new_worker,
    write_model,
    write_pictures,
)

from exemplar_model.constants import EXEMPLAR_PADDING
from exemplar_model.standalone.bulk.attempts import LIVES, Attempts
from exemplar_model.standalone.bulk.errors import RowError
from exemplar_model.standalone.bulk.pictures import decode_mask, picture_path, size_of
from exemplar_model.standalone.components import Components
from exemplar_model.standalone.pipeline import paint
from exemplar_model.weights.checkpoint import read_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bulk")


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    return write_model(folder)


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[Cells]:
    return write_pictures(folder, 8)


@pytest.fixture(scope="module")
def undisturbed(folder: Path, model: Path, rows: list[Cells]) -> dict[str, bytes]:
    out = folder / "undisturbed"
    list(new_worker(model, folder, out).work(rows))
    return contents(out)


def read(path: Path) -> torch.Tensor:
    return torch.tensor(np.array(Image.open(path)))


def test_a_row_is_what_the_pipeline_paints(folder: Path, model: Path, rows: list[Cells]) -> None:
    row = rows[1]
    out = folder / "single"
    (report, _) = new_worker(model, folder, out).work([row])
    image, mask = (read(folder / row[name]).float() / 255 for name in ("image", "mask"))
    top, bottom, left, right = 8, 30, 10, 35  # of the object in `write_pictures`
    pad = EXEMPLAR_PADDING
    exemplar = read(folder / row["exemplar"]).float() / 255
    exemplar = exemplar[max(0, top - pad) : bottom + pad, max(0, left - pad) : right + pad]
    painting = paint(
        Components.from_checkpoint(read_checkpoint(model)),
        image[None],
        mask[None],
        [exemplar],
        seed=1,
        steps=SETTINGS.steps,
        resolution=SETTINGS.resolution,
    )
    result = read(picture_path(out, row["id"]))
    assert torch.equal(result, (painting.images[0] * 255).round().byte())
    assert report.records[0].outside == 0
    assert -1 <= report.records[0].likeness <= 1
    assert report.records[0].seam > 0


def test_pictures_change_under_their_masks_alone(
    folder: Path, rows: list[Cells], undisturbed: dict[str, bytes]
) -> None:
    assert undisturbed.keys() == {row["id"] for row in rows}
    for row in rows:
        result = read(picture_path(folder / "undisturbed", row["id"]))
        changed = (result != read(folder / row["image"])).any(dim=-1)
        mask = read(folder / row["mask"]) > 0
        assert changed[mask].any() and not changed[~mask].any()


def test_each_exemplar_is_encoded_once(folder: Path, model: Path, rows: list[Cells]) -> None:
    worker, views = new_worker(model, folder, folder / "encoded"), []
    tower = worker.painter.components.encoder.clip_vision
    tower.register_forward_hook(lambda *_: views.append(1))
    list(worker.work(rows))
    assert len(views) == 2 + len(rows)  # the exemplars, and the likeness of every result


def test_a_chunk_left_half_done_ends_as_if_it_were_not(
    folder: Path, model: Path, rows: list[Cells], undisturbed: dict[str, bytes]
) -> None:
    """Another worker gives as many reports, paints what is missing, and paints it bit by bit."""
    out = folder / "half"
    whole = list(new_worker(model, folder, out).work(rows))
    times = {row["id"]: picture_path(out, row["id"]).stat().st_mtime_ns for row in rows}
    lost = {rows[0]["id"], rows[5]["id"]}
    for row_id in lost:
        picture_path(out, row_id).unlink()
    resumed = list(new_worker(model, folder, out).work(rows))
    assert [len(report.records) for report in resumed] == [len(r.records) for r in whole]
    key = lambda record: record.id  # noqa: E731
    assert sorted(merged(resumed).records, key=key) == sorted(merged(whole).records, key=key)
    assert merged(resumed).painted == len(lost)
    assert contents(out) == undisturbed
    for row_id in times.keys() - lost:
        assert picture_path(out, row_id).stat().st_mtime_ns == times[row_id]


def test_pictures_of_other_settings_are_painted_anew(
    folder: Path, model: Path, rows: list[Cells]
) -> None:
    out = folder / "other"
    list(new_worker(model, folder, out).work(rows[:2]))
    changed = [rows[0] | {"seed": "99"}, rows[1]]
    assert merged(list(new_worker(model, folder, out).work(changed))).painted == 1


def test_bad_rows_cost_themselves_alone(
    folder: Path, model: Path, rows: list[Cells], undisturbed: dict[str, bytes]
) -> None:
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    whole = (folder / "image0.png").read_bytes()
    (folder / "truncated.png").write_bytes(whole[: len(whole) // 2])  # its header is whole
    Image.new("L", (96, 80)).save(folder / "empty.png")
    good = rows[0]
    bad = {
        "absent": good | {"image": "nowhere.png"},
        "broken": good | {"image": "broken.jpg"},
        "truncated": good | {"image": "truncated.png"},
        "empty": good | {"mask": "empty.png"},
        "no-exemplar": good | {"exemplar": "nothing.png"},
        "empty-exemplar-mask": good | {"exemplar_mask": "empty.png"},
        "setting": good | {"sampler": "euler"},
    }
    mixed = [*rows, *(row | {"id": row_id} for row_id, row in bad.items())]
    out = folder / "bad"
    report = merged(list(new_worker(model, folder, out).work(mixed)))
    assert report.failures.keys() == bad.keys()
    assert contents(out).keys() == undisturbed.keys()
    told = report.failures
    assert told["absent"] == "The image nowhere.png does not exist."
    assert told["broken"].startswith("The image broken.jpg cannot be read")
    assert told["truncated"].startswith("The image truncated.png cannot be read")
    assert told["empty"].startswith("empty.png: The mask is empty")
    assert told["no-exemplar"] == "The exemplar nothing.png does not exist."
    assert told["empty-exemplar-mask"].startswith("empty.png: The exemplar's mask is empty")
    assert told["setting"] == "sampler is 'euler'; it must be plms or ddim."
    assert not any((out / "attempts").iterdir())


def test_a_row_that_fails_at_first_is_tried_again(
    folder: Path, model: Path, rows: list[Cells]
) -> None:
    """A file that comes between planning and the end of the chunk."""
    late = folder / "late.png"
    late.unlink(missing_ok=True)
    chunk = [*rows[:4], rows[4] | {"id": "late", "image": "late.png"}]
    reports = new_worker(model, folder, folder / "retry").work(chunk)
    found = [next(reports)]
    late.write_bytes((folder / rows[4]["image"]).read_bytes())
    report = merged([*found, *reports])
    assert not report.failures
    assert "late" in {record.id for record in report.records}


def test_a_batch_that_killed_its_workers_is_not_tried_for_ever(
    folder: Path, model: Path, rows: list[Cells]
) -> None:
    out = folder / "killer"
    ids = [row["id"] for row in rows[:1]]
    attempts = Attempts(out)
    for _ in range(LIVES):  # of which none ended
        attempts.begin(ids)
    with pytest.raises(RowError, match="lost 2 times"):
        attempts.begin(ids)
    report = merged(list(new_worker(model, folder, out).work(rows[:1])))
    assert report.failures == {ids[0]: report.failures[ids[0]]}
    assert "lack of memory" in report.failures[ids[0]]


def test_the_record_is_in_the_picture(folder: Path, undisturbed: dict[str, bytes]) -> None:
    with Image.open(picture_path(folder / "undisturbed", "row-003")) as picture:
        record = json.loads(picture.info["exemplar_model"])
    assert record["id"] == "row-003"
    assert set(record) == {"id", "digest", "outside", "seam", "likeness"}


def test_photos_are_turned_as_their_exif_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "turned.jpg", exif=exif)
    assert size_of((tmp_path / "turned.jpg").read_bytes()) == (30, 20)


def test_masks_of_16_bit_are_read(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 65535]], np.uint16)).save(tmp_path / "deep.png")
    assert decode_mask((tmp_path / "deep.png").read_bytes()).tolist() == [[0.0, 1.0]]
