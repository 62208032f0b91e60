"""The two stages of a small model: its autoencoder and its tower, each learned on few samples."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.training import small_batch, small_config, with_draws

from exemplar_model.encoder import ExemplarEncoder
from exemplar_model.standalone.components import Components, load_original, new_autoencoder
from exemplar_model.training.data.open import open_dataset
from exemplar_model.training.stages.autoencoder import (
    AutoencoderStage,
    Reconstruction,
    normalized,
    whole_cells,
)
from exemplar_model.training.stages.initial_weights import (
    read_tower,
    starting_autoencoder,
    starting_components,
)
from exemplar_model.training.stages.latents import encode_moments
from exemplar_model.training.stages.stage import fixed_batches
from exemplar_model.training.stages.tower import TowerStage
from exemplar_model.weights.key_maps import autoencoder_names

CPU = torch.device("cpu")
SCALE = 0.18215


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def autoencoder_config(out, *overrides):
    return small_config(out, "stage=autoencoder", "resolution=32", *overrides)


def tower_config(out, *overrides):
    return small_config(out, "stage=tower", *overrides)


def learn(stage, batch, steps, rate):
    """Losses of the same batch over some updates."""
    optimizer = torch.optim.AdamW(stage.module.parameters(), lr=rate)
    losses = []
    for _ in range(steps):
        loss, _ = stage.loss(stage.module, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.fixture
def autoencoder(tmp_path):
    """With latents far from what the schedule takes for granted."""
    autoencoder = new_autoencoder(autoencoder_config(tmp_path).model).eval()
    with torch.no_grad():
        autoencoder.quant_conv.weight.mul_(7)
        autoencoder.quant_conv.bias.copy_(torch.linspace(-3, 3, 8))
    return autoencoder


def reconstruct(autoencoder, images, noise):
    """Without holes."""
    keep_mask = torch.ones_like(images[:, :1])
    nowhere = torch.zeros(len(images), dtype=torch.bool)
    return Reconstruction(autoencoder)(images, noise, keep_mask, nowhere)[0]


def latent_means(autoencoder, images):
    with torch.no_grad():
        return encode_moments(autoencoder, images).chunk(2, dim=1)[0]


def test_normalized_latents_have_mean_0_and_deviation_1(tmp_path, autoencoder):
    images = small_batch(autoencoder_config(tmp_path)).pictures.image
    means = latent_means(autoencoder, images)
    mean, std = means.mean((0, 2, 3)), means.std((0, 2, 3))
    assert mean.abs().max() > 0.5
    assert (std * SCALE - 1).abs().min() > 0.1
    other = new_autoencoder(autoencoder_config(tmp_path).model).eval()
    other.load_state_dict(normalized(autoencoder.state_dict(), mean, std))
    scaled = latent_means(other, images) * SCALE
    torch.testing.assert_close(scaled.mean((0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(scaled.std((0, 2, 3)), torch.ones(4), atol=1e-4, rtol=0)


def test_normalising_changes_no_reconstruction(tmp_path, autoencoder):
    images = small_batch(autoencoder_config(tmp_path)).pictures.image.double()
    autoencoder.double()
    other = new_autoencoder(autoencoder_config(tmp_path).model).eval().double()
    mean, std = torch.tensor([[1.0, -2.0, 0.5, 3.0], [0.5, 2.0, 9.0, 1.0]]).double()
    other.load_state_dict(normalized(autoencoder.state_dict(), mean, std))
    with torch.no_grad():
        for noise in torch.stack([torch.zeros(4, 4, 16, 16), torch.randn(4, 4, 16, 16)]).double():
            before = reconstruct(autoencoder, images, noise)
            after = reconstruct(other, images, noise)
            torch.testing.assert_close(after, before, atol=1e-8, rtol=1e-8)


def test_reconstruction_samples_the_posterior_around_and_in_the_hole(tmp_path, autoencoder):
    batch = small_batch(autoencoder_config(tmp_path))
    images, keep_mask = batch.pictures.image, batch.pictures.keep_mask
    noise = torch.randn(4, 4, 16, 16)
    holed = torch.tensor([True, False, True, False])
    with torch.no_grad():
        output, mean, logvar, moved = Reconstruction(autoencoder)(images, noise, keep_mask, holed)
        moments = autoencoder.quant_conv(autoencoder.encoder(images))
        around = autoencoder.quant_conv(autoencoder.encoder(images * keep_mask))
        torch.testing.assert_close(mean, moments[:, :4])
        torch.testing.assert_close(logvar, moments[:, 4:].clamp(-30, 20))
        kept = whole_cells(keep_mask, 16)
        torch.testing.assert_close(moved, kept * (around - moments)[:, :4], atol=1e-4, rtol=1e-4)
        seen = torch.where((kept * holed[:, None, None, None]).bool(), around, moments)
        latent = seen[:, :4] + noise * seen[:, 4:].exp().sqrt()
        wanted = autoencoder.decoder(autoencoder.post_quant_conv(latent))
    assert 0 < kept.mean() < 1
    assert moved.abs().max() > 1e-3
    torch.testing.assert_close(output, wanted, atol=1e-4, rtol=1e-4)


def test_a_cell_is_kept_when_all_its_pixels_are():
    keep_mask = torch.ones(2, 1, 8, 8)
    keep_mask[0, 0, 3, 4] = 0.9
    wanted = torch.ones(2, 1, 4, 4)
    wanted[0, 0, 1, 2] = 0
    assert torch.equal(whole_cells(keep_mask, 4), wanted)


class Answer(torch.nn.Module):
    """Answers with a given reconstruction and records what it was shown."""

    def __init__(self, output, mean, logvar, moved=0.0):
        super().__init__()
        self.answer = (output, mean, logvar, torch.full_like(mean, moved))

    def forward(self, *shown):
        self.shown = shown
        return self.answer


def test_some_samples_are_decoded_with_the_surroundings_of_their_hole(tmp_path):
    stage = AutoencoderStage(autoencoder_config(tmp_path, "masked_share=0.3"), CPU)
    batch = with_draws(small_batch(stage.config), uniform=torch.tensor([0.29, 0.31, 0.0, 0.9]))
    module = Answer(batch.pictures.image, torch.randn(4, 4, 16, 16), torch.zeros(4, 4, 16, 16))
    stage.loss(module, batch)
    image, noise, keep_mask, holed = module.shown
    assert torch.equal(image, batch.pictures.image)
    assert torch.equal(noise, batch.draws.posterior_noise)
    assert torch.equal(keep_mask, batch.pictures.keep_mask)
    assert holed.tolist() == [True, False, True, False]


def test_the_loss_is_distance_at_four_scales_divergence_and_shift(tmp_path):
    config = autoencoder_config(tmp_path, "kl_weight=0.5", "shift_weight=2")
    stage = AutoencoderStage(config, CPU)
    batch = small_batch(stage.config)
    mean, logvar = torch.randn(4, 4, 16, 16), torch.randn(4, 4, 16, 16)
    loss, scalars = stage.loss(Answer(batch.pictures.image + 0.25, mean, logvar, moved=0.3), batch)
    # KL divergence of the posterior from N(0, 1), by PyTorch's own formula
    posterior = torch.distributions.Normal(mean, (logvar / 2).exp())
    prior = torch.distributions.Normal(torch.zeros(()), torch.ones(()))
    divergence = torch.distributions.kl_divergence(posterior, prior).mean()
    shift = 0.3**2 / mean.var()
    wanted = 4 * 0.25 + 0.25**2 + 0.5 * divergence + 2 * shift
    torch.testing.assert_close(loss, wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scalars["kl"], divergence, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scalars["shift"], shift, rtol=1e-4, atol=1e-5)
    assert float(scalars["psnr"]) == pytest.approx(18.06, abs=0.01)  # 10 lg(2² / 0.25²)


def test_the_edge_loss_counts_from_its_share_of_the_run_on(tmp_path):
    config = autoencoder_config(tmp_path, "kl_weight=0", "edge_weight=2", "edge_from=0.75")
    stage = AutoencoderStage(config, CPU)
    plain = AutoencoderStage(autoencoder_config(tmp_path, "kl_weight=0"), CPU)
    batch = small_batch(config)
    output = batch.pictures.image + 0.1 * torch.randn_like(batch.pictures.image)
    answer = Answer(output, torch.randn(4, 4, 16, 16), torch.zeros(4, 4, 16, 16))
    without = float(plain.loss(answer, batch)[0])
    seen, wanted = output.double().numpy(), batch.pictures.image.double().numpy()
    edges = sum(
        np.abs(np.diff(seen, axis=axis) - np.diff(wanted, axis=axis)).mean() for axis in (2, 3)
    )
    assert config.steps == 8
    for step, weight in ((0, 0), (5, 0), (6, 2), (7, 2)):
        stage.begin(step)
        loss = float(stage.loss(answer, batch)[0])
        assert loss == pytest.approx(without + weight * edges, rel=1e-5)


def test_a_shift_of_all_colours_has_no_edge_error(tmp_path):
    config = autoencoder_config(tmp_path, "kl_weight=0", "edge_weight=5", "edge_from=0")
    stage = AutoencoderStage(config, CPU)
    batch = small_batch(config)
    answer = Answer(
        batch.pictures.image + 0.25, torch.randn(4, 4, 16, 16), torch.zeros(4, 4, 16, 16)
    )
    stage.begin(0)
    assert float(stage.loss(answer, batch)[0]) == pytest.approx(4 * 0.25 + 0.25**2, rel=1e-4)


def test_a_perfect_autoencoder_costs_nothing(tmp_path):
    stage = AutoencoderStage(autoencoder_config(tmp_path, "kl_weight=0"), CPU)
    batch = small_batch(stage.config)
    mean, logvar = torch.randn(4, 4, 16, 16), torch.zeros(4, 4, 16, 16)
    assert float(stage.loss(Answer(batch.pictures.image, mean, logvar), batch)[0]) == 0.0


@pytest.mark.parametrize("key", ["autoencoder", "stable_diffusion"])
def test_the_autoencoder_goes_on_from_given_weights(tmp_path, key):
    first = AutoencoderStage(autoencoder_config(tmp_path, "data.samples=20"), CPU)
    weights, _ = first.export(lambda: open_dataset(first.config, first.config.data))
    file = tmp_path / "autoencoder.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, file)
    stage = AutoencoderStage(autoencoder_config(tmp_path, f"init.{key}={file}"), CPU)
    stage.begin(0)
    assert all(norm.share == 1.0 for norm in stage.norms)  # not faded in again
    given = starting_autoencoder(stage.config).state_dict()
    for name, tensor in stage.autoencoder.state_dict().items():
        assert torch.equal(tensor, given[name])


def test_an_autoencoder_of_its_own_replaces_that_of_a_whole_model(tmp_path):
    config = small_config(tmp_path)
    whole = Components.random(config.model).to_original()
    own = Components.random(config.model).to_original()
    own = {key: tensor for key, tensor in own.items() if key.startswith("first_stage_model.")}
    inits = []
    for name, weights in (("model", whole), ("autoencoder", own)):
        file = tmp_path / f"{name}.safetensors"
        save_file(
            {key: tensor.contiguous() for key, tensor in weights.items()}, file, config.model.hints
        )
        inits.append(f"init.{name}={file}")
    config = small_config(tmp_path, *inits)
    for started in (starting_autoencoder(config), starting_components(config).autoencoder):
        weight = started.state_dict()["quant_conv.weight"]
        assert torch.equal(weight, own["first_stage_model.quant_conv.weight"])


def test_the_weight_keeps_holes_from_moving_the_latents_around_them(tmp_path):
    shifts = []
    for weight in (0, 10):
        torch.manual_seed(0)
        config = autoencoder_config(tmp_path, f"shift_weight={weight}", "masked_share=0")
        stage = AutoencoderStage(config, CPU)
        batch = small_batch(stage.config)
        learn(stage, batch, 30, 2e-3)
        shifts.append(float(stage.loss(stage.module, batch)[1]["shift"]))
    assert shifts[1] < 0.5 * shifts[0]


def test_the_autoencoder_learns(tmp_path):
    stage = AutoencoderStage(autoencoder_config(tmp_path), CPU)
    batch = small_batch(stage.config)
    before = stage.validate(stage.module, [batch])["psnr"]
    losses = learn(stage, batch, 30, 2e-3)
    assert losses[-1] < 0.6 * losses[0]
    assert stage.validate(stage.module, [batch])["psnr"] > before + 1
    assert stage.preview(batch).shape == (3, 4 * 32, 4 * 32)


def test_the_autoencoder_is_exported_normalized(tmp_path):
    stage = AutoencoderStage(autoencoder_config(tmp_path, "data.samples=20"), CPU)
    dataset = open_dataset(stage.config, stage.config.data)
    weights, hints = stage.export(lambda: dataset)
    assert hints == {}
    assert all(key.startswith("first_stage_model.") for key in weights)
    loaded = new_autoencoder(stage.config.model).eval()
    original = {key.removeprefix("first_stage_model."): value for key, value in weights.items()}
    load_original(loaded, original, autoencoder_names)
    images = torch.cat([batch.pictures.image for batch in fixed_batches(dataset, 20, 16)])
    scaled = latent_means(loaded, images) * SCALE
    torch.testing.assert_close(scaled.mean((0, 2, 3)), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(scaled.std((0, 2, 3)), torch.ones(4), atol=1e-3, rtol=0)
    with torch.no_grad():
        noise = torch.zeros(20, 4, 16, 16)
        before = reconstruct(stage.autoencoder, images, noise)
        after = reconstruct(loaded, images, noise)
    # untrained norms of flat pictures magnify rounding; in double precision they are equal
    torch.testing.assert_close(after, before, atol=5e-3, rtol=0)


def test_the_drawing_depends_on_the_view(tmp_path):
    stage = TowerStage(tower_config(tmp_path), CPU)
    view = small_batch(stage.config).pictures.exemplar
    with torch.no_grad():
        drawings = stage.module(view)
        again = stage.module(view.flip(0)).flip(0)
    assert drawings.shape == (4, 3, 32, 32)
    torch.testing.assert_close(again, drawings, atol=1e-5, rtol=1e-5)
    assert (drawings[0] - drawings[1]).abs().max() > 1e-3


def test_the_class_token_is_the_only_way_to_the_drawing(tmp_path):
    """With the tower's last norm answering alike, all views give the same drawing."""
    stage = TowerStage(tower_config(tmp_path), CPU)
    view = small_batch(stage.config).pictures.exemplar
    with torch.no_grad():
        token = stage.encoder.class_token(view)
        assert token.shape == (4, stage.config.model.encoder.vision_width)
        from_token = stage.module.decoder(token) + 0.5
        torch.testing.assert_close(stage.module(view), from_token)
        norm = dict(stage.encoder.clip_vision.named_modules())
        (last,) = (module for name, module in norm.items() if name.endswith("post_layernorm"))
        last.weight.zero_()
        drawings = stage.module(view)
    assert torch.equal(drawings[:1].expand_as(drawings), drawings)


