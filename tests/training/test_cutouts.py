"""Composed and drawn pictures: boxes and outlines say where the object is."""

import numpy as np
import pytest
from PIL import Image

from exemplar_model.training.data.boxes import usable
from exemplar_model.training.data.cutouts import Cutouts
from exemplar_model.training.data.shapes import Shapes
from exemplar_model.training.data.source import UnreadablePictureError
from exemplar_model.training.data_config import CutoutData, GeneratedData
from exemplar_model.training.section import ConfigError


@pytest.fixture
def cutouts(tmp_path):
    """A red disc with green where nothing shows, over a blue photo."""
    objects, backgrounds = tmp_path / "objects", tmp_path / "backgrounds"
    objects.mkdir()
    backgrounds.mkdir()
    y, x = np.mgrid[:60, :60] - 29.5
    disc = np.zeros((60, 60, 4), np.uint8)
    disc[..., 1] = 255
    disc[x**2 + y**2 < 27**2] = (255, 0, 0, 255)
    Image.fromarray(disc).save(objects / "disc.png")
    Image.new("RGB", (300, 200), (0, 0, 255)).save(backgrounds / "blue.png")
    return CutoutData(kind="cutouts", objects=objects, backgrounds=backgrounds, samples=20)


def test_cutouts_are_pasted_where_their_outline_says(cutouts):
    source = Cutouts(cutouts)
    for index in range(20):
        picture = source.read(index, np.random.default_rng(index))
        assert picture.image.shape in ((160, 208, 3), (208, 160, 3))
        assert len(picture.boxes) == len(picture.objects) in (1, 2)
        for box, outline in zip(picture.boxes, picture.objects, strict=True):
            rows, columns = (outline > 24).nonzero()
            assert box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            colours = picture.image[outline == 255]
            assert len(colours) > 100
            assert (colours == colours[0]).all()  # flat, whatever its hue
            assert len(np.unique(colours[0])) > 1


def test_invisible_colours_do_not_reach_the_edge(cutouts, monkeypatch):
    monkeypatch.setattr("exemplar_model.training.data.cutouts.HUE_SHIFT", 0.0)
    monkeypatch.setattr("exemplar_model.training.data.cutouts.COLOR_FIELD", 0.0)
    source = Cutouts(cutouts)
    for index in range(10):
        picture = source.read(index, np.random.default_rng(index))
        red, green, _ = picture.image[np.max(picture.objects, axis=0) > 0].T
        assert red.max() > 250
        assert green.max() < 32  # the background is brightened by 25 at most


def test_a_corrupt_object_is_skipped(cutouts):
    (cutouts.objects / "disc.png").write_bytes(b"no picture")
    with pytest.raises(UnreadablePictureError, match=r"disc\.png"):
        Cutouts(cutouts).read(0, np.random.default_rng(0))


def test_a_corrupt_background_is_skipped(cutouts):
    (cutouts.backgrounds / "broken.png").write_bytes(b"no picture")
    source = Cutouts(cutouts)
    skipped = []
    for index in range(20):
        try:
            source.read(index, np.random.default_rng(index))
        except UnreadablePictureError as error:
            skipped.append(str(error))
    assert 0 < len(skipped) < 20  # the other photo and the colour fields serve
    assert all(reason.startswith("broken.png: ") for reason in skipped)


def test_an_epoch_shows_all_objects_alike(cutouts, monkeypatch):
    """A second file, blue; the first object of sample `index` is file number `index`."""
    monkeypatch.setattr("exemplar_model.training.data.cutouts.HUE_SHIFT", 0.0)
    monkeypatch.setattr("exemplar_model.training.data.cutouts.SECOND_OBJECT", 0.0)
    Image.new("RGBA", (40, 40), (0, 0, 255, 255)).save(cutouts.objects / "square.png")
    source = Cutouts(cutouts)
    for index in range(8):
        picture = source.read(index, np.random.default_rng(index))
        colour = picture.image[picture.objects[0] == 255][0].tolist()
        assert colour == ([255, 0, 0] if index % 2 == 0 else [0, 0, 255])


def test_a_picture_follows_from_its_number_and_generator(cutouts):
    for source in (Cutouts(cutouts), Shapes(GeneratedData(kind="generated", samples=9))):
        one, again = (source.read(4, np.random.default_rng(7)) for _ in range(2))
        np.testing.assert_array_equal(one.image, again.image)
        np.testing.assert_array_equal(one.objects, again.objects)
        assert one.boxes == again.boxes
        other = source.read(4, np.random.default_rng(8))
        assert other.image.shape != one.image.shape or (other.image != one.image).any()


def test_shapes_fill_their_box_with_one_colour():
    source = Shapes(GeneratedData(kind="generated", samples=30))
    assert len(source) == 30
    for index in range(9):
        picture = source.read(index, np.random.default_rng(index))
        (box,), (outline,) = picture.boxes, picture.objects
        rows, columns = outline.nonzero()
        assert box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert usable(np.array([box]) / [160, 128, 160, 128]).all()
        assert len(np.unique(picture.image[outline > 0], axis=0)) == 1


@pytest.mark.parametrize("folder", ["objects", "backgrounds"])
def test_an_empty_folder_is_named(cutouts, folder):
    for file in getattr(cutouts, folder).iterdir():
        file.unlink()
    with pytest.raises(ConfigError, match=rf"data\.{folder}: .* holds no .jpeg"):
        Cutouts(cutouts)


def test_the_fingerprint_tells_other_pictures(cutouts):
    before = Cutouts(cutouts).fingerprint()
    assert Cutouts(cutouts).fingerprint() == before
    (cutouts.objects / "disc.png").rename(cutouts.objects / "other.png")
    assert Cutouts(cutouts).fingerprint() != before
