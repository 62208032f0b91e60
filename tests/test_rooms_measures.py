"""Measures of the model of rooms, on drawn rooms in which the right answer is known."""

import dataclasses
import json
import sys
from itertools import chain

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from exemplar_model.bounds import Bounds
from exemplar_model.encoder import EncoderConfig
from exemplar_model.standalone.components import Components, ModelConfig
from lab.tiny_model.rooms import transfer
from lab.tiny_model.rooms.measures import (
    SMOOTH,
    band,
    band_error,
    drawn_alike,
    filled_iou,
    iou,
    kept_decibels,
    silhouette,
)
from lab.tiny_model.rooms.placement import (
    SLACK,
    OutlinedPicture,
    Placement,
    read_placements,
    write_placement,
)
from lab.tiny_model.rooms.results import bootstrap, compare_with_pasting, summarize
from lab.tiny_model.rooms.sheets import CELL, matching_test

SIDE, EDGE = 64, 24
"""Of a drawn room, and of the square object in it."""
COLORS = [(0.9, 0.1, 0.1), (0.1, 0.8, 0.2), (0.2, 0.2, 0.9), (0.9, 0.8, 0.1), (0.1, 0.1, 0.1)]
SHADOW = 0.2


def drawn(color, ground, edges=(EDGE, EDGE), shadow=SHADOW):
    """A rectangle on one color, with a shadow of `SLACK` pixels below it; and the ground alone."""
    empty = torch.full((SIDE, SIDE, 3), ground)
    picture, outline = empty.clone(), torch.zeros(SIDE, SIDE, dtype=torch.bool)
    bottom, left = 48, 20
    rows, columns = slice(bottom - edges[0], bottom), slice(left, left + edges[1])
    picture[rows, columns] = torch.tensor(color)
    picture[bottom : bottom + SLACK, columns] = ground - shadow
    outline[rows, columns] = True
    return OutlinedPicture(picture, outline), empty


