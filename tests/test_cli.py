"""The command line: what it tells of files, what it draws, and how it says what is wrong."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file
from support.models import (
    SHAPES,
    RandomModel,
    random_model,
    write_diffusers,
    write_lightning,
    write_safetensors,
)
from support.training import ROOT, command, environment
from typer.testing import CliRunner, Result

from exemplar_model.__main__ import command_line
from exemplar_model.training.data.contact_sheet import CAPTION_HEIGHT, SIDE

MAPPER_PARTS = ("cond_stage_model.mapper.", "cond_stage_model.final_ln.", "proj_out.", "learnable")


def run(*arguments: str | Path, rank: int = 0) -> Result:
    environment = {"COLUMNS": "250", "RANK": str(rank)}
    return CliRunner().invoke(command_line(), [str(a) for a in arguments], env=environment)


def fails(*arguments: str | Path) -> str:
    """The one sentence on the error output of a command that must fail."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    sentence = result.stderr.strip()
    assert "\n" not in sentence and sentence.endswith("."), sentence
    return sentence


@pytest.fixture(scope="module")
def narrow() -> RandomModel:
    return random_model(SHAPES["narrow"])


def write_only(*prefixes: str) -> Callable[[Path, RandomModel], None]:
    """Writes the tensors of some prefixes, as training stages and other models have them."""

    def write(path: Path, model: RandomModel) -> None:
        tensors = model.components.to_original()
        chosen = {k: t.contiguous() for k, t in tensors.items() if k.startswith(prefixes)}
        save_file(chosen, path, model.components.config.hints)

    return write


def write_stable_diffusion(path: Path, model: RandomModel) -> None:
    write_only("model.", "first_stage_model.")(path, model)
    tensors = load_file(path)
    stem = "model.diffusion_model.input_blocks.0.0.weight"
    tensors[stem] = tensors[stem][:, :4].contiguous()
    tensors["cond_stage_model.transformer.text_model.final_layer_norm.weight"] = torch.zeros(8)
    save_file(tensors, path)


def write_foreign(path: Path, model: RandomModel) -> None:
    save_file({"blocks.0.weight": torch.zeros(3)}, path, {"author": "[bold]me[/]", "config": "?"})


UNET = "channels 32-64-64, residual blocks 1, heads 8, context 48"
AUTOENCODER = "channels 32-32-64-64, residual blocks 1, latent channels 4, factor 8"
TOWER = "width 64, layers 9, heads 1, patch 32, view 224"


@pytest.mark.parametrize(
    ("name", "write", "layout", "sizes", "problem"),
    [
        (
            "model.safetensors",
            write_safetensors,
            "original layout, safetensors",
            (UNET, AUTOENCODER, TOWER, "blocks 2", "64 → 48"),
            None,
        ),
        (
            "model.ckpt",
            write_lightning,
            "original layout, pickle",
            (UNET, AUTOENCODER, TOWER, "other"),
            None,
        ),
        ("model", write_diffusers, "diffusers folder", (UNET, AUTOENCODER, TOWER), None),
        (
            "a.safetensors",
            write_only("first_stage_model."),
            "only an autoencoder",
            (AUTOENCODER,),
            "takes it as init.autoencoder",
        ),
        (
            "t.safetensors",
            write_only("cond_stage_model.transformer."),
            "only a tower",
            (TOWER,),
            "takes it as init.tower",
        ),
        (
            "sd.safetensors",
            write_stable_diffusion,
            "Stable Diffusion,",
            (UNET, AUTOENCODER, "text encoder"),
            "is a Stable Diffusion checkpoint, not a Paint by Example model",
        ),
        (
            "sd.safetensors",
            write_only("model.", "first_stage_model."),
            "Stable Diffusion inpainting",
            (UNET, AUTOENCODER),
            "is a Stable Diffusion inpainting checkpoint",
        ),
        (
            "half.safetensors",
            write_only("model.", "cond_stage_model.", *MAPPER_PARTS),
            "original layout, safetensors",
            (UNET, TOWER),
            "has no VAE",
        ),
        ("x.safetensors", write_foreign, "unknown", ("[bold]me[/]", "?"), "no checkpoint of the"),
    ],
)
def test_inspect_tells_what_a_file_is(
    tmp_path: Path,
    narrow: RandomModel,
    name: str,
    write: Callable[[Path, RandomModel], None],
    layout: str,
    sizes: tuple[str, ...],
    problem: str | None,
) -> None:
    write(tmp_path / name, narrow)
    result = run("inspect", tmp_path / name)
    assert result.exit_code == 0, result.stderr
    assert f"{name}: {layout}" in result.stdout
    for size in sizes:
        assert size in result.stdout, size
    assert ("No model to paint with" in result.stdout) == (problem is not None)
    assert problem is None or problem in result.stdout


