"""A published recipe that cannot reach its score here is told so before it trains."""

from danet_train.cli.recipe_warnings import recipe_warnings
from danet_train.training.config import read_config
from danet_train.training.distributed import ALONE, World

PUBLISHED = "cityscapes_r50_512x1024_80k"


def test_a_recipe_for_gpus_without_weights_on_a_cpu_is_warned_of_twice():
    config = read_config(PUBLISHED, "device=cpu")
    weights, device = recipe_warnings(config, PUBLISHED, ALONE, begins=True)
    assert "backbone_weights=FILE" in weights
    assert f"{config.published.miou:.2f}" in weights
    assert "recipe for GPUs" in device
    assert "80000 steps of 8 crops" in device


def test_weights_that_are_given_or_loaded_are_not_missed():
    given = read_config(PUBLISHED, "device=cpu", "backbone_weights=resnet50.pth")
    assert len(recipe_warnings(given, PUBLISHED, ALONE, begins=True)) == 1
    resumed = recipe_warnings(read_config(PUBLISHED, "device=cpu"), PUBLISHED, ALONE, begins=False)
    assert len(resumed) == 1


def test_recipes_for_a_cpu_and_processes_that_do_not_print_say_nothing():
    assert recipe_warnings(read_config("demo"), "demo", ALONE, begins=True) == []
    other = World(rank=1, size=2, local_rank=1)
    assert recipe_warnings(read_config(PUBLISHED, "device=cpu"), PUBLISHED, other, begins=True) == []
