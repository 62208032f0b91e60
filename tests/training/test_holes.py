"""Boxes, holes and crops against the reference's rules (`ldm/data/open-images.py`)."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from exemplar_model.training.data.boxes import Box, PackedArrays, in_pixels, pad, usable
from exemplar_model.training.data.holes import (
    box_hole,
    extend,
    shape_hole,
    shape_outline,
    square_crop,
)

LEAST_P = 1e-3
"""A chi-square test with a fixed seed fails below it."""


class Extreme:
    """A generator that draws always the least or always the greatest of what it may."""

    def __init__(self, greatest):
        self.greatest = greatest

    def integers(self, low, high, endpoint):
        assert endpoint
        return high if self.greatest else low


@st.composite
def boxed_pictures(draw, least=1):
    """(size of a picture, box inside it)."""
    size = W, H = draw(st.tuples(st.integers(least, 600), st.integers(least, 600)))
    left, top = draw(st.integers(0, W - 1)), draw(st.integers(0, H - 1))
    return size, Box(left, top, draw(st.integers(left + 1, W)), draw(st.integers(top + 1, H)))


seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def inside(inner, outer):
    return (
        outer.left <= inner.left
        and outer.top <= inner.top
        and inner.right <= outer.right
        and inner.bottom <= outer.bottom
    )


def shoelace(points):
    x, y = points.T
    return abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


@pytest.mark.parametrize(
    ("box", "wanted"),
    [
        ((0, 0, 0.2, 0.1), True),  # 0.02
        ((0, 0, 0.1999, 0.1), False),
        ((0, 0, 1, 0.8), True),  # 0.8
        ((0, 0, 1, 0.8001), False),
        ((0, 0, 1, 1), False),
        ((0.25, 0.25, 0.75, 0.75), True),
        ((0.5, 0.25, 0.5, 0.75), False),  # no width
        ((0.75, 0.25, 0.25, 0.75), False),  # wrong way round
        ((0.75, 0.75, 0.25, 0.25), False),  # both ways, positive product
        ((-0.01, 0.25, 0.5, 0.75), False),
        ((0.5, 0.25, 1.01, 0.75), False),
        ((np.nan, 0.25, 0.5, 0.75), False),
    ],
)
def test_usable_boxes_cover_a_fiftieth_to_four_fifths(box, wanted):
    assert usable(np.array([box])).tolist() == [wanted]


def test_usable_tells_boxes_apart():
    boxes = np.array([[0, 0, 0.5, 0.5], [0, 0, 0.1, 0.1], [0.4, 0.4, 0.9, 0.9]])
    assert usable(boxes).tolist() == [True, False, True]
    assert usable(np.empty((0, 4))).shape == (0,)


@given(boxed_pictures(), st.integers(0, 20))
def test_padding_ends_at_the_border(picture, pixels):
    (W, H), box = picture
    wanted = (
        box.left - min(pixels, box.left),
        box.top - min(pixels, box.top),
        box.right + min(pixels, W - box.right),
        box.bottom + min(pixels, H - box.bottom),
    )
    assert pad(box, pixels, (W, H)) == wanted


@given(boxed_pictures(), seeds)
def test_the_extended_box_keeps_the_box_and_three_fifths_of_the_room(picture, rng):
    (W, H), box = picture
    extended = extend(box, (W, H), 0.4, rng)
    assert inside(box, extended)
    assert extended.left >= box.left - 0.4 * box.left
    assert extended.top >= box.top - 0.4 * box.top
    assert extended.right <= box.right + 0.4 * (W - box.right)
    assert extended.bottom <= box.bottom + 0.4 * (H - box.bottom)


def test_each_side_moves_by_a_uniform_number_of_pixels():
    rng = np.random.default_rng(1)
    box, size = Box(20, 33, 50, 60), (99, 72)  # free: 20, 33, 49, 12
    most = np.array([8, 13, 19, 4])
    moved = np.abs([np.subtract(extend(box, size, 0.4, rng), box) for _ in range(4000)])
    for side, greatest in enumerate(most):
        counts = np.bincount(moved[:, side])
        assert len(counts) == greatest + 1
        assert chisquare(counts).pvalue > LEAST_P
    correlation = np.corrcoef(moved.T) - np.eye(4)
    assert np.abs(correlation).max() < 0.05


def test_the_box_hole_is_the_extended_box():
    hole = box_hole(Box(2, 1, 5, 3), (7, 4))
    assert hole.dtype == np.uint8
    assert hole.tolist() == [
        [0, 0, 0, 0, 0, 0, 0],
        [0, 0, 1, 1, 1, 0, 0],
        [0, 0, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ]


def bernstein(nodes, t):
    """De Casteljau's scheme, point by point."""
    points = [np.array(node, dtype=float) for node in nodes]
    while len(points) > 1:
        points = [(1 - t) * a + t * b for a, b in pairwise(points)]
    return points[0]


