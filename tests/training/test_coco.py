"""COCO: boxes, outlines and file lists, and what happens with bad files."""

import json

import numpy as np
import pytest
from pycocotools import mask as run_lengths
from support.photos import write_jpeg

from exemplar_model.training.data.boxes import Box
from exemplar_model.training.data.coco import Coco
from exemplar_model.training.data.dataset import ExemplarDataset
from exemplar_model.training.data.sample_maker import SampleMaker
from exemplar_model.training.data.source import UnreadablePictureError
from exemplar_model.training.data_config import Augmentation, CocoData
from exemplar_model.training.section import ConfigError

RNG = np.random.default_rng(0)


def coco(folder, annotations, sizes=((40, 30),), **lists):
    images = []
    for number, size in enumerate(sizes):
        write_jpeg(folder / "images" / f"{number}.jpg", number=number)
        images.append(
            {"id": number, "file_name": f"{number}.jpg", "width": size[0], "height": size[1]}
        )
    about = {"images": images, "annotations": annotations}
    (folder / "instances.json").write_text(json.dumps(about))
    return Coco(
        CocoData(
            kind="coco", annotations=folder / "instances.json", images=folder / "images", **lists
        )
    )


SQUARE = [[4, 3, 20, 3, 20, 15, 4, 15]]
PARTS = [[22, 2, 28, 2, 28, 8, 22, 8], [32, 12, 38, 12, 38, 18, 32, 18]]
RLE = {"counts": [3 * 30, 2 * 30, 35 * 30], "size": [30, 40]}
RLE_OBJECT = np.zeros((30, 40), np.uint8)
RLE_OBJECT[:, 3:5] = 1


def annotation(bbox, segmentation=None, image=0, crowd=0):
    return {"image_id": image, "bbox": bbox, "segmentation": segmentation, "iscrowd": crowd}


def test_coco_boxes_without_crowds(tmp_path):
    source = coco(
        tmp_path,
        [
            annotation([4, 3, 16, 12], SQUARE),
            annotation([0, 0, 20, 20], RLE, crowd=1),
            annotation([0, 0, 2, 2], SQUARE),
            annotation([20.5, 10.5, 19.51, 19.51], SQUARE),  # a hair beyond the border
        ],
        sizes=((40, 30), (40, 30)),
    )
    assert len(source) == 1
    picture = source.read(0, RNG)
    assert picture.boxes == [Box(4, 3, 20, 15), Box(20, 10, 40, 30)]


def test_coco_polygons_become_objects(tmp_path):
    source = coco(
        tmp_path, [annotation([4, 3, 16, 12], SQUARE), annotation([22, 2, 17, 17], PARTS)]
    )
    square, parts = source.read(0, RNG).objects
    assert square.dtype == np.uint8 and square.shape == (30, 40)
    assert (square[3:15, 4:20] == 255).all() and square.sum() == 255 * 12 * 16
    assert (parts[2:8, 22:28] == 255).all() and (parts[12:18, 32:38] == 255).all()
    assert parts.sum() == 255 * 2 * 6 * 6
    samples = ExemplarDataset(source, SampleMaker(Augmentation(), 16, 16), 1, 2)
    assert samples[0, 0].objects.shape == (3, 16, 16)


def test_coco_run_lengths_become_objects(tmp_path):
    """Down the columns, as COCO has them: 3 columns of nothing, then 2 that are the object."""
    compressed = run_lengths.encode(np.asfortranarray(RLE_OBJECT))
    compressed["counts"] = compressed["counts"].decode()
    boxes = [annotation([3, 0, 20, 30], RLE), annotation([3, 0, 20, 30], compressed)]
    for outline in coco(tmp_path, boxes).read(0, RNG).objects:
        np.testing.assert_array_equal(outline, 255 * RLE_OBJECT)


@pytest.mark.parametrize("unknown", [[], [[1, 2, 3, 4]], [[5, 5] * 4], None])
def test_coco_objects_need_an_outline_for_every_box(tmp_path, unknown):
    source = coco(
        tmp_path, [annotation([4, 3, 16, 12], SQUARE), annotation([22, 2, 17, 17], unknown)]
    )
    picture = source.read(0, RNG)
    assert len(picture.boxes) == 2 and picture.objects is None


def test_a_file_list_chooses_pictures_or_leaves_them_out(tmp_path):
    boxes = [annotation([4, 3, 16, 12], image=number) for number in range(4)]
    listed = tmp_path / "held-out.txt"
    listed.write_text("1.jpg\n3.jpg\nother.jpg\n")
    sizes = ((40, 30),) * 4
    assert coco(tmp_path, boxes, sizes, only=listed).files.tolist() == ["1.jpg", "3.jpg"]
    assert coco(tmp_path, boxes, sizes, without=listed).files.tolist() == ["0.jpg", "2.jpg"]


@pytest.mark.parametrize("key", ["only", "without"])
def test_a_file_list_that_names_no_picture_is_refused(tmp_path, key):
    """With a wrong list, held-out pictures would be trained on unnoticed."""
    listed = tmp_path / "held-out.txt"
    listed.write_text("images/0.jpg\n")
    with pytest.raises(ConfigError, match=rf"data\.{key}: .*names no picture"):
        coco(tmp_path, [annotation([4, 3, 16, 12])], **{key: listed})
    with pytest.raises(ConfigError, match=rf"data\.{key}: .*cannot be read"):
        coco(tmp_path, [annotation([4, 3, 16, 12])], **{key: tmp_path / "absent.txt"})


def test_coco_picture_of_another_size_is_unreadable(tmp_path):
    source = coco(tmp_path, [annotation([4, 3, 40, 30], SQUARE)], sizes=((80, 60),))
    with pytest.raises(UnreadablePictureError, match=r"0\.jpg: 40×30, annotated as 80×60"):
        source.read(0, RNG)


@pytest.mark.parametrize(
    "annotations, message",
    [
        ([{"image_id": 0, "iscrowd": 0}], "lacks the key 'bbox'"),
        ([{"bbox": [0, 0, 20, 20]}], "lacks the key 'image_id'"),
        ([annotation([0, 0, 20])], "no COCO-style JSON"),
        ([annotation([0, 0, 1, 1])], "holds no usable box"),
        ([annotation([4, 3, 16, 12], [["a"] * 6])], "no COCO-style JSON"),
        ([annotation([4, 3, 16, 12], {"size": [40, 30], "counts": [1200]})], "run lengths of size"),
        ([annotation([4, 3, 16, 12], {"size": [30, 40], "counts": [9, 9999]})], "Invalid RLE"),
        ([annotation([4, 3, 16, 12], {"size": [30, 40], "counts": [-9, 9]})], "no COCO-style JSON"),
    ],
)
def test_coco_errors(tmp_path, annotations, message):
    with pytest.raises(ConfigError, match=message):
        coco(tmp_path, annotations)


def test_coco_fingerprint_follows_the_boxes(tmp_path):
    one = coco(tmp_path, [annotation([4, 3, 16, 12])]).fingerprint()
    assert coco(tmp_path, [annotation([4, 3, 16, 12])]).fingerprint() == one
    assert coco(tmp_path, [annotation([4, 3, 16, 13])]).fingerprint() != one
    assert coco(tmp_path, [annotation([4, 3, 16, 12], SQUARE)]).fingerprint() != one
