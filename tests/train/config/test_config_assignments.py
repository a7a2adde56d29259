"""Settings of the command line, over those of a configuration's file."""

import os
import time

import pytest

from danet_train.config.inheritance import read_settings
from danet_train.errors import ConfigError
from danet_train.files.limited import MOST_VALUES
from danet_train.training.config import read_config

FILE = """
steps: 7
model: {depth: 50, multi_grid: [4, 8, 16]}
optimiser: {lr: 0.1, momentum: 0.5}
loss: {ohem: {threshold: 0.6}}
"""


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run.yaml").write_text(FILE)
    return str(tmp_path / "run.yaml")


def test_an_assignment_sets_one_key_and_leaves_those_beside_it(run):
    config = read_config(
        run,
        "steps=9",
        "optimiser.lr=1e-3",
        "model.multi_grid=null",
        "augmentation.scale=[1, 2]",
        "loss.ohem.min_kept=5",
        "backbone_weights=a=b.pt",
    )
    assert (config.steps, config.backbone_weights) == (9, "a=b.pt")
    assert (config.optimiser.lr, config.optimiser.momentum) == (0.001, 0.5)
    assert (config.model.depth, config.model.multi_grid) == (50, None)
    assert config.augmentation.scale == (1.0, 2.0)
    assert (config.loss.ohem.threshold, config.loss.ohem.min_kept) == (0.6, 5)


def test_a_mapping_is_merged_and_stands_where_it_is_given(run):
    assert read_config(run, "optimiser={momentum: 0.25}").optimiser.lr == 0.1
    config = read_config(run, "optimiser.lr=0.2", "optimiser={lr: 0.3}", "optimiser.momentum=0.75")
    assert (config.optimiser.lr, config.optimiser.momentum) == (0.3, 0.75)


def test_what_is_set_of_the_model_counts_as_stated(run):
    assert "num_classes" in read_config(run, "model.num_classes=5").model.model_fields_set


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("demo", r"expected KEY=VALUE, e\.g\. optimiser\.lr=0\.02.* \(got 'demo'\)"),
        ("=3", "expected KEY=VALUE"),
        ("steps=", "=null for none"),
        ("optimiser..lr=3", "expected KEY=VALUE"),
        ("model.multi_grid[0]=3", "expected KEY=VALUE"),
        ("stepz=3", r"run\.yaml with stepz=3: unknown key 'stepz'"),
        ("optimiser.lrr=3", r"unknown key 'optimiser\.lrr'"),
        ("steps.more=3", "steps: Input should be a valid integer"),
        ("steps='3'", "steps: Input should be a valid integer"),
        ("optimiser.lr=-1", r"optimiser\.lr: Input should be greater than 0 \(got -1\)"),
        ("base=demo", "unknown key 'base'"),
        ("augmentation.scale=[1, 2", "the value of augmentation.scale is not YAML"),
        ("seed=!!python/object/apply:os.getpid []", "the value of seed is not YAML"),
        ("seed=\udcff", "the value of seed is not YAML"),
    ],
)
def test_what_cannot_be_set_is_refused_in_words(run, assignment, message):
    with pytest.raises(ConfigError, match=message):
        read_config(run, assignment)


def test_a_key_is_set_once(run):
    with pytest.raises(ConfigError, match="steps is set twice, by 'steps=3' and 'steps=4'; leave one out"):
        read_config(run, "steps=3", "seed=1", "steps=4")


@pytest.mark.slow
@pytest.mark.parametrize(
    "bomb", ["[" * 20000, "[" + "0, " * MOST_VALUES + "0]", "9" * 20000, "1" + ":59" * 100000]
)
def test_a_value_beyond_the_limits_is_refused_at_once(run, bomb):
    started = time.process_time()
    with pytest.raises(ConfigError, match="the value of seed cannot be taken"):
        read_config(run, f"seed={bomb}")
    assert time.process_time() - started < 30


@pytest.mark.parametrize("word", ["${oc.env:HOME}", "${seed}", "${", "???", "%(HOME)s", "$HOME", "~"])
def test_no_word_of_a_file_or_of_an_assignment_is_replaced_by_another(tmp_path, word):
    """A file of another must not learn of this machine, nor a word be taken for a setting that is missing."""
    (tmp_path / "base.yaml").write_text("backbone_weights: other.pt\n")
    (tmp_path / "run.yaml").write_text(f"base: base.yaml\nbackbone_weights: '{word}'\n")
    assert "HOME" in os.environ
    assert read_settings(tmp_path / "run.yaml") == {"backbone_weights": word}
    assert read_config(str(tmp_path / "base.yaml"), f"backbone_weights='{word}'").backbone_weights == word
