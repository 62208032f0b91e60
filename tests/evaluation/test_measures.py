"""Each measure by what it must say of pictures whose answer is known, and each refusal."""

from __future__ import annotations

import collections
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from sklearn.mixture import GaussianMixture
from support.evaluation import PAINTED, fake_set, small_clip, small_dino
from torch import nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from exemplar_model.errors import UserError
from exemplar_model.evaluation import quality
from exemplar_model.evaluation.backbones import (
    Backbone,
    load_clip,
    load_dino,
    load_inception,
    load_lpips,
)
from exemplar_model.evaluation.background import background, background_psnr, background_ssim
from exemplar_model.evaluation.frechet import frechet_distance
from exemplar_model.evaluation.score import bootstrap_interval, mean_score, set_score
from exemplar_model.evaluation.similarity import cosines
from exemplar_model.evaluation.views import foreground, region_view, squared, stretched_view

SIZE = (64, 48)
BOX = (20, 10, 40, 30)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return load_clip(small_clip(tmp_path_factory.mktemp("clip")))


def noise(size: tuple[int, int] = SIZE, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def hole() -> Image.Image:
    mask = Image.new("L", SIZE)
    mask.paste(255, BOX)
    return mask


def painted(image: Image.Image) -> Image.Image:
    """Another content of the hole."""
    result = image.copy()
    result.paste((200, 30, 60), BOX)
    return result


def test_an_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    ends = np.array([bootstrap_interval(rng.normal(3, 2, (1, 60))) for _ in range(30)])
    covered = np.mean((ends[:, 0] < 3) & (ends[:, 1] > 3))
    assert 0.85 <= covered <= 1
    assert np.diff(ends).mean() == pytest.approx(2 * 1.96 * 2 / np.sqrt(60), rel=0.1)


def test_seeds_that_disagree_widen_an_interval() -> None:
    pictures = np.random.default_rng(0).normal(size=(1, 200))
    alike, apart = (np.concatenate([pictures, pictures + shift]) for shift in (0, 5))
    widths = [np.diff(bootstrap_interval(values))[0] for values in (alike, apart)]
    assert widths[1] > 10 * widths[0]


def test_what_cannot_be_resampled_has_no_interval() -> None:
    assert set_score("distance", [4.0], 10).interval is None
    low, high = set_score("distance", [4.0, 5.0, 6.0], 10).interval
    assert 4 <= low < 5 < high <= 6
    exact = mean_score("PSNR", np.full((1, 5), np.inf))
    assert (exact.value, exact.interval) == (np.inf, (np.inf, np.inf))


def test_pictures_that_do_not_count_stay_listed() -> None:
    score = mean_score("QS", np.array([[1.0, 2.0, 9.0]]), counted=2)
    assert (score.value, score.n) == (1.5, 2)
    assert score.per_picture is not None and score.per_picture.tolist() == [[1, 2, 9]]


def test_equal_crops_score_100(clip: Backbone) -> None:
    """The crop without the mask's last row and column, stretched as the exemplar is."""
    image = Image.new("RGB", SIZE, (10, 90, 170))
    views = region_view(image, hole(), 224), stretched_view(image.crop(BOX), 224)
    torch.testing.assert_close(*views)
    assert cosines(*(clip.features_of([each]) for each in views))[0] == pytest.approx(100, abs=1e-4)


def test_a_region_loses_its_last_row_and_column() -> None:
    image = Image.new("RGB", SIZE)
    image.paste((255, 255, 255), (39, 10, 40, 30))
    image.paste((255, 255, 255), (20, 29, 40, 30))
    view = region_view(image, hole(), 224)
    assert view.flatten(1).std(dim=1).max() < 1e-6
    assert np.asarray(foreground(image, hole())).max() == 255


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (Image.new("L", (8, 8), 255), "64 × 48 px and its mask 8 × 8 px"),
        (Image.new("L", SIZE), "empty"),
    ],
)
def test_masks_that_fit_no_picture_are_refused(mask: Image.Image, words: str) -> None:
    with pytest.raises(UserError, match=words):
        region_view(noise(), mask, 224)
    with pytest.raises(UserError, match=words):
        foreground(noise(), mask)


def test_a_mask_of_one_pixel_is_refused() -> None:
    mask = Image.new("L", SIZE)
    mask.putpixel((3, 3), 255)
    with pytest.raises(UserError, match="at least two pixels"):
        region_view(noise(), mask, 224)


def test_squared_pictures_have_512_pixels_a_side() -> None:
    assert squared(noise((640, 480))).size == (512, 512)


def test_quality_falls_on_noise(tmp_path: Path, clip: Backbone) -> None:
    fakes = fake_set(tmp_path)
    real = np.concatenate([clip.features(fakes.pictures(each)) for each in ("image", "real")])
    mixture = quality.fit_mixture(real, "pictures", components=2)
    drawn = clip.features(fakes.pictures(PAINTED))
    noisy = clip.features(noise((96, 72), seed) for seed in range(20))
    scores = [quality.quality(mixture.log_likelihood(each)) for each in (real, drawn, noisy)]
    assert scores[0].mean() > scores[1].mean() > scores[2].mean() + 1
    assert all(each.min() >= 0 and each.max() <= 100 for each in scores)
    assert quality.quality(np.array([-30.0, 600.0]), clip=False) == pytest.approx([-10, 200])
    assert frechet_distance(real, noisy) > frechet_distance(real, drawn) > 0