def test_inspect_counts_and_shows_the_training(tmp_path: Path, narrow: RandomModel) -> None:
    path = tmp_path / "model.safetensors"
    write_safetensors(path, narrow)
    tensors = {name: tensor.half() for name, tensor in load_file(path).items()}
    config = {"stage": "denoiser", "steps": 7, "data": {"kind": "generated"}, "init": {}}
    metadata = {"config": json.dumps(config), "step": "7", "data": "shapes-512"}
    save_file(tensors, path, metadata)
    output = run("inspect", path).stdout
    unet = [t for name, t in tensors.items() if name.startswith("model.")]
    for text in (
        f"{sum(tensor.numel() for tensor in unet):,}",
        f"{path.stat().st_size / 1e6:.1f} MB",
        "float16",
        "stage denoiser, data.kind generated, steps 7",
        "shapes-512",
    ):
        assert text in output


def test_inspect_reads_no_weights(tmp_path: Path) -> None:
    """A file of 3 GB with nothing in it takes no memory."""
    resource = pytest.importorskip("resource")
    path, size = tmp_path / "large.safetensors", 3_000_000_000
    entry = {"dtype": "F32", "shape": [3, size // 12], "data_offsets": [0, size]}
    header = json.dumps({"first_stage_model.x": entry}).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = run("inspect", path)
    assert "750,000,000" in result.stdout and "3000.0 MB" in result.stdout
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_as_a_program(tmp_path: Path, narrow: RandomModel) -> None:
    write_safetensors(tmp_path / "model.safetensors", narrow)
    settings = {"cwd": ROOT, "env": environment(), "capture_output": True, "text": True}
    found = subprocess.run(command("inspect", str(tmp_path / "model.safetensors")), **settings)
    assert found.returncode == 0 and "original layout" in found.stdout
    absent = subprocess.run(command("inspect", str(tmp_path / "absent")), **settings)
    assert absent.returncode == 1
    assert absent.stderr == f"There is no {tmp_path / 'absent'}.\n"


def test_convert(tmp_path: Path, narrow: RandomModel) -> None:
    write_lightning(tmp_path / "model.ckpt", narrow)
    target = tmp_path / "model.safetensors"
    result = run("convert", tmp_path / "model.ckpt", target, "--dtype", "fp16")
    assert result.exit_code == 0
    assert result.stdout == f"{target}: original layout, 684 tensors equal their source.\n"
    assert "betas" in result.stderr
    assert {tensor.dtype for tensor in load_file(target).values()} == {torch.float16}
    assert "--force" in fails("convert", tmp_path / "model.ckpt", target)
    assert run("convert", tmp_path / "model.ckpt", target, "--force").exit_code == 0
    assert {tensor.dtype for tensor in load_file(target).values()} == {torch.float32}
    joined = tmp_path / "joined.safetensors"
    assert run("convert", tmp_path / "model.ckpt", joined, "--unet", target).exit_code == 0
    assert run("convert", target, tmp_path / "folder", "--to", "diffusers").exit_code == 0
    assert (tmp_path / "folder" / "unet" / "config.json").is_file()


def write_config(path: Path, **data: object) -> Path:
    values = {"out": str(path.parent / "run"), "data": data, "resolution": 32, "steps": 1}
    path.write_text(yaml.safe_dump({**values, "batch": 4}))
    return path


def test_what_a_user_can_mend_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "damaged.safetensors").write_bytes(b"not a model")
    (tmp_path / "empty").mkdir()
    assert "cannot be read" in fails("inspect", tmp_path / "damaged.safetensors")
    assert "holds none of unet/" in fails("inspect", tmp_path / "empty")
    assert "There is no" in fails("convert", tmp_path / "absent", tmp_path / "x.safetensors")
    assert "damaged" in fails("convert", tmp_path / "damaged.safetensors", tmp_path / "x")
    assert "no configuration nonsense" in fails("train", "nonsense")
    assert "there is no key speed" in fails("train", "smoke", "speed=3")
    assert "is not an override" in fails("contact-sheet", "smoke", "steps")
    encoded = write_config(tmp_path / "encoded.yaml", kind="encoded", folder="samples")
    assert "holds no pictures any more" in fails("contact-sheet", encoded)


def test_unusable_pictures_are_one_sentence(tmp_path: Path) -> None:
    pictures = [{"id": n, "file_name": f"{n}.jpg", "width": 100, "height": 100} for n in range(120)]
    boxes = [{"id": n, "image_id": n, "bbox": [20, 20, 50, 50]} for n in range(120)]
    annotations = tmp_path / "instances.json"
    annotations.write_text(json.dumps({"images": pictures, "annotations": boxes}))
    config = write_config(
        tmp_path / "coco.yaml", kind="coco", annotations=str(annotations), images=str(tmp_path)
    )
    sentence = fails("contact-sheet", config)
    assert sentence.startswith("100 pictures in a row cannot be used")


def test_programming_errors_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("exemplar_model.standalone.inspection.inspect_model", broken)
    result = run("inspect", "model.safetensors")
    assert isinstance(result.exception, ValueError) and result.stderr == ""


@pytest.mark.parametrize(
    ("package", "command", "extra"),
    [
        ("typer", ["inspect", "x"], "standalone"),
        ("rich", ["--help"], "standalone"),
        ("diffusers", ["convert", "x", "y"], "standalone"),
        ("accelerate", ["train", "smoke"], "train"),
        ("webdataset", ["contact-sheet", "smoke"], "train"),
    ],
)
def test_a_missing_package_is_one_sentence(package: str, command: list[str], extra: str) -> None:
    program = f"""
import sys
sys.modules[{package!r}] = None
sys.argv = ["exemplar_model", *{command!r}]
from exemplar_model.__main__ import main
main()
"""
    settings = {"cwd": ROOT, "env": environment(), "capture_output": True, "text": True}
    result = subprocess.run([sys.executable, "-c", program], **settings)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"The package {package} is not installed; install it in the folder of this pack, by "
        f'pip install -e ".[{extra}]".\n'
    )


