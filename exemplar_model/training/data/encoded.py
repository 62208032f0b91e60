"""Samples that have been through autoencoder and vision tower: the files and their dataset.

`encode-samples` writes them (`training/encode.py`).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from safetensors.torch import load_file
from torch.utils.data import Dataset

from ..config import TrainConfig
from ..data_config import EncodedData
from ..section import ConfigError
from .sample import Encoded, Sample, draw

DESCRIPTION = "samples.json"
"""File with the number of samples and all that they depend on."""
PER_FILE = 2048
"""Samples in a file."""


class EncodedDataset(Dataset[Sample]):
    """The samples of a folder that `encode-samples` wrote, all in memory."""

    def __init__(self, config: TrainConfig, data: EncodedData) -> None:
        description = data.folder / DESCRIPTION
        self.about: dict[str, Any] = (
            json.loads(description.read_text()) if description.is_file() else {}
        )
        files = [data.folder / name for _, name in files_of(self.about.get("samples", 0))]
        if not files or not all(file.is_file() for file in files):
            raise ConfigError(
                f"data.folder: {data.folder} holds no finished samples; run encode-samples, which "
                "continues where it stopped."
            )
        if changed := differing(self.about, encoding_of(config)):
            raise ConfigError(
                f"data.folder: the samples of {data.folder} were encoded with another {changed}; "
                "encode again, into another folder."
            )
        self.seed = config.seed
        self.latent_side = config.resolution // config.model.factor
        read = [load_file(file) for file in files]
        self.encoded = Encoded(
            *(torch.cat([tensors[name] for tensors in read]) for name in Encoded._fields)
        )

    def __len__(self) -> int:
        return self.about["samples"]

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """The encoded sample of an index, with the draws of (epoch, index)."""
        epoch, index = key
        encoded = Encoded(*(tensor[index] for tensor in self.encoded))
        return Sample(encoded, draw(self.seed, epoch, index, self.latent_side), [])

    def fingerprint(self) -> str:
        """Hash of the source's fingerprint and of all that the encoding depends on."""
        return hashlib.sha256(json.dumps(self.about, sort_keys=True).encode()).hexdigest()[:16]


def files_of(samples: int) -> list[tuple[range, str]]:
    """Indices of the samples in each file, and the file's name."""
    starts = range(0, samples, PER_FILE)
    return [
        (range(start, min(start + PER_FILE, samples)), f"part-{start:08d}.safetensors")
        for start in starts
    ]


def encoding_of(config: TrainConfig) -> dict[str, Any]:
    """What encoded samples depend on besides the pictures: sizes, and files of weights."""
    files = {
        key: [str(path), path.stat().st_size, path.stat().st_mtime_ns]
        for key, path in config.init
        if path is not None and path.exists()
    }
    return {
        "resolution": config.resolution,
        "model": config.model_dump(mode="json")["model"],
        "init": files,
        "layout": list(Encoded._fields),
    }


def differing(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """The keys of `wanted` that have another value in `found`; empty if none has."""
    return ", ".join(key for key in wanted if found.get(key) != wanted[key])
