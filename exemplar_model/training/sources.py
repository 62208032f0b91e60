"""From configuration to dataset."""

from __future__ import annotations

from .config import CutoutData, Data, EncodedData, GeneratedData, TrainConfig
from .dataset import ExemplarDataset, KeptDataset, SampleMaker
from .encoded import EncodedDataset
from .pictures import Source
from .synthetic import Cutouts, Shapes


AnyDataset = ExemplarDataset | KeptDataset | EncodedDataset


def open_dataset(config: TrainConfig, data: Data) -> AnyDataset:
    """The dataset of a section, with samples as the run wants them."""
    latent_side = config.resolution // config.model.factor
    if isinstance(data, EncodedData):
        return EncodedDataset(data, config.seed, latent_side)
    view_size = config.model.encoder.image_size
    maker = SampleMaker(config.augmentation, config.resolution, view_size)
    dataset = ExemplarDataset(open_source(data), maker, config.seed, latent_side)
    return KeptDataset(dataset) if config.keep_samples else dataset


def open_source(data: Data) -> Source:
    """The source of a section."""
    if isinstance(data, CutoutData):
        return Cutouts(data)
    if isinstance(data, GeneratedData):
        return Shapes(data)
    raise NotImplementedError
