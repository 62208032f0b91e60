"""Gradient-domain blending of a painted region into the picture around it.

Pérez, Gangnet, Blake, Poisson Image Editing, SIGGRAPH 2003: keep the gradients of the patch and
meet the picture at the border. Written as a correction: what the patch got wrong at kept pixels is
continued into the pasted area. Poisson's equation would carry it through all of the area, and so
tint an object that touches the border; the screened equation (Bhat et al., Fourier Analysis of the
2D Screened Poisson Equation for Gradient Domain Problems, ECCV 2008) lets it fade out.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

REACH = 1 / 16
"""Distance at which a correction has faded to 1/e, as a share of the region's longer side."""
SAMPLES_PER_SIDE = 256
"""Of the grid on which the drift of colors is read."""
CYCLES = 3
"""V-cycles on each level; the error falls to about a third in each."""
SWEEPS = 3
DAMPING = 0.8
"""Of Jacobi sweeps; 4/5 damps the high frequencies of the five-point stencil most."""
SMALLEST = 4
"""Side of the grid that is solved exactly."""


def blend_gradients(patch: Tensor, original: Tensor, kept: Tensor) -> Tensor:
    """Fit a painted region to the picture: its own gradients, the picture's colors at the border.

    What most of the kept pixels got wrong alike, per channel, is the autoencoder's drift and taken
    out everywhere. What is wrong at the border besides fades out inwards. Where pixels are kept,
    the result is the picture.

    Args:
        patch: [H, W, 3], the painted region.
        original: [H, W, 3], the same region of the picture before painting.
        kept: [H, W] bool, pixels that are not pasted.

    Returns:
        [H, W, 3] in [0, 1]; the patch itself where nothing is kept.
    """
    if not bool(kept.any()):
        return patch
    error = original - patch
    drift = _median(error, kept)
    screen = 1.0 / (REACH * max(kept.shape)) ** 2
    rest = continue_inwards((error - drift).permute(2, 0, 1), kept, screen)  # HWC -> CHW
    return (patch + drift + rest.permute(1, 2, 0)).clamp(0.0, 1.0)


