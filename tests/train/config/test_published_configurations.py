"""Each published result has a configuration, and each says what its reference does."""

import pytest
import torch
import typer
from typer.testing import CliRunner

from danet_train.cli.train import train
from danet_train.config.inheritance import packaged_names
from danet_train.model.danet import DANet
from danet_train.training.config import read_config

# mmsegmentation's configs/danet/metafile.yaml: steps, batch, classes, crop, base, mIoU, with scales and flip.
MMSEGMENTATION = {
    "cityscapes_r50_512x1024_40k": (50, 40_000, 8, 19, (512, 1024), (1024, 2048), 78.74, None),
    "cityscapes_r50_512x1024_80k": (50, 80_000, 8, 19, (512, 1024), (1024, 2048), 79.34, None),
    "cityscapes_r101_512x1024_40k": (101, 40_000, 8, 19, (512, 1024), (1024, 2048), 80.52, None),
    "cityscapes_r101_512x1024_80k": (101, 80_000, 8, 19, (512, 1024), (1024, 2048), 80.41, None),
    "cityscapes_r50_769_40k": (50, 40_000, 8, 19, (769, 769), (1025, 2049), 78.88, 80.62),
    "cityscapes_r50_769_80k": (50, 80_000, 8, 19, (769, 769), (1025, 2049), 79.27, 80.96),
    "cityscapes_r101_769_40k": (101, 40_000, 8, 19, (769, 769), (1025, 2049), 79.88, 81.47),
    "cityscapes_r101_769_80k": (101, 80_000, 8, 19, (769, 769), (1025, 2049), 80.47, 82.02),
    "ade20k_r50_512_80k": (50, 80_000, 16, 150, (512, 512), (512, 2048), 41.66, 42.90),
    "ade20k_r50_512_160k": (50, 160_000, 16, 150, (512, 512), (512, 2048), 42.45, 43.25),
    "ade20k_r101_512_80k": (101, 80_000, 16, 150, (512, 512), (512, 2048), 43.64, 45.19),
    "ade20k_r101_512_160k": (101, 160_000, 16, 150, (512, 512), (512, 2048), 44.17, 45.02),
    "voc2012_r50_512_20k": (50, 20_000, 16, 21, (512, 512), (512, 2048), 74.45, 75.69),
    "voc2012_r50_512_40k": (50, 40_000, 16, 21, (512, 512), (512, 2048), 76.37, 77.29),
    "voc2012_r101_512_20k": (101, 20_000, 16, 21, (512, 512), (512, 2048), 76.02, 77.23),
    "voc2012_r101_512_40k": (101, 40_000, 16, 21, (512, 512), (512, 2048), 76.51, 77.32),
}

# Fu et al. 2019, Table 1: mIoU, PAM, CAM.
ABLATION = {
    "cityscapes_paper_r50_fcn": (70.03, False, False),
    "cityscapes_paper_r50_pam": (75.74, True, False),
    "cityscapes_paper_r50_cam": (74.28, False, True),
    "cityscapes_paper_r50_danet": (76.34, True, True),
    "cityscapes_paper_r101_fcn": (72.54, False, False),
    "cityscapes_paper_r101_pam": (77.03, True, False),
    "cityscapes_paper_r101_cam": (76.55, False, True),
    "cityscapes_paper_r101_danet": (77.57, True, True),
}
AUTHORS = {"cityscapes_authors_r50": 50, "cityscapes_authors_r101": 101}
OWN = {"demo", "camvid_r18_small"}


def test_there_is_a_configuration_for_each_published_result_and_no_other():
    assert set(packaged_names()) == {*MMSEGMENTATION, *ABLATION, *AUTHORS, *OWN}


