"""A bad table is one sentence, before anything heavy runs."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from support.bulk import write_csv

from exemplar_model.standalone.bulk.errors import BulkError, RowError
from exemplar_model.standalone.bulk.rows import Row, Settings
from exemplar_model.standalone.bulk.table import read_table, resolve

ROW = {"id": "1", "image": "i.png", "mask": "m.png", "exemplar": "e.png"}


def refused(path: Path) -> str:
    with pytest.raises(BulkError) as failure:
        read_table(str(path))
    message = str(failure.value)
    assert "\n" not in message and message.endswith(".")
    return message


def test_ids_stay_what_they_are(tmp_path: Path) -> None:
    ids = ["007", "NA", "1e3", "true"]
    table = read_table(str(write_csv(tmp_path / "t.csv", [ROW | {"id": each} for each in ids])))
    assert table.ids == ids
    assert table.folder == str(tmp_path)


def test_parquet_says_the_same_as_csv(tmp_path: Path) -> None:
    rows = [ROW | {"id": str(n), "seed": n, "cfg": 2.5, "match_color": False} for n in range(3)]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    tables = [read_table(str(write_csv(tmp_path / "t.csv", rows)))]
    tables.append(read_table(str(tmp_path / "t.parquet")))
    read = [[Row.read(cells, Settings()) for cells in table.cells.to_pylist()] for table in tables]
    assert read[0] == read[1]
    assert read[0][2].settings == Settings(seed=2, cfg=2.5, match_color=False)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([{"id": "1", "image": "i.png", "mask": "m.png"}], "lacks the column exemplar"),
        ([ROW | {"stepps": "9"}], "'stepps'"),
        ([ROW, ROW], "'1' twice"),
        ([ROW | {"image": "nocloud://i.png"}], "nocloud://"),
        *(([ROW | {"id": name}], "ids name files") for name in ("../up", "", ".x", "a/b", "é")),
        ([ROW, ROW | {"id": "a" * 129}], "in row 2"),
    ],
)
def test_what_is_wrong_with_a_table_is_told(rows: list, told: str, tmp_path: Path) -> None:
    assert told in refused(write_csv(tmp_path / "table.csv", rows))


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "absent.csv")
    assert ".csv or .parquet" in refused(tmp_path / "table.xlsx")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and no more")
    assert "cannot be read" in refused(tmp_path / "torn.parquet")


def test_an_empty_table(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("id,image,mask,exemplar\n")
    assert "no rows" in refused(tmp_path / "empty.csv")


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ({"steps": "0"}, "steps is '0'; it must be a whole number from 1 to 1000."),
        ({"steps": "many"}, "steps is 'many'"),
        ({"cfg": "nan"}, "cfg is 'nan'; it must be a number from 0."),
        ({"sampler": "euler"}, "sampler is 'euler'; it must be plms or ddim."),
        ({"context": "0.5"}, "context is '0.5'; it must be a number from 1, or whole."),
        ({"resolution": "32"}, "resolution is '32'"),
        ({"match_color": "maybe"}, "match_color is 'maybe'; it must be true or false."),
        ({"seed": "-1"}, "seed is '-1'"),
        ({"mask": " "}, "The cell mask is empty."),
    ],
)
def test_a_wrong_cell_is_the_row_s_failure(cells: dict[str, str], told: str) -> None:
    with pytest.raises(RowError, match=r".") as failure:
        Row.read(ROW | cells, Settings())
    assert str(failure.value).startswith(told)


def test_empty_cells_are_the_defaults() -> None:
    defaults = Settings(steps=7, context=None, match_color=False)
    cells = ROW | {"steps": "", "cfg": None, "context": "3", "feather": "4.0"}
    settings = Row.read(cells, defaults).settings
    assert settings == Settings(steps=7, context=3.0, feather=4, match_color=False)
    assert Row.read(ROW | {"context": "whole"}, Settings()).settings.context is None


def test_digests_tell_rows_and_models_apart() -> None:
    row = Row.read(ROW, Settings())
    others = [Row.read(ROW | {name: "2"}, Settings()) for name in ("image", "mask", "seed")]
    digests = {row.digest("a"), row.digest("b"), *(each.digest("a") for each in others)}
    assert len(digests) == 5
    assert row.digest("a") == Row.read(ROW | {"seed": "0"}, Settings()).digest("a")


def test_rows_of_a_dry_run_are_spread(tmp_path: Path) -> None:
    rows = [ROW | {"id": str(number)} for number in range(10)]
    table = read_table(str(write_csv(tmp_path / "t.csv", rows)))
    assert table.spread(3).ids == ["0", "3", "6"]
    assert len(table.spread(99)) == 10
    assert [len(chunk) for chunk in table.chunks(1)] == [8, 2]


def test_relative_paths_start_at_the_table() -> None:
    assert resolve("a/b.png", "s3://shop/tables") == "s3://shop/tables/a/b.png"
    for path in ("/a.png", "gs://x/a.png", "C:\\a.png"):
        assert resolve(path, "/tables") == path
