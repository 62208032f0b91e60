"""The exemplar's augmentation against albumentations 0.4.3, which the reference uses."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter
from scipy.stats import chisquare, kstest

from exemplar_model.training.data.augment import (
    ExemplarTransform,
    affine_jitter,
    draw_transform,
    rotation,
)
from exemplar_model.training.data_config import Augmentation

IDENTITY = np.eye(3)
NONE = {"flip": 0, "rotate": 0, "blur": 0, "affine": 0}
LEAST_P = 1e-3
"""A chi-square test with a fixed seed fails below it."""


def move(matrix, x, y):
    return (matrix @ [x, y, 1])[:2]


def shifted(dx, dy):
    return np.array([[1.0, 0, dx], [0, 1, dy], [0, 0, 1]])


def centre_of(picture):
    """Centre of mass (x, y) of [1, S, S]."""
    weights = picture[0].double()
    places = torch.arange(weights.shape[-1], dtype=torch.float64)
    total = weights.sum()
    return float((weights.sum(0) * places).sum() / total), float(
        (weights.sum(1) * places).sum() / total
    )


def dot(size, x, y):
    grid = torch.arange(size, dtype=torch.float64)
    row, column = torch.exp(-((grid - y) ** 2) / 8), torch.exp(-((grid - x) ** 2) / 8)
    return (row[:, None] * column[None])[None].float()


def test_the_defaults_are_the_published_values():
    assert Augmentation().model_dump() == {
        "arbitrary_shape": 0.5,
        "extension": 0.4,
        "zoom": 0.6,
        "exemplar_padding": 10,
        "jitter": 5,
        "flip": 0.5,
        "rotate": 0.5,
        "rotate_degrees": 20,
        "blur": 0.3,
        "affine": 0.3,
        "affine_shift": 50 / 224,
        "antialias": True,
    }


def test_rotation_is_counter_clockwise_about_half_the_side():
    size, angle = 224, math.radians(20)
    matrix = rotation(20, size)
    np.testing.assert_allclose(move(matrix, 112, 112), [112, 112])
    # y goes down: what lies to the right goes up
    right = [112 + 50 * math.cos(angle), 112 - 50 * math.sin(angle)]
    np.testing.assert_allclose(move(matrix, 162, 112), right)
    below = [112 + 50 * math.sin(angle), 112 + 50 * math.cos(angle)]
    np.testing.assert_allclose(move(matrix, 112, 162), below)
    np.testing.assert_array_equal(matrix[2], [0, 0, 1])


@given(st.floats(-90, 90), st.integers(8, 300), st.integers(-50, 300), st.integers(-50, 300))
def test_rotation_turns_every_point_by_its_angle(degrees, size, x, y):
    middle = complex(size / 2, size / 2)
    turned = (complex(x, y) - middle) * np.exp(-1j * math.radians(degrees)) + middle
    np.testing.assert_allclose(
        move(rotation(degrees, size), x, y), [turned.real, turned.imag], atol=1e-9
    )


class Recorded:
    """A generator that hands out given shifts."""

    def __init__(self, shifts):
        self.shifts = np.array(shifts, dtype=float)

    def uniform(self, low, high, shape):
        assert low == -high
        assert shape == self.shifts.shape
        return self.shifts


def cramer(points, values):
    """Solve a + b x + c y = value at three points by determinants."""
    (x0, y0), (x1, y1), (x2, y2) = points
    v0, v1, v2 = values
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    b = ((v1 - v0) * (y2 - y0) - (v2 - v0) * (y1 - y0)) / area
    c = ((x1 - x0) * (v2 - v0) - (x2 - x0) * (v1 - v0)) / area
    return b, c, v0 - b * x0 - c * y0


@pytest.mark.parametrize("size", [224, 223, 64])
def test_affine_jitter_moves_three_corners_about_the_middle(size):
    shifts = [[3, -4], [10, 7.5], [-6, 2]]
    matrix = affine_jitter(12, size, Recorded(shifts))
    middle, reach = size // 2, size // 3
    points = [
        (middle + reach, middle + reach),
        (middle + reach, middle - reach),
        (middle - reach, middle - reach),
    ]
    for point, shift in zip(points, shifts, strict=True):
        np.testing.assert_allclose(move(matrix, *point), np.add(point, shift))
    xs = [point[0] + shift[0] for point, shift in zip(points, shifts, strict=True)]
    ys = [point[1] + shift[1] for point, shift in zip(points, shifts, strict=True)]
    wanted = [cramer(points, xs), cramer(points, ys), (0, 0, 1)]
    np.testing.assert_allclose(matrix, wanted, atol=1e-9)


def test_affine_jitter_has_the_strength_of_the_reference():
    """Statistics of the reference's elastic transform on 224², which are known to two digits."""
    rng = np.random.default_rng(5)
    matrices = np.array([affine_jitter(50, 224, rng) for _ in range(6000)])
    singular = np.linalg.svd(matrices[:, :2, :2], compute_uv=False)  # greater, smaller
    area = np.abs(np.linalg.det(matrices))
    shift = np.linalg.norm(matrices @ [112, 112, 1] - [112, 112, 1], axis=1)
    assert np.quantile(singular[:, 1], 0.05) == pytest.approx(0.40, abs=0.02)
    assert np.quantile(singular[:, 0], 0.95) == pytest.approx(1.64, abs=0.02)
    np.testing.assert_allclose(np.quantile(area, [0.05, 0.95]), [0.41, 1.75], atol=0.06)
    assert shift.mean() == pytest.approx(26, abs=0.5)


