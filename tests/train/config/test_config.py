from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch

from danet_train.errors import ConfigError
from danet_train.training.config import TrainConfig, as_yaml, read_config
from danet_train.training.distributed import World

PACKAGED = sorted(path.stem for path in (Path(str(files("danet_train"))) / "configs").glob("*.yaml"))


@pytest.mark.parametrize("name", PACKAGED)
def test_every_packaged_configuration_is_accepted(name):
    assert read_config(name).steps > 0


def test_the_defaults_are_mmsegmentations_recipe_for_cityscapes():
    config = read_config("cityscapes_r50_512x1024_80k")
    assert (config.steps, config.batch_size) == (80_000, 8)
    assert (config.optimiser.kind, config.optimiser.lr, config.optimiser.momentum) == ("sgd", 0.01, 0.9)
    assert config.optimiser.weight_decay == 5e-4
    assert (config.schedule.power, config.schedule.eta_min) == (0.9, 1e-4)
    assert config.augmentation.crop_hw == (512, 1024)
    assert config.augmentation.scale == (0.5, 2.0)
    assert (config.loss.aux_weight, config.loss.mean_over, config.loss.class_balance) == (0.4, "all", 0.0)
    assert (config.model.depth, config.model.num_classes) == (50, 19)


def test_an_override_replaces_and_none_keeps(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("steps: 7\nseed: 3\n")
    config = read_config(str(path), steps=9, seed=None)
    assert (config.steps, config.seed) == (9, 3)


def test_an_empty_file_is_the_defaults(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("")
    assert read_config(str(path)) == TrainConfig()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepz: 3", "unknown key 'stepz'"),
        ("optimiser: {lrr: 3}", r"unknown key 'optimiser\.lrr'"),
        ("steps: '3'", "steps"),
        ("steps: 0", "steps"),
        ("optimiser: {kind: lion}", "lion"),
        ("model: {depth: 20}", "20"),
        ("model: {depth: 18, multi_grid: [1]}", "multi_grid"),
        ("augmentation: {scale: [2.0, 1.0]}", "low <= high"),
        ("seed: 9223372036854775808", "seed: Input should be less than or equal to 9223372036854775807"),
        (
            "augmentation: {crop_hw: [120, 193]}\nloss: {label_stride: 3}",
            r"multiple of .* \(120, 195\)",
        ),
        ("augmentation: {crop_hw: [769, 768]}\nloss: {label_stride: 3}", r"e\.g\. \(771, 768\)"),
        (
            "model: {align_corners: true}\naugmentation: {crop_hw: [120, 192]}\nloss: {label_stride: 3}",
            "set loss.label_stride: 1",
        ),
        ("optimiser: {lr: 1e}", "got '1e'"),
        ("- steps", "mapping"),
        ("steps: [", "not YAML"),
    ],
)
def test_a_wrong_setting_is_refused_by_name_and_file(tmp_path, text, message):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_config(str(path))
    assert "run.yaml" in str(caught.value)


def test_a_configuration_that_does_not_exist_lists_those_that_do():
    with pytest.raises(ConfigError, match="demo"):
        read_config("dem")


@pytest.mark.parametrize(
    ("written", "value"),
    [("1e-3", 1e-3), ("1E-3", 1e-3), ("1.e-3", 1e-3), ("1.5e-3", 1.5e-3), (".5e-2", 5e-3), ("+2e-3", 2e-3),
     ("3e+0", 3.0), ("1e1", 10.0), ("0.25", 0.25), ("2", 2.0)],
)  # fmt: skip
def test_a_number_is_read_as_yaml_1_2_has_it(tmp_path, written, value):
    path = tmp_path / "run.yaml"
    path.write_text(f"optimiser: {{lr: {written}}}")
    assert read_config(str(path)).optimiser.lr == value


@pytest.mark.parametrize("written", ["'1e-3'", "e-3", "1e-3x", "0x1e-3"])
def test_a_word_stays_a_word(tmp_path, written):
    path = tmp_path / "run.yaml"
    path.write_text(f"backbone_weights: {written}")
    assert read_config(str(path)).backbone_weights == written.strip("'")


def test_the_largest_seed_is_one_that_torch_and_numpy_take(tmp_path):
    seed = read_config("demo", seed=2**63 - 1).seed
    torch.manual_seed(seed)
    np.random.default_rng([seed, 1, 2]).random()
    assert World(rank=1, size=2).seed(seed) >= 0


@pytest.mark.parametrize("name", PACKAGED)
def test_a_configuration_that_is_shown_is_read_again_as_the_same(tmp_path, name):
    config = read_config(name)
    (tmp_path / "shown.yaml").write_text(as_yaml(config))
    again = read_config(str(tmp_path / "shown.yaml"))
    assert again == config.model_copy(update={"published": None})
    stated = ["num_classes" in one.model.model_fields_set for one in (again, config)]
    assert stated[0] == stated[1]