@pytest.mark.parametrize("name", MMSEGMENTATION)
def test_mmsegmentations_recipes_are_theirs(name):
    depth, steps, batch, classes, crop_hw, base_hw, miou, multi_scale_miou = MMSEGMENTATION[name]
    config = read_config(name)
    assert (config.steps, config.batch_size) == (steps, batch)
    optimiser, schedule, loss = config.optimiser, config.schedule, config.loss
    assert (optimiser.kind, optimiser.lr, optimiser.momentum, optimiser.weight_decay) == (
        "sgd",
        0.01,
        0.9,
        5e-4,
    )
    assert (optimiser.head_lr_factor, optimiser.clip_norm) == (1.0, None)
    assert (schedule.power, schedule.eta_min, schedule.warmup_steps) == (0.9, 1e-4, 0)
    assert (loss.branch_weight, loss.aux_weight, loss.mean_over, loss.class_balance) == (1.0, 0.4, "all", 0.0)
    augmentation = config.augmentation
    assert (augmentation.kind, augmentation.scale, augmentation.base_hw, augmentation.crop_hw) == (
        "mmsegmentation",
        (0.5, 2.0),
        base_hw,
        crop_hw,
    )
    assert (augmentation.crop_max_ratio, augmentation.flip, augmentation.photometric) == (0.75, 0.5, 0.5)
    assert (augmentation.brightness, augmentation.contrast, augmentation.hue_degrees) == (
        32.0,
        (0.5, 1.5),
        36.0,
    )
    model = config.model
    assert (model.depth, model.num_classes, model.align_corners) == (depth, classes, crop_hw == (769, 769))
    assert (model.stem, model.stem_channels, model.multi_grid, model.dropout) == ("deep", 64, None, 0.1)
    assert (model.aux_channels, model.pam, model.cam) == (256, True, True)
    assert config.published.source == "mmsegmentation"
    assert (config.published.miou, config.published.multi_scale_miou) == (miou, multi_scale_miou)


@pytest.mark.parametrize("name", [*AUTHORS, *ABLATION])
def test_the_authors_recipes_are_theirs(name):
    config = read_config(name)
    ablation = name in ABLATION
    assert (config.steps, config.batch_size) == (240 * (2975 // 8), 8)
    optimiser = config.optimiser
    assert (optimiser.kind, optimiser.momentum, optimiser.weight_decay) == ("sgd", 0.9, 1e-4)
    assert (optimiser.lr, optimiser.head_lr_factor) == (0.01 if ablation else 0.003, 10.0)
    assert (config.schedule.power, config.schedule.eta_min) == (0.9, 0.0)
    assert (config.loss.branch_weight, config.loss.mean_over, config.loss.class_balance) == (
        1.0,
        "valid",
        0.0,
    )
    augmentation = config.augmentation
    assert (augmentation.kind, augmentation.base_hw, augmentation.crop_hw) == (
        "authors",
        (1024, 2048),
        (768, 768),
    )
    assert augmentation.scale == ((1.0, 1.0) if ablation else (0.75, 2.0))
    assert (augmentation.flip, augmentation.photometric, augmentation.crop_max_ratio) == (0.5, 0.0, 1.0)
    model = config.model
    assert (model.stem, model.aux_channels, model.align_corners) == ("plain", None, True)
    assert model.multi_grid == (None if ablation else (4, 8, 16))
    assert model.depth == (101 if "r101" in name else 50)
    if ablation:
        assert (config.published.miou, model.pam, model.cam) == ABLATION[name]


def test_the_authors_publish_their_larger_network_alone():
    larger = read_config("cityscapes_authors_r101").published
    assert (larger.miou, larger.multi_scale_miou) == (79.93, 81.49)
    assert read_config("cityscapes_authors_r50").published is None


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("cityscapes_r50_512x1024_40k", 49_846_574),
        ("cityscapes_r50_769_80k", 49_846_574),
        ("cityscapes_r101_512x1024_80k", 68_838_702),
        ("cityscapes_r101_769_40k", 68_838_702),
        # of the authors' files of 2018, ImageNet's classifier left out
        ("cityscapes_authors_r50", 47_462_651),
        ("cityscapes_authors_r101", 66_454_779),
        # four classifiers of 512 or, the auxiliary one, 256 channels
        ("ade20k_r50_512_80k", 49_846_574 + (150 - 19) * (3 * 513 + 257)),
        ("voc2012_r101_512_20k", 68_838_702 + (21 - 19) * (3 * 513 + 257)),
    ],
)
def test_a_configuration_builds_the_network_of_its_reference(name, parameters):
    with torch.device("meta"):
        model = DANet(read_config(name).model)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize("name", ABLATION)
def test_every_network_of_the_ablation_can_be_built(name):
    with torch.device("meta"):
        model = DANet(read_config(name).model)
    assert (model.decode_head.pam is not None, model.decode_head.cam is not None) == ABLATION[name][1:]


def test_the_list_shows_each_configuration_with_what_was_published():
    app = typer.Typer()
    app.command()(train)
    result = CliRunner().invoke(app, ["--list-configs"], env={"COLUMNS": "80"})
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.output.splitlines() if line.split()}
    for name, row in MMSEGMENTATION.items():
        assert f"{row[6]:.2f}" in lines[name]
    assert "70.03" in lines["cityscapes_paper_r50_fcn"]
    assert set(lines) > OWN
    assert "…" not in result.output
    assert set(packaged_names()) <= set(lines)
    assert max(len(line) for line in result.output.splitlines()) <= 80
