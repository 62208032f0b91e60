"""All scores of a method: its results, one folder per seed, against the set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import UserError
from .backbones import Backbone, Lpips
from .background import background, background_psnr, background_ssim
from .frechet import frechet_distance
from .quality import Mixture, quality, scored_by_the_reference
from .score import Array, Score, mean_score, set_score
from .sets import Item
from .similarity import cosines
from .views import foreground, open_picture, region_view, squared, stretched_view

PICTURES = {".bmp", ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class ScoringConfig:
    """What scores are made with; what is None leaves its scores out.

    Attributes:
        clip: for the paper's three numbers and the foreground.
        dino: for the foreground.
        inception: for the Inception FID.
        lpips: for the background.
        mixture: for QS.
        clip_qs: whether QS is clipped to 0…100, as in the paper.
        drop_remainder: whether QS leaves out the pictures beyond whole batches of 50.
        real: features of real pictures by backbone name, for Fréchet distances.
        device: of what is computed besides, as SSIM.
    """

    clip: Backbone | None = None
    dino: Backbone | None = None
    inception: Backbone | None = None
    lpips: Lpips | None = None
    mixture: Mixture | None = None
    clip_qs: bool = True
    drop_remainder: bool = False
    real: dict[str, Array] | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class Method:
    """Results of one way to paint.

    Attributes:
        name: in tables.
        folders: one per seed, each with ID.png of every picture.
    """

    name: str
    folders: Sequence[Path]

    def results(self, folder: Path, items: Sequence[Item]) -> Iterator[Image.Image]:
        """The results of one seed, in the order of the items."""
        return (open_picture(folder / f"{item.id}.png") for item in items)

    def check(self, items: Sequence[Item]) -> None:
        """Tell what is missing.

        Raises:
            UserError: a result is not there.
        """
        files = [folder / f"{item.id}.png" for folder in self.folders for item in items]
        if missing := [file for file in files if not file.is_file()]:
            raise UserError(
                f"{len(missing)} of {len(files)} results of {self.name} are missing, such as "
                f"{missing[0]}; a result is named by its picture's id."
            )


def real_features(folder: Path, backbones: Sequence[Backbone]) -> dict[str, Array]:
    """Features of real pictures, squared to 512 px as the reference does, by backbone name.

    Raises:
        UserError: the folder holds fewer than two pictures.
    """
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in PICTURES)
    if len(files) < 2:
        raise UserError(f"{folder} holds {len(files)} pictures; a Fréchet distance needs many.")
    return {
        backbone.name: backbone.features(squared(open_picture(file)) for file in files)
        for backbone in backbones
    }


def score(method: Method, items: Sequence[Item], config: ScoringConfig) -> list[Score]:
    """All scores that the configuration has a backbone for.

    Raises:
        UserError: a result is missing or of another size than its mask.
    """
    method.check(items)
    scores = _background(method, items, config)
    if config.clip:
        scores = [*_paper(method, items, config, config.clip), *scores]
    for backbone, kind in ((config.clip, "CLIP"), (config.dino, "DINO")):
        if backbone:
            scores += _foreground(method, items, backbone, kind)
    if config.inception and config.real:
        features = [config.inception.features(method.results(f, items)) for f in method.folders]
        scores.append(_frechet("Inception FID", config.inception, features, config.real))
    return scores


def _paper(
    method: Method, items: Sequence[Item], config: ScoringConfig, clip: Backbone
) -> list[Score]:
    """Fréchet distance on CLIP features, QS, and region CLIP score."""
    whole = [clip.features(method.results(folder, items)) for folder in method.folders]
    scores: list[Score] = []
    if config.real:
        scores.append(_frechet("CLIP Fréchet distance", clip, whole, config.real))
    if mixture := config.mixture:
        counted = scored_by_the_reference(len(items)) if config.drop_remainder else len(items)
        values = [quality(mixture.log_likelihood(each), config.clip_qs) for each in whole]
        scores.append(mean_score(mixture.name, np.stack(values), clip.name, counted))
    exemplars = clip.features_of(
        stretched_view(open_picture(item.exemplar), clip.size) for item in items
    )
    regions = [
        clip.features_of(
            region_view(result, open_picture(item.mask), clip.size)
            for result, item in zip(method.results(folder, items), items, strict=True)
        )
        for folder in method.folders
    ]
    values = np.stack([cosines(each, exemplars) for each in regions])
    return [*scores, mean_score("region CLIP score", values, clip.name)]


def _foreground(
    method: Method, items: Sequence[Item], backbone: Backbone, kind: str
) -> list[Score]:
    """Similarity of the painted object to the exemplar; with CLIP its Fréchet distance too."""

    def framed(pictures: Iterator[Image.Image]) -> Array:
        if kind == "DINO":
            return backbone.features(pictures)
        return backbone.features_of(stretched_view(each, backbone.size) for each in pictures)

    def cut(pictures: Iterator[Image.Image]) -> Array:
        pairs = zip(pictures, items, strict=True)
        return framed(foreground(picture, open_picture(item.mask)) for picture, item in pairs)

    exemplars = framed(open_picture(item.exemplar).convert("RGB") for item in items)
    objects = [cut(method.results(folder, items)) for folder in method.folders]
    values = np.stack([cosines(each, exemplars) for each in objects])
    scores = [mean_score(f"{kind} foreground similarity", values, backbone.name)]
    if kind == "CLIP" and len(items) > 1:
        true = cut(open_picture(item.image) for item in items)
        distances = [frechet_distance(true, each) for each in objects]
        name = "CLIP Fréchet distance of foregrounds"
        scores.append(set_score(name, distances, len(items), backbone.name))
    return scores


def _background(method: Method, items: Sequence[Item], config: ScoringConfig) -> list[Score]:
    lpips = config.lpips
    rows: list[list[tuple[float, ...]]] = []
    for folder in method.folders:
        rows.append([])
        for result, item in zip(method.results(folder, items), items, strict=True):
            image, mask = open_picture(item.image), open_picture(item.mask)
            psnr = background_psnr(result, image, mask)
            first, second = (background(each, mask).to(config.device) for each in (result, image))
            distance = (lpips.distance(first, second),) if lpips else ()
            rows[-1].append((psnr, background_ssim(first, second), *distance))
    values = np.array(rows)  # [seeds, pictures, measures]
    scores = [
        mean_score("background PSNR, dB", values[..., 0]),
        mean_score("background SSIM", values[..., 1]),
    ]
    if lpips:
        scores.append(mean_score("background LPIPS", values[..., 2], lpips.name))
    return scores


def _frechet(
    name: str, backbone: Backbone, features: Sequence[Array], real: dict[str, Array]
) -> Score:
    distances = [frechet_distance(real[backbone.name], each) for each in features]
    return set_score(name, distances, len(features[0]), backbone.name)
