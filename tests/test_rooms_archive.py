"""Rendered rooms as one file."""

import json

import numpy as np
from PIL import Image

from lab.tiny_model.rooms.annotations import write_annotations
from lab.tiny_model.rooms.archive import pack, unpack


def render(folder, names):
    """Pictures with a square object, as the renderer leaves them."""
    folder.mkdir()
    lines = []
    for number, name in enumerate(names):
        picture = np.full((64, 64, 3), 200, np.uint8)
        outlines = np.zeros((64, 64), np.uint8)
        outlines[20:44, 10 + number : 40] = 1
        picture[outlines == 1] = (30, 90, 160)
        Image.fromarray(picture).save(folder / f"{name}.png")
        Image.fromarray(outlines).save(folder / f"{name}-outlines.png")
        lines.append({"group": name, "pictures": [{"file": f"{name}.png", "objects": ["chair"]}]})
    (folder / "worker-0.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def annotations(folder):
    target = folder.with_suffix(".json")
    write_annotations(folder, target)
    return json.loads(target.read_text())


def test_an_archive_holds_what_was_rendered(tmp_path):
    rendered = render(tmp_path / "rendered", ["a", "b"])
    assert pack(rendered, tmp_path / "rooms.tar") == 2
    unpacked = tmp_path / "unpacked"
    unpack(tmp_path / "rooms.tar", unpacked)
    before, after = annotations(rendered), annotations(unpacked)
    assert [each["file_name"] for each in after["images"]] == ["a.avif", "b.avif"]
    assert after["annotations"] == before["annotations"]
    for name in ("a", "b"):
        first, second = (
            np.asarray(Image.open(file).convert("RGB"), np.float64)
            for file in (rendered / f"{name}.png", unpacked / f"{name}.avif")
        )
        assert 10 * np.log10(255**2 / np.square(first - second).mean()) > 36


def test_rendering_goes_on_from_an_archive_and_packing_loses_nothing_more(tmp_path):
    pack(render(tmp_path / "rendered", ["a", "b"]), tmp_path / "first.tar")
    unpacked = tmp_path / "unpacked"
    unpack(tmp_path / "first.tar", unpacked)
    later = render(tmp_path / "later", ["c"])
    for file in later.glob("c*"):
        file.rename(unpacked / file.name)
    with (unpacked / "worker-0.jsonl").open("a") as log:
        log.write((later / "worker-0.jsonl").read_text())
    assert pack(unpacked, tmp_path / "second.tar") == 3
    again = tmp_path / "again"
    unpack(tmp_path / "second.tar", again)
    for name in ("a.avif", "b.avif", "a-outlines.png"):
        assert (again / name).read_bytes() == (unpacked / name).read_bytes()
    assert len(annotations(again)["images"]) == 3