def test_the_drawing_is_compared_with_the_object(tmp_path):
    class Drawer(torch.nn.Module):
        def forward(self, view):
            self.view = view
            return target + 0.5

    stage = TowerStage(tower_config(tmp_path, "model.encoder.image_size=64"), CPU)
    stage_batch = small_batch(stage.config)
    target = stage_batch.objects.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))  # 64² → 32²
    module = Drawer()
    loss, scalars = stage.loss(module, stage_batch)
    assert torch.equal(module.view, stage_batch.pictures.exemplar)
    assert float(loss) == pytest.approx(0.5 + 4 * 0.25, rel=1e-4)
    assert float(scalars["squared"]) == pytest.approx(0.25, rel=1e-4)


def test_the_tower_learns(tmp_path):
    stage = TowerStage(tower_config(tmp_path), CPU)
    batch = small_batch(stage.config)
    before = stage.validate(stage.module, [batch])["squared"]
    start = {name: value.clone() for name, value in stage.encoder.named_parameters()}
    losses = learn(stage, batch, 30, 2e-3)
    assert losses[-1] < 0.6 * losses[0]
    assert stage.validate(stage.module, [batch])["squared"] < 0.6 * before
    changed = {
        name.split(".")[0]
        for name, value in stage.encoder.named_parameters()
        if not torch.equal(value, start[name])
    }
    assert changed == {"clip_vision"}  # mapper, projection and null vector are the denoiser's
    assert stage.preview(batch).shape == (3, 4 * 96, 3 * 96)


