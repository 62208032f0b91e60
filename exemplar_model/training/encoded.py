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

from .config import ConfigError, EncodedData, TrainConfig
from .dataset import Sample, Samples, collate, draw_noise
from .denoiser import DenoiserStage

PART_SAMPLES = 2048
BATCH = 16


class EncodedDataset(Dataset[Sample]):
    """Encoded samples by (epoch, index), with the noise of `draw_noise`."""

    def __init__(self, config: EncodedData, seed: int, latent_side: int) -> None:
        index = config.folder / "samples.json"
        if not index.is_file():
            raise ConfigError(
                f"data.folder: {config.folder} holds no finished samples (samples.json); run "
                "encode-samples first."
            )
        self.about: dict[str, Any] = json.loads(index.read_text())
        self.seed = seed
        self.latent_side = latent_side
        if self.about["latent_side"] != latent_side:
            raise ConfigError(
                f"data.folder: {config.folder} holds latents of side {self.about['latent_side']}, "
                f"the run needs {latent_side}; encode again."
            )
        parts = [_read(config.folder / name) for name in self.about["parts"]]
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
    the work. `samples.json`, written last, makes the folder usable.
    """
    state: Any = PartialState(cpu=not torch.accelerator.is_available())
    stage = DenoiserStage(config, state.device)
    folder.mkdir(parents=True, exist_ok=True)
    count = len(dataset)
    starts = range(0, count, PART_SAMPLES)
    names = [f"part-{start:08d}.safetensors" for start in starts]
    own = list(zip(starts, names, strict=True))[state.process_index :: state.num_processes]
    for start, name in track(own, "Encoding", disable=not state.is_main_process):
        if not (folder / name).is_file():
            stop = min(start + PART_SAMPLES, count)
            part = _encode_part(stage, dataset, range(start, stop), state.device)
            unfinished = folder / f"{name}.unfinished"
            save_file(part, unfinished)
            unfinished.replace(folder / name)
    state.wait_for_everyone()
    if state.is_main_process:
        about = {
            "samples": count,
            "latent_side": config.resolution // config.model.factor,
            "parts": names,
            "data": dataset.fingerprint(),
            "init": config.init.model_dump(mode="json"),
        }
        unfinished = folder / "samples.json.unfinished"
        unfinished.write_text(json.dumps(about, indent=2))
        unfinished.replace(folder / "samples.json")


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
