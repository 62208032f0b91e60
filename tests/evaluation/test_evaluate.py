"""Sets, baselines, painting and the commands, on small sets and a model with random weights."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.evaluation import FakeSet, fake_set, small_clip, small_dino
from support.models import SHAPES, random_model, write_safetensors
from typer.testing import CliRunner, Result

from exemplar_model.__main__ import command_line
from exemplar_model.errors import UserError
from exemplar_model.evaluation.baselines import copy_and_paste
from exemplar_model.evaluation.painting import EvaluatedModel
from exemplar_model.evaluation.sets import Item, open_set
from exemplar_model.standalone.components import Components


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command_line(), ["evaluate", *map(str, arguments)])


@pytest.fixture(scope="module")
def components() -> Components:
    return random_model(SHAPES["narrow"]).components


@pytest.fixture
def fakes(tmp_path: Path) -> FakeSet:
    return fake_set(tmp_path / "set", count=3, size=(64, 64))


def test_a_whole_set_lacks_nothing(fakes: FakeSet) -> None:
    items = open_set("cocoee", fakes.folder)
    assert [item.id for item in items] == fakes.names
    assert items[0].exemplar_mask is None
    (fakes.folder / "ref_mask").mkdir()
    shape = fakes.folder / "ref_mask" / f"{fakes.names[0]}_ref.png"
    Image.new("L", (8, 8)).save(shape)
    assert open_set("cocoee", fakes.folder)[0].exemplar_mask == shape
    result = run("check", "cocoee", fakes.folder)
    assert (result.exit_code, result.stdout) == (0, "3 pictures, 0 files missing.\n")


def test_check_lists_what_is_missing_and_where_it_comes_from(fakes: FakeSet) -> None:
    absent = fakes.path("mask", fakes.names[2])
    absent.unlink()
    result = run("check", "cocoee", fakes.folder)
    assert result.exit_code == 1
    assert result.stdout == f"Missing: {absent}\n3 pictures, 1 files missing.\n"
    assert "Google Drive" in result.stderr
    with pytest.raises(UserError, match="1 files of cocoee are missing"):
        open_set("cocoee", fakes.folder)


def test_sets_that_are_none_are_refused(tmp_path: Path) -> None:
    for name, words in (("cocoee", "id_list.npy"), ("folder", "image/"), ("x", "no set x")):
        result = run("check", name, tmp_path)
        assert result.exit_code == 1
        assert words in result.stderr


def test_the_layout_of_tf_icon(tmp_path: Path) -> None:
    """File names as in the repository's own samples."""
    sample = tmp_path / "cross_domain" / "a pencil drawing [of a panda]"
    sample.mkdir(parents=True)
    for name in ("bg52.png", "cp_bg_fg.jpg", "fg_63d9.jpg", "fg_63d9_mask.png", "mask_bg_fg.jpg"):
        Image.new("RGB", (8, 8)).save(sample / name)
    (item,) = open_set("tf-icon", tmp_path)
    assert item == Item(
        "cross_domain/a pencil drawing [of a panda]",
        sample / "bg52.png",
        sample / "mask_bg_fg.jpg",
        sample / "fg_63d9.jpg",
        sample / "fg_63d9_mask.png",
    )


def drawn_item(folder: Path) -> Item:
    """A grey picture, brighter to the right, and an exemplar of one color with a dark stripe."""
    ramp = np.tile(np.linspace(60, 180, 40, dtype=np.uint8), (30, 1))
    Image.fromarray(ramp).convert("RGB").save(folder / "image.png")
    mask = np.zeros((30, 40), np.uint8)
    mask[8:20, 10:30] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    exemplar = np.full((12, 20, 3), (200, 40, 40), np.uint8)
    exemplar[:, 9:11] = (100, 20, 20)
    Image.fromarray(exemplar).save(folder / "exemplar.png")
    return Item("x", *(folder / f"{kind}.png" for kind in ("image", "mask", "exemplar")))