def test_a_missing_package_of_no_extra_keeps_its_traceback() -> None:
    program = """
import sys
sys.modules["safetensors"] = None
from exemplar_model.__main__ import main
main()
"""
    settings = {"cwd": ROOT, "env": environment(), "capture_output": True, "text": True}
    result = subprocess.run([sys.executable, "-c", program], **settings)
    assert result.returncode == 1 and "Traceback" in result.stderr


def test_of_several_processes_one_speaks(tmp_path: Path) -> None:
    assert fails("inspect", tmp_path / "x") == f"There is no {tmp_path / 'x'}."
    other = run("inspect", tmp_path / "x", rank=1)
    assert (other.exit_code, other.output) == (1, "")


def test_every_command_and_parameter_has_help() -> None:
    for name in ("train", "contact-sheet", "convert", "inspect"):
        result = run(name, "--help")
        assert result.exit_code == 0 and len(result.stdout.splitlines()) > 10


def test_contact_sheet(tmp_path: Path) -> None:
    config = write_config(tmp_path / "run.yaml", kind="generated", samples=5)
    out = tmp_path / "sheet.png"
    result = run("contact-sheet", config, "resolution=64", "--out", out, "--rows", "3")
    assert result.stdout == f"{out}\n"
    with Image.open(out) as sheet:
        assert (sheet.format, sheet.size) == ("PNG", (6 * SIDE, CAPTION_HEIGHT + 3 * SIDE))
        cells = [
            sheet.crop((i * SIDE, CAPTION_HEIGHT, (i + 1) * SIDE, sheet.height)) for i in range(6)
        ]
        picture, outlined, masked, mask, exemplar, alone = (
            torch.frombuffer(bytearray(cell.tobytes()), dtype=torch.uint8).view(3 * SIDE, SIDE, 3)
            for cell in cells
        )
    kept, hole = mask[..., 0] == 255, mask[..., 0] == 0
    assert hole.any() and torch.equal(masked[kept], picture[kept])
    assert (masked[hole] - 127.5).abs().max() < 1.0  # the hole is grey
    changed = (outlined != picture).any(-1)
    assert 0 < changed.float().mean() < 0.2
    assert (outlined[changed] == outlined[changed][0]).all()  # one colour
    assert (alone != exemplar).any()
    run("contact-sheet", config, "--out", out)  # an epoch of five
    with Image.open(out) as sheet:
        assert sheet.height == CAPTION_HEIGHT + 5 * SIDE
