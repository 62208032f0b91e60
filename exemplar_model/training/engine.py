"""The training loop: the same for every stage and any number of processes, and resumable."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate import Accelerator

from ..files import written_whole
from .checkpoints import Checkpoints
from .config import TrainConfig, load_config
from .data.batches import BatchPlan
from .data.dataset import Samples
from .data.open import open_dataset, open_training_data
from .data.sample import Batch
from .export import export
from .loading import open_loader
from .process import (
    MovingAverage,
    agree,
    averaged,
    new_accelerator,
    new_stage,
    stop_on_signal,
)
from .report import Report
from .section import ConfigError
from .stages.stage import Stage, fixed_batches

MAY_CHANGE = {
    "steps",
    "workers",
    "micro_batch",
    "channels_last",
    "validation",
    "checkpoint_every",
    "keep_checkpoints",
    "export_dtype",
    "out",
}
"""Keys of a configuration that may differ when a run is resumed."""


def train(config: TrainConfig) -> Path | None:
    """Train, or continue from the newest checkpoint; a finished run is left unchanged.

    Returns:
        Path of the exported model, or None if a signal stopped the run (its state is saved).

    Raises:
        ConfigError: the configuration does not fit the data, the processes or the run in `out`.
    """
    accelerator = new_accelerator(config)
    plan = BatchPlan(config.batch, config.micro_batch, accelerator.num_processes)
    accelerator.gradient_accumulation_steps = plan.accumulation
    if accelerator.is_main_process:
        _claim_folder(config)
    accelerator.wait_for_everyone()

    stage = new_stage(config, accelerator.device)
    dataset = open_training_data(config)
    held_out = config.validation.data and open_dataset(config, config.validation.data)
    trained = [p for p in stage.module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, lr=config.learning_rate, weight_decay=config.weight_decay
    )
    ema = MovingAverage(trained, decay=config.ema, foreach=True) if config.ema else None
    module, prepared = accelerator.prepare(stage.module, optimizer)
    if ema is not None:
        accelerator.register_for_checkpointing(ema)
    checkpoints = Checkpoints(config.out / "checkpoints", config.keep_checkpoints)
    progress = checkpoints.resume(accelerator)
    progress.data = dataset.fingerprint()
    model = config.out / "model.safetensors"
    if progress.step >= config.steps and model.is_file():
        return model
    loader = open_loader(config, dataset, plan, accelerator, progress.step)

    with stop_on_signal() as stopped, Report(config, accelerator, progress) as report:
        for batch in loader:
            report.skipped(batch.skipped)
            batch = batch.to(accelerator.device)
            stage.begin(progress.step)
            with accelerator.accumulate(module):
                with accelerator.autocast():
                    loss, scalars = stage.loss(module, batch)
                accelerator.backward(loss)
                if accelerator.sync_gradients and config.gradient_clip is not None:
                    accelerator.clip_grad_norm_(trained, config.gradient_clip)
                rate = learning_rate(config, progress.step)
                for group in prepared.param_groups:
                    group["lr"] = rate
                prepared.step()
                prepared.zero_grad()
            report.add(loss.detach(), scalars)
            if not accelerator.sync_gradients:
                continue
            progress.step += 1
            if ema is not None:
                ema.step(trained)
            report.update(rate)
            last = progress.step == config.steps
            stop = agree(stopped(), accelerator)
            if stop or last or progress.step % config.checkpoint_every == 0:
                checkpoints.save(accelerator, progress)
            if stop and not last:
                report.say(
                    f"Stopped at update {progress.step}; the same command continues from there."
                )
                return None
            # after saving, so that an error in it costs no updates
            if held_out and (progress.step % config.validation.every == 0 or last):
                with averaged(ema, trained), accelerator.autocast():
                    _validate(stage, module, held_out, report, accelerator)
    with averaged(ema, trained):
        if accelerator.is_main_process:
            export(stage, lambda: dataset, progress, model)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return model


def learning_rate(config: TrainConfig, step: int) -> float:
    """Learning rate of an update: linear warm-up, then constant or cosine.

    It follows from the number of the update alone. The schedules of PyTorch and diffusers keep a
    state, which would not follow a resumed run's change of `steps`, and which accelerate advances
    once per process.

    Args:
        config: of the run.
        step: updates before this one.
    """
    rate = config.learning_rate * min(1.0, (step + 1) / max(1, config.warmup))
    if config.decay == "cosine" and step > config.warmup:
        share = (step - config.warmup) / max(1, config.steps - config.warmup)
        rate *= 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * share))
    return rate


def _claim_folder(config: TrainConfig) -> None:
    """Write the configuration into the folder, or refuse a folder with another one."""
    file = config.out / "config.yaml"
    wanted = config.model_dump(mode="json")
    if file.is_file():
        # read as a configuration, so that keys which are newer than the file have their defaults
        found = load_config(str(file)).model_dump(mode="json")
        # which process gets which samples of a stream depends on these
        fixed = {"workers", "micro_batch"} if config.data.kind == "shards" else set[str]()
        may_change = MAY_CHANGE - fixed
        changed = sorted(
            key for key in wanted if key not in may_change and wanted[key] != found[key]
        )
        if changed:
            raise ConfigError(
                f"{config.out} holds a run with another {', '.join(changed)}; choose another out, "
                "or delete the folder to start anew."
            )
    config.out.mkdir(parents=True, exist_ok=True)
    with written_whole(file) as unfinished:
        unfinished.write_text(yaml.safe_dump(wanted, sort_keys=False), encoding="utf-8")


def _validate(
    stage: Stage,
    module: Any,
    held_out: Samples,
    report: Report,
    accelerator: Accelerator,
) -> None:
    config = stage.config.validation
    stage.module.eval()
    batches = _to_device(fixed_batches(held_out, config.samples, 16), accelerator.device)
    report.validation(stage.validate(module, batches))
    if accelerator.is_main_process and config.previews:
        (batch,) = _to_device(
            fixed_batches(held_out, config.previews, config.previews), accelerator.device
        )
        report.preview(stage.preview(batch))
    accelerator.wait_for_everyone()
    stage.module.train()


def _to_device(batches: Any, device: torch.device) -> Iterator[Batch]:
    for batch in batches:
        yield batch.to(device)