def test_copy_and_paste_fills_the_hole_alone(tmp_path: Path) -> None:
    item = drawn_item(tmp_path)
    image, pasted = (np.asarray(each) for each in (Image.open(item.image), copy_and_paste(item)))
    area = np.asarray(Image.open(item.mask)) > 0
    assert np.array_equal(pasted[~area], image[~area])
    exemplar = np.asarray(Image.open(item.exemplar)).reshape(-1, 3)
    assert np.array_equal(pasted[area], exemplar)
    shape = np.zeros((12, 20), np.uint8)
    shape[:, :10] = 255
    Image.fromarray(shape).save(tmp_path / "shape.png")
    item = Item(item.id, item.image, item.mask, item.exemplar, tmp_path / "shape.png")
    halved = np.asarray(copy_and_paste(item))
    assert np.array_equal(halved[8:20, 10:20], pasted[8:20, 10:20])
    assert np.array_equal(halved[8:20, 20:30], image[8:20, 20:30])


def test_poisson_blending_keeps_gradients_and_meets_the_border(tmp_path: Path) -> None:
    item = drawn_item(tmp_path)
    image = np.asarray(Image.open(item.image)).astype(float)
    blended = np.asarray(copy_and_paste(item, poisson=True)).astype(float)
    area = np.asarray(Image.open(item.mask)) > 0
    assert np.array_equal(blended[~area], image[~area])
    assert np.abs(blended[8:20, 10] - image[8:20, 9]).max() < 8  # pasted plainly: about 100
    stripe = blended[14, 18] - blended[14, 19]
    assert stripe == pytest.approx([100, 20, 20], abs=8)


def evaluated(components: Components, **settings: object) -> EvaluatedModel:
    return EvaluatedModel(
        components, **{"protocol": "paper", "steps": 2, "resolution": 64, **settings}
    )


def test_a_painting_depends_on_seed_and_id_alone(components: Components, fakes: FakeSet) -> None:
    item, other = open_set("cocoee", fakes.folder)[:2]
    for protocol in ("paper", "default"):
        paint = evaluated(components, protocol=protocol).paint
        first = np.asarray(paint(item, 1))
        assert np.array_equal(np.asarray(paint(item, 1)), first)
        assert not np.array_equal(np.asarray(paint(item, 2)), first)
        renamed = Item(other.id, item.image, item.mask, item.exemplar)
        assert not np.array_equal(np.asarray(paint(renamed, 1)), first)


def test_protocols_differ_in_what_happens_outside_the_mask(
    components: Components, fakes: FakeSet
) -> None:
    item = open_set("cocoee", fakes.folder)[0]
    kept = np.asarray(Image.open(item.mask)) == 0
    image = np.asarray(Image.open(item.image))[kept]
    by_paper, by_default = (
        np.asarray(evaluated(components, protocol=protocol).paint(item, 0))[kept]
        for protocol in ("paper", "default")
    )
    assert np.array_equal(by_default, image)
    assert not np.array_equal(by_paper, image)


def test_the_paper_s_protocol_is_that_of_diffusers(components: Components, fakes: FakeSet) -> None:
    """Where a sample of the posterior is its mode, and the mask lies on the grid of latents."""
    model = random_model(SHAPES["narrow"])
    mask = Image.new("L", (64, 64))
    mask.paste(255, (16, 8, 48, 40))
    mask.save(fakes.path("mask", fakes.names[0]))
    item = open_set("cocoee", fakes.folder)[0]
    sequence = np.random.SeedSequence([7, *item.id.encode()])
    generator = torch.Generator().manual_seed(int(sequence.generate_state(1)[0]))
    torch.randn((1, 4, 8, 8), generator=generator)  # of the posterior
    noise = torch.randn((1, 4, 8, 8), generator=generator)
    image, exemplar = (
        torch.from_numpy(np.array(each)).permute(2, 0, 1)[None] / 255
        for each in (Image.open(item.image), Image.open(item.exemplar).resize((224, 224)))
    )
    mean, std = (
        torch.tensor(each)[:, None, None]
        for each in ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
    )
    hole = torch.from_numpy(np.array(mask))[None, None] / 255
    latents = model.reference_latents(image * 2 - 1, hole, (exemplar - mean) / std, noise, steps=4)
    with torch.inference_mode():
        decoded = model.components.autoencoder.decode(latents / 0.18215).sample[0]
    expected = ((decoded / 2 + 0.5).clamp(0, 1) * 255).permute(1, 2, 0).numpy()
    ours = np.asarray(evaluated(components, steps=4).paint(item, 7))
    assert np.abs(ours - expected).max() < 1.5