@pytest.mark.parametrize(
    "matrix",
    [
        shifted(7, -5),
        rotation(20, 96),
        rotation(-13, 96),
        affine_jitter(8, 96, np.random.default_rng(0)),
        affine_jitter(8, 96, np.random.default_rng(1)),
        np.array([[-1.0, 0, 95], [0, 1, 0], [0, 0, 1]]),
    ],
)
@pytest.mark.parametrize("point", [(48, 48), (62, 40), (40, 60)])
def test_a_point_of_the_picture_goes_where_the_matrix_says(matrix, point):
    warped = ExemplarTransform(matrix, 1)(dot(96, *point))
    np.testing.assert_allclose(centre_of(warped), move(matrix, *point), atol=0.05)


def test_a_flip_mirrors_pixel_by_pixel():
    picture = torch.from_numpy(np.random.default_rng(6).random((4, 224, 224), np.float32))
    transform = draw_transform(Augmentation(**{**NONE, "flip": 1}), 224, np.random.default_rng(0))
    flipped = transform(picture)
    torch.testing.assert_close(flipped, picture.flip(-1), atol=1e-4, rtol=0)
    levels = (picture * 255).round()
    assert torch.equal((transform(levels / 255) * 255).round(), levels.flip(-1))


def test_no_augmentation_changes_nothing():
    picture = torch.from_numpy(np.random.default_rng(7).random((3, 32, 32), np.float32))
    transform = draw_transform(Augmentation(**NONE), 32, np.random.default_rng(0))
    assert torch.equal(transform(picture), picture)


@pytest.mark.parametrize(("dx", "dy"), [(6, 0), (0, -9), (-20, 13)])
def test_borders_are_reflected_about_the_outermost_pixels(dx, dy):
    picture = torch.from_numpy(np.random.default_rng(8).random((3, 24, 24), np.float32))
    moved = ExemplarTransform(shifted(dx, dy), 1)(picture)
    around = np.pad(picture.numpy(), ((0, 0), (23, 23), (23, 23)), mode="reflect")
    top, left = 23 - dy, 23 - dx
    np.testing.assert_allclose(moved, around[:, top : top + 24, left : left + 24], atol=1e-4)


