"""The paper's three numbers on a small set equal formulas that follow the reference's `eval_tool`.

`eval_tool` itself, run beside them by hand, gave the same (docs/evaluation.md).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from PIL import Image
from sklearn.mixture import GaussianMixture
from support.evaluation import PAINTED, SET_SIZE, FakeSet, fake_set, small_clip
from torch.nn import functional as F
from torchmetrics.image.fid import FrechetInceptionDistance

from exemplar_model.evaluation.backbones import Backbone, load_clip
from exemplar_model.evaluation.frechet import frechet_distance
from exemplar_model.evaluation.quality import (
    fit_mixture,
    quality,
    scored_by_the_reference,
)
from exemplar_model.evaluation.similarity import cosines
from exemplar_model.evaluation.views import region_view, stretched_view

MEAN = np.array([0.48145466, 0.4578275, 0.40821073])
STD = np.array([0.26862954, 0.26130258, 0.27577711])


@pytest.fixture(scope="module")
def fakes(tmp_path_factory: pytest.TempPathFactory) -> FakeSet:
    return fake_set(tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return load_clip(small_clip(tmp_path_factory.mktemp("clip")))


def embed(clip: Backbone, pixels: list[np.ndarray]) -> np.ndarray:
    """Features of pictures [224, 224, 3] in [0, 1], normalized here."""
    views = torch.from_numpy(np.stack([(each - MEAN) / STD for each in pixels])).float()
    with torch.inference_mode():
        return clip.encode(views.permute(0, 3, 1, 2)).double().numpy()


def framed(path: Path) -> np.ndarray:
    """As OpenAI's CLIP frames a picture: the short side to 224, then the center."""
    picture = Image.open(path)
    sides = tuple(int(224 * side / min(picture.size)) for side in picture.size)
    picture = picture.resize(sides, Image.Resampling.BICUBIC)
    left, top = (round((side - 224) / 2) for side in picture.size)
    picture = picture.crop((left, top, left + 224, top + 224)).convert("RGB")
    return np.asarray(picture) / 255


def reference_distance(real: np.ndarray, generated: np.ndarray) -> float:
    first, second = np.cov(real, rowvar=False), np.cov(generated, rowvar=False)
    root = scipy.linalg.sqrtm(first @ second).real
    difference = real.mean(0) - generated.mean(0)
    return difference @ difference + np.trace(first) + np.trace(second) - 2 * np.trace(root)


def test_frechet_distance(fakes: FakeSet, clip: Backbone) -> None:
    real, painted = ([framed(path) for path in fakes.paths(kind)] for kind in ("real", PAINTED))
    expected = reference_distance(embed(clip, real), embed(clip, painted))
    ours = frechet_distance(*(clip.features(fakes.pictures(each)) for each in ("real", PAINTED)))
    assert expected > 1e-3
    assert ours == pytest.approx(expected, abs=1e-4)


def test_quality_score(fakes: FakeSet, clip: Backbone) -> None:
    features = embed(clip, [framed(path) for path in fakes.paths(PAINTED)])
    real = np.concatenate([clip.features(fakes.pictures(each)) for each in ("real", "image")])
    mixture = GaussianMixture(2, covariance_type="full", random_state=0).fit(real)
    shares = [likelihood / 300 for likelihood in mixture.score_samples(features)[:50]]
    expected = sum(np.clip(shares, 0, 1)) / 50 * 100
    ours = fit_mixture(real, "real", components=2)
    scored = quality(ours.log_likelihood(clip.features(fakes.pictures(PAINTED))))
    assert scored_by_the_reference(SET_SIZE) == 50
    assert min(shares) < 0 < expected
    assert scored[:50].mean() == pytest.approx(expected, abs=1e-4)


def test_region_clip_score(fakes: FakeSet, clip: Backbone) -> None:
    crops, exemplars, pairs = [], [], []
    for name in fakes.names:
        result, mask, exemplar = (fakes.open(kind, name) for kind in (PAINTED, "mask", "exemplar"))
        white = np.flatnonzero(np.asarray(mask).ravel() == 255)
        (top, bottom), (left, right) = np.unravel_index(white[[0, -1]], mask.size[::-1])
        pixels = (np.asarray(result.convert("RGB")) / 255 - MEAN) / STD
        crop = torch.from_numpy(pixels[top:bottom, left:right]).float().permute(2, 0, 1)[None]
        crops.append(F.interpolate(crop, (224, 224), mode="bilinear")[0])
        exemplars.append(np.asarray(exemplar.resize((224, 224)).convert("RGB")) / 255)
        pairs.append((region_view(result, mask, 224), stretched_view(exemplar, 224)))
    with torch.inference_mode():
        painted = clip.encode(torch.stack(crops)).double().numpy()
    shown = embed(clip, exemplars)
    expected = np.mean(
        [
            100 * (a / np.linalg.norm(a)) @ (b / np.linalg.norm(b))
            for a, b in zip(painted, shown, strict=True)
        ]
    )
    ours = cosines(*(clip.features_of(views) for views in zip(*pairs, strict=True)))
    assert 0 < expected < 99.99
    assert ours.mean() == pytest.approx(expected, abs=1e-4)


def test_frechet_distance_of_gaussians() -> None:
    """Of features whose means and covariances are known exactly."""
    rng = np.random.default_rng(0)
    white = np.linalg.qr(np.c_[np.ones(64), rng.normal(size=(64, 8))])[0][:, 1:] * np.sqrt(63)
    sigma, tau = rng.uniform(0.5, 2, 8), rng.uniform(0.5, 2, 8)
    shift = rng.normal(size=8)
    expected = shift @ shift + np.square(sigma - tau).sum()
    first, second = white * sigma, white * tau + shift
    assert frechet_distance(first, second) == pytest.approx(expected, abs=1e-9)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("pictures", [12, 400])
def test_frechet_distance_is_that_of_torchmetrics(pictures: int) -> None:
    """Singular covariances: those roots of the product lose digits, hence the two tolerances."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(pictures, 32)), 0.3 + rng.normal(size=(pictures, 32))

    class Given(torch.nn.Identity):
        num_features = 32

    metric = FrechetInceptionDistance(feature=Given())
    metric.update(torch.from_numpy(first), real=True)
    metric.update(torch.from_numpy(second), real=False)
    tolerance = 1e-9 if pictures > 32 else 1e-4
    assert frechet_distance(first, second) == pytest.approx(float(metric.compute()), abs=tolerance)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)
