"""What was drawn, in COCO's format."""

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from lab.tiny_model.rooms.annotations import write_annotations

WIDTH, HEIGHT = 60, 40


def draw(folder, name, areas):
    """A picture and its outlines: number of the object by (top, bottom, left, right)."""
    numbers = np.zeros((HEIGHT, WIDTH), np.uint8)
    for number, (top, bottom, left, right) in areas.items():
        numbers[top:bottom, left:right] = number
    Image.fromarray(numbers).save(folder / f"{name}-outlines.png")
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / f"{name}.png")


def log(folder, worker, *groups):
    lines = [
        json.dumps({"group": pictures[0][0], "pictures": [picture(*each) for each in pictures]})
        for pictures in groups
    ]
    (folder / f"worker-{worker}.jsonl").write_text("\n".join(lines))


def picture(name, *objects):
    return {"file": f"{name}.png", "objects": list(objects)}


def annotated(folder):
    target = folder / "annotations.json"
    count = write_annotations(folder, target)
    return count, json.loads(target.read_text())


def test_boxes_and_outlines_are_those_of_the_visible_pixels(tmp_path):
    draw(tmp_path, "a", {2: (5, 20, 30, 50), 1: (10, 30, 20, 40)})  # the chair hides the lamp
    log(tmp_path, 0, [("a", "chair", "lamp")])
    count, content = annotated(tmp_path)
    assert count == 1
    assert content["images"] == [{"id": 1, "file_name": "a.png", "width": 60, "height": 40}]
    chair, lamp = content["annotations"]
    assert (chair["bbox"], chair["area"]) == ([20, 10, 20, 20], 400)
    assert (lamp["bbox"], lamp["area"]) == ([30, 5, 20, 15], 15 * 20 - 10 * 10)
    numbers = np.asarray(Image.open(tmp_path / "a-outlines.png"))
    for number, annotation in enumerate((chair, lamp), start=1):
        assert np.array_equal(coco_mask.decode(annotation["segmentation"]), numbers == number)
        assert annotation["iscrowd"] == 0


def test_objects_beside_that_the_border_cuts_off_are_left_out_but_never_the_main_one(tmp_path):
    borders = [(0, 20, 10, 30), (20, 40, 10, 30), (10, 30, 0, 20), (10, 30, 40, 60)]
    for number, area in enumerate(borders):
        draw(tmp_path, f"main-{number}", {1: area})
        draw(tmp_path, f"beside-{number}", {1: (15, 25, 25, 35), 2: area})
    pictures = [(f"main-{n}", "chair") for n in range(4)]
    pictures += [(f"beside-{n}", "chair", "lamp") for n in range(4)]
    log(tmp_path, 0, pictures)
    count, content = annotated(tmp_path)
    assert count == 8
    assert len(content["annotations"]) == 8
    assert [category["name"] for category in content["categories"]] == ["chair"]


@pytest.mark.parametrize(("side", "counted"), [(4, True), (3, False), (0, False)])
def test_what_hardly_shows_is_left_out(tmp_path, side, counted):
    # half a percent of the picture is 12 pixels
    draw(tmp_path, "a", {1: (10, 10 + side, 10, 10 + side)})
    log(tmp_path, 0, [("a", "chair")])
    count, content = annotated(tmp_path)
    assert count == 1
    assert len(content["annotations"]) == counted


def test_the_order_of_work_leaves_no_trace(tmp_path):
    for name in "abc":
        draw(tmp_path, name, {1: (10, 30, 20, 40)})
    groups = [[("a", "chair")], [("b", "lamp")], [("c", "chair")]]
    log(tmp_path, 0, *groups)
    _, one = annotated(tmp_path)
    log(tmp_path, 0, groups[2])
    log(tmp_path, 1, groups[1], groups[0])
    _, other = annotated(tmp_path)
    assert one == other
    assert [image["file_name"] for image in one["images"]] == ["a.png", "b.png", "c.png"]
    assert [each["category_id"] for each in one["annotations"]] == [1, 2, 1]
    assert one["categories"] == [{"id": 1, "name": "chair"}, {"id": 2, "name": "lamp"}]


def test_a_line_that_was_cut_off_and_a_group_without_pictures_do_no_harm(tmp_path):
    draw(tmp_path, "a", {1: (10, 30, 20, 40)})
    log(tmp_path, 0, [("a", "chair")])
    with (tmp_path / "worker-0.jsonl").open("a") as file:
        file.write('\n{"group": "c", "pictures": [], "fault": "holds no mesh"}')
        file.write('\n{"group": "b", "pictures": [{"file": "b.p')
    assert annotated(tmp_path)[0] == 1
