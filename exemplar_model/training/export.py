"""Export a run or checkpoint as one safetensors file in the original key layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ..files import written_whole
from .checkpoints import STATE, Checkpoints, Progress, load
from .config import load_config
from .data.open import open_training_data
from .process import MovingAverage, averaged, new_accelerator, new_stage
from .section import ConfigError
from .stages.stage import Stage


def export(stage: Stage, open_data: Callable[[], Any], progress: Progress, path: Path) -> None:
    """Write the weights, with configuration, update and fingerprint of the data as metadata.

    Args:
        stage: whose weights are written.
        open_data: opens the training data, which only some stages need.
        progress: of the run.
        path: safetensors file, which appears whole or not at all.
    """
    weights, metadata = stage.export(open_data)
    config = stage.config
    dtype = {"fp16": torch.float16, "fp32": torch.float32}[config.export_dtype]
    metadata |= {
        "config": config.model_dump_json(),
        "step": str(progress.step),
        "data": progress.data,
    }
    tensors = {
        key: tensor.detach().to("cpu", dtype).contiguous() for key, tensor in weights.items()
    }
    with written_whole(path) as unfinished:
        save_file(tensors, unfinished, metadata)


def export_checkpoint(run: Path, target: Path, dtype: str) -> None:
    """Export any checkpoint of a run. Only the autoencoder stage needs the training data for it.

    Args:
        run: folder of a run, whose newest checkpoint is taken, or of one checkpoint.
        target: safetensors file to write.
        dtype: "fp16" or "fp32".

    Raises:
        ConfigError: there is no finished checkpoint.
    """
    out = run if (run / "config.yaml").is_file() else run.parent.parent
    found = Checkpoints(out / "checkpoints", keep=1).complete() if out == run else [run]
    if not found or not (found[-1] / STATE).is_file():
        raise ConfigError(f"{run} is neither a run nor one of its finished checkpoints.")
    config = load_config(str(out / "config.yaml"), [f"export_dtype={dtype}"])
    accelerator = new_accelerator(config)
    stage = new_stage(config, accelerator.device)
    trained = [p for p in stage.module.parameters() if p.requires_grad]
    ema = MovingAverage(trained, decay=config.ema) if config.ema else None
    accelerator.prepare(stage.module)
    if ema is not None:
        accelerator.register_for_checkpointing(ema)
    progress = load(accelerator, found[-1])
    stage.begin(progress.step)
    with averaged(ema, trained):
        export(stage, lambda: open_training_data(config), progress, target)