def _median(error: Tensor, kept: Tensor) -> Tensor:
    """[3], per channel over the kept pixels [H, W, 3], or over a grid of them."""
    step = max(1, max(kept.shape) // SAMPLES_PER_SIDE)
    if bool((grid := kept[::step, ::step]).any()):
        error, kept = error[::step, ::step], grid
    return error[kept].median(dim=0).values


def continue_inwards(values: Tensor, known: Tensor, screen: float = 0.0) -> Tensor:
    """Continue known values into the unknown area by the screened Laplace equation, Δu = s · u.

    Five-point stencil; the slope across the border of the grid is zero. Solved by multigrid, from
    a start that is the solution on the grid of half the side. Noise in 300 random masks came within
    1 % of its range of the exact solution in nine of ten, within 3 % in all.

    Args:
        values: [C, H, W].
        known: [H, W] bool, at least one of them.
        screen: s, in 1 / pixels²; values fade to 1/e over 1 / √s. 0 is Laplace's equation.

    Returns:
        [C, H, W], the known values as they were.
    """
    if bool(known.all()):
        return values
    rows, columns = (torch.nonzero(~known.all(dim=axis)).flatten() for axis in (1, 0))
    top, left = (max(0, int(inside[0]) - 1) for inside in (rows, columns))
    box = (..., slice(top, int(rows[-1]) + 2), slice(left, int(columns[-1]) + 2))
    inner = known[box]
    hole = (~inner)[None].to(values)
    result = values.clone()
    for channel in range(len(values)):  # one by one: large regions take a third of the memory
        given = torch.where(inner, values[channel : channel + 1][box], 0.0)
        filled = _fill(given, hole, screen)
        result[channel : channel + 1][box] = torch.where(inner, values[channel][box], filled)
    return result


def fill_smoothly(values: Tensor, known: Tensor) -> Tensor:
    """Fill the unknown area with means of its surroundings, over the larger areas the deeper in.

    Push-pull (Gortler et al., The Lumigraph, SIGGRAPH 1996): known values are averaged onto ever
    coarser grids until no cell is unknown, and interpolated back into it. Much faster than
    `continue_inwards`, and not as smooth.

    Args:
        values: [C, H, W]; of no influence where unknown.
        known: [H, W] bool, at least one of them.

    Returns:
        [C, H, W], the known values as they were.
    """
    if bool(known.all()):
        return values
    share = _halve(known[None].to(values))
    means = _halve(torch.where(known, values, 0.0)) / share.clamp(min=1e-6)
    coarse = fill_smoothly(means, share[0] > 0)
    return torch.where(known, values, _double(coarse, values))


def _fill(values: Tensor, hole: Tensor, screen: float) -> Tensor:
    """Fill `values` [C, H, W], which are 0 in the hole [1, H, W], 1 = unknown."""
    if not bool(hole.any()):
        return values
    if max(hole.shape) > SMALLEST:
        share = _halve(1.0 - hole)
        means = _halve(values) / share.clamp(min=1e-6)
        values = values + hole * _double(_fill(means, (share == 0).to(values), 4 * screen), hole)
    for _ in range(CYCLES):
        values = values + _correction(-_screened(values, screen) * hole, hole, screen)
    return values


def _correction(wanted: Tensor, hole: Tensor, screen: float) -> Tensor:
    """About the field u, 0 outside the hole, with Δu - s · u as wanted in it: one V-cycle."""
    if max(hole.shape) <= SMALLEST:
        return _solve(wanted, hole, screen)
    field = _smooth(torch.zeros_like(wanted), wanted, hole, screen)
    inner = (_halve(hole) == 1).to(hole)
    if not bool(inner.any()):
        return field
    rest = (wanted - _screened(field, screen)) * hole
    # a cell of the coarse grid is twice as wide, and its equation four times as strong
    coarse = _correction(4 * _halve(rest) * inner, inner, 4 * screen)
    coarse = hole * _double(coarse, hole)
    # the coarse hole ends at other places than the fine one: take the step of least energy
    energy = (coarse * _screened(coarse, screen)).sum((1, 2), keepdim=True).clamp(max=-1e-20)
    field = field + coarse * (coarse * rest).sum((1, 2), keepdim=True) / energy
    return _smooth(field, wanted, hole, screen)


def _solve(wanted: Tensor, hole: Tensor, screen: float) -> Tensor:
    """The same, exactly, on a grid of a few cells."""
    cells = torch.eye(hole.numel()).to(hole).reshape(-1, *hole.shape[1:])
    free = hole.flatten() == 1
    equations = _screened(cells, screen).flatten(1)[free][:, free]
    field = torch.zeros_like(wanted).flatten(1)
    field[:, free] = wanted.flatten(1)[:, free] @ equations.inverse()  # which is symmetric
    return field.reshape(wanted.shape)


def _smooth(field: Tensor, wanted: Tensor, hole: Tensor, screen: float) -> Tensor:
    for _ in range(SWEEPS):
        step = _screened(field, screen).sub_(wanted).mul_(hole)
        field = field.add(step, alpha=DAMPING / (4 + screen))
    return field


def _screened(field: Tensor, screen: float) -> Tensor:
    """Δu - s · u of a field u."""
    edged = F.pad(field, (1, 1, 1, 1), mode="replicate")
    sides = edged[:, :-2, 1:-1] + edged[:, 2:, 1:-1]
    sides += edged[:, 1:-1, :-2]
    sides += edged[:, 1:-1, 2:]
    return sides.sub_(field, alpha=4 + screen)


def _halve(field: Tensor) -> Tensor:
    height, width = field.shape[1:]
    return F.avg_pool2d(F.pad(field, (0, width % 2, 0, height % 2), mode="replicate"), 2)


def _double(field: Tensor, like: Tensor) -> Tensor:
    doubled = F.interpolate(field[None], scale_factor=2, mode="bilinear")[0]
    return doubled[:, : like.shape[1], : like.shape[2]]
