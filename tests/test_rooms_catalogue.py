"""Which 3D models are drawn, which are held out, and who is credited."""

import dataclasses
import hashlib
import zipfile
from pathlib import Path

import pytest

from lab.tiny_model.rooms.catalogue import (
    ARCHIVES,
    CATALOGUE,
    LARGEST_FILE,
    Model,
    credits,
    fault,
    missing_textures,
    read_catalogue,
    unpack,
)

CHAIR = Model(Path("chair.obj"), "Scopia", "Chair", "Somebody", (50.0, 60.0, 90.0), in_wall=False)


def write_catalogue(folder, archive, entries):
    """Entries by number: model, name, creator, width, depth, height, doorOrWindow."""
    fields = ("model", "name", "creator", "width", "depth", "height", "doorOrWindow")
    lines = ["# a comment", "id=catalogue"]
    for number, values in entries.items():
        lines += [
            f"{field}#{number}={value}"
            for field, value in zip(fields, values, strict=True)
            if value
        ]
    target = folder / archive / CATALOGUE
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(lines), "latin-1")


@pytest.fixture
def folder(tmp_path):
    for archive in ARCHIVES:
        write_catalogue(tmp_path, archive, {})
    return tmp_path


def chair_in(folder, text="v 0 0 0\n"):
    file = folder / "chair.obj"
    file.write_text(text)
    return dataclasses.replace(CHAIR, file=file)


def test_the_catalogue_is_read_with_its_escapes(folder):
    write_catalogue(
        folder,
        "Scopia",
        {
            "2": ("/a/Stuhl.obj", "Fauteuil Andr\\u00e9", "Zoé", "50", "60.5", "90", ""),
            "10": ("/a/door.obj", "Door", "Anna", "80", "10", "200", "true"),
        },
    )
    door, chair = read_catalogue(folder)
    assert (chair.title, chair.creator) == ("Fauteuil André", "Zoé")
    assert chair.file == folder / "Scopia" / "a" / "Stuhl.obj"
    assert chair.name == "scopia-stuhl"
    assert chair.sides == (50.0, 60.5, 90.0)
    assert (door.in_wall, chair.in_wall) == (True, False)


def test_models_of_two_archives_are_two_and_of_one_file_one(folder):
    entry = ("/a/sofa.obj", "Sofa", "Anna", "200", "90", "80", "")
    write_catalogue(folder, "Scopia", {"1": entry, "2": entry})
    write_catalogue(folder, "KatorLegaz", {"1": entry})
    assert [model.name for model in read_catalogue(folder)] == ["katorlegaz-sofa", "scopia-sofa"]


def test_archives_are_unpacked_into_folders_of_their_names(tmp_path):
    deep = tmp_path / "package" / "usr" / "share"
    deep.mkdir(parents=True)
    for archive in ARCHIVES:
        with zipfile.ZipFile(deep / f"{archive}.sh3f", "w") as file:
            file.writestr(CATALOGUE, f"id={archive}\n")
    unpack(tmp_path / "package", tmp_path / "models")
    for archive in ARCHIVES:
        assert (tmp_path / "models" / archive / CATALOGUE).read_text() == f"id={archive}\n"


def test_the_rule_of_holding_out_is_the_hash_of_the_stem_modulo_ten():
    held_out = 0
    for number in range(2000):
        names = (f"Chair-{number}.obj", f"CHAIR-{number}.obj")
        models = [
            dataclasses.replace(CHAIR, file=Path(folder) / name, archive=archive)
            for folder, name, archive in zip(("a", "b"), names, list(ARCHIVES)[:2], strict=True)
        ]
        expected = int(hashlib.sha1(f"chair-{number}".encode()).hexdigest(), 16) % 10 == 0
        assert [model.held_out for model in models] == [expected] * 2
        held_out += expected
    assert 150 <= held_out <= 250


def test_a_sound_model_has_no_fault(tmp_path):
    assert fault(chair_in(tmp_path)) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"in_wall": True}, "a wall"),
        ({"sides": (100.0, 100.0, 5.9)}, "panel or a rod"),
        ({"sides": (11.9, 100.0, 11.9)}, "panel or a rod"),
        ({"sides": (0.0, 0.0, 0.0)}, None),  # no file says so: the renderer finds no volume
        ({"sides": (100.0, 12.0, 6.0)}, None),
        ({"file": Path("nowhere.obj")}, "missing"),
    ],
)
def test_faults_are_found_by_rules(tmp_path, change, said):
    found = fault(dataclasses.replace(chair_in(tmp_path), **change))
    assert found is None if said is None else said in found


def test_large_files_are_left_out(tmp_path):
    assert fault(chair_in(tmp_path, "v" * LARGEST_FILE)) is None
    assert "too large" in fault(chair_in(tmp_path, "v" * (LARGEST_FILE + 1)))


def test_textures_that_show_must_be_there(tmp_path):
    model = chair_in(tmp_path, "mtllib a.mtl \nmtllib b.mtl\nv 0 0 0\n")
    (tmp_path / "a.mtl").write_text(
        "newmtl one\nmap_Kd -s 2 2.5 1 -clamp on cloth of wool.png\nmap_Bump bumps.png\n"
        "newmtl two\n  map_Kd wood\\oak.jpg  \n"
    )
    assert missing_textures(model.file) == ["cloth of wool.png", "wood/oak.jpg", "b.mtl"]
    assert fault(model) == "lacks its texture cloth of wool.png"
    (tmp_path / "wood").mkdir()
    for name in ("cloth of wool.png", "wood/oak.jpg", "b.mtl"):
        (tmp_path / name).touch()
    assert missing_textures(model.file) == []
    assert fault(model) is None


def test_credits_name_every_creator_once_with_all_titles():
    models = [
        CHAIR,
        dataclasses.replace(CHAIR, title="Bench"),
        dataclasses.replace(CHAIR, title="Bench", creator="anna"),
        dataclasses.replace(CHAIR, title="Lamp", creator="", archive="BlendSwap-CC-0"),
    ]
    lines = credits(models).splitlines()
    assert "- Somebody: Bench, Chair" in lines
    assert "- anna: Bench" in lines
    assert "- unnamed: Lamp" in lines
    assert lines.index("- anna: Bench") < lines.index("- Somebody: Bench, Chair")
    assert lines.index("## Scopia (CC-BY 3.0)") < lines.index("- anna: Bench")
    assert lines.index("- unnamed: Lamp") > lines.index("## BlendSwap-CC-0 (CC0 1.0)")
    assert not any("KatorLegaz" in line for line in lines)
