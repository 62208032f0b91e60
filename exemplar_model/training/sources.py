"""From configuration to dataset."""

from __future__ import annotations

from .config import CutoutData, Data, GeneratedData, TrainConfig
from .dataset import ExemplarDataset, SampleMaker
from .pictures import Source
from .synthetic import Cutouts, Shapes


def open_dataset(config: TrainConfig, data: Data) -> ExemplarDataset:
    """The dataset of a section, with samples as the run wants them."""
    view_size = config.model.encoder.image_size
    maker = SampleMaker(config.augmentation, config.resolution, view_size)
    latent_side = config.resolution // config.model.factor
    return ExemplarDataset(open_source(data), maker, config.seed, latent_side)


def open_source(data: Data) -> Source:
    """The source of a section."""
    if isinstance(data, CutoutData):
        return Cutouts(data)
    if isinstance(data, GeneratedData):
        return Shapes(data)
    raise NotImplementedError
