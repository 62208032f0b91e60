"""Between the layouts of a model: original pickle or safetensors, and diffusers folder.

Pickles are read, as tensors only, and never written.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from ..weights.checkpoint import (
    AUTOENCODER_PREFIX,
    UNET_PREFIX,
    Checkpoint,
    read_checkpoint,
    read_components,
)
from ..weights.key_maps import (
    ENCODER_ORIGINAL,
    autoencoder_names,
    encoder_to_diffusers,
    original_to_diffusers,
    unet_names,
)
from ..weights.reading import CheckpointError, StateDict, read_weights
from ..weights.shapes import require_shapes
from .components import ModelConfig, new_autoencoder, new_unet
from .diffusers_folder import write_configs

Layout = Literal["original", "diffusers"]
PICKLES = {".ckpt", ".pt", ".pth", ".bin", ".pkl"}
TRANSFORMERS_MARK = {"format": "pt"}
"""Metadata without which transformers refuses a file."""


@dataclass(frozen=True)
class Conversion:
    """What was written.

    Attributes:
        layout: of the target.
        tensors: number of them, each compared with its source after writing.
        notes: sentences about what a user may not expect.
    """

    layout: Layout
    tensors: int
    notes: list[str]


def convert(
    source: Path,
    target: Path,
    *,
    layout: Layout | None = None,
    dtype: torch.dtype | None = None,
    unet: Path | None = None,
    force: bool = False,
) -> Conversion:
    """Write a model in another layout, read it back and compare every tensor bit by bit.

    The target appears when it is complete and equal, or not at all.

    Args:
        source: `.ckpt` or `.safetensors` in the original layout, or a diffusers folder.
        target: `*.safetensors`, or a folder to make.
        layout: of the target; follows from its name if left out.
        dtype: of all tensors; each keeps its own if left out.
        unet: file in the original layout whose UNet takes the place of the source's, such as one
            that a host saved after merging.
        force: replace an existing target.

    Raises:
        CheckpointError: the source is no whole model, the UNet is of another size, or the target
            cannot be written.
    """
    layout = _layout(target, layout)
    _check_target(source, target, force)
    metadata: dict[str, str] = {}
    names: list[str] = []

    def read(path: Path) -> tuple[StateDict, dict[str, str]]:
        tensors, found = read_weights(path)
        metadata.update(found)
        names.extend(tensors)
        return tensors, found

    checkpoint = read_checkpoint(source, read)
    if unet is not None:
        checkpoint = replace(checkpoint, unet=_read_unet(unet, checkpoint.unet))
    for name in TRANSFORMERS_MARK:
        metadata.pop(name, None)
    config = ModelConfig.from_checkpoint(checkpoint)
    files = _files(checkpoint, config, target.name if layout == "original" else None)
    metadata |= config.hints
    _check_space(target, [tensor for file in files.values() for tensor in file.values()], dtype)
    try:
        with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=target.parent) as folder:
            unfinished = Path(folder) / target.name
            for name, tensors in files.items():
                file = Path(folder) / name if layout == "original" else unfinished / name
                file.parent.mkdir(parents=True, exist_ok=True)
                about = metadata if layout == "original" else {**metadata, **TRANSFORMERS_MARK}
                save_file(
                    {k: _cast(k, tensor, dtype) for k, tensor in tensors.items()}, file, about
                )
            if layout == "diffusers":
                write_configs(unfinished, config)
            tensors = _compare(checkpoint, read_checkpoint(unfinished), dtype)
            _move(unfinished, target)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{target} cannot be written ({error}); nothing was left there."
        ) from error
    return Conversion(layout, tensors, list(_notes(layout, config, names)))


def _read_unet(path: Path, like: StateDict) -> StateDict:
    unet = read_components(path).unet
    try:
        require_shapes(unet, {name: tuple(tensor.shape) for name, tensor in like.items()})
    except CheckpointError as error:
        raise CheckpointError(
            f"The UNet of {path.name} is of another kind ({error}); name the model that it came "
            "from as the source."
        ) from error
    return unet


def _layout(target: Path, layout: Layout | None) -> Layout:
    if target.suffix in PICKLES:
        raise CheckpointError(
            f"{target.name} would be a pickle, which can carry code; name a *.safetensors file, or "
            "a folder."
        )
    by_name: Layout = "original" if target.suffix == ".safetensors" else "diffusers"
    if layout is not None and layout != by_name:
        raise CheckpointError(
            f"{target.name} does not fit the {layout} layout; the original layout is one "
            "*.safetensors file, the diffusers layout a folder."
        )
    return by_name


def _check_target(source: Path, target: Path, force: bool) -> None:
    if not source.exists():
        raise CheckpointError(f"There is no {source}.")
    if target.resolve() in (source.resolve(), *source.resolve().parents):
        raise CheckpointError(f"{target} is or holds the source; choose another target.")
    if not target.parent.is_dir():
        raise CheckpointError(f"There is no folder {target.parent}; make it first.")
    if not target.exists():
        return
    if not force:
        raise CheckpointError(f"{target} exists; choose another target, or replace it by --force.")
    if target.is_dir() and not (target / "model_index.json").is_file():
        raise CheckpointError(
            f"{target} is a folder of something else (no model_index.json) and is not replaced; "
            "choose another target."
        )
    if target.is_dir() == (target.suffix == ".safetensors"):
        raise CheckpointError(f"{target} is of the other layout; delete it, or choose another.")


def _files(
    checkpoint: Checkpoint, config: ModelConfig, original: str | None
) -> dict[str, StateDict]:
    """Tensors by file: one of the name `original`, or those of a diffusers folder."""
    if original is not None:
        return {original: checkpoint.to_original()}
    with torch.device("meta"):  # names and shapes only
        unet, autoencoder = new_unet(config).state_dict(), new_autoencoder(config).state_dict()
    weights = "diffusion_pytorch_model.safetensors"
    return {
        f"unet/{weights}": original_to_diffusers(checkpoint.unet, unet, unet_names),
        f"vae/{weights}": original_to_diffusers(
            checkpoint.autoencoder, autoencoder, autoencoder_names
        ),
        "image_encoder/model.safetensors": encoder_to_diffusers(checkpoint.encoder),
    }


def _cast(name: str, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    if dtype is None or not tensor.is_floating_point():
        return tensor.contiguous()
    cast = tensor.to(dtype).contiguous()
    if dtype == torch.float16 and not torch.equal(cast.isfinite(), tensor.isfinite()):
        raise CheckpointError(f"{name} has values too large for fp16; choose bf16 or fp32.")
    return cast


def _check_space(target: Path, tensors: Iterable[Tensor], dtype: torch.dtype | None) -> None:
    sizes = (
        tensor.numel() * (dtype if dtype and tensor.is_floating_point() else tensor.dtype).itemsize
        for tensor in tensors
    )
    needed = sum(sizes) + 2**20  # names and configurations
    free = shutil.disk_usage(target.parent).free
    if free < needed:
        raise CheckpointError(
            f"{target.name} needs {needed / 1e9:.2f} GB and its disk has {free / 1e9:.2f} GB free; "
            "make room, or choose a target on another disk."
        )


def _compare(expected: Checkpoint, found: Checkpoint, dtype: torch.dtype | None) -> int:
    """Number of tensors, all of which are equal bit by bit.

    Raises:
        CheckpointError: names, sizes or bits differ.
    """
    pairs = (
        (expected.unet, found.unet),
        (expected.autoencoder, found.autoencoder),
        (expected.encoder, found.encoder),
    )
    differing = [
        name
        for before, after in pairs
        for name in before.keys() | after.keys()
        if name not in before
        or name not in after
        or not _same_bits(_cast(name, before[name], dtype), after[name])
    ]
    if (expected.unet_heads, expected.encoder_config) != (found.unet_heads, found.encoder_config):
        differing.append("number of heads")
    if differing:
        raise CheckpointError(
            f"What was written differs from its source in {min(differing)} and was deleted; check "
            "the disk."
        )
    return sum(len(before) for before, _ in pairs)


def _same_bits(one: Tensor, other: Tensor) -> bool:
    # as bytes: NaN would not equal itself, and 0 would equal -0
    same_form = one.dtype == other.dtype and one.shape == other.shape
    return same_form and torch.equal(
        one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8)
    )


def _move(unfinished: Path, target: Path) -> None:
    if not target.is_dir():
        unfinished.replace(target)
        return
    replaced = unfinished.with_name("replaced")  # is deleted with its folder
    target.rename(replaced)
    try:
        unfinished.rename(target)
    except OSError:
        replaced.rename(target)
        raise


def _notes(layout: Layout, config: ModelConfig, names: list[str]) -> Iterable[str]:
    used = (UNET_PREFIX, AUTOENCODER_PREFIX, *ENCODER_ORIGINAL)
    if any(name.startswith(UNET_PREFIX) for name in names):
        left = [n for n in names if not n.startswith(used) or n.endswith(".position_ids")]
        if left:
            yield f"{len(left)} tensors that no model needs were left out, such as {left[0]}."
    blocks, layers = config.encoder.mapper_blocks, config.encoder.vision_layers
    if layout == "diffusers" and blocks != (layers + 1) // 5:
        yield (
            f"diffusers' own image encoder has {(layers + 1) // 5} mapper blocks for {layers} "
            f"tower layers, this model {blocks}: only this pack reads the folder rightly."
        )
