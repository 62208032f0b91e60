"""From picture and box to sample, and the noise of a sample."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chisquare, kstest
from support.training import equal_samples
from torch.nn import functional as F
from torch.utils.data import DataLoader

from exemplar_model.training.data.boxes import Box
from exemplar_model.training.data.dataset import ExemplarDataset, KeptDataset
from exemplar_model.training.data.sample import Encoded, collate, draw
from exemplar_model.training.data.sample_maker import SampleMaker
from exemplar_model.training.data.shapes import Shapes
from exemplar_model.training.data.source import Picture, UnreadablePictureError
from exemplar_model.training.data_config import Augmentation, GeneratedData
from exemplar_model.training.section import ConfigError

PLAIN = {"flip": 0, "rotate": 0, "blur": 0, "affine": 0}
LEAST_P = 1e-3
"""A chi-square test with a fixed seed fails below it."""


def maker(resolution=32, view_size=28, **augmentation):
    return SampleMaker(Augmentation(**{**PLAIN, **augmentation}), resolution, view_size)


def noisy_picture(width, height, *boxes):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Picture(image, list(boxes))


def levels(image):
    """[3, H, W] in [0, 1] → [H, W, 3] in 0…255."""
    return image.permute(1, 2, 0).numpy() * 255


def half_pixel_bilinear(image, side):
    """[H, W, C] resized as OpenCV does: from two neighbours each way, however far it shrinks."""
    H, W, _ = image.shape

    def weights(length):
        place = np.clip((np.arange(side) + 0.5) * length / side - 0.5, 0, None)
        low = np.minimum(place.astype(int), length - 1)
        high = np.minimum(low + 1, length - 1)
        matrix = np.zeros((side, length))
        matrix[np.arange(side), low] += 1 - (place - low)
        matrix[np.arange(side), high] += place - low
        return matrix

    return np.einsum("ih,hwc,jw->ijc", weights(H), image.astype(float), weights(W))


def test_one_keeps_and_the_hole_is_nothing():
    """A square picture is kept whole; with 2 px of room the box cannot grow."""
    picture = noisy_picture(32, 32, Box(2, 2, 30, 30))
    sample = maker(arbitrary_shape=0)(picture, np.random.default_rng(0))
    keep = torch.ones(1, 32, 32)
    keep[:, 2:30, 2:30] = 0
    assert torch.equal(sample.keep_mask, keep)
    whole = torch.from_numpy(picture.image).permute(2, 0, 1) / 127.5 - 1
    torch.testing.assert_close(sample.image, whole, atol=1e-6, rtol=0)
    masked = sample.image * sample.keep_mask
    assert (masked[:, 2:30, 2:30] == 0).all()
    assert torch.equal(masked[:, :2], sample.image[:, :2])


def test_a_sample_has_its_shapes_and_ranges():
    sample = SampleMaker(Augmentation(), 40, 28)(
        noisy_picture(90, 60, Box(20, 10, 60, 50)), np.random.default_rng(0)
    )
    assert sample.image.shape == (3, 40, 40)
    assert sample.keep_mask.shape == (1, 40, 40)
    assert sample.exemplar.shape == (3, 28, 28)
    assert sample.object is None
    assert -1 <= sample.image.min() < -0.3
    assert 0.3 < sample.image.max() <= 1
    for tensor in (sample.keep_mask, sample.exemplar):
        assert tensor.min() >= 0
        assert tensor.max() <= 1


@pytest.mark.parametrize("padding", [0, 4, 10])
def test_the_exemplar_is_the_padded_box(padding):
    picture = noisy_picture(120, 90, Box(30, 6, 90, 80))
    sample = maker(view_size=30, exemplar_padding=padding)(picture, np.random.default_rng(0))
    left, top = 30 - padding, max(0, 6 - padding)
    right, bottom = 90 + padding, min(90, 80 + padding)
    crop = Image.fromarray(picture.image[top:bottom, left:right])
    wanted = np.asarray(crop.resize((30, 30), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(levels(sample.exemplar), wanted, atol=1.01)


@pytest.mark.parametrize("size", [(80, 80), (20, 20)])
def test_with_antialias_pictures_shrink_as_pillow_does(size):
    W, H = size
    picture = noisy_picture(W, H, Box(2, 2, W - 2, H - 2))
    sample = maker(resolution=32)(picture, np.random.default_rng(0))
    wanted = Image.fromarray(picture.image).resize((32, 32), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(levels(sample.image / 2 + 0.5), np.asarray(wanted), atol=1.01)


def test_without_antialias_pictures_shrink_as_in_the_reference():
    picture = noisy_picture(80, 80, Box(2, 2, 78, 78))
    sample = maker(antialias=False, arbitrary_shape=0)(picture, np.random.default_rng(0))
    got = levels(sample.image / 2 + 0.5)
    np.testing.assert_allclose(got, half_pixel_bilinear(picture.image, 32), atol=1e-3)
    whole = torch.from_numpy(picture.image).permute(2, 0, 1)[None] / 255
    plain = F.interpolate(whole, size=(32, 32), mode="bilinear", antialias=False)[0]
    torch.testing.assert_close(sample.image, plain * 2 - 1, atol=1e-6, rtol=0)
    smooth = maker(antialias=True)(picture, np.random.default_rng(0)).image
    assert (sample.image - smooth).abs().mean() > 0.1


@pytest.mark.parametrize("antialias", [True, False])
def test_the_mask_is_resized_alike_and_stays_soft(antialias):
    picture = noisy_picture(128, 128, Box(2, 2, 126, 126))
    sample = maker(arbitrary_shape=0, antialias=antialias)(picture, np.random.default_rng(0))
    keep = torch.ones(1, 1, 128, 128)
    keep[..., 2:126, 2:126] = 0
    wanted = F.interpolate(keep, size=(32, 32), mode="bilinear", antialias=antialias)[0]
    torch.testing.assert_close(sample.keep_mask, wanted, atol=1e-6, rtol=0)
    assert ((sample.keep_mask > 0.1) & (sample.keep_mask < 0.9)).any()


@pytest.mark.parametrize("size", [(120, 70), (70, 120), (70, 70), (300, 40)])
def test_picture_and_mask_are_cut_alike(size):
    """The box is white on black, and every box hole holds all of it."""
    W, H = size
    image = np.zeros((H, W, 3), np.uint8)
    box = Box(W // 4, H // 4, W // 2, H // 2)
    image[box.top : box.bottom, box.left : box.right] = 255
    make = maker(resolution=64, arbitrary_shape=0, antialias=False)
    for seed in range(40):
        sample = make(Picture(image, [box]), np.random.default_rng(seed))
        white = (sample.image[:1] + 1) / 2
        assert white.max() == 1
        assert (white <= 1 - sample.keep_mask + 1e-5).all()


def test_half_of_the_holes_are_arbitrary_shapes():
    picture = noisy_picture(36, 36, Box(8, 8, 28, 28))
    make = maker(resolution=36, view_size=8)
    rng = np.random.default_rng(1)
    rectangles = 0
    for _ in range(800):
        hole = 1 - make(picture, rng).keep_mask[0]
        rectangles += torch.equal(hole, hole.amax(0)[None] * hole.amax(1)[:, None])
    assert chisquare([rectangles, 800 - rectangles]).pvalue > LEAST_P


def test_each_box_is_chosen_alike():
    boxes = [Box(2, 4, 20, 30), Box(24, 4, 38, 30), Box(40, 10, 58, 36)]
    image = np.zeros((40, 60, 3), np.uint8)
    for channel, (left, top, right, bottom) in enumerate(boxes):
        image[top:bottom, left:right, channel] = 255
    make = maker(view_size=8, resolution=8, exemplar_padding=0)
    rng = np.random.default_rng(2)
    chosen = [
        int(make(Picture(image, boxes), rng).exemplar.mean((1, 2)).argmax()) for _ in range(600)
    ]
    assert chisquare(np.bincount(chosen, minlength=3)).pvalue > LEAST_P


def test_the_exemplar_is_augmented_and_the_picture_is_not():
    picture = noisy_picture(32, 32, Box(2, 2, 30, 30))
    plain = maker(exemplar_padding=0)(picture, np.random.default_rng(3))
    flipped = maker(exemplar_padding=0, flip=1)(picture, np.random.default_rng(3))
    torch.testing.assert_close(flipped.exemplar, plain.exemplar.flip(-1), atol=1e-4, rtol=0)
    assert torch.equal(flipped.image, plain.image)


def test_the_object_stands_alone_on_gray():
    """Also when it is moved about: what the mask calls nothing stays gray."""
    source = Shapes(GeneratedData(kind="generated", samples=6))
    for index in range(6):
        picture = source.read(index, np.random.default_rng(index))
        sample = maker(view_size=56)(picture, np.random.default_rng(0))
        top, left = max(0, picture.boxes[0].top - 10), max(0, picture.boxes[0].left - 10)
        outline = picture.objects[0][
            top : picture.boxes[0].bottom + 10, left : picture.boxes[0].right + 10
        ]
        alpha = np.asarray(Image.fromarray(outline).resize((56, 56), Image.Resampling.BILINEAR))
        outside, within = alpha == 0, alpha == 255
        assert outside.any()
        assert within.any()
        torch.testing.assert_close(
            sample.object[:, outside], torch.full((3, outside.sum()), 0.5), atol=0.01, rtol=0
        )
        torch.testing.assert_close(
            sample.object[:, within], sample.exemplar[:, within], atol=0.01, rtol=0
        )


class Unreadable:
    """Shapes of which some numbers cannot be read."""

    def __init__(self, length, bad):
        self.shapes = Shapes(GeneratedData(kind="generated", samples=length))
        self.bad = bad

    def __len__(self):
        return len(self.shapes)

    def fingerprint(self):
        return "unreadable"

    def read(self, index, rng):
        if index in self.bad:
            raise UnreadablePictureError(f"{index} is corrupt")
        return self.shapes.read(index, rng)


def dataset(seed=23, samples=12, source=None):
    source = source or Shapes(GeneratedData(kind="generated", samples=samples))
    return ExemplarDataset(source, SampleMaker(Augmentation(), 16, 16), seed, 4)


def test_a_sample_follows_from_seed_epoch_and_index():
    keys = [(0, 3), (1, 3), (0, 4), (2, 0)]
    first = {key: dataset()[key] for key in keys}
    one = dataset()
    for key in reversed(keys):
        assert equal_samples(one[key], first[key])
    for other in keys[1:]:
        assert not torch.equal(first[0, 3].pictures.image, first[other].pictures.image)
    assert not torch.equal(dataset(seed=24)[0, 3].pictures.image, first[0, 3].pictures.image)


def test_a_sample_is_the_same_in_every_process():
    keys = [(0, index) for index in range(8)]
    batches = [keys[first : first + 2] for first in range(0, 8, 2)]
    loader = DataLoader(dataset(), batch_sampler=batches, num_workers=2, collate_fn=collate)
    for keys, batch in zip(batches, loader, strict=True):
        assert equal_samples(batch, collate([dataset()[key] for key in keys]))


def test_an_unreadable_picture_is_replaced_by_the_next_and_reported():
    with_faults = dataset(source=Unreadable(12, {3, 4, 11}))
    assert with_faults[0, 2].skipped == []
    replaced = with_faults[0, 3]
    assert replaced.skipped == ["3 is corrupt", "4 is corrupt"]
    assert torch.equal(replaced.pictures.image, dataset()[0, 5].pictures.image)
    assert not torch.equal(replaced.draws.noise, with_faults[0, 5].draws.noise)
    assert torch.equal(with_faults[0, 11].pictures.image, dataset()[0, 0].pictures.image)
    batch = collate([with_faults[0, 2], replaced, with_faults[0, 11]])
    assert batch.skipped == ["3 is corrupt", "4 is corrupt", "11 is corrupt"]
    assert batch.pictures.image.shape == (3, 3, 16, 16)


def test_nothing_but_unreadable_pictures_ends_the_run():
    with pytest.raises(RuntimeError, match=r"pictures in a row cannot be used.*is corrupt.*`data`"):
        dataset(source=Unreadable(3, {0, 1, 2}))[0, 0]


def test_kept_samples_are_those_of_epoch_0_with_fresh_draws():
    kept, made = KeptDataset(dataset()), dataset()
    for epoch in (0, 1):
        sample, wanted = kept[epoch, 5], made[0, 5]
        for name, step in (("image", 2), ("keep_mask", 1), ("exemplar", 1), ("object", 1)):
            got, exact = getattr(sample.pictures, name), getattr(wanted.pictures, name)
            torch.testing.assert_close(got, exact, atol=0.502 * step / 255, rtol=0)
        assert torch.equal(sample.draws.noise, made[epoch, 5].draws.noise)
        assert sample.draws.timestep == made[epoch, 5].draws.timestep


def test_objects_of_a_batch_are_known_if_all_are():
    known = dataset()[0, 0]
    unknown = known._replace(content=known.pictures._replace(object=None))
    assert collate([known, known]).objects.shape == (2, 3, 16, 16)
    with pytest.raises(ConfigError, match="without the outline of its object"):
        _ = collate([known, unknown]).objects


def test_a_sample_moves_to_a_device_whole():
    moved = dataset()[0, 0].to(torch.device("meta"))
    assert {tensor.device.type for tensor in (*moved.pictures, *moved.draws)} == {"meta"}
    unknown = moved._replace(content=moved.pictures._replace(object=None))
    assert unknown.to(torch.device("meta")).pictures.object is None


def test_encoded_samples_hold_no_pictures():
    encoded = Encoded(*[torch.zeros(1)] * 4)
    batch = collate([dataset()[0, 0]._replace(content=encoded)] * 2)
    assert isinstance(batch.content, Encoded)
    with pytest.raises(ConfigError, match="holds no pictures any more"):
        _ = batch.pictures


def test_skipped_pictures_are_reported_once_where_samples_are_kept():
    kept = KeptDataset(dataset(source=Unreadable(12, {3})))
    assert [kept[epoch, 3].skipped for epoch in (0, 1)] == [["3 is corrupt"], []]


def test_draws_follow_from_seed_epoch_and_index():
    for one, other in zip(draw(1, 2, 3, 4), draw(1, 2, 3, 4), strict=True):
        assert torch.equal(one, other)
    drawn = [draw(*key, 4) for key in ((1, 2, 3), (1, 2, 4), (1, 3, 3), (2, 2, 3), (1, 3, 2))]
    for name in ("noise", "posterior_noise", "masked_posterior_noise"):
        assert getattr(drawn[0], name).shape == (4, 4, 4)
        assert len({tuple(getattr(draws, name).flatten().tolist()) for draws in drawn}) == 5
    assert not torch.equal(drawn[0].noise, drawn[0].posterior_noise)
    assert not torch.equal(drawn[0].posterior_noise, drawn[0].masked_posterior_noise)


def test_noise_is_normal_timesteps_and_uniform_draws_are_uniform():
    drawn = [draw(23, epoch, index, 2) for epoch in range(4) for index in range(1000)]
    timesteps = np.array([int(draws.timestep) for draws in drawn])
    uniforms = np.array([float(draws.uniform) for draws in drawn])
    assert timesteps.min() >= 0
    assert timesteps.max() <= 999
    assert chisquare(np.bincount(timesteps // 20, minlength=50)).pvalue > LEAST_P
    assert kstest(uniforms, "uniform").pvalue > LEAST_P
    assert abs(np.corrcoef(timesteps, uniforms)[0, 1]) < 0.06
    values = torch.stack([draws.noise for draws in drawn]).flatten()
    assert kstest(values[::7].numpy(), "norm").pvalue > LEAST_P
    # the same timestep in neighbours or epochs would show here
    assert abs(np.corrcoef(timesteps[:-1], timesteps[1:])[0, 1]) < 0.06
    assert abs(np.corrcoef(timesteps[:1000], timesteps[1000:2000])[0, 1]) < 0.12
