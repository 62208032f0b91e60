"""Configurations: what is checked, what an error says, and that every key is explained."""

import dataclasses
import typing
from importlib import resources

import pytest
import yaml
from pydantic import ValidationError

from exemplar_model.training import config as configuration
from exemplar_model.training import data_config
from exemplar_model.training.config import TrainConfig, load_config
from exemplar_model.training.data_config import EncodedData, GeneratedData
from exemplar_model.training.section import ConfigError, Section

SHIPPED = sorted(
    file.name.removesuffix(".yaml")
    for file in (resources.files("exemplar_model.training") / "configs").iterdir()
    if file.name.endswith(".yaml")
)


def written(tmp_path, text):
    file = tmp_path / "run.yaml"
    file.write_text(text, encoding="utf-8")
    return str(file)


SMALLEST = "out: runs/x\ndata: {kind: generated}\nsteps: 3\nbatch: 2\n"


def sections(model):
    """The section and all within it."""
    yield model
    for field in model.model_fields.values():
        pending = [field.annotation]
        while pending:
            found = pending.pop()
            pending += typing.get_args(found)
            if isinstance(found, type) and issubclass(found, Section):
                yield from sections(found)


def test_sections_are_found_wherever_they_are():
    defined = {
        kind
        for kind in (vars(configuration) | vars(data_config)).values()
        if isinstance(kind, type) and issubclass(kind, Section) and kind is not Section
    }
    assert set(sections(TrainConfig)) == defined


@pytest.mark.parametrize("section", sorted(set(sections(TrainConfig)), key=lambda s: s.__name__))
def test_every_key_is_explained(section):
    unexplained = [
        name
        for name, field in section.model_fields.items()
        if not (field.description or "").strip() and name != "kind"
    ]
    assert unexplained == []
    assert section.__doc__.strip()


@pytest.mark.parametrize("section", sorted(set(sections(TrainConfig)), key=lambda s: s.__name__))
def test_sections_take_no_unknown_key_and_do_not_change(section):
    assert section.model_config["extra"] == "forbid"
    assert section.model_config["frozen"] is True


def test_a_configuration_does_not_change():
    config = load_config("smoke")
    with pytest.raises(ValidationError, match="frozen"):
        config.steps = 5
    with pytest.raises(ValidationError, match="frozen"):
        config.augmentation.flip = 0.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.model.encoder.vision_width = 1


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_configuration_loads(name, tmp_path):
    config = load_config(name, [f"out={tmp_path}", "steps=7"])
    assert (config.out, config.steps) == (tmp_path, 7)
    assert load_config(name).batch == config.batch
    factor = config.model.factor
    assert config.resolution % factor == 0
    assert config.batch % config.micro_batch == 0


def test_the_shipped_configurations_are_known():
    assert {"openimages_512", "smoke", "tiny", "tiny_autoencoder", "tiny_tower"} <= set(SHIPPED)


def test_the_paper_is_trained_as_published():
    config = load_config("openimages_512")
    published = {
        "stage": "denoiser",
        "resolution": 512,
        "batch": 256,
        "micro_batch": 4,
        "steps": 40 * 1_900_000 // 256,
        "seed": 23,
        "learning_rate": 1e-5,
        "warmup": 10_000,
        "decay": "constant",
        "weight_decay": 0.01,
        "gradient_clip": None,
        "precision": "no",
        "gradient_checkpointing": True,
        "ema": None,
        "drop": 0.2,
        "min_snr": None,
        "hole_weight": 1.0,
    }
    assert {name: getattr(config, name) for name in published} == published
    assert config.augmentation == configuration.Augmentation()
    assert config.model.unet_channels == (320, 640, 1280, 1280)


def test_the_stages_of_the_small_model_agree():
    stages = [load_config(name) for name in ("tiny_autoencoder", "tiny_tower", "tiny")]
    assert [config.stage for config in stages] == ["autoencoder", "tower", "denoiser"]
    assert stages[0].model == stages[1].model == stages[2].model
    assert len({config.resolution for config in stages}) == 1
    assert len({config.augmentation for config in stages}) == 1
    assert stages[2].init.autoencoder == stages[0].out / "model.safetensors"
    assert stages[2].init.tower == stages[1].out / "model.safetensors"


def test_a_file_needs_few_keys(tmp_path):
    config = load_config(written(tmp_path, SMALLEST))
    assert config.data == GeneratedData(kind="generated")
    assert config.stage == "denoiser"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SMALLEST + "learning_rat: 1\n", "there is no key learning_rat"),
        (SMALLEST + "augmentation: {flop: 1}\n", r"there is no key augmentation\.flop"),
        (SMALLEST + "model: {unet_widths: [1]}\n", r"there is no key model\.unet_widths"),
        (SMALLEST + "model: {encoder: {depth: 1}}\n", r"there is no key model\.encoder\.depth"),
        (SMALLEST.replace("generated", "generated, sample: 1"), r"there is no key data\.sample"),
        (SMALLEST.replace("steps: 3\n", ""), "steps is missing"),
        (SMALLEST.replace("generated", "cutouts"), r"data\.objects is missing"),
        (
            SMALLEST.replace("steps: 3", "steps: many"),
            "steps is 'many': input should be a valid int",
        ),
        (
            SMALLEST.replace("steps: 3", "steps: 2.5"),
            "steps is 2.5: input should be a valid integer",
        ),
        (SMALLEST.replace("steps: 3", "steps: 0"), "steps is 0: input should be greater than"),
        (SMALLEST + "drop: 1.5\n", "drop is 1.5: input should be less than or equal to 1"),
        (SMALLEST + "ema: 1\n", "ema is 1: input should be less than 1"),
        (
            SMALLEST + "timestep_sampling: min_snr\n",
            "timestep_sampling is 'min_snr': it needs a value for the key min_snr",
        ),
        (SMALLEST + "stage: vae\n", "stage is 'vae': input should be 'denoiser'"),
        (SMALLEST + "seed: -1\n", "seed is -1: input should be greater than or equal to 0"),
        (SMALLEST + "model: {unet_channels: [32, x]}\n", r"model\.unet_channels\.1 is 'x'"),
        (SMALLEST.replace("generated", "photos"), "data is .*'kind'.*generated"),
        (SMALLEST.replace("generated", "generated, samples: 0"), r"data\.samples is 0"),
        (SMALLEST.replace("kind: generated", "samples: 1"), "data is .*'kind'"),
    ],
)
def test_an_error_names_file_key_and_reason(tmp_path, text, message):
    with pytest.raises(ConfigError, match=rf"run\.yaml: .*{message}") as error:
        load_config(written(tmp_path, text))
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")


