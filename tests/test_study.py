"""The study's measures and treatments: each must tell good from bad."""

import numpy as np
import pytest
import torch
from support.models import SHAPES, random_model

from exemplar_model.image import resize_image
from exemplar_model.region import find_regions
from lab.study.cases import clean_exemplars, paint_cases
from lab.study.measures import change_outside, color_distance, seam
from lab.study.poor_exemplars import POOR
from lab.study.report import Section, sheet, to_image, write_report
from lab.study.robustness import study_exemplars
from lab.study.seams import DEFAULT, OPTIONS, study_seams
from lab.study.treatments import TREATMENTS
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
    pictures, weight = regions.paste(patch[None], feather, color=False)
    return pictures[0], weight[0]


def test_an_unchanged_picture_has_no_seam():
    original, mask = scene_and_mask()
    assert seam(original, original, mask) == 0.0
    assert color_distance(original, original, mask) == 0.0
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


@pytest.mark.parametrize("name", TREATMENTS)
def test_treatments_leave_a_fitting_patch_alone(name):
    original, mask = scene_and_mask()
    patch = original.clone()
    patch[mask == 1] = torch.tensor([0.8, 0.2, 0.3])
    treated = TREATMENTS[name](patch, original, mask < 0.5)
    torch.testing.assert_close(treated, patch, rtol=0, atol=2e-3)


@pytest.mark.parametrize("name", [name for name in TREATMENTS if name != "no match"])
def test_treatments_undo_a_drift(name):
    original, mask = scene_and_mask()
    treated = TREATMENTS[name](original * 0.9 + 0.04, original, mask < 0.5)
    before = seam(pasted(original * 0.9 + 0.04, original, mask, 0)[0], original, mask)
    assert seam(pasted(treated, original, mask, 0)[0], original, mask) < 0.5 * before


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


def test_the_default_treatment_is_what_the_nodes_do():
    components = random_model(SHAPES["narrow"]).components
    settings = {"resolution": 64, "steps": 1, "cfg": 2.0, "seed": 0}
    (case,) = paint_cases(components, scenes()[0], clean_exemplars()[0][:1], settings)
    name, feather = DEFAULT
    bounds, original = case.regions.bounds[0], case.regions.images[0]
    patch = resize_image(case.patch[None], (bounds.height, bounds.width))[0]
    _, pasted = case.paste(patch, feather)
    treated = TREATMENTS[name](patch, bounds.cut(original), bounds.cut(pasted) == 0)
    torch.testing.assert_close(
        case.paste(treated, feather)[0], case.finish()[0], rtol=0, atol=0.5 / 255
    )


def test_study_and_report(tmp_path):
    """Both halves on a model of random weights and one scene of two objects."""
    components = random_model(SHAPES["narrow"]).components
    settings = {"resolution": 64, "steps": 1, "cfg": 2.0, "seed": 0}
    cases = paint_cases(components, scenes()[0], clean_exemplars()[0][:2], settings)
    assert [case.thing for case in cases] == [0, 1]
    seams = study_seams(components, cases)
    assert len(seams.rows) == len(OPTIONS)
    assert all(row[-2] == "0" for row in seams.rows)
    assert all((row[-1] == "0") == (row[1] == "0 px") for row in seams.rows)
    untreated, feathered = (
        next(r for r in seams.rows if r[:2] == ["no match", f]) for f in ("0 px", "8 px")
    )
    assert float(feathered[2]) < float(untreated[2])
    assert untreated[3] == "0%" and feathered[3] == "100%"  # never, and always, a lesser seam
    assert [row[:2] for row in seams.rows if "default" in row[0]] == [
        ["screened Poisson (default)", "0 px"]
    ]
    transfer = study_exemplars(components, {"clean": cases, "same": cases})
    assert transfer.rows[0][1:] == transfer.rows[1][1:]
    assert transfer.rows[0][3] == "1.00" and transfer.rows[0][-1] == "0"
    report = write_report(tmp_path, [seams, transfer], settings).read_text()
    assert "screened Poisson" in report and 'src="seams.png"' in report
    assert (tmp_path / "exemplars.png").is_file() and (tmp_path / "seams.png").is_file()
    assert "| same |" in (tmp_path / "tables.md").read_text()


def test_pictures_keep_their_values():
    pixels = torch.from_numpy(np.arange(48, dtype=np.float32).reshape(4, 4, 3) / 255)
    assert torch.equal(as_pixels(to_image(pixels)), pixels)
    drawn = sheet(["a", "b"], [[to_image(pixels)] * 2])
    assert drawn.size == (256, 128 + 22)


def test_text_in_the_report_is_escaped(tmp_path):
    report = write_report(tmp_path, [Section("a < b", "", ["c"], [["d & e"]], {})], {})
    assert "a &lt; b" in report.read_text() and "d &amp; e" in report.read_text()
