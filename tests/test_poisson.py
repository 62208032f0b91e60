"""Gradient-domain blending, against a direct solution of the same equations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array, diags_array
from scipy.sparse.linalg import spsolve
from torch import Tensor

from exemplar_model.image import resize_image
from exemplar_model.poisson import blend_gradients, continue_inwards

LEVEL = 1 / 255


def direct_solution(values: Tensor, known: Tensor, screen: float) -> Tensor:
    """The screened Laplace equation on the five-point stencil as one sparse system, float64."""
    hole = (~known).numpy()
    H, W = hole.shape
    index = np.arange(H * W).reshape(H, W)
    free = hole.ravel()
    rows, columns = [], []
    for first, second in ((index[:, :-1], index[:, 1:]), (index[:-1], index[1:])):
        rows += [first.ravel(), second.ravel()]
        columns += [second.ravel(), first.ravel()]
    row, column = np.concatenate(rows), np.concatenate(columns)
    degree = np.bincount(row, minlength=H * W).astype(np.float64)
    solution = values.double().permute(1, 2, 0).reshape(H * W, -1).numpy()
    number = np.cumsum(free) - 1
    inner, border = free[row] & free[column], free[row] & ~free[column]
    right = np.zeros((int(free.sum()), len(values)))
    np.add.at(right, number[row[border]], solution[column[border]])
    couplings = coo_array(
        (-np.ones(int(inner.sum())), (number[row[inner]], number[column[inner]])),
        shape=(len(right), len(right)),
    )
    solution[free] = spsolve((couplings + diags_array(degree[free] + screen)).tocsc(), right)
    return torch.from_numpy(solution.reshape(H, W, -1)).float().permute(2, 0, 1)


def noise(seed: int, *size: int) -> Tensor:
    return torch.rand(*size, generator=torch.Generator().manual_seed(seed)) * 0.2 - 0.1


def octaves(seed: int, height: int, width: int) -> Tensor:
    """An error of the kind that autoencoders make, [3, H, W]: some of each size."""
    layers = [
        resize_image(noise(seed + side, 1, side, side, 3), (height, width)) / side**0.5
        for side in (4, 8, 16, 32, 64)
    ]
    return torch.stack(layers).sum(dim=0)[0].permute(2, 0, 1)


HOLES = {
    "inside": (30, 60, 30, 60),
    "one pixel": (50, 51, 20, 21),
    "a line": (0, 80, 40, 41),
    "at the edge": (0, 40, 0, 60),
    "all but a pixel": (0, 96, 0, 95),
    "aligned with the coarse grids": (16, 80, 16, 80),
}


@pytest.mark.parametrize("box", HOLES.values(), ids=HOLES)
@pytest.mark.parametrize("kind", ["octaves", "noise"])
@pytest.mark.parametrize("reach", [3.0, 20.0, float("inf")])
def test_multigrid_agrees_with_the_direct_solution(
    box: tuple[int, int, int, int], kind: str, reach: float
) -> None:
    values = octaves(0, 96, 96) if kind == "octaves" else noise(0, 3, 96, 96)
    known = torch.ones(96, 96, dtype=torch.bool)
    top, bottom, left, right = box
    known[top:bottom, left:right] = False
    screen = 1 / reach**2
    found = continue_inwards(values, known, screen)
    assert torch.equal(found[:, known], values[:, known])
    difference = (found - direct_solution(values, known, screen)).abs().max()
    assert float(difference) < (0.1 if kind == "octaves" else 0.3) * LEVEL


@settings(deadline=None, max_examples=300)
@given(
    st.integers(8, 80),
    st.integers(8, 80),
    st.floats(0.02, 0.98),
    st.sampled_from([0.0, 1e-3, 0.1]),
    st.integers(0, 1000),
)
def test_multigrid_copes_with_any_mask(
    height: int, width: int, share: float, screen: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 1, max(1, height // 5), max(1, width // 5), generator=generator)
    known = torch.nn.functional.interpolate(coarse, (height, width))[0, 0] > share
    known.view(-1)[seed % known.numel()] = True
    values = noise(seed, 2, height, width)
    found = continue_inwards(values, known, screen)
    assert float((found - direct_solution(values, known, screen)).abs().max()) < 0.05 * 0.2


def test_continuation_of_a_plane_is_the_plane() -> None:
    plane = torch.linspace(-1, 1, 200)[:, None] + torch.linspace(0, 3, 300)[None]
    known = torch.ones(200, 300, dtype=torch.bool)
    known[40:170, 60:290] = False
    torch.testing.assert_close(continue_inwards(plane[None], known)[0], plane, rtol=0, atol=2e-3)


def test_what_is_in_the_hole_does_not_count() -> None:
    values, known = octaves(1, 64, 64), torch.ones(64, 64, dtype=torch.bool)
    known[20:50, 10:40] = False
    other = torch.where(known, values, torch.nan)
    expected = continue_inwards(values, known)
    assert torch.equal(continue_inwards(other.nan_to_num(9.0), known), expected)


def test_blending_undoes_a_drift_and_keeps_gradients() -> None:
    original = octaves(2, 96, 96).permute(1, 2, 0) + 0.5
    kept = torch.ones(96, 96, dtype=torch.bool)
    kept[30:60, 20:70] = False
    painted = original.clone()
    painted[~kept] = 0.5 + octaves(3, 96, 96).permute(1, 2, 0)[~kept]
    before = painted.clone(), original.clone()
    blended = blend_gradients(painted - 0.07, original, kept)
    torch.testing.assert_close(blended, painted, rtol=0, atol=0.2 * LEVEL)
    assert torch.equal(painted, before[0]) and torch.equal(original, before[1])
    assert float(blended.min()) >= 0.0 and float(blended.max()) <= 1.0


def test_blending_meets_the_picture_at_the_border() -> None:
    """A patch that is wrong in two ways where the picture goes on."""
    original = torch.full((160, 160, 3), 0.6)
    kept = torch.ones(160, 160, dtype=torch.bool)
    kept[40:120, 40:120] = False
    wrong = torch.full((160, 160, 3), 0.4)
    wrong[:, 70:] = 0.8
    blended = blend_gradients(wrong, original, kept)
    jump = (blended[:, 1:] - blended[:, :-1])[:, [39, 119]].abs()
    assert float(jump.max()) < 0.06  # of 0.2 before
    torch.testing.assert_close(blended[kept], original[kept], rtol=0, atol=1e-6)


def test_an_object_that_touches_the_border_keeps_its_colours() -> None:
    """Found on a cup whose rim is the border: the whole painting went white."""
    original = torch.full((128, 128, 3), 0.9)
    kept = torch.ones(128, 128, dtype=torch.bool)
    kept[32:96, 32:96] = False
    patch = original - 0.05
    patch[28:100, 28:100] = 0.2  # what is painted reaches beyond the mask
    blended = blend_gradients(patch, original, kept)
    torch.testing.assert_close(blended[64, 64], patch[64, 64] + 0.05, rtol=0, atol=0.06)
    assert float((blended[64, 31] - blended[64, 32]).abs().max()) < 0.12  # of 0.7 before


def test_blending_needs_something_to_meet() -> None:
    patch = torch.rand(64, 64, 3)
    kept = torch.zeros(64, 64, dtype=torch.bool)
    assert torch.equal(blend_gradients(patch, torch.rand(64, 64, 3), kept), patch)