def test_all_faults_are_named_at_once(tmp_path):
    with pytest.raises(ConfigError) as error:
        load_config(written(tmp_path, SMALLEST + "drop: 2\nstep: 1\n"))
    assert "drop is 2" in str(error.value)
    assert "there is no key step" in str(error.value)


@pytest.mark.parametrize("text", ["", "- steps\n", "steps\n"])
@pytest.mark.parametrize("overrides", [(), ("steps=3",)])
def test_a_file_without_keys_is_refused(tmp_path, text, overrides):
    with pytest.raises(ConfigError, match=r"run\.yaml holds no keys"):
        load_config(written(tmp_path, text), overrides)


@pytest.mark.parametrize("text", ["steps: [1\n", "steps: 1: 2\n", "out: \tx\n\t- y\n"])
def test_bad_yaml_is_refused(tmp_path, text):
    with pytest.raises(ConfigError, match=r"run\.yaml is not valid YAML \(.+line 1.*\)\."):
        load_config(written(tmp_path, text))


def test_yaml_makes_no_objects(tmp_path):
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(written(tmp_path, "out: !!python/object/apply:os.getcwd []\n"))


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ConfigError) as error:
        load_config("smok")
    assert "There is no configuration smok;" in str(error.value)
    assert ", ".join(SHIPPED) in str(error.value)


def test_a_file_comes_before_a_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smoke").write_text(SMALLEST)
    assert load_config("smoke").steps == 3


def test_overrides_are_yaml_values():
    config = load_config(
        "smoke",
        [
            "steps=20",
            "learning_rate=1e-4",
            "out=a=b",
            "keep_samples=true",
            "gradient_clip=null",
        ],
    )
    assert (config.steps, config.learning_rate, str(config.out)) == (20, 1e-4, "a=b")
    assert config.keep_samples
    assert config.gradient_clip is None


@pytest.mark.parametrize("value", ["no", "'no'", "bf16"])
def test_precision_may_be_a_bare_no(value):
    assert load_config("smoke", [f"precision={value}"]).precision == value.strip("'")
    with pytest.raises(ConfigError, match="precision is True"):
        load_config("smoke", ["precision=yes"])


def test_overrides_reach_into_sections():
    config = load_config(
        "smoke", ["data.samples=64", "augmentation.flip=0", "validation.previews=2"]
    )
    assert config.data == GeneratedData(kind="generated", samples=64)
    assert (config.augmentation.flip, config.augmentation.jitter) == (0, 2)
    assert config.validation.previews == 2


def test_overrides_reach_into_the_model():
    config = load_config("smoke", ["model.unet_channels=[32,96]", "model.encoder.patch_size=28"])
    plain = load_config("smoke").model
    assert config.model.unet_channels == (32, 96)
    encoder = dataclasses.replace(plain.encoder, patch_size=28)
    assert config.model == dataclasses.replace(plain, unet_channels=(32, 96), encoder=encoder)


def test_overrides_make_sections_that_the_file_leaves_out(tmp_path):
    file = written(tmp_path, SMALLEST)
    config = load_config(file, ["augmentation.flip=0.25", "model.encoder.patch_size=32"])
    assert config.augmentation == configuration.Augmentation(flip=0.25)
    assert config.model.encoder.patch_size == 32
    assert config.model.encoder.vision_width == 1024


def test_a_section_can_be_replaced(tmp_path):
    config = load_config("smoke", [f"data={{kind: encoded, folder: {tmp_path}}}"])
    assert config.data == EncodedData(kind="encoded", folder=tmp_path)


def test_the_last_override_counts():
    assert load_config("smoke", ["steps=1", "steps=2"]).steps == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("steps", "steps is not an override; write key=value, such as steps=20"),
        ("=3", "=3 is not an override; write key=value, such as steps=20"),
        ("steps.more=1", r"steps\.more: steps is a value, not a section"),
        ("data.kind.x=1", r"data\.kind\.x: kind is a value, not a section"),
        ("model.encoder.layers=2", r"there is no key model\.encoder\.layers"),
        ("model.unet_layers=two", r"model\.unet_layers is 'two'"),
        ("stpes=2", "there is no key stpes"),
        ("steps=[1", r"steps=\[1 is not valid YAML"),
    ],
)
def test_a_bad_override_is_named(override, message):
    with pytest.raises(ConfigError, match=message):
        load_config("smoke", [override])


def test_a_configuration_survives_yaml(tmp_path):
    config = load_config("tiny")
    text = yaml.safe_dump(config.model_dump(mode="json"))
    assert load_config(written(tmp_path, text)) == config
