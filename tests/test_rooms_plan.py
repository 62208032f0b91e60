"""Which pictures of rooms are drawn, and which of them measure transfer."""

import math
from pathlib import Path
from random import Random

import pytest
import torch
from PIL import Image

from lab.tiny_model.rooms import plan
from lab.tiny_model.rooms.catalogue import Model
from lab.tiny_model.rooms.held_out import Candidate, choose
from lab.tiny_model.rooms.placement import OutlinedPicture, Placement, read_drawn
from lab.tiny_model.rooms.plan import held_out_groups, training_groups

SIDE = 32


def model(stem, archive="Scopia"):
    return Model(Path(f"{stem}.obj"), archive, stem, "Somebody", (1.0, 1.0, 1.0), in_wall=False)


MODELS = [model(stem) for stem in ("bowl", "chair", "lamp", "sofa")]


def test_names_and_order_stay_so_that_drawing_can_go_on():
    groups = training_groups(MODELS[:2], rounds=2)
    assert [group.views[0].file for group in groups] == [
        "scopia-bowl-000",
        "invented-0-0-000",
        "scopia-chair-000",
        "scopia-chair-004",
        "invented-1-0-004",
        "scopia-bowl-004",
    ]
    first = groups[0].views[1]
    assert (first.file, first.room, first.variant) == (
        "scopia-bowl-001",
        "scopia-bowl-1",
        "scopia-bowl-1",
    )
    assert first.pose == plan.Pose.draw(Random("pose-scopia-bowl-1"))


def test_every_round_shows_every_object_once_and_no_picture_twice():
    groups = training_groups(MODELS, rounds=3)
    files = [view.file for group in groups for view in group.views]
    assert len(set(files)) == len(files) == 3 * 6 * plan.VIEWS
    for number in range(3):
        names = [group.name for group in groups[6 * number : 6 * (number + 1)]]
        invented = [f"invented-{number}-0", f"invented-{number}-1"]
        assert sorted(names) == sorted([m.name for m in MODELS] + invented)
    assert all((group.model is None) == group.name.startswith("invented") for group in groups)


def test_a_held_out_object_is_shown_alike_elsewhere_and_turned():
    (group,) = held_out_groups(MODELS[:1])
    assert [view.file for view in group.views[:3]] == [
        f"scopia-bowl-0-{kind}" for kind in ("true", "same", "turned")
    ]
    assert len(group.views) == 3 * plan.HELD_OUT_ROOMS
    for true, same, turned in zip(*(group.views[kind::3] for kind in range(3)), strict=True):
        assert same.pose == true.pose
        assert len({true.room, same.room, turned.room}) == 3
        assert math.degrees(abs(turned.pose.turn - true.pose.turn)) == pytest.approx(35)
        assert abs(turned.pose.turn) <= 0.62  # from the front too
        assert (true.empty, same.empty, turned.empty) == (True, False, False)


def test_all_objects_stand_in_the_same_rooms():
    one, other = held_out_groups(MODELS[:2])
    assert [view.room for view in one.views[::3]] == [view.room for view in other.views[::3]]


def candidate(stem, color, side=16, archive="Scopia"):
    outline = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    outline[4 : 4 + side, 4 : 4 + side] = True
    shown = OutlinedPicture(torch.tensor(color).expand(SIDE, SIDE, 3), outline)
    empty = torch.zeros(SIDE, SIDE, 3)
    placements = [Placement(stem, room, shown, empty, shown, shown) for room in range(2)]
    return Candidate(model(stem, archive), placements)


def names(candidates):
    return [each.model.name for each in candidates]


RED, GREEN, BLUE = (0.9, 0.1, 0.1), (0.1, 0.9, 0.1), (0.1, 0.1, 0.9)


def test_objects_of_the_wrong_size_are_not_chosen():
    small, large = candidate("small", GREEN, 7), candidate("large", BLUE, 24)
    assert 7**2 / SIDE**2 < 0.06
    assert 24**2 / SIDE**2 > 0.5
    right = candidate("right", RED)
    assert names(choose([small, large, right], 1)) == ["scopia-right"]
    with pytest.raises(ValueError, match="Only 1 of 2 objects"):
        choose([small, large, right], 2)


def test_one_wrong_picture_is_enough():
    good, bad = candidate("good", RED), candidate("bad", GREEN)
    hidden = OutlinedPicture(bad.placements[1].same.pixels, torch.zeros(SIDE, SIDE).bool())
    bad.placements[1] = Placement(
        "bad", 1, bad.placements[1].true, bad.placements[1].empty, hidden, bad.placements[1].turned
    )
    assert names(choose([good, bad], 1)) == ["scopia-good"]


def test_objects_that_look_alike_in_any_room_are_not_chosen_together():
    alike = [candidate("one", RED), candidate("other", (0.85, 0.15, 0.1))]
    assert len(choose([*alike, candidate("blue", BLUE)], 2)) == 2
    with pytest.raises(ValueError, match="Only 2 of 3"):
        choose([*alike, candidate("blue", BLUE)], 3)
    # as different as can be in one room, alike in the other
    mixed = candidate("mixed", GREEN)
    mixed.placements[1] = candidate("mixed", BLUE).placements[1]
    with pytest.raises(ValueError, match="Only 1 of 2"):
        choose([mixed, candidate("blue", BLUE)], 2)


def test_files_of_one_name_count_once():
    same = [candidate("sofa", RED), candidate("Sofa", GREEN, archive="KatorLegaz")]
    with pytest.raises(ValueError, match="Only 1 of 2"):
        choose(same, 2)
    chosen = choose([*same, candidate("blue", BLUE)], 2)  # drawn last
    assert names(chosen) == ["katorlegaz-sofa", "scopia-blue"]


def test_the_choice_does_not_depend_on_the_order_of_reading():
    colors = [(r, g, b) for r in (0.1, 0.9) for g in (0.1, 0.9) for b in (0.1, 0.9)]
    candidates = [candidate(f"object-{n}", color) for n, color in enumerate(colors)]
    chosen = names(choose(candidates, 4))
    assert chosen == names(choose(candidates[::-1], 4))
    assert chosen == sorted(chosen)
    assert chosen != sorted(names(candidates))[:4]


def test_drawn_pictures_are_read_with_the_main_object_s_outline(tmp_path):
    for kind in ("true", "same", "turned"):
        Image.new("RGB", (SIDE, SIDE), (255, 0, 0)).save(tmp_path / f"a-2-{kind}.png")
        outlines = Image.new("L", (SIDE, SIDE))
        outlines.paste(1, (4, 6, 10, 9))
        outlines.paste(2, (20, 6, 30, 9))  # what stands beside it
        outlines.save(tmp_path / f"a-2-{kind}-outlines.png")
    Image.new("RGB", (SIDE, SIDE), (0, 255, 0)).save(tmp_path / "a-2-true-empty.png")
    placement = read_drawn(tmp_path, "a", 2)
    assert placement.true.box == placement.turned.box == (4, 6, 6, 3)
    assert placement.empty[0, 0].tolist() == [0, 1, 0]
    assert placement.same.pixels[0, 0].tolist() == [1, 0, 0]
    assert placement.same.exemplar.shape == (9, 12, 3)
