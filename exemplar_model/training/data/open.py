"""Opens the data that a configuration names."""

from __future__ import annotations

from ..config import TrainConfig
from ..data_config import (
    CocoData,
    CutoutData,
    Data,
    EncodedData,
    GeneratedData,
    OpenImagesData,
    ShardData,
)
from ..section import ConfigError
from .coco import Coco
from .cutouts import Cutouts
from .dataset import ExemplarDataset, KeptDataset, Samples
from .encoded import EncodedDataset
from .openimages import OpenImages
from .sample_maker import SampleMaker
from .shapes import Shapes
from .shards import ShardStream
from .source import Source


def open_training_data(config: TrainConfig) -> Samples | ShardStream:
    """Open what a run trains on: a dataset, or a stream for data of kind shards.

    Raises:
        ConfigError: the data cannot be used, or not for this stage.
        ModuleNotFoundError: it needs a package that is not installed.
    """
    by_index = config.keep_samples or config.stage == "autoencoder"
    if isinstance(config.data, ShardData) and not by_index:
        return ShardStream(config.data, _maker(config), config.seed, _latent_side(config))
    return open_dataset(config, config.data)


def open_dataset(config: TrainConfig, data: Data) -> Samples:
    """Open a section such as `data` or `validation.data` as a dataset of the run's samples.

    Raises:
        ConfigError: the section cannot be used, or can only be streamed.
    """
    if isinstance(data, EncodedData):
        return EncodedDataset(config, data)
    source = open_source(data)
    dataset = ExemplarDataset(source, _maker(config), config.seed, _latent_side(config))
    return KeptDataset(dataset) if config.keep_samples else dataset


def open_source(data: Data) -> Source:
    """Open a section as a source of pictures.

    Raises:
        ConfigError: its files cannot be used, or it gives no pictures by index.
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
        f"Data of kind {data.kind} cannot be read in any order, which validation, encode-samples, "
        "keep_samples and the autoencoder stage need; name picture files by data of kind "
        "openimages or coco."
    )


def _maker(config: TrainConfig) -> SampleMaker:
    return SampleMaker(config.augmentation, config.resolution, config.model.encoder.image_size)


def _latent_side(config: TrainConfig) -> int:
    return config.resolution // config.model.factor