def room_of(colors=COLORS, number=0, shadow=SHADOW):
    ground = 0.5 + 0.1 * number
    placements = []
    for index, color in enumerate(colors):
        true, empty = drawn(color, ground, shadow=shadow)
        same, turned = drawn(color, 0.7)[0], drawn(color, 0.3, (EDGE, EDGE // 2))[0]
        placements.append(Placement(f"object-{index}", number, true, empty, same, turned))
    return placements


def true_pictures(room):
    return torch.stack([placement.true.pixels for placement in room])


def pasted_records(rooms):
    """Of cut-and-paste, which the others are compared with."""
    of_rooms = [torch.stack([_without_shadow(each) for each in room]) for room in rooms]
    return transfer.measure(
        rooms, {"cut-and-paste": of_rooms, "cut-and-paste, other view": of_rooms}
    )


def _without_shadow(placement):
    return torch.where(placement.true.outline[..., None], placement.true.pixels, placement.empty)


def test_the_silhouette_of_the_object_alone_is_its_outline():
    for placement in room_of(shadow=0.0):
        found = silhouette(placement.true.pixels, placement)
        assert iou(found, placement.true.outline) == 1.0


def test_a_shadow_counts_as_object_and_nothing_outside_the_hole_does():
    placement = room_of()[0]
    everywhere = torch.ones(SIDE, SIDE, 3)
    assert iou(silhouette(placement.true.pixels, placement), placement.true.outline) == (
        pytest.approx(EDGE / (EDGE + SLACK))
    )
    assert silhouette(everywhere, placement).sum() == placement.mask.sum()
    assert iou(silhouette(placement.empty, placement), placement.true.outline) == 0.0


def test_the_filled_hole_has_the_silhouette_that_geometry_says():
    assert filled_iou(room_of()[0]) == pytest.approx(EDGE**2 / (EDGE + 2 * SLACK) ** 2)


def test_a_hole_ends_at_the_border_of_the_picture():
    placement = room_of()[0]
    outline = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    outline[1:9, 60:] = True
    near = dataclasses.replace(placement, true=OutlinedPicture(placement.empty, outline))
    assert near.hole == Bounds(56, 0, 8, 13)
    assert near.mask.sum() == 8 * 13


def test_an_outline_without_a_pixel_is_refused():
    with pytest.raises(ValueError, match="outline is empty"):
        _ = OutlinedPicture(torch.zeros(4, 4, 3), torch.zeros(4, 4, dtype=torch.bool)).box


def test_a_perfect_result_is_always_recognised():
    rooms = [room_of(number=number) for number in range(2)]
    pictures = [true_pictures(room) for room in rooms]
    records = transfer.measure(rooms, {"same view": pictures})
    assert [record.rank for record in records] == [0] * 2 * len(COLORS)


def test_one_picture_for_all_is_recognised_by_chance():
    rooms = [room_of(number=number) for number in range(2)]
    pictures = [true_pictures(room)[2].expand(len(COLORS), -1, -1, -1) for room in rooms]
    records = transfer.measure(rooms, {"null": pictures})
    assert sorted(record.rank for record in records) == sorted(2 * list(range(len(COLORS))))
    assert [record.name for record in records if record.rank == 0] == ["object-2"] * 2


def test_neither_room_nor_hole_tells_which_object_belongs_there():
    room = room_of()
    wide = drawn((0.9, 0.1, 0.1), 0.5, (EDGE // 2, EDGE))[0]
    wanted = drawn_alike(room[0], [room[0].true, wide])
    torch.testing.assert_close(wanted[0], wanted[1], atol=0.03, rtol=0)  # its edge is softer


def test_the_error_of_a_missing_shadow_is_what_geometry_says():
    placement = room_of()[0]
    inside = band(placement)
    # below the object one row of pixels, at its edge, does not count
    shadow = (SLACK - 1) * EDGE / float(inside.sum())
    expected = 255 * SHADOW * shadow**0.5
    assert band_error(placement.empty, placement) == pytest.approx(expected, rel=1e-4)
    assert band_error(placement.true.pixels, placement) == 0.0
    assert not (inside & placement.true.outline).any()


def test_light_is_blind_to_noise_and_sees_shadow():
    placement = room_of()[0]
    noise = 0.1 * (-1.0) ** (torch.arange(SIDE)[:, None] + torch.arange(SIDE))[..., None]
    noisy, bare = placement.true.pixels + noise, placement.empty
    assert band_error(noisy, placement) == pytest.approx(25.5, rel=1e-3)
    assert band_error(noisy, placement, SMOOTH) < 8
    assert band_error(bare, placement, SMOOTH) > 0.7 * band_error(bare, placement)


def test_shadow_and_light_prefer_the_true_picture_to_cut_and_paste():
    rooms = [room_of(number=number) for number in range(3)]
    pictures = {
        "same view": [true_pictures(room) for room in rooms],
        "null": [torch.stack([each.empty for each in room]) for room in rooms],
    }
    records = pasted_records(rooms) + transfer.measure(rooms, pictures)
    summary = summarize(compare_with_pasting(records))
    assert summary["same view"]["less_shadow"] == summary["same view"]["less_light"] == (1, 1, 1)
    assert summary["null"]["less_shadow"] == (0, 0, 0)  # no worse, but no better either
    assert summary["same view"]["top1"] == (1, 1, 1)
    assert summary["cut-and-paste"]["silhouette"] == (1, 1, 1)


def test_kept_pixels_are_compared_outside_the_hole_alone():
    placement = room_of()[0]
    wrong_inside = torch.where(placement.mask[..., None] > 0, 0.0, placement.empty)
    assert kept_decibels(wrong_inside, placement) == pytest.approx(100)
    assert kept_decibels(placement.empty + 0.1, placement) == pytest.approx(20, abs=1e-3)


def test_intervals_hold_the_value_and_stem_from_objects():
    values = np.repeat([[0.0], [1.0], [1.0], [1.0]], 50, axis=1)
    value, low, high = bootstrap(values, share=True)
    assert value == 0.75
    assert low <= 0.25  # four objects say little, however often each was painted
    assert high == 1.0
    assert bootstrap(np.full((4, 6), 0.3), share=False) == (0.3, 0.3, 0.3)
    assert bootstrap(np.array([[1.0, 2.0, 9.0]]), share=False)[0] == 2.0


def test_intervals_redraw_an_object_with_all_its_rooms():
    rooms = [room_of(number=number) for number in range(3)]
    constant = [true_pictures(room)[2].expand(len(COLORS), -1, -1, -1) for room in rooms]
    records = pasted_records(rooms) + transfer.measure(rooms, {"null": constant})
    # one object of five is always right: among five redrawn ones it is at most thrice, in 97.5 %
    value, low, high = summarize(compare_with_pasting(records))["null"]["top1"]
    assert (value, low, high) == pytest.approx((0.2, 0.0, 0.6))


def test_shuffled_exemplars_are_all_of_other_objects():
    room = room_of()
    own, shuffled = (transfer.exemplars(room, kind) for kind in ("same view", "shuffled"))
    for index, exemplar in enumerate(shuffled):
        assert not torch.equal(exemplar, own[index])
    assert sorted(float(e.sum()) for e in shuffled) == sorted(float(e.sum()) for e in own)
    assert transfer.exemplars(room, "other view")[0].shape[1] == EDGE // 2 + 6


def test_placements_come_back_as_they_were_written(tmp_path):
    rooms = [room_of(number=number) for number in range(2)]
    for room in rooms:
        for placement in room:
            write_placement(placement, tmp_path)
    (tmp_path / "README.md").write_text("no picture")
    found = read_placements(tmp_path)
    assert [[each.name for each in room] for room in found] == [
        [each.name for each in room] for room in rooms
    ]
    for before, after in zip(chain(*rooms), chain(*found), strict=True):
        assert (before.name, before.room) == (after.name, after.room)
        assert (before.empty - after.empty).abs().max() < 0.02
        for kind in ("true", "same", "turned"):
            one, other = getattr(before, kind), getattr(after, kind)
            assert torch.equal(one.outline, other.outline)
            assert (one.pixels - other.pixels).abs().mean() < 0.02


def test_the_key_of_the_matching_test_is_right():
    rooms = [room_of(number=number) for number in range(2)]
    picture, key = matching_test(rooms, [true_pictures(room) for room in rooms])
    pixels = np.asarray(picture, float) / 255
    exemplars_from = CELL + CELL // 8
    lines = key.splitlines()
    assert len(lines) == len(COLORS)
    for line in lines:
        number, letter, name = line.replace(",", "").split()[:3]
        color = COLORS[int(name.removeprefix("object-"))]
        result = pixels[:CELL, (int(number) - 1) * CELL :][:, :CELL]
        exemplar = pixels[exemplars_from:, (ord(letter) - ord("A")) * CELL :][:CELL, :CELL]
        assert result[2 * 36, 2 * 32] == pytest.approx(color, abs=0.01)
        assert exemplar[CELL // 2, CELL // 2] == pytest.approx(color, abs=0.01)
    assert [line.split()[1] for line in lines] != sorted(line.split()[1] for line in lines)


def test_an_untrained_model_transfers_nothing(tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    config = ModelConfig(
        unet_channels=(32, 32),
        unet_layers=1,
        unet_heads=2,
        autoencoder_channels=(32, 32, 32, 32),
        autoencoder_layers=1,
        encoder=EncoderConfig(32, 1, 2, 64, 56, 14, mapper_blocks=1, context_dim=32),
    )
    model = Components.random(config)
    save_file(model.to_original(), tmp_path / "model.safetensors", metadata=config.hints)
    for placement in room_of():
        write_placement(placement, tmp_path / "held_out")
    command = ["transfer", "--model", str(tmp_path / "model.safetensors"), "--steps", "1"]
    command += ["--held-out", str(tmp_path / "held_out"), "--output", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", command)
    transfer.main()
    content = json.loads((tmp_path / "out" / "transfer.json").read_text())
    summary = content["summary"]
    assert summary["true picture"]["top1"][0] == 1.0
    for kind in transfer.PAINTED:
        assert summary[kind]["top1"][0] <= 0.4
        assert summary[kind]["silhouette"][0] < 0.7
        assert summary[kind]["less_shadow"][0] < 0.5
    assert len(content["records"]) == 5 * (5 + len(transfer.SEEDS) * len(transfer.PAINTED))
    written = {file.name for file in (tmp_path / "out").iterdir()}
    assert written == {"transfer.json", "sheet.png", "matching.png", "matching-key.txt"}
    assert "5 objects, chance 20.0%" in capsys.readouterr().out


def test_what_is_missing_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["transfer", "--model", str(tmp_path / "none")])
    with pytest.raises(SystemExit, match=r"There is no .*none"):
        transfer.main()
    (tmp_path / "some").touch()
    command = ["transfer", "--model", str(tmp_path / "some"), "--held-out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit, match="No pictures in"):
        transfer.main()
