"""Loss, conditioning and trained parameters against the reference's formulas."""

import numpy as np
import pytest
import torch
from support.training import small_batch, small_config, with_draws
from torch import nn

from exemplar_model.standalone.components import Components, new_unet
from exemplar_model.training.data.open import open_dataset
from exemplar_model.training.data.sample import Encoded, collate
from exemplar_model.training.section import ConfigError
from exemplar_model.training.stages.denoiser import DenoiserStage
from exemplar_model.training.stages.initial_weights import read_tower, starting_components, widened
from exemplar_model.training.stages.latents import sample_posterior
from exemplar_model.weights.key_maps import unet_from_diffusers
from exemplar_model.weights.reading import CheckpointError

CPU = torch.device("cpu")


class Fixed(nn.Module):
    """Records its arguments and answers with a given prediction."""

    def __init__(self, prediction):
        super().__init__()
        self.prediction = prediction

    def forward(self, unet_input, timestep, class_token, dropped):
        self.unet_input, self.timestep, self.dropped = unet_input, timestep, dropped
        return self.prediction


@pytest.fixture
def stage(tmp_path):
    torch.manual_seed(0)
    return DenoiserStage(small_config(tmp_path), CPU)


@pytest.fixture
def batch(stage):
    return small_batch(stage.config)


def reference_alpha(timestep):
    """ᾱ of ddpm.py with `linear` (scaled-linear) betas, in numpy."""
    betas = np.linspace(0.00085**0.5, 0.0120**0.5, 1000, dtype=np.float64) ** 2
    return np.cumprod(1 - betas)[timestep]