def test_pictures_that_the_paper_s_protocol_cannot_paint(
    components: Components, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"40 × 30 px.*--protocol default"):
        evaluated(components).paint(drawn_item(tmp_path), 0)


def test_run_paints_scores_and_goes_on(fakes: FakeSet, tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", random_model(SHAPES["narrow"]))
    mixture = tmp_path / "mixture.safetensors"
    clip = small_clip(tmp_path / "clip")
    made = run("fit-mixture", fakes.folder / "real", mixture, "--clip", clip, "--components", 2)
    assert made.exit_code == 0, made.output
    command = [
        *("run", "cocoee", fakes.folder, "--model", tmp_path / "model.safetensors"),
        *("--out", tmp_path / "out", "--clip", clip, "--mixture", mixture, "--steps", 1),
        *("--real", fakes.folder / "real", "--seed", 3, "--seed", 4, "--protocol", "paper"),
        *("--dino", small_dino(tmp_path / "dino")),
    ]
    result = run(*command)
    assert result.exit_code == 0, result.output
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())["scores"]
    methods = list(dict.fromkeys(each["method"] for each in scores))
    assert methods == [
        *("model", "null exemplar", "copy and paste", "copy and paste, Poisson", "true picture")
    ]
    found = {(each["method"], each["score"]): each for each in scores}
    pasted = found["copy and paste", "region CLIP score"]
    assert pasted["value"] > found["true picture", "region CLIP score"]["value"]
    assert found["true picture", "background PSNR, dB"]["value"] == "inf"
    assert found["model", "CLIP Fréchet distance"]["low"] is not None  # two seeds
    assert found["null exemplar", "CLIP Fréchet distance"]["low"] is None
    dino = [found[method, "DINO foreground similarity"]["value"] for method in methods]
    assert max(dino) == dino[2]  # copy and paste
    assert found["model", "QS (refit)"]["backbone"].startswith("CLIP ViT 32/32, clip, ")
    with (tmp_path / "out" / "pictures.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == "model"]
    region = [float(row["value"]) for row in rows if row["score"] == "region CLIP score"]
    assert np.mean(region) == pytest.approx(found["model", "region CLIP score"]["value"])
    assert len(region) == 6
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Higher is not better: copy and paste wins it" in page
    assert page.count("data:image/png") == 4

    painted = tmp_path / "out" / "model" / "seed-3" / f"{fakes.names[0]}.png"
    before = painted.read_bytes()
    painted.unlink()
    again = run(*command)
    assert [line for line in again.stdout.splitlines() if "seed" in line] == [
        "model, seed 3: 1 of 3"
    ]
    assert painted.read_bytes() == before
    refused = run(*command, "--cfg", 2)
    assert refused.exit_code == 1
    assert "other settings" in refused.stderr


def test_score_takes_results_of_any_method(fakes: FakeSet, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["score", "cocoee", fakes.folder, fakes.folder / "results", "--out", out]
    result = run(*command)
    assert result.exit_code == 0, result.output
    with (out / "scores.csv").open(encoding="utf-8") as file:
        rows = {(row["method"], row["score"]): row for row in csv.DictReader(file)}
    assert set(rows) == {
        (method, score)
        for method in ("results", "copy and paste", "copy and paste, Poisson", "true picture")
        for score in ("background PSNR, dB", "background SSIM")
    }
    fakes.path("results", fakes.names[1]).unlink()
    missing = run(*command)
    assert missing.exit_code == 1
    assert "1 of 3 results of results are missing" in missing.stderr
