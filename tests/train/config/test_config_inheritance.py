import pytest

from danet_train.errors import ConfigError
from danet_train.training.config import read_config


def _write(folder, **texts):
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return str(folder / f"{next(iter(texts))}.yaml")


def test_a_file_states_what_differs_from_its_base(tmp_path):
    run = _write(
        tmp_path,
        run="base: middle.yaml\noptimiser: {lr: 0.5}\nmodel: {multi_grid: null}\n"
        "augmentation: {scale: [1, 2]}",
        middle="base: sub/root.yaml\nseed: 5\nmodel: {depth: 101}",
    )
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "root.yaml").write_text(
        "steps: 7\nseed: 3\noptimiser: {lr: 0.1, momentum: 0.5}\n"
        "model: {depth: 50, multi_grid: [4, 8, 16]}\naugmentation: {scale: [0.5, 0.7], flip: 0.25}"
    )
    config = read_config(run)
    assert (config.steps, config.seed) == (7, 5)
    assert (config.optimiser.lr, config.optimiser.momentum) == (0.5, 0.5)
    assert (config.model.depth, config.model.multi_grid) == (101, None)
    assert (config.augmentation.scale, config.augmentation.flip) == ((1.0, 2.0), 0.25)
    assert read_config(run, steps=9).steps == 9


def test_a_packaged_configuration_is_a_base_by_its_name_but_not_its_published_result(tmp_path):
    config = read_config(_write(tmp_path, run="base: cityscapes_r101_769_40k\nsteps: 10"))
    assert (config.model.depth, config.augmentation.crop_hw, config.steps) == (101, (769, 769), 10)
    assert read_config("cityscapes_r101_769_40k").published is not None
    assert config.published is None


def test_what_a_base_states_of_the_model_counts_as_stated(tmp_path):
    config = read_config(_write(tmp_path, run="base: ade20k_r50_512_80k"))
    assert "num_classes" in config.model.model_fields_set


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"run": "base: run.yaml"}, r"run\.yaml is its own base: .*run\.yaml -> .*run\.yaml"),
        ({"run": "base: a.yaml", "a": "base: b.yaml", "b": "base: a.yaml"}, "own base"),
        ({"run": "base: none.yaml"}, r"there is no base 'none\.yaml'; .*cityscapes_r50_512x1024_80k"),
        ({"run": "base: 3"}, "base must be the name"),
        ({"run": "base: [demo]"}, "base must be the name"),
        ({"run": "base: a.yaml", "a": "- 3"}, r"a\.yaml must be a mapping"),
        ({"run": "base: a.yaml", "a": "a: ["}, r"a\.yaml is not YAML"),
        ({"run": "base: a.yaml", "a": "optimiser: {lrr: 1}"}, r"unknown key 'optimiser\.lrr'"),
        ({"run": "base: demo\noptimizer: {lr: 1}"}, "unknown key 'optimizer'"),
        ({"run": "base: demo\noptimiser: 3"}, "optimiser"),
    ],
)
def test_a_base_that_cannot_be_is_refused(tmp_path, texts, message):
    with pytest.raises(ConfigError, match=message):
        read_config(_write(tmp_path, **texts))