def clip_names(layers):
    """Of a CLIP vision tower as OpenAI's weights are named in transformers."""
    with_bias = ["pre_layrnorm", "post_layernorm"]
    for layer in range(layers):
        parts = [f"self_attn.{name}_proj" for name in ("q", "k", "v", "out")]
        parts += ["layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2"]
        with_bias += [f"encoder.layers.{layer}.{part}" for part in parts]
    return {
        "embeddings.class_embedding",
        "embeddings.patch_embedding.weight",
        "embeddings.position_embedding.weight",
        *(f"{part}.{kind}" for part in with_bias for kind in ("weight", "bias")),
    }


def test_the_tower_is_exported_under_clips_names(tmp_path):
    stage = TowerStage(tower_config(tmp_path, "model.encoder.vision_layers=2"), CPU)
    weights, hints = stage.export(lambda: open_dataset(stage.config, stage.config.data))
    prefix = "cond_stage_model.transformer.vision_model."
    assert weights.keys() == {prefix + name for name in clip_names(2)}
    assert hints == {"exemplar_model": '{"unet_heads": 8, "vision_heads": 2}'}


def test_what_the_stages_export_starts_a_denoiser(tmp_path):
    from safetensors.torch import save_file

    config = small_config(tmp_path)
    for name, stage in (
        ("tower", TowerStage(config, CPU)),
        ("autoencoder", AutoencoderStage(config, CPU)),
    ):
        weights, hints = stage.export(lambda: open_dataset(config, config.data))
        weights = {key: tensor.contiguous() for key, tensor in weights.items()}
        save_file(weights, tmp_path / f"{name}.safetensors", hints)
        if name == "tower":
            tower = stage.encoder
    read = read_tower(tmp_path / "tower.safetensors")
    encoder = ExemplarEncoder(config.model.encoder)
    assert read.keys() == {key for key in encoder.state_dict() if key.startswith("clip_vision.")}
    inits = [f"init.{name}={tmp_path}/{name}.safetensors" for name in ("tower", "autoencoder")]
    started = starting_components(small_config(tmp_path, *inits))
    view = small_batch(config).pictures.exemplar
    with torch.no_grad():
        assert torch.equal(started.encoder.class_token(view), tower.eval().class_token(view))