@pytest.mark.parametrize(("pictures", "scored"), [(3500, 3500), (3520, 3500), (64, 50), (20, 20)])
def test_the_reference_leaves_a_remainder(pictures: int, scored: int) -> None:
    assert quality.scored_by_the_reference(pictures) == scored


def test_a_mixture_is_written_and_read(tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(size=(60, 4))
    mixture = quality.fit_mixture(features, "noise", components=3)
    mixture.save(tmp_path / "mixture.safetensors")
    again = quality.load_mixture(tmp_path / "mixture.safetensors")
    assert (again.name, again.fitted_on) == ("QS (refit)", "noise")
    assert np.array_equal(again.log_likelihood(features), mixture.log_likelihood(features))
    with pytest.raises(UserError, match="4 dimensions"):
        again.log_likelihood(features[:, :3])


def test_a_pickled_mixture_is_converted_only_when_trusted(tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(size=(60, 4))
    model = GaussianMixture(3, random_state=0).fit(features)
    pickled, target = tmp_path / "gmm_k3", tmp_path / "mixture.safetensors"
    pickled.write_bytes(pickle.dumps(model))
    with pytest.raises(UserError, match="--trust-pickle"):
        quality.convert_mixture(pickled, target, trusted=False)
    assert not target.exists()
    quality.convert_mixture(pickled, target, trusted=True)
    mixture = quality.load_mixture(target)
    assert mixture.name == "QS"
    assert np.array_equal(mixture.log_likelihood(features), model.score_samples(features))


class Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("harm"),)


@pytest.mark.parametrize(
    "content",
    [pickle.dumps(Harmful()), pickle.dumps(GaussianMixture(2)), pickle.dumps({}), b"", b"no"],
)
def test_other_pickles_are_refused_unrun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(content)
    with pytest.raises(UserError, match="is no pickled Gaussian mixture"):
        quality.convert_mixture(Path("file"), Path("target"), trusted=True)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_background_does_not_see_the_hole() -> None:
    image = noise()
    result, other = painted(image), painted(noise(seed=1))
    views = [background(each, hole()) for each in (image, result, other)]
    assert background_psnr(result, image, hole()) == np.inf
    assert background_ssim(views[1], views[0]) == pytest.approx(1)
    assert background_ssim(views[2], views[0]) < 0.9
    shifted = Image.fromarray(np.asarray(result) // 2)
    kept = np.asarray(hole()) == 0
    error = np.square(np.asarray(image)[kept] - (np.asarray(image)[kept] // 2).astype(float)).mean()
    assert background_psnr(shifted, image, hole()) == pytest.approx(10 * np.log10(255**2 / error))


def test_lpips_on_the_network_of_a_file(tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = torchvision.models.alexnet().features.state_dict()
    file = tmp_path / "alexnet.pth"
    torch.save({f"features.{name}": tensor for name, tensor in network.items()}, file)
    lpips = load_lpips(file)
    assert lpips.name.startswith("LPIPS alex, alexnet.pth, ")
    first, second = (background(noise(seed=seed), hole()) for seed in (0, 1))
    assert lpips.distance(first, first) == 0
    assert lpips.distance(first, second) > 0
    torch.save({"features.0.weight": torch.zeros(1, 1, 3, 3)}, file)
    with pytest.raises(UserError, match="neither VGG16 nor AlexNet"):
        load_lpips(file)


def test_inception_on_the_weights_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "inception.pth"
    torch.save(collections.OrderedDict(a=torch.zeros(1)), file)
    with pytest.raises(UserError, match="does not hold Inception's weights"):
        load_inception(file)
    with monkeypatch.context() as patch:  # torch-fidelity makes it of a file only
        patch.setattr(nn.Module, "load_state_dict", lambda *_: None)
        network = FeatureExtractorInceptionV3("random", ["2048"], str(file))
    torch.save(network.state_dict(), file)
    inception = load_inception(file)
    pictures = [noise((40, 30)), noise((50, 50))]
    expected = [network(torch.from_numpy(np.array(p)).permute(2, 0, 1)[None])[0] for p in pictures]
    np.testing.assert_allclose(inception.features(pictures), torch.cat(expected), rtol=1e-5)


def test_dino_by_its_class_token(tmp_path: Path) -> None:
    dino = load_dino(small_dino(tmp_path))
    first, second = dino.features([noise()]), dino.features([noise(seed=1)])
    assert first.shape == (1, 32)
    assert cosines(first, first)[0] == pytest.approx(100)
    assert cosines(first, second)[0] < 99.999


def test_a_backbone_is_named_by_its_weights(tmp_path: Path, clip: Backbone) -> None:
    other = load_clip(small_clip(tmp_path / "clip", seed=1))
    kind, _, digest = clip.name.split(", ")
    assert kind == "CLIP ViT 32/32"
    assert digest != other.name.split(", ")[2]


def test_missing_backbones_are_told_in_a_sentence(tmp_path: Path) -> None:
    for load, cure in (
        (load_clip, "There is no CLIP model in .*openai/clip-vit-base-patch32"),
        (load_dino, "There is no DINO model in .*facebook/dino-vits16"),
        (load_lpips, "There are no weights for LPIPS in .*vgg16"),
        (load_inception, "There are no weights for Inception in .*torch-fidelity"),
    ):
        with pytest.raises(UserError, match=cure):
            load(tmp_path / "nothing")


def test_other_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds a model of type vit, not CLIP"):
        load_clip(small_dino(tmp_path))
    folder = small_clip(tmp_path / "clip")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(UserError, match=r"lacks \d+ tensors, such as .*layers\.2"):
        load_clip(folder)
