"""OpenImages: which boxes and pictures count, and what happens with bad files."""

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image
from support.photos import write_csv, write_jpeg, write_open_images
from support.training import small_config

from exemplar_model.training.data.boxes import Box
from exemplar_model.training.data.dataset import ExemplarDataset
from exemplar_model.training.data.open import open_dataset, open_training_data
from exemplar_model.training.data.openimages import BAD_IDS, OpenImages
from exemplar_model.training.data.sample_maker import SampleMaker
from exemplar_model.training.data.source import UnreadablePictureError
from exemplar_model.training.data_config import Augmentation, OpenImagesData
from exemplar_model.training.section import ConfigError

RNG = np.random.default_rng(0)


def open_images(folder, rows, present, index=None):
    write_csv(folder / "boxes.csv", rows)
    for number, name in enumerate(present):
        write_jpeg(folder / "images" / f"{name}.jpg", number=number)
    return OpenImages(
        OpenImagesData(
            kind="openimages", boxes=folder / "boxes.csv", images=folder / "images", index=index
        )
    )


def dataset(source):
    return ExemplarDataset(source, SampleMaker(Augmentation(), 16, 16), seed=1, latent_side=2)


def test_boxes_are_kept_by_area_and_shape(tmp_path):
    rows = [
        ("mixed", 0.1, 0.1, 0.5, 0.5),
        ("large", 0.0, 0.0, 0.9, 0.9),  # 81 %
        ("small", 0.5, 0.5, 0.6, 0.69),  # 1.9 %
        ("mixed", 0.5, 0.5, 0.55, 0.55),
        ("line", 0.2, 0.2, 0.2, 0.9),
        ("turned", 0.8, 0.8, 0.1, 0.1),
        ("outside", 0.5, 0.5, 1.2, 1.0),
        ("edges", 0.0, 0.0, 1.0, 0.8),
        ("mixed", 0.3, 0.0, 1.0, 1.0),
    ]
    source = open_images(tmp_path, rows, {name: 0 for name, *_ in rows})
    assert source.ids.tolist() == [b"edges", b"mixed"]
    assert source.read(0, RNG).boxes == [Box(0, 0, 40, 24)]
    assert source.read(1, RNG).boxes == [Box(4, 3, 20, 15), Box(12, 0, 40, 30)]


def test_bad_ids_and_pictures_that_are_not_there_are_left_out(tmp_path):
    names = ["here", "absent", *BAD_IDS]
    rows = [(name, 0.1, 0.1, 0.5, 0.5) for name in names]
    source = open_images(tmp_path, rows, ["deep/er/here", "boxless", *BAD_IDS])
    assert source.ids.tolist() == [b"here"]
    assert source.read(0, RNG).image.shape == (30, 40, 3)


def test_no_picture_of_the_csv_in_the_folder_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="holds none of the pictures"):
        open_images(tmp_path, [("a", 0.1, 0.1, 0.5, 0.5)], ["b"])
    with pytest.raises(ConfigError, match="holds none of the pictures"):
        open_images(tmp_path, [("b", 0.1, 0.1, 0.1, 0.1)], ["b"])


@pytest.mark.parametrize(
    "text, message",
    [
        ("ImageID,XMin,XMax,YMin\n", "lacks one of the columns.*YMax"),
        ("ImageID,XMin,XMax,YMin,YMax\na,0.1,0.5,0.1,wide\n", "broken row"),
        ("ImageID,XMin,XMax,YMin,YMax\na,0.1\n", "broken row"),
        ("ImageID,XMin,XMax,YMin,YMax\na,0.1,,0.1,0.5\n", "broken row"),
        ("", "broken row"),
    ],
)
def test_broken_csv_is_an_error(tmp_path, text, message):
    (tmp_path / "boxes.csv").write_text(text)
    config = OpenImagesData(kind="openimages", boxes=tmp_path / "boxes.csv", images=tmp_path)
    with pytest.raises(ConfigError, match=message):
        OpenImages(config)


def test_box_pixels_are_rounded_down(tmp_path):
    width = 1000
    edges = [round(0.1 + 0.001 * number, 6) for number in range(500)]
    rows = [("wide", x, 0.0, round(x + 0.3, 6), 1.0) for x in edges]
    write_jpeg(tmp_path / "images" / "wide.jpg", size=(width, 20))
    source = open_images(tmp_path, rows, [])
    expected = [int(f"{x * width:.3f}".split(".")[0]) for x in edges]
    assert [box.left for box in source.read(0, RNG).boxes] == expected


