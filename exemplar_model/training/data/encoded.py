"""Samples that were put through the frozen autoencoder and vision tower once, and saved.

A small model on a small machine spends most of its training time in the autoencoder. Training on a
fixed set of encoded samples for several epochs, with fresh noise, timesteps and dropped exemplars
in each, leaves only the UNet to compute.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch.utils.data import Dataset

from ...files import written_whole
from ..config import ConfigError, EncodedData, TrainConfig
from ..stages.denoiser import DenoiserStage
from .dataset import Samples
from .sample import Encoded, Sample, collate, draw

DESCRIPTION = "samples.json"
PER_FILE = 2048
"""Samples in a file."""
BATCH = 16
"""Samples that are encoded at once."""


class EncodedDataset(Dataset[Sample]):
    """The samples of a folder that `encode_samples` wrote, all in memory."""

    def __init__(self, config: TrainConfig, data: EncodedData) -> None:
        description = data.folder / DESCRIPTION
        self.about: dict[str, Any] = (
            json.loads(description.read_text()) if description.is_file() else {}
        )
        files = [data.folder / name for _, name in _files(self.about.get("samples", 0))]
        if not files or not all(file.is_file() for file in files):
            raise ConfigError(
                f"data.folder: {data.folder} holds no finished samples; run encode-samples, which "
                "goes on where it stopped."
            )
        if changed := _changed(self.about["frozen"], _frozen(config)):
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


def encode_samples(config: TrainConfig, dataset: Samples, folder: Path) -> None:
    """Put every sample of epoch 0 through autoencoder and vision tower, and save it in fp16.

    Files that exist already are kept, so an interrupted call goes on; under torchrun the processes
    share the work.

    Args:
        config: whose frozen autoencoder and tower encode.
        dataset: with the pictures.
        folder: to write; made if need be.

    Raises:
        ConfigError: the folder holds samples of another configuration.
    """
    state: Any = PartialState(cpu=not torch.accelerator.is_available())
    about = {
        "samples": len(dataset),
        "data": dataset.fingerprint(),
        "augmentation": config.augmentation.model_dump(),
        "seed": config.seed,
        "frozen": _frozen(config),
    }
    description = folder / DESCRIPTION
    if description.is_file() and (changed := _changed(json.loads(description.read_text()), about)):
        raise ConfigError(
            f"{folder} holds samples with another {changed}; choose another folder, or delete it."
        )
    stage = DenoiserStage(config, state.device)
    folder.mkdir(parents=True, exist_ok=True)
    if state.is_main_process:
        with written_whole(description) as unfinished:
            unfinished.write_text(json.dumps(about, indent=2))
    own = _files(len(dataset))[state.process_index :: state.num_processes]
    for indices, name in track(own, "Encoding", disable=not state.is_main_process):
        if not (folder / name).is_file():
            encoded = _encode(stage, dataset, indices)
            with written_whole(folder / name) as unfinished:
                save_file(encoded._asdict(), unfinished)
    state.wait_for_everyone()


def _files(samples: int) -> list[tuple[range, str]]:
    """Indices of the samples in each file, and its name."""
    starts = range(0, samples, PER_FILE)
    return [
        (range(start, min(start + PER_FILE, samples)), f"part-{start:08d}.safetensors")
        for start in starts
    ]


def _frozen(config: TrainConfig) -> dict[str, Any]:
    """What encoded samples depend on besides the pictures: sizes, and the files of the weights."""
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


def _changed(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """The keys whose values differ; empty if none does."""
    return ", ".join(key for key in wanted if found.get(key) != wanted[key])


def _encode(stage: DenoiserStage, dataset: Samples, indices: range) -> Encoded:
    """The samples of these indices, in fp16 on the CPU."""
    batches: list[Encoded] = []
    for first in range(0, len(indices), BATCH):
        batch = collate([dataset[0, index] for index in indices[first : first + BATCH]])
        encoded = stage.encode(batch.to(stage.device))
        batches.append(Encoded(*(tensor.half().cpu().contiguous() for tensor in encoded)))
    return Encoded(*map(torch.cat, zip(*batches, strict=True)))
