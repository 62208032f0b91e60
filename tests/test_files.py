"""Files appear whole or not at all."""

import pytest

from exemplar_model.files import written_whole


def test_a_file_gets_its_name_when_it_is_complete(tmp_path):
    target = tmp_path / "file.txt"
    target.with_suffix(".unfinished").write_text("of a killed process")
    with written_whole(target) as unfinished:
        unfinished.write_text("half")
        assert not target.exists()
        unfinished.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]
    assert target.read_text() == "whole"


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "file.txt"
    target.write_text("old")

    def fail():
        with written_whole(target) as unfinished:
            unfinished.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]
    assert target.read_text() == "old"
