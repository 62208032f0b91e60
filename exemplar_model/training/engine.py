"""The training loop: one for every stage, one process or many, resumable at any update."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import yaml
from accelerate import Accelerator
from accelerate.utils import set_seed
from diffusers.training_utils import EMAModel
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader

from .autoencoder import AutoencoderStage
from .batches import BatchPlan, StepBatches
from .checkpoints import STATE, Checkpoints, Progress, load
from .config import ConfigError, TrainConfig, load_config
from .dataset import Sample, Samples, collate
from .denoiser import DenoiserStage
from .report import Report
from .sources import open_dataset
from .stage import Stage, fixed_batches
from .tower import TowerStage

STAGES: dict[str, type[Stage]] = {
    "denoiser": DenoiserStage,
    "autoencoder": AutoencoderStage,
    "tower": TowerStage,
}
MAY_CHANGE = {
    "steps",
    "workers",
    "micro_batch",
    "validation",
    "checkpoint_every",
    "keep_checkpoints",
    "export_dtype",
    "out",
}
"""Keys that may differ when a run is resumed."""


def train(config: TrainConfig) -> Path | None:
    """Train, or go on where the last call stopped.

    Returns:
        Path of the exported model, or None when a signal stopped the run (its state is saved).

    Raises:
        ConfigError: the configuration does not fit the data, the processes or the run in `out`.
    """
    accelerator = new_accelerator(config)
    plan = BatchPlan(config.batch, config.micro_batch, accelerator.num_processes)
    accelerator.gradient_accumulation_steps = plan.accumulation
    if accelerator.is_main_process:
        _claim_folder(config)
    accelerator.wait_for_everyone()

    stage = _new_stage(config, accelerator.device)
    dataset = open_dataset(config, config.data)
    held_out = config.validation.data and open_dataset(config, config.validation.data)
    trained = [p for p in stage.module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, lr=config.learning_rate, weight_decay=config.weight_decay
    )
    ema = EMAModel(trained, decay=config.ema, foreach=True) if config.ema else None
    module, prepared = accelerator.prepare(stage.module, optimizer)
    if ema is not None:
        ema.to(accelerator.device)
        accelerator.register_for_checkpointing(ema)
    checkpoints = Checkpoints(config.out / "checkpoints", config.keep_checkpoints)
    progress = checkpoints.resume(accelerator)
    loader = _loader(config, dataset, plan, accelerator, progress.step)

    with _stop_on_signal() as stopped, Report(config, accelerator, progress) as report:
        for batch in loader:
            report.skipped(batch.pop("skipped"))
            batch = {key: value.to(accelerator.device) for key, value in batch.items()}
            stage.begin(progress.step)
            with accelerator.accumulate(module), accelerator.autocast():
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
            if held_out and (progress.step % config.validation.every == 0 or last):
                with _averaged(ema, trained):
                    _validate(stage, module, held_out, report, accelerator)
            stop = _agree(stopped(), accelerator)
            if stop or last or progress.step % config.checkpoint_every == 0:
                checkpoints.save(accelerator, progress)
            if stop and not last:
                report.say(f"Stopped at update {progress.step}; the same command goes on.")
                return None
    with _averaged(ema, trained):
        if accelerator.is_main_process:
            export(stage, dataset, progress, config.out / "model.safetensors")
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return config.out / "model.safetensors"


def new_accelerator(config: TrainConfig) -> Accelerator:
    """The accelerator of a run, after making sure that it sees every process.

    Raises:
        ConfigError: the launcher started more processes than accelerate would use, each of which
            would train for itself.
    """
    # without `cpu`, accelerate takes several processes on a machine without GPU for single ones
    accelerator = Accelerator(
        mixed_precision=config.precision, cpu=not torch.accelerator.is_available()
    )
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != started:
        raise ConfigError(
            f"The launcher started {started} processes, accelerate sees "
            f"{accelerator.num_processes}; start them with torchrun."
        )
    return accelerator


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
    stage = _new_stage(config, accelerator.device)
    trained = [p for p in stage.module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained)
    ema = EMAModel(trained, decay=config.ema) if config.ema else None
    accelerator.prepare(stage.module, optimizer)
    if ema is not None:
        accelerator.register_for_checkpointing(ema)
    progress = load(accelerator, found[-1])
    with _averaged(ema, trained):
        export(stage, open_dataset(config, config.data), progress, target)


def learning_rate(config: TrainConfig, step: int) -> float:
    """Of the update after `step` others: linear warm-up, then constant or cosine."""
    rate = config.learning_rate * min(1.0, (step + 1) / max(1, config.warmup))
    if config.decay == "cosine" and step > config.warmup:
        share = (step - config.warmup) / max(1, config.steps - config.warmup)
        rate *= 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * share))
    return rate


def export(stage: Stage, dataset: Samples, progress: Progress, path: Path) -> None:
    """Write the weights under their original names, with what made them, in one rename."""
    weights, metadata = stage.export(dataset)
    config = stage.config
    dtype = {"fp16": torch.float16, "fp32": torch.float32}[config.export_dtype]
    metadata |= {
        "config": config.model_dump_json(),
        "step": str(progress.step),
        "data": dataset.fingerprint(),
    }
    unfinished = path.with_suffix(".unfinished")
    tensors = {
        key: tensor.detach().to("cpu", dtype).contiguous() for key, tensor in weights.items()
    }
    save_file(tensors, unfinished, metadata)
    unfinished.replace(path)


def _new_stage(config: TrainConfig, device: torch.device) -> Stage:
    set_seed(config.seed)  # what starts random starts alike; everything later is drawn by sample
    return STAGES[config.stage](config, device)


def _claim_folder(config: TrainConfig) -> None:
    """Keep the configuration beside the checkpoints, and refuse to mix two runs."""
    file = config.out / "config.yaml"
    wanted = config.model_dump(mode="json")
    if file.is_file():
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
        changed = sorted(
            key for key in wanted if key not in MAY_CHANGE and wanted[key] != found.get(key)
        )
        if changed:
            raise ConfigError(
                f"{config.out} holds a run with another {', '.join(changed)}; choose another out, "
                "or delete the folder to start anew."
            )
    config.out.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(wanted, sort_keys=False), encoding="utf-8")


def _loader(
    config: TrainConfig,
    dataset: Samples,
    plan: BatchPlan,
    accelerator: Accelerator,
    start: int,
) -> DataLoader[Sample]:
    batches = StepBatches(
        len(dataset),
        plan,
        seed=config.seed,
        process=accelerator.process_index,
        start=start,
        stop=config.steps,
    )
    samples: Any = dataset  # reads by (epoch, index), which torch's type does not foresee
    return DataLoader(
        samples,
        batch_sampler=batches,
        num_workers=config.workers,
        collate_fn=collate,
        pin_memory=accelerator.device.type == "cuda",
    )


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
    if accelerator.is_main_process and config.sheet:
        (batch,) = _to_device(
            fixed_batches(held_out, config.sheet, config.sheet), accelerator.device
        )
        report.sheet(stage.sheet(batch))
    accelerator.wait_for_everyone()
    stage.module.train()


def _to_device(batches: Any, device: torch.device) -> Iterator[Sample]:
    for batch in batches:
        yield {k: v.to(device) if isinstance(v, Tensor) else v for k, v in batch.items()}


@contextmanager
def _averaged(ema: EMAModel | None, parameters: list[Any]) -> Generator[None]:
    """The running mean in place of the weights."""
    if ema is None:
        yield
        return
    ema.store(parameters)
    ema.copy_to(parameters)
    try:
        yield
    finally:
        ema.restore(parameters)


@contextmanager
def _stop_on_signal() -> Generator[Callable[[], bool]]:
    """SIGTERM and Ctrl-C ask for a stop after the running update; a second one kills."""
    received: list[signal.Signals] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(signal.Signals(number))
        signal.signal(number, before[received[-1]])

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, receive)
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _agree(stop: bool, accelerator: Any) -> bool:
    """Whether any process was asked to stop; all must leave at the same update."""
    if accelerator.num_processes == 1:
        return stop
    flag = torch.tensor(float(stop), device=accelerator.device)
    return bool(accelerator.reduce(flag, reduction="sum"))
