"""Samples that have been through the frozen parts once and for all.

A small model on a small machine spends most of its time in the autoencoder; encoding a fixed set
of augmented samples and going over it several times, with fresh noise, timesteps and dropped
conditions each time, leaves only the UNet to compute.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from rich.progress import track
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import Dataset

from ...files import written_whole
from ..config import ConfigError, EncodedData, TrainConfig
from ..stages.denoiser import DenoiserStage
from .dataset import Sample, Samples, collate, draw_noise

DESCRIPTION = "samples.json"
PART_SAMPLES = 2048
BATCH = 16


class EncodedDataset(Dataset[Sample]):
    """Encoded samples by (epoch, index), with the noise of `draw_noise`."""

    def __init__(self, config: TrainConfig, data: EncodedData) -> None:
        description = data.folder / DESCRIPTION
        self.about: dict[str, Any] = (
            json.loads(description.read_text()) if description.is_file() else {}
        )
        files = [data.folder / name for _, name in _parts(self.about.get("samples", 0))]
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
        parts = [_read(file) for file in files]
        self.tensors = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def __len__(self) -> int:
        return self.about["samples"]

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """The sample of an index, with noise of (epoch, index)."""
        epoch, index = key
        noise = draw_noise(self.seed, epoch, index, self.latent_side)
        sample = {name: tensor[index] for name, tensor in self.tensors.items()}
        return {**sample, **noise, "skipped": []}

    def fingerprint(self) -> str:
        """Of the pictures, and of the parts that encoded them."""
        return hashlib.sha256(json.dumps(self.about, sort_keys=True).encode()).hexdigest()[:16]


def encode_samples(config: TrainConfig, dataset: Samples, folder: Path) -> None:
    """Write every sample of epoch 0 after the frozen parts, in fp16.

    Parts that are there already are kept, so an interrupted call goes on; several processes share
    the work.

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
    own = _parts(len(dataset))[state.process_index :: state.num_processes]
    for indices, name in track(own, "Encoding", disable=not state.is_main_process):
        if not (folder / name).is_file():
            part = _encode_part(stage, dataset, indices, state.device)
            with written_whole(folder / name) as unfinished:
                save_file(part, unfinished)
    state.wait_for_everyone()


def _parts(samples: int) -> list[tuple[range, str]]:
    """Sample numbers and file name of each part."""
    starts = range(0, samples, PART_SAMPLES)
    return [
        (range(start, min(start + PART_SAMPLES, samples)), f"part-{start:08d}.safetensors")
        for start in starts
    ]


def _frozen(config: TrainConfig) -> dict[str, Any]:
    """What encoded samples depend on besides the pictures: sizes, and the files of the parts."""
    files = {
        key: [str(path), path.stat().st_size, path.stat().st_mtime_ns]
        for key, path in config.init
        if path is not None and path.exists()
    }
    return {
        "resolution": config.resolution,
        "model": config.model_dump(mode="json")["model"],
        "init": files,
    }


def _changed(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    return ", ".join(key for key in wanted if found.get(key) != wanted[key])


def _encode_part(
    stage: DenoiserStage, dataset: Samples, indices: range, device: torch.device
) -> dict[str, Tensor]:
    encoded: dict[str, list[Tensor]] = {}
    for first in range(0, len(indices), BATCH):
        batch = collate([dataset[0, index] for index in indices[first : first + BATCH]])
        result = stage.encode({k: v.to(device) for k, v in batch.items() if k != "skipped"})
        for name, tensor in (
            ("moments", result.moments),
            ("masked_moments", result.masked_moments),
            ("latent_keep_mask", result.keep_mask),
            ("class_token", result.class_token),
        ):
            encoded.setdefault(name, []).append(tensor.half().cpu().contiguous())
    return {name: torch.cat(tensors) for name, tensors in encoded.items()}


def _read(path: Path) -> dict[str, Tensor]:
    file: Any = safe_open(path, framework="pt")
    with file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