def test_unreadable_pictures_are_skipped_and_reported(tmp_path):
    rows = [(name, 0.1, 0.1, 0.9, 0.6) for name in ("bomb", "cut", "good", "text", "tiny")]
    source = open_images(tmp_path, rows, ["bomb", "cut", "good"])
    images = tmp_path / "images"
    cut = (images / "cut.jpg").read_bytes()
    (images / "cut.jpg").write_bytes(cut[: len(cut) // 2])
    (images / "text.jpg").write_text("not a picture")
    write_jpeg(images / "tiny.jpg", size=(1, 1))
    Image.new("1", (20_000, 20_000)).save(images / "bomb.jpg", "PNG")
    source = open_images(tmp_path, rows, [])
    for index, name in enumerate(source.ids.astype(str)):
        if name != "good":
            with pytest.raises(UnreadablePictureError, match=f"{name}.jpg: "):
                source.read(index, RNG)
    good = source.ids.tolist().index(b"good")
    sample = dataset(source)[0, (good + 1) % 5]
    assert [reason.split(":")[0] for reason in sample.skipped] == [
        "text.jpg",
        "tiny.jpg",
        "bomb.jpg",
        "cut.jpg",
    ]
    assert sample.pictures.image.shape == (3, 16, 16)
    assert dataset(source)[0, good].skipped == []


def test_a_folder_of_nothing_but_bad_pictures_ends_the_run(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_text("not a picture")
    source = open_images(tmp_path, [("a", 0.1, 0.1, 0.9, 0.6)], [])
    with pytest.raises(RuntimeError, match=r"in a row cannot be used, the last because a\.jpg"):
        dataset(source)[0, 0]


def test_exif_rotation_is_not_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° for viewing
    write_jpeg(tmp_path / "images" / "turned.jpg", exif=exif)
    source = open_images(tmp_path, [("turned", 0.5, 0.0, 1.0, 1.0)], [])
    picture = source.read(0, RNG)
    assert picture.image.shape == (30, 40, 3)
    assert picture.boxes == [Box(20, 0, 40, 30)]


def test_index_is_used_until_the_csv_changes(tmp_path, monkeypatch):
    rows = [("a", 0.1, 0.1, 0.5, 0.5), ("b", 0.2, 0.2, 0.7, 0.7)]
    index = tmp_path / "run" / "boxes.safetensors"
    first = open_images(tmp_path, rows, ["a", "b"], index)
    status = (tmp_path / "boxes.csv").stat()
    # same size and time, so what is read now can only come from the index
    (tmp_path / "boxes.csv").write_text("x" * status.st_size)
    os.utime(tmp_path / "boxes.csv", ns=(status.st_atime_ns, status.st_mtime_ns))
    again = OpenImages(
        OpenImagesData(
            kind="openimages",
            boxes=tmp_path / "boxes.csv",
            images=tmp_path / "images",
            index=index,
        )
    )
    assert again.fingerprint() == first.fingerprint()
    assert again.read(1, RNG).boxes == first.read(1, RNG).boxes
    assert list(index.parent.iterdir()) == [index]

    changed = open_images(tmp_path, [*rows, ("b", 0.0, 0.0, 0.5, 0.5)], [], index)
    assert len(changed.read(1, RNG).boxes) == 2
    assert changed.fingerprint() != first.fingerprint()


def test_index_overwrites_no_other_file(tmp_path):
    precious = tmp_path / "notes.txt"
    precious.write_text("precious")
    with pytest.raises(ConfigError, match="no index of boxes"):
        open_images(tmp_path, [("a", 0.1, 0.1, 0.5, 0.5)], ["a"], precious)
    assert precious.read_text() == "precious"


def test_configuration_opens_open_images(tmp_path):
    data = write_open_images(tmp_path, 3)
    config = small_config(tmp_path, f"data={json.dumps(data)}")
    opened = open_dataset(config, config.data)
    assert len(opened) == 3
    same = open_training_data(config)[0, 2]
    assert torch.equal(opened[0, 2].pictures.image, same.pictures.image)
