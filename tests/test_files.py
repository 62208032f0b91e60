"""Files appear whole or not at all."""

import pytest

from exemplar_model.files import written_whole


def test_a_file_gets_its_name_when_it_is_complete(tmp_path):
    target = tmp_path / "file.txt"
    (tmp_path / "file.txt.unfinished").write_text("of a killed process")
    with written_whole(target) as unfinished:
        unfinished.write_text("half")
        assert not target.exists()
        unfinished.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]
    assert target.read_text() == "whole"


def test_files_that_differ_in_their_suffix_alone_are_written_side_by_side(tmp_path):
    with written_whole(tmp_path / "a.json") as one, written_whole(tmp_path / "a.png") as other:
        one.write_text("json")
        other.write_text("png")
    assert (tmp_path / "a.json").read_text() == "json"
    assert (tmp_path / "a.png").read_text() == "png"


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