def test_unet_input_is_noisy_latents_masked_latents_keep_mask(stage, batch):
    encoded = stage.encode(batch)
    unet_input = stage.unet_input(encoded, batch, batch.draws.timestep)
    posterior = stage.autoencoder.encode(batch.pictures.image).latent_dist
    clean = (posterior.mean + posterior.std * batch.draws.posterior_noise) * 0.18215
    masked_image = batch.pictures.image * batch.pictures.keep_mask
    posterior = stage.autoencoder.encode(masked_image).latent_dist
    masked = (posterior.mean + posterior.std * batch.draws.masked_posterior_noise) * 0.18215
    for i, timestep in enumerate(batch.draws.timestep):
        alpha = reference_alpha(int(timestep))
        noisy = alpha**0.5 * clean[i] + (1 - alpha) ** 0.5 * batch.draws.noise[i]
        torch.testing.assert_close(unet_input[i, :4], noisy.float(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(unet_input[:, 4:8], masked, atol=1e-5, rtol=1e-4)
    keep = nn.functional.interpolate(batch.pictures.keep_mask, size=(8, 8), mode="bilinear")
    torch.testing.assert_close(unet_input[:, 8:], keep)
    assert unet_input.shape[1] == 9


def test_loss_is_the_mean_squared_error_of_the_noise_over_the_whole_latent(stage, batch):
    prediction = torch.randn_like(batch.draws.noise)
    loss, _ = stage.loss(Fixed(prediction), batch)
    expected = ((prediction - batch.draws.noise) ** 2).numpy().mean()
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_a_perfect_prediction_costs_nothing(stage, batch):
    loss, scalars = stage.loss(Fixed(batch.draws.noise), batch)
    assert float(loss) == 0.0
    assert float(scalars["hole"]) == 0.0


def test_hole_weight_counts_the_hole_more_and_keeps_the_scale(tmp_path, batch):
    stage = DenoiserStage(small_config(tmp_path, "hole_weight=3"), CPU)
    everywhere, _ = stage.loss(Fixed(batch.draws.noise + 1.0), batch)
    assert float(everywhere) == pytest.approx(1.0, rel=1e-5)
    keep = stage.encode(batch).keep_mask
    in_hole, _ = stage.loss(Fixed(batch.draws.noise + (1 - keep)), batch)
    share = ((1 - keep) ** 2 * (3 - 2 * keep)).mean((1, 2, 3)) / (3 - 2 * keep).mean((1, 2, 3))
    assert float(in_hole) == pytest.approx(float(share.mean()), rel=1e-5)


def test_min_snr_weights_each_sample(tmp_path, batch):
    stage = DenoiserStage(small_config(tmp_path, "min_snr=5"), CPU)
    loss, _ = stage.loss(Fixed(batch.draws.noise + 1.0), batch)
    alpha = reference_alpha(batch.draws.timestep.numpy())
    snr = alpha / (1 - alpha)
    assert float(loss) == pytest.approx((np.minimum(snr, 5) / snr).mean(), rel=1e-4)


def test_drawing_timesteps_by_their_weight_costs_what_weighting_them_does(tmp_path, batch):
    """On average over all timesteps, up to the mean weight; the error falls with the timestep."""
    weighting = DenoiserStage(small_config(tmp_path, "min_snr=1"), CPU)
    drawing = DenoiserStage(small_config(tmp_path, "min_snr=1", "timestep_sampling=min_snr"), CPU)
    repeated = collate([open_dataset(weighting.config, weighting.config.data)[0, 0]] * 50)

    class Guess(nn.Module):
        def forward(self, unet_input, timestep, class_token, dropped):
            error = (1 - reference_alpha(timestep.numpy())) ** -0.25
            return repeated.draws.noise + torch.from_numpy(error).float()[:, None, None, None]

    def mean_loss(stage):
        losses = [
            stage.loss(Guess(), with_draws(repeated, timestep=timestep))[0]
            for timestep in torch.arange(1000).split(50)
        ]
        return float(torch.stack(losses).mean())

    mean_weight = float(weighting.min_snr_weight(torch.arange(1000)).mean())
    assert mean_weight < 0.8
    assert mean_loss(drawing) * mean_weight == pytest.approx(mean_loss(weighting), rel=2e-3)


def test_all_timesteps_are_drawn_alike_by_default(stage):
    assert torch.equal(stage.timesteps, torch.arange(1000))


def test_memory_format_changes_no_loss(tmp_path, batch):
    losses = []
    for channels_last in (False, True):
        torch.manual_seed(0)
        stage = DenoiserStage(small_config(tmp_path, f"channels_last={channels_last}"), CPU)
        weight = stage.module.unet.conv_in.weight
        assert weight.is_contiguous(memory_format=torch.channels_last) == channels_last
        losses.append(float(stage.loss(stage.module, batch)[0].detach()))
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_each_sample_drops_its_condition_by_its_own_coin(stage, batch):
    batch = with_draws(batch, uniform=torch.tensor([0.1, 0.3, 0.19, 0.2]))
    module = Fixed(batch.draws.noise)
    stage.loss(module, batch)
    assert module.dropped.tolist() == [True, False, True, False]


def test_the_reference_drops_the_whole_micro_batch(tmp_path, batch):
    stage = DenoiserStage(small_config(tmp_path, "drop_per=batch"), CPU)
    module = Fixed(batch.draws.noise)
    for first, dropped in ((0.1, True), (0.9, False)):
        stage.loss(module, with_draws(batch, uniform=torch.tensor([first, 0.0, 0.5, 0.99])))
        assert module.dropped.tolist() == [dropped] * 4


def gradients(stage, batch):
    stage.loss(stage.module, batch)[0].backward()
    return {n for n, p in stage.module.named_parameters() if p.grad is not None and p.grad.any()}


def test_gradient_reaches_all_that_is_trained_and_nothing_else(stage, batch):
    batch = with_draws(batch, uniform=torch.tensor([0.0, 0.9, 0.0, 0.9]))
    reached = gradients(stage, batch)
    groups = {name.split(".")[0] for name in reached}
    assert groups == {"unet", "mapper", "final_ln", "proj_out", "uncond_vector"}
    frozen = [*stage.autoencoder.parameters(), *stage.tower.parameters()]
    assert all(not p.requires_grad and p.grad is None for p in frozen)


def test_the_null_vector_learns_from_dropped_samples_only(stage, batch):
    batch = with_draws(batch, uniform=torch.tensor([0.9] * 4))
    assert "uncond_vector" not in gradients(stage, batch)


def test_the_mapper_learns_from_the_other_samples_only(stage, batch):
    batch = with_draws(batch, uniform=torch.tensor([0.0] * 4))
    reached = gradients(stage, batch)
    assert "uncond_vector" in reached
    assert not any(name.startswith(("mapper", "proj_out", "final_ln")) for name in reached)


def test_trained_parameters_are_those_of_the_paper(stage):
    trained = {id(p) for p in stage.module.parameters() if p.requires_grad}
    encoder = stage.components.encoder
    wanted = [*stage.components.unet.parameters(), encoder.uncond_vector]
    for part in (encoder.mapper, encoder.final_ln, encoder.proj_out):
        wanted += part.parameters()
    assert trained == {id(p) for p in wanted}


def test_the_exemplar_reaches_the_unet_through_one_token(stage, batch):
    encoded = stage.encode(batch)
    context = stage.components.encoder.project(encoded.class_token[:, None])
    assert context.shape == (4, 1, stage.config.model.encoder.context_dim)


def test_posterior_sample_is_mean_plus_deviation_times_noise():
    mean, logvar, noise = torch.randn(3, 2, 4, 3, 3)
    expected = (mean + (logvar / 2).exp() * noise) * 0.18215
    torch.testing.assert_close(sample_posterior(torch.cat([mean, logvar], 1), noise), expected)


def test_validation_tells_the_exemplar_from_another(stage, batch):
    class Reader(nn.Module):
        """Predicts the noise exactly for the right token, and nothing for others."""

        def forward(self, unet_input, timestep, class_token, dropped):
            right = (class_token == token).all(1) & ~dropped
            return torch.where(right[:, None, None, None], batch.draws.noise, 0.0)

    token = stage.encode(batch).class_token
    losses = stage.validate(Reader(), [batch])
    assert losses["true"] == 0.0
    assert losses["shuffled"] > 0.5
    assert losses["null"] > 0.5
    assert losses["gap"] == losses["shuffled"]


def test_encoded_samples_take_the_same_way(stage, batch):
    encoded = stage.encode(batch)
    halved = Encoded(*(tensor.half() for tensor in encoded))
    again = stage.encode(batch._replace(content=halved))
    assert isinstance(again, Encoded)
    assert again.moments.dtype == torch.float32
    torch.testing.assert_close(again.moments, encoded.moments, atol=1e-2, rtol=1e-2)
    torch.testing.assert_close(again.class_token, encoded.class_token, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("layout", ["file", "folder", "folder of pickles"])
def test_at_first_the_widened_unet_predicts_what_stable_diffusion_did(tmp_path, layout):
    from diffusers import UNet2DConditionModel
    from safetensors.torch import load_file, save_file

    config = small_config(tmp_path)
    torch.manual_seed(1)
    shape = dict(new_unet(config.model).config)
    plain = UNet2DConditionModel.from_config({**shape, "in_channels": 4})
    components = Components.random(config.model)
    original = unet_from_diffusers(plain.state_dict())
    rest = {k: v for k, v in components.to_original().items() if "first_stage_model" in k}
    checkpoint = tmp_path / ("sd.safetensors" if layout == "file" else "sd")
    tower = components.encoder.clip_vision
    tower.save_pretrained(tmp_path / "clip")
    if layout == "file":
        save_file(
            {**rest, **{f"model.diffusion_model.{k}": v.contiguous() for k, v in original.items()}},
            checkpoint,
        )
    else:
        plain.save_pretrained(checkpoint / "unet")
        components.autoencoder.save_pretrained(checkpoint / "vae")
        (checkpoint / "text_encoder").mkdir()  # as Stable Diffusion has one
    if layout == "folder of pickles":
        for file in [*checkpoint.rglob("*.safetensors"), tmp_path / "clip" / "model.safetensors"]:
            name = "pytorch_model.bin" if file.name == "model.safetensors" else f"{file.stem}.bin"
            # as PyTorch wrote before 1.6, and CLIP's own repository has it
            pickled = file.with_name(name)
            torch.save(load_file(file), pickled, _use_new_zipfile_serialization=False)
            file.unlink()

    overrides = (f"init.stable_diffusion={checkpoint}", f"init.tower={tmp_path / 'clip'}")
    started = starting_components(small_config(tmp_path, *overrides))
    latents, rest_channels = torch.randn(2, 4, 8, 8), torch.randn(2, 5, 8, 8)
    context = torch.randn(2, 1, config.model.encoder.context_dim)
    wide = torch.cat([latents, rest_channels], 1)
    torch.testing.assert_close(
        started.unet(wide, 10, context).sample, plain.eval()(latents, 10, context).sample
    )
    for key, tensor in started.autoencoder.state_dict().items():
        assert torch.equal(tensor, components.autoencoder.state_dict()[key])
    for key, tensor in started.encoder.clip_vision.state_dict().items():
        assert torch.equal(tensor, tower.state_dict()[key])


def test_starting_from_stable_diffusion_needs_a_tower(tmp_path):
    file = tmp_path / "sd.safetensors"
    file.touch()
    with pytest.raises(ConfigError, match=r"init\.tower is missing"):
        starting_components(small_config(tmp_path, f"init.stable_diffusion={file}"))


def test_an_inpainting_unet_is_not_widened():
    with pytest.raises(CheckpointError, match="takes 9 channels"):
        widened({"input_blocks.0.0.weight": torch.zeros(32, 9, 3, 3)})


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"init\.model: there is no .*nowhere"):
        starting_components(small_config(tmp_path, f"init.model={tmp_path / 'nowhere.ckpt'}"))


def test_a_file_without_a_tower_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"something": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="no CLIP vision tower"):
        read_tower(tmp_path / "x.safetensors")


def test_sizes_that_do_not_fit_are_named(tmp_path):
    from safetensors.torch import save_file

    other = Components.random(small_config(tmp_path, "model.autoencoder_channels=[64,64]").model)
    weights = {k: v for k, v in other.to_original().items() if k.startswith("first_stage_model")}
    save_file(weights, tmp_path / "vae.safetensors")
    with pytest.raises(ConfigError, match=r"vae\.safetensors does not fit"):
        starting_components(small_config(tmp_path, f"init.autoencoder={tmp_path}/vae.safetensors"))
