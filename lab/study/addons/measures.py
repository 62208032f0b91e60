"""Measures of what the add-ons do, on pictures and boxes (left, top, right, bottom) in them."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image
from skimage.color import rgb2lab

Box = tuple[int, int, int, int]
Values = np.ndarray[Any, np.dtype[Any]]


def chroma(picture: Image.Image, box: Box) -> float:
    """Mean distance from gray, in CIELAB."""
    lab = rgb2lab(np.asarray(picture.crop(box)))
    return float(np.hypot(lab[..., 1], lab[..., 2]).mean())


def correlation(picture: Image.Image, control: Image.Image, box: Box) -> float:
    """Of the light in two pictures, over their pixels."""
    one, other = (light(each, box).ravel() for each in (picture, control))
    return float(np.corrcoef(one, other)[0, 1])


def largest_change(one: Image.Image, other: Image.Image) -> int:
    """Of any pixel and channel, of 255."""
    return int(np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).max())


def sharpness(picture: Image.Image, box: Box) -> float:
    """Mean difference in light of neighboring pixels, of 255."""
    values = light(picture, box)
    return float(np.mean([np.abs(np.diff(values, axis=axis)).mean() for axis in (0, 1)]))


def light(picture: Image.Image, box: Box) -> Values:
    """Luminance [H, W], 0…255."""
    return np.asarray(picture.crop(box).convert("L"), np.float64)
