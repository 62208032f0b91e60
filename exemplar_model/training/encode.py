"""Put a fixed set of samples through autoencoder and vision tower once, and save the outputs.

A small model on a small machine spends most of its training time in the autoencoder. Training on
encoded samples for several epochs, with fresh noise, timesteps and dropped exemplars in each,
leaves only the UNet to compute.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from rich.progress import track
from safetensors.torch import save_file

from ..files import written_whole
from .config import TrainConfig
from .data.dataset import Samples
from .data.encoded import DESCRIPTION, differing, encoding_of, files_of
from .data.sample import Encoded, collate
from .section import ConfigError
from .stages.denoiser import DenoiserStage

BATCH = 16
"""Samples that are encoded together."""


def encode_samples(config: TrainConfig, dataset: Samples, folder: Path) -> None:
    """Encode every sample of epoch 0 and save it in fp16.

    Files that exist already are kept, so an interrupted call continues; under torchrun the
    processes share the work.

    Args:
        config: whose autoencoder and vision tower encode.
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
        **encoding_of(config),
    }
    description = folder / DESCRIPTION
    if description.is_file() and (changed := differing(json.loads(description.read_text()), about)):
        raise ConfigError(
            f"{folder} holds samples with another {changed}; choose another folder, or delete it."
        )
    stage = DenoiserStage(config, state.device)
    folder.mkdir(parents=True, exist_ok=True)
    if state.is_main_process:
        with written_whole(description) as unfinished:
            unfinished.write_text(json.dumps(about, indent=2))
    own = files_of(len(dataset))[state.process_index :: state.num_processes]
    for indices, name in track(own, "Encoding", disable=not state.is_main_process):
        if not (folder / name).is_file():
            encoded = _encode(stage, dataset, indices)
            with written_whole(folder / name) as unfinished:
                save_file(encoded._asdict(), unfinished)
    state.wait_for_everyone()


def _encode(stage: DenoiserStage, dataset: Samples, indices: range) -> Encoded:
    """The samples of these indices, in fp16 on the CPU."""
    batches: list[Encoded] = []
    for first in range(0, len(indices), BATCH):
        batch = collate([dataset[0, index] for index in indices[first : first + BATCH]])
        encoded = stage.encode(batch.to(stage.device))
        batches.append(Encoded(*(tensor.half().cpu().contiguous() for tensor in encoded)))
    return Encoded(*map(torch.cat, zip(*batches, strict=True)))
