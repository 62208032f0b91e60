"""The study's measures: each must tell good from bad."""

import numpy as np
import pytest
import torch
from support.models import SHAPES, random_model

from exemplar_model.image import resize_image
from exemplar_model.region import find_regions
from exemplar_model.standalone.measures import change_outside, seam
from lab.panels import captioned_grid
from lab.study.painted_object import clean_exemplars, paint_objects
from lab.study.poor_exemplars import POOR, study_exemplars
from lab.study.report import Section, to_image, write_report
from lab.study.seams import PASTES, study_seams
from lab.tiny_model.held_out import as_pixels, objects, scenes

SIDE = 64


def scene_and_mask():
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 5, 5, 3, generator=generator) * 0.5 + 0.25
    mask = torch.zeros(SIDE, SIDE)
    mask[20:44, 20:44] = 1.0
    return resize_image(coarse, (SIDE, SIDE))[0], mask


def pasted(patch, original, mask, feather):
    regions = find_regions(
        original[None], mask, resolution=64, multiple=8, context=None, feather_pixels=feather
    )
    pictures, weight = regions.paste(patch[None], feather, match_color=False)
    return pictures[0], weight[0]


def test_an_unchanged_picture_has_no_seam():
    original, mask = scene_and_mask()
    assert seam(original, original, mask) == 0.0
    assert change_outside(original, original, mask) == 0


def test_a_ramp_has_less_seam_than_an_edge_and_both_grow_with_the_step():
    original, mask = scene_and_mask()
    measured = [
        [
            seam(pasted(original + step, original, mask, feather)[0], original, mask)
            for step in (0.05, 0.1)
        ]
        for feather in (0, 8)
    ]
    assert measured[0][1] == pytest.approx(2 * measured[0][0], rel=0.01)
    assert measured[1][0] < 0.6 * measured[0][0]
    assert measured[1][1] < 0.6 * measured[0][1]


def test_what_is_painted_inside_is_no_seam():
    original, mask = scene_and_mask()
    picture = original.clone()
    picture[28:36, 28:36] = 1.0
    assert seam(picture, original, mask) == 0.0


def test_a_changed_pixel_outside_is_found():
    original, mask = scene_and_mask()
    picture = original.clone()
    picture[0, 0] += 10 / 255
    assert change_outside(picture, original, mask) == 10


def test_poor_exemplars_are_what_they_are_called():
    thing, scene = objects()[0], scenes()[1]
    shown = {name: spoil(thing, scene) for name, spoil in POOR.items()}
    clean = shown["clean"]
    assert shown["downscaled 8×"].shape[0] == clean.shape[0] // 8
    for name in ("JPEG quality 10", "noise"):
        assert shown[name].shape == clean.shape
        assert 0.01 < float((shown[name] - clean).abs().mean()) < 0.2
    assert shown["aspect 3:1"].shape[1] == 3 * shown["aspect 3:1"].shape[0]
    assert shown["cluttered"].shape[0] > 2 * clean.shape[0]
    assert shown["cluttered, with mask"].shape == (224, 224, 3)


def test_study_and_report(tmp_path):
    """Both halves on a model of random weights and one scene of two objects."""
    components = random_model(SHAPES["narrow"]).components
    settings = {"resolution": 64, "steps": 1, "cfg": 2.0, "seed": 0}
    painted = paint_objects(components, scenes()[0], clean_exemplars()[0][:2], settings)
    assert [each.number for each in painted] == [0, 1]
    seams = study_seams(components, painted)
    plain, default, plain_feathered, default_feathered = seams.rows
    assert [row[0] for row in seams.rows] == list(PASTES)
    assert all(row[-2] == "0" for row in seams.rows)
    assert plain[-1] == default[-1] == "0"
    assert plain_feathered[-1] != "0" and default_feathered[-1] != "0"
    assert plain[2] == "0%" and default[2] == "100%"  # never, and always, a lesser seam
    assert float(default[1]) < float(plain[1])
    transfer = study_exemplars(components, {"clean": painted, "same": painted})
    assert transfer.rows[0][1:] == transfer.rows[1][1:]
    assert transfer.rows[0][3] == "1.00" and transfer.rows[0][-1] == "0"
    report = write_report(tmp_path, [seams, transfer], settings).read_text()
    assert "default, feather 8" in report and 'src="seams.png"' in report
    assert (tmp_path / "exemplars.png").is_file() and (tmp_path / "seams.png").is_file()
    assert "| same |" in (tmp_path / "tables.md").read_text()


def test_pictures_keep_their_values():
    pixels = torch.from_numpy(np.arange(48, dtype=np.float32).reshape(4, 4, 3) / 255)
    assert torch.equal(as_pixels(to_image(pixels)), pixels)
    drawn = captioned_grid(["a", "b"], [[to_image(pixels)] * 2])
    assert drawn.size == (256, 128 + 22)


def test_text_in_the_report_is_escaped(tmp_path):
    report = write_report(tmp_path, [Section("a < b", "", ["c"], [["d & e"]], {})], {})
    assert "a &lt; b" in report.read_text() and "d &amp; e" in report.read_text()
