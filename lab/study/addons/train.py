"""Training of the add-ons; the model that they are for stays as it is."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader

from exemplar_model.files import written_whole
from exemplar_model.training.config import InitialWeights, TrainConfig, load_config
from exemplar_model.training.data.batches import BatchPlan, StepBatches
from exemplar_model.training.data.open import open_dataset
from exemplar_model.training.data_config import CutoutData
from exemplar_model.training.engine import learning_rate
from exemplar_model.training.stages.denoiser import ConditionedUNet, DenoiserStage
from exemplar_model.weights.reading import read_safetensors

from .controlnet import controlnet_tensors, new_controlnet, steered
from .lora import add_lora, lora_tensors
from .samples import AddonSample, AddonSamples, encode_samples

SAMPLES = 3000
RANK = 8
LORA = {"steps": 500, "learning_rate": 2e-3}
CONTROLNET = {"steps": 500, "learning_rate": 1e-3}
CPU = torch.device("cpu")


def recipe(model: Path, pictures: Path, out: Path) -> TrainConfig:
    """How the shipped model was trained, but starting from it, on pictures composed anew.

    Args:
        model: the shipped model.
        pictures: folder with `objects` and `backgrounds`.
        out: where everything goes.
    """
    data = CutoutData(
        kind="cutouts", objects=pictures / "objects", backgrounds=pictures / "backgrounds"
    )
    changes: dict[str, Any] = {"data": data, "init": InitialWeights(model=model), "out": out}
    changes |= {"batch": 16, "warmup": 20, "weight_decay": 0.0, "seed": 0}
    return load_config("tiny").model_copy(update=changes)


def train_addons(config: TrainConfig, count: int = SAMPLES) -> dict[str, Path]:
    """Train what `config.out` does not yet hold for this model and recipe.

    Args:
        config: whose `init.model` the add-ons are for; steps and learning rate are those above.
        count: samples that are composed and encoded, once.

    Returns:
        Files by name, `lora` and `controlnet`.
    """
    assert config.init.model is not None
    config.out.mkdir(parents=True, exist_ok=True)
    model = hashlib.sha256(config.init.model.read_bytes()).hexdigest()
    for_all = f"{model} {config.model_dump_json(exclude={'out'})} {count}"
    encoded = config.out / "samples.safetensors"
    keep(encoded, for_all, lambda: encode(config, count))
    samples = read_safetensors(encoded)[0]
    lora, controlnet = config.out / "lora.safetensors", config.out / "controlnet.safetensors"
    for_lora, for_controlnet = (config.model_copy(update=each) for each in (LORA, CONTROLNET))
    keep(lora, f"{for_all} {LORA}", lambda: train_lora(for_lora, samples))
    keep(controlnet, f"{for_all} {CONTROLNET}", lambda: train_controlnet(for_controlnet, samples))
    return {"lora": lora, "controlnet": controlnet}


def keep(file: Path, made_from: str, make: Callable[[], dict[str, Tensor]]) -> None:
    """Make tensors and write them with the seconds it took, unless the file has them already."""
    if file.is_file() and read_safetensors(file)[1].get("made_from") == made_from:
        return
    start = time.monotonic()
    tensors = {name: tensor.contiguous() for name, tensor in make().items()}
    metadata = {"made_from": made_from, "seconds": f"{time.monotonic() - start:.0f}"}
    with written_whole(file) as unfinished:
        save_file(tensors, unfinished, metadata)


def encode(config: TrainConfig, count: int) -> dict[str, Tensor]:
    """Samples of the recipe after the frozen parts."""
    return encode_samples(DenoiserStage(config, CPU), open_dataset(config, config.data), count)


def train_lora(config: TrainConfig, samples: dict[str, Tensor]) -> dict[str, Tensor]:
    """A LoRA with which whatever is painted becomes black-and-white."""
    stage = frozen_stage(config)
    added = add_lora(stage.components.unet, RANK)

    def loss(sample: AddonSample) -> Tensor:
        gray = sample.encoded._replace(moments=sample.gray_moments)
        return stage.loss(stage.module, sample._replace(encoded=gray).batch())[0]

    parameters = [parameter for each in added.values() for parameter in each.parameters()]
    run(config, AddonSamples(samples, config), parameters, loss, "LoRA")
    return lora_tensors(added)


def train_controlnet(config: TrainConfig, samples: dict[str, Tensor]) -> dict[str, Tensor]:
    """A ControlNet whose picture says where it becomes light and where dark."""
    stage = frozen_stage(config)
    controlnet = new_controlnet(stage.components.unet).train()

    def loss(sample: AddonSample) -> Tensor:
        unet: Any = steered(stage.components.unet, controlnet, sample.light.float())
        return stage.loss(ConditionedUNet(unet, stage.components.encoder), sample.batch())[0]

    run(config, AddonSamples(samples, config), controlnet.parameters(), loss, "ControlNet")
    return controlnet_tensors(controlnet)


def frozen_stage(config: TrainConfig) -> DenoiserStage:
    """The model, from which only gradients pass."""
    torch.manual_seed(config.seed)
    stage = DenoiserStage(config, CPU)
    stage.module.requires_grad_(False)
    return stage


def run(
    config: TrainConfig,
    samples: AddonSamples,
    parameters: Iterable[nn.Parameter],
    loss: Callable[[AddonSample], Tensor],
    title: str,
) -> None:
    """Update parameters, `config.steps` times."""
    trained = list(parameters)
    optimizer = torch.optim.AdamW(trained, weight_decay=config.weight_decay)
    plan = BatchPlan(config.batch, config.batch, processes=1)
    batches = StepBatches(
        len(samples), plan, seed=config.seed, process=0, start=0, stop=config.steps
    )
    read: Any = samples  # by (epoch, index), which torch's type does not foresee
    loader = DataLoader(read, batch_sampler=batches)
    for step, batch in enumerate(track(loader, f"Training the {title}")):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, step)
        optimizer.zero_grad()
        loss(batch).backward()
        if config.gradient_clip is not None:
            nn.utils.clip_grad_norm_(trained, config.gradient_clip)
        optimizer.step()
