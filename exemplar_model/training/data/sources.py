"""From configuration to dataset."""

from __future__ import annotations

from ..config import (
    CocoData,
    ConfigError,
    CutoutData,
    Data,
    EncodedData,
    GeneratedData,
    OpenImagesData,
    ShardData,
    TrainConfig,
)
from .coco import Coco
from .dataset import ExemplarDataset, KeptDataset, SampleMaker, Samples
from .encoded import EncodedDataset
from .openimages import OpenImages
from .pictures import Source
from .shards import ShardStream
from .synthetic import Cutouts, Shapes


def open_training_data(config: TrainConfig) -> Samples | ShardStream:
    """What a run trains on: a dataset, or a stream where nothing reads it by number.

    Raises:
        ConfigError: the data cannot be used, or not for this stage.
    """
    numbered = config.keep_samples or config.stage == "autoencoder"
    if isinstance(config.data, ShardData) and not numbered:
        return ShardStream(config.data, _maker(config), config.seed, _latent_side(config))
    return open_dataset(config, config.data)


def open_dataset(config: TrainConfig, data: Data) -> Samples:
    """The dataset of a section, with samples as the run wants them.

    Raises:
        ConfigError: the section cannot be used, or is a stream.
    """
    if isinstance(data, EncodedData):
        return EncodedDataset(config, data)
    source = open_source(data)
    dataset = ExemplarDataset(source, _maker(config), config.seed, _latent_side(config))
    return KeptDataset(dataset) if config.keep_samples else dataset


def open_source(data: Data) -> Source:
    """The source of a section.

    Raises:
        ConfigError: its files cannot be used, or it has no pictures by number.
    """
    if isinstance(data, OpenImagesData):
        return OpenImages(data)
    if isinstance(data, CocoData):
        return Coco(data)
    if isinstance(data, CutoutData):
        return Cutouts(data)
    if isinstance(data, GeneratedData):
        return Shapes(data)
    raise ConfigError(
        f"Data of kind {data.kind} cannot be read by number, as validation, encode-samples, "
        "keep_samples and the autoencoder stage do; give them pictures in files."
    )


def _maker(config: TrainConfig) -> SampleMaker:
    return SampleMaker(config.augmentation, config.resolution, config.model.encoder.image_size)


def _latent_side(config: TrainConfig) -> int:
    return config.resolution // config.model.factor
