"""The measure of transfer: it must tell objects apart, and give nothing away for free."""

import numpy as np
import pytest
import torch

from exemplar_model.encoder import EncoderConfig
from exemplar_model.standalone.components import Components, ModelConfig
from lab.tiny_model.held_out import FOLDER, exemplar_picture, objects, scenes
from lab.tiny_model.pictures import is_held_out
from lab.tiny_model.transfer import descriptor, drawn_into, kept_error, measure, rank


def test_the_objects_were_never_trained_on():
    stems = [f.stem.split("-", 1)[1].rsplit("-", 1)[0] for f in (FOLDER / "objects").iterdir()]
    assert len(stems) == 20
    assert all(is_held_out(stem) for stem in stems)


def test_the_object_itself_is_recognised_in_every_scene():
    things = objects()
    for scene in scenes():
        wanted = np.stack([descriptor(drawn_into(thing, scene), scene) for thing in things])
        assert [rank(each, wanted, i) for i, each in enumerate(wanted)] == [0] * 20


def test_a_small_picture_of_it_is_recognised_too():
    things, scene = objects(), scenes()[0]
    wanted = np.stack([descriptor(drawn_into(thing, scene), scene) for thing in things])
    hits = 0
    for number, thing in enumerate(things):
        picture = torch.from_numpy(drawn_into(thing, scene)).permute(2, 0, 1)[None]
        small = torch.nn.functional.interpolate(picture, size=64, mode="area")[0]
        found = descriptor(small.permute(1, 2, 0).numpy(), scene)
        hits += rank(found, wanted, number) == 0
    assert hits >= 19


def test_one_picture_for_all_hits_once():
    things, scene = objects(), scenes()[1]
    wanted = np.stack([descriptor(drawn_into(thing, scene), scene) for thing in things])
    found = wanted.mean(0)
    assert sorted(rank(found, wanted, number) for number in range(20)) == list(range(20))


def test_the_exemplar_shows_the_object_elsewhere():
    thing, (scene, other) = objects()[0], scenes()[:2]
    shown = exemplar_picture(thing, other.photo)
    assert shown.mode == "RGB"
    assert shown.tobytes() != exemplar_picture(thing, scene.photo).tobytes()


def test_the_kept_error_ignores_the_hole():
    scene = scenes()[0]
    picture = torch.from_numpy(np.asarray(scene.photo, dtype=np.float32) / 255)[None].clone()
    left, top, right, bottom = scene.hole
    picture[:, top:bottom, left:right] = 0.0
    assert kept_error(picture, scene) == 0.0
    picture[:, 0, 0] = 1.0 - picture[:, 0, 0]
    assert kept_error(picture, scene) > 0.0


def test_an_untrained_model_transfers_nothing():
    torch.manual_seed(0)
    config = ModelConfig(
        unet_channels=(32, 32),
        unet_layers=1,
        autoencoder_channels=(32, 32, 32),
        autoencoder_layers=1,
        encoder=EncoderConfig(32, 1, 2, 64, 56, 14, mapper_blocks=1, context_dim=32),
    )
    transfer, sheet = measure(
        Components.random(config), scenes()[:1], 3.5, {"steps": 1, "resolution": 64}
    )
    assert transfer.top1 <= 0.25
    assert transfer.null_top1 == pytest.approx(0.05, abs=0.05)
    assert sheet.size == (2 * 96, 21 * 96)