@given(boxed_pictures(), seeds)
@settings(max_examples=30)
def test_an_outline_is_four_quadratic_curves(picture, rng):
    size, box = picture
    extended = extend(box, size, 0.4, rng)
    x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    a, b = (box.left, box.top), (box.right, box.top)
    c, d = (box.right, box.bottom), (box.left, box.bottom)
    curves = [
        (a, (x, extended.top), b),
        (b, (extended.right, y), c),
        (c, (x, extended.bottom), d),
        (d, (extended.left, y), a),
    ]
    wanted = [bernstein(curve, 0.05 * step) for curve in curves for step in range(1, 19)]
    outline = shape_outline(box, extended, 0, rng)
    assert outline.shape == (72, 2)
    np.testing.assert_allclose(outline, wanted, atol=1e-9)


def test_each_side_bulges_half_way():
    outline = shape_outline(Box(40, 40, 80, 60), Box(30, 20, 90, 64), 0, np.random.default_rng(0))
    middles = outline[9::18]  # t = 0.5
    np.testing.assert_allclose(middles, [[60, 30], [85, 50], [60, 62], [35, 50]])


@given(boxed_pictures(least=8), seeds)
def test_an_outline_goes_round_once_clockwise(picture, rng):
    size, box = picture
    outline = shape_outline(box, extend(box, size, 0.4, rng), 0, rng)
    centre = [(box.left + box.right) / 2, (box.top + box.bottom) / 2]
    angles = np.unwrap(np.arctan2(*(outline - centre).T[::-1]))
    turned = np.diff(np.append(angles, angles[0] + 2 * np.pi))
    assert (turned > 0).all()  # in pictures, where y goes down, clockwise


@pytest.mark.parametrize("jitter", [1, 5])
def test_points_jitter_by_uniform_whole_pixels(jitter):
    rng = np.random.default_rng(2)
    box, extended = Box(60, 50, 160, 150), Box(40, 50, 190, 170)
    plain = shape_outline(box, extended, 0, rng)
    offsets = np.array([shape_outline(box, extended, jitter, rng) - plain for _ in range(60)])
    whole = offsets.round().astype(int)
    np.testing.assert_allclose(offsets, whole, atol=1e-9)
    assert (whole.min(), whole.max()) == (-jitter, jitter)
    for axis in (0, 1):
        counts = np.bincount(whole[..., axis].ravel() + jitter)
        assert chisquare(counts).pvalue > LEAST_P
    assert abs(np.corrcoef(whole[..., 0].ravel(), whole[..., 1].ravel())[0, 1]) < 0.05


@pytest.mark.parametrize("jitter", [0, 3])
def test_the_shape_hole_fills_its_outline(jitter):
    size, box = (400, 300), Box(100, 80, 260, 200)
    for seed in range(5):
        extended = extend(box, size, 0.4, np.random.default_rng(seed))
        hole = shape_hole(box, extended, size, jitter, np.random.default_rng(seed))
        outline = shape_outline(box, extended, jitter, np.random.default_rng(seed))
        assert hole.dtype == np.uint8
        assert hole.shape == (300, 400)
        assert set(np.unique(hole)) == {0, 1}
        assert hole.sum() == pytest.approx(shoelace(outline), rel=0.03)
        rows, columns = hole.nonzero()
        low, high = outline.min(0), outline.max(0)
        found = [columns.min(), rows.min(), columns.max(), rows.max()]
        np.testing.assert_allclose(found, [*low, *high], atol=1)


def test_without_room_a_shape_hole_is_the_box():
    box = Box(0, 0, 60, 40)
    hole = shape_hole(box, box, (60, 40), 0, np.random.default_rng(0))
    assert hole.mean() > 0.98  # all but the corners between t = 0.9 and 0.05


@given(boxed_pictures(), seeds)
@settings(max_examples=300)
def test_the_crop_is_a_square_around_the_extended_box(picture, rng):
    (W, H), box = picture
    extended = extend(box, (W, H), 0.4, rng)
    crop = square_crop(extended, (W, H), 0.6, rng)
    assert inside(extended, crop)
    assert inside(crop, Box(0, 0, W, H))
    if crop != (0, 0, W, H):
        side = crop.right - crop.left
        assert side == crop.bottom - crop.top
        # it shrinks alike on all sides, so its room before is known from its size
        trim = (min(W, H) - side) // 2
        room = min(
            extended.left - crop.left,
            extended.top - crop.top,
            crop.right - extended.right,
            crop.bottom - extended.bottom,
        )
        assert trim <= 0.6 * (room + trim)


