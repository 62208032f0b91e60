"""From the state of a run to one file in the original key layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from safetensors.torch import save_file

from ..files import written_whole
from .checkpoints import STATE, Checkpoints, Progress, load
from .config import ConfigError, load_config
from .data.open import open_training_data
from .process import averaged, new_accelerator, new_stage
from .stages.stage import Stage


def export(stage: Stage, dataset: Any, progress: Progress, path: Path) -> None:
    """Write the weights under their original names, with what made them, in one rename."""
    weights, metadata = stage.export(dataset)
    config = stage.config
    dtype = {"fp16": torch.float16, "fp32": torch.float32}[config.export_dtype]
    metadata |= {
        "config": config.model_dump_json(),
        "step": str(progress.step),
        "data": dataset.fingerprint(),
    }
    tensors = {
        key: tensor.detach().to("cpu", dtype).contiguous() for key, tensor in weights.items()
    }
    with written_whole(path) as unfinished:
        save_file(tensors, unfinished, metadata)


def export_checkpoint(run: Path, target: Path, dtype: str) -> None:
    """Export any checkpoint of a run.

    Args:
        run: folder of the run (its newest checkpoint counts), or of one checkpoint.
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
    ema = EMAModel(trained, decay=config.ema) if config.ema else None
    accelerator.prepare(stage.module)
    if ema is not None:
        accelerator.register_for_checkpointing(ema)
    progress = load(accelerator, found[-1])
    stage.begin(progress.step)
    with averaged(ema, trained):
        export(stage, open_training_data(config), progress, target)
