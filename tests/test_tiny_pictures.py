"""Which objects the shipped model learns from, and which it never sees."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from lab.tiny_model.pictures import (
    HELD_OUT_PHOTOS,
    TRAIN_PHOTOS,
    cut_out,
    emoji,
    is_held_out,
    write_pictures,
)


def disc(path, size=96, colour=(200, 40, 30)):
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    alpha = (np.hypot(x, y) < size / 2 - 2) * 255
    pixels = np.dstack([np.full((size, size), c) for c in colour] + [alpha]).astype(np.uint8)
    pixels[: size // 2, :, 1] = 120
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def test_the_rule_is_the_hash_of_the_stem_modulo_twenty():
    for number in range(200):
        stem = f"1f{number:03x}"
        expected = int(hashlib.sha1(stem.encode()).hexdigest(), 16) % 20 == 0
        assert is_held_out(stem) == expected
        assert is_held_out(stem.upper()) == expected
        assert is_held_out(f"{stem}-fe0f") == expected


def test_about_one_in_twenty_is_held_out():
    held_out = sum(is_held_out(f"picture-{number}") for number in range(4000))
    assert 150 <= held_out <= 250


@pytest.mark.parametrize(
    ("name", "used"),
    [
        ("1f34e.png", True),
        ("2764-fe0f.png", True),
        ("1f44b-1f3fb.png", False),  # skin tone
        ("1f1e9-1f1ea.png", False),  # flag
        ("1f3c3-200d-2640-fe0f.png", False),  # gender
    ],
)
def test_variants_of_one_drawing_are_left_out(tmp_path, name, used):
    disc(tmp_path / name)
    assert bool(list(emoji(tmp_path, "*.png"))) == used


def test_an_object_is_cropped_to_its_outline(tmp_path):
    picture = cut_out(disc(tmp_path / "disc.png"))
    assert picture is not None
    assert picture.mode == "RGBA"
    assert picture.size == (92, 92)


def test_rectangles_lines_and_grey_drawings_are_refused(tmp_path):
    Image.new("RGBA", (64, 64), (10, 90, 30, 255)).save(tmp_path / "full.png")
    Image.new("RGB", (64, 64), (10, 90, 30)).save(tmp_path / "no-alpha.png")
    Image.new("RGBA", (64, 64)).save(tmp_path / "empty.png")
    long = Image.new("RGBA", (200, 64))
    long.paste((200, 30, 30, 255), (0, 10, 200, 40))
    long.save(tmp_path / "long.png")
    names = ("full", "no-alpha", "empty", "long")
    assert [cut_out(tmp_path / f"{name}.png") for name in names] == [None] * 4
    assert cut_out(disc(tmp_path / "grey.png", colour=(120, 120, 120))) is None


def test_nothing_held_out_is_written_among_the_training_pictures(tmp_path):
    packages = tmp_path / "packages"
    for number in range(60):
        colour = (number * 4, 255 - number * 4, 90)
        disc(packages / "fluent" / f"1f{number:03x}.webp", colour=colour)
        disc(packages / "noto" / f"1f{number:03x}.png", colour=colour)
    disc(packages / "clipart" / "a" / "apple.png")
    disc(packages / "clipart" / "b" / "apple-again.png")  # the same drawing under another name
    for photo in (*TRAIN_PHOTOS, *HELD_OUT_PHOTOS):
        path = packages / "photos" / photo
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64)).save(path)
    target = tmp_path / "pictures"
    write_pictures(packages, target)
    for part, held_out in (("train", False), ("held_out", True)):
        stems = [f.stem.split("-")[1] for f in (target / part / "objects").glob("[fn]*.png")]
        assert stems
        assert all(is_held_out(stem) == held_out for stem in stems)
        names = {f.stem for f in (target / part / "backgrounds").iterdir()}
        assert names == {p.split(".")[0] for p in (HELD_OUT_PHOTOS if held_out else TRAIN_PHOTOS)}
    assert len(list(target.rglob("clipart-*.png"))) == 1