@given(boxed_pictures(), seeds)
@settings(max_examples=300)
def test_the_whole_picture_is_kept_just_where_the_square_has_no_choice(picture, rng):
    (W, H), extended = picture
    side = min(W, H)
    along = 0 if W > H else 1
    places = [
        place
        for place in range((W, H)[along] - side + 1)
        if place <= extended[along] and extended[along + 2] <= place + side
    ]
    crop = square_crop(extended, (W, H), 0.6, rng)
    if W == H or len(places) < 2:
        assert crop == (0, 0, W, H)
    else:
        assert crop.right - crop.left == crop.bottom - crop.top <= side


@pytest.mark.parametrize("turned", [False, True])
def test_the_square_takes_each_place_alike(turned):
    """Places 30…60; the box leaves no room to zoom."""
    extended, size = Box(60, 0, 90, 58), (160, 60)
    if turned:
        extended, size = Box(0, 60, 58, 90), size[::-1]
    rng = np.random.default_rng(3)
    crops = np.array([square_crop(extended, size, 0.6, rng) for _ in range(4000)])
    along, across = (1, 0) if turned else (0, 1)
    assert (crops[:, across] == 0).all()
    assert (crops[:, across + 2] == 60).all()
    assert (crops[:, along + 2] - crops[:, along] == 60).all()
    counts = np.bincount(crops[:, along])
    assert (counts[:30] == 0).all()
    assert len(counts) == 61
    assert chisquare(counts[30:]).pvalue > LEAST_P


@pytest.mark.parametrize("turned", [False, True])
def test_the_zoom_is_uniform_up_to_three_fifths_of_the_room(turned):
    extended, size = Box(80, 10, 140, 60), (240, 100)
    if turned:
        extended, size = Box(10, 80, 60, 140), size[::-1]
    along = 1 if turned else 0
    rng = np.random.default_rng(4)
    crops = np.array([square_crop(extended, size, 0.6, rng) for _ in range(4000)])
    trims = (100 - (crops[:, 2] - crops[:, 0])) // 2
    before = crops[:, along] - trims  # place of the square: 40…80
    room = np.minimum(10, np.minimum(80 - before, before + 100 - 140))
    counts = np.bincount(trims[room == 10])
    assert len(counts) == 7
    assert counts.sum() > 1500
    assert chisquare(counts).pvalue > LEAST_P
    assert (trims <= np.floor(0.6 * room)).all()
    assert (trims[room == 0] == 0).all()


@pytest.mark.parametrize(
    ("size", "extended", "least", "greatest"),
    [
        # places max(0, 70-60) … min(100, 30+60)-60; then room min(30-10, 20, 0, 20) and so on
        ((100, 60), Box(30, 20, 70, 40), Box(10, 0, 70, 60), Box(30, 0, 90, 60)),
        ((60, 100), Box(20, 30, 40, 70), Box(0, 10, 60, 70), Box(0, 30, 60, 90)),
        # the picture's end limits the places: 0 … 20, room min(10, 10, 40, 45) → trim int(6.0)
        ((80, 60), Box(10, 10, 20, 15), Box(0, 0, 60, 60), Box(10, 0, 70, 60)),
        # the square may go to the picture's far end: 20 … 40, and 20 px of room there
        ((100, 60), Box(60, 20, 80, 40), Box(20, 0, 80, 60), Box(52, 12, 88, 48)),
    ],
)
def test_crops_at_the_ends_of_their_range(size, extended, least, greatest):
    assert square_crop(extended, size, 0.6, Extreme(greatest=False)) == least
    assert square_crop(extended, size, 0.6, Extreme(greatest=True)) == greatest


@given(boxed_pictures(), seeds)
def test_without_extension_and_zoom_nothing_moves(picture, rng):
    size, box = picture
    assert extend(box, size, 0, rng) == box
    left, top, right, bottom = square_crop(box, size, 0, rng)
    assert min(right - left, bottom - top) == min(size)


def test_shares_become_pixels_and_boxes_without_a_pixel_are_left_out():
    boxes = np.array([[0.1, 0.25, 0.5, 1], [0.5, 0.5, 0.505, 1]], np.float32)
    assert in_pixels(boxes, (100, 8)) == [Box(10, 2, 50, 8)]


def test_packed_arrays_are_the_arrays():
    arrays = [np.full((length, 2), length, np.float32) for length in (2, 0, 3)]
    packed = PackedArrays.join(arrays, np.empty((0, 2), np.float32))
    assert len(packed) == 3
    chosen = packed.select(np.array([True, False, True]))
    for got, wanted in zip([*packed, *chosen], [*arrays, arrays[0], arrays[2]], strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert len(PackedArrays.join([], np.empty((0, 2)))) == 0