def test_between_pixels_the_warp_is_bilinear():
    picture = torch.from_numpy(np.random.default_rng(9).random((1, 16, 16), np.float32))
    moved = ExemplarTransform(shifted(0.25, 0), 1)(picture)
    wanted = 0.75 * picture[..., 1:] + 0.25 * picture[..., :-1]
    torch.testing.assert_close(moved[..., 1:], wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", [3, 5, 7])
def test_blur_is_the_mean_of_a_box(side):
    picture = np.random.default_rng(10).random((3, 20, 20), np.float32)
    blurred = ExemplarTransform(IDENTITY, side)(torch.from_numpy(picture))
    wanted = uniform_filter(picture.astype(float), (1, side, side), mode="mirror")
    np.testing.assert_allclose(blurred, wanted, atol=1e-5)
    x, y, half = 9, 12, side // 2
    window = picture[:, y - half : y + half + 1, x - half : x + half + 1]
    np.testing.assert_allclose(blurred[:, y, x], window.mean((1, 2)), atol=1e-5)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_the_parts_follow_each_other(seed):
    """Flip, then rotation, then affine jitter, each as it is drawn alone."""
    augmentation = Augmentation(flip=1, rotate=1, affine=1, blur=0)
    drawn = draw_transform(augmentation, 60, np.random.default_rng(seed)).matrix
    rng = np.random.default_rng(seed)
    rng.random(2)
    turn = rotation(rng.uniform(-20, 20), 60)
    rng.random(2)
    jitter = affine_jitter(60 * 50 / 224, 60, rng)
    for x, y in ((0, 0), (59, 3), (20, 44)):
        point = move(jitter, *move(turn, 59 - x, y))
        np.testing.assert_allclose(move(drawn, x, y), point, atol=1e-9)


def test_each_part_has_its_probability():
    rng = np.random.default_rng(11)
    only = {
        name: Augmentation(**{**NONE, name: getattr(Augmentation(), name)})
        for name in ("flip", "rotate", "affine")
    }
    wanted = {"flip": 0.5, "rotate": 0.5, "affine": 0.3}
    for name, augmentation in only.items():
        drawn = [draw_transform(augmentation, 224, rng) for _ in range(4000)]
        changed = sum(not np.array_equal(transform.matrix, IDENTITY) for transform in drawn)
        expected = [4000 * wanted[name], 4000 * (1 - wanted[name])]
        assert chisquare([changed, 4000 - changed], expected).pvalue > LEAST_P
        assert {transform.blur for transform in drawn} == {1}


def test_with_all_parts_each_still_has_its_probability():
    """Flip is told by the sign of the area, which rotation keeps; blur by its side."""
    rng = np.random.default_rng(12)
    drawn = [draw_transform(Augmentation(affine=0), 224, rng) for _ in range(4000)]
    mirrored = np.array([np.linalg.det(transform.matrix) < 0 for transform in drawn])
    turned = np.array([abs(transform.matrix[0, 1]) > 0 for transform in drawn])
    blurs = np.array([transform.blur for transform in drawn])
    table = np.bincount(2 * mirrored + turned, minlength=4)
    assert chisquare(table).pvalue > LEAST_P  # independent, each 50 %
    counts = [int((blurs == side).sum()) for side in (1, 3, 5, 7)]
    assert sum(counts) == 4000
    assert chisquare(counts, [2800, 400, 400, 400]).pvalue > LEAST_P
    with_flip, without = (blurs[mirrored] > 1).mean(), (blurs[~mirrored] > 1).mean()
    assert with_flip == pytest.approx(without, abs=0.05)


def test_angles_are_uniform_up_to_the_limit():
    rng = np.random.default_rng(13)
    augmentation = Augmentation(**{**NONE, "rotate": 1})
    matrices = [draw_transform(augmentation, 224, rng).matrix for _ in range(2000)]
    angles = [math.degrees(math.atan2(matrix[0, 1], matrix[0, 0])) for matrix in matrices]
    assert kstest(angles, "uniform", args=(-20, 40)).pvalue > LEAST_P


def test_the_jitter_scales_with_the_exemplar():
    """50 px on 224², so 14 px on 63²; each coordinate of a corner is uniform."""
    rng = np.random.default_rng(14)
    augmentation = Augmentation(**{**NONE, "affine": 1})
    matrices = np.array([draw_transform(augmentation, 63, rng).matrix for _ in range(2000)])
    corner = np.array([31 + 21, 31 + 21, 1])
    moved = (matrices @ corner - corner)[:, :2] / (63 * 50 / 224)
    for axis in (0, 1):
        assert kstest(moved[:, axis], "uniform", args=(-1, 2)).pvalue > LEAST_P
