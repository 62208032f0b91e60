"""The decoder's own stage: what it sees, what it trains, and what it leaves alone."""

import pytest
import torch
from safetensors.torch import save_file

from exemplar_model.checkpoint import read_checkpoint
from exemplar_model.components import Components
from exemplar_model.pipeline import encode_images
from exemplar_model.training.config import ConfigError
from exemplar_model.training.decoder import LATENT_NOISE, DecoderStage
from tests.support.training import small_batch, small_config

CPU = torch.device("cpu")


@pytest.fixture
def config(tmp_path):
    torch.manual_seed(0)
    first = small_config(tmp_path)
    weights = Components.random(first.model).to_original()
    model = tmp_path / "model.safetensors"
    save_file({k: v.contiguous() for k, v in weights.items()}, model, first.model.hints)
    return small_config(tmp_path, "stage=decoder", f"init.model={model}")


class Recorder(torch.nn.Module):
    """Answers with the picture and keeps the latents that it was asked to decode."""

    def __init__(self, image):
        super().__init__()
        self.image = image

    def forward(self, latents):
        self.latents = latents
        return self.image


def pixels(image):
    return (image / 2 + 0.5).permute(0, 2, 3, 1)


def test_with_a_share_of_one_all_latents_are_true(config):
    stage, batch = DecoderStage(config, CPU), small_batch(config)
    true = encode_images(stage.components, pixels(batch["image"]))
    found = stage._latents(batch, torch.ones(4))
    torch.testing.assert_close(found, true, atol=1e-5, rtol=1e-5)


def test_inside_the_hole_latents_are_true(config):
    stage, batch = DecoderStage(config, CPU), small_batch(config)
    true = encode_images(stage.components, pixels(batch["image"]))
    around = encode_images(stage.components, pixels(batch["image"] * batch["keep_mask"]))
    found = stage._latents(batch, torch.zeros(4))
    keep = torch.nn.functional.interpolate(batch["keep_mask"], true.shape[-2:], mode="bilinear")
    inside, outside = (keep == 0).expand_as(true), (keep == 1).expand_as(true)
    assert inside.any() and outside.any()
    torch.testing.assert_close(found[inside], true[inside], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[outside], around[outside], atol=1e-5, rtol=1e-5)
    assert (found[outside] - true[outside]).abs().max() > 1e-4


def test_noise_is_added_and_the_target_is_the_whole_picture(config):
    stage, batch = DecoderStage(config, CPU), small_batch(config)
    module = Recorder(batch["image"])
    loss, scalars = stage.loss(module, batch)
    assert float(loss) == 0.0 and float(scalars["psnr"]) == float("inf")
    added = module.latents - stage._latents(batch, batch["coin"])
    torch.testing.assert_close(added, LATENT_NOISE * batch["posterior_noise"], atol=1e-5, rtol=0)


def test_only_the_decoder_learns(config):
    stage, batch = DecoderStage(config, CPU), small_batch(config)
    before = {key: value.clone() for key, value in stage.components.to_original().items()}
    score = stage.validate(stage.module, [batch])
    optimizer = torch.optim.AdamW(stage.module.parameters(), 2e-3)
    losses = []
    for _ in range(20):
        loss, _ = stage.loss(stage.module, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    better = stage.validate(stage.module, [batch])
    assert all(better[name] > score[name] + 1 for name in ("psnr", "around_hole"))
    after, hints = stage.export(None)
    changed = {key for key, value in after.items() if not torch.equal(value, before[key])}
    parts = ("first_stage_model.decoder.", "first_stage_model.post_quant_conv.")
    assert changed and all(key.startswith(parts) for key in changed)
    assert hints == config.model.hints
    assert stage.sheet(batch).shape == (3, 4 * 16, 4 * 16)


def test_the_stage_needs_a_model(tmp_path):
    with pytest.raises(ConfigError, match=r"init\.model is missing"):
        DecoderStage(small_config(tmp_path, "stage=decoder"), CPU)


def test_the_exported_model_opens(config, tmp_path):
    stage = DecoderStage(config, CPU)
    weights, hints = stage.export(None)
    path = tmp_path / "out.safetensors"
    save_file({k: v.contiguous() for k, v in weights.items()}, path, hints)
    opened = Components.from_checkpoint(read_checkpoint(path))
    image = torch.rand(1, 16, 16, 3)
    expected = encode_images(stage.components, image)
    torch.testing.assert_close(encode_images(opened, image), expected)
