import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from whole_losses import cross_entropy, total_loss

from danet_train import CITYSCAPES, build_model, open_dataset, read_checkpoint
from danet_train.config.sections import LossConfig, ScheduleConfig
from danet_train.data.samples.sample import Splits
from danet_train.errors import ConfigError, DataError, TrainingError, UsageError
from danet_train.evaluation.prediction import predict
from danet_train.evaluation.scoring import check_classes_agree, score
from danet_train.evaluation.upsampling import aligns_corners
from danet_train.model.danet import TrainingLogits
from danet_train.training.config import TrainConfig
from danet_train.training.loop import train_model
from danet_train.training.objective.losses import class_weights
from danet_train.training.objective.optimiser import learning_rate, make_optimiser
from danet_train.training.outputs import RunFiles
from danet_train.training.run import train_to_file

SMALL = {
    "base_channels": 4,
    "stem_channels": 4,
    "head_channels": 8,
    "attention_channels": 4,
    "aux_channels": 4,
}


def _config(**changes):
    return TrainConfig.model_validate({
        "model": {"depth": 18, **SMALL},
        "augmentation": {"crop_hw": [32, 48]},
        "optimiser": {"kind": "adamw", "lr": 0.01},
        "steps": 3, "batch_size": 2, "in_memory": True, "device": "cpu", "threads": 1, **changes,
    })  # fmt: skip


def _nll(logits, label):
    return -torch.log_softmax(logits, dim=1).gather(1, label[:, None])[:, 0]


def test_cross_entropy_divides_by_all_pixels_or_by_the_valid_ones():
    torch.manual_seed(0)
    logits, label = torch.randn(2, 4, 6, 6), torch.randint(0, 4, (2, 6, 6))
    total = _nll(logits, label)
    ignored = torch.rand(2, 6, 6) < 0.3
    label[ignored] = 255
    every = cross_entropy(logits, label, mean_over="all", align_corners=False)
    valid = cross_entropy(logits, label, mean_over="valid", align_corners=False)
    torch.testing.assert_close(every, total[~ignored].sum() / 72)
    torch.testing.assert_close(valid, total[~ignored].mean())


def test_class_weights_follow_the_median_frequency_and_spare_absent_classes():
    weights = class_weights(np.array([100, 25, 4, 0]), 0.5)
    torch.testing.assert_close(weights, torch.tensor([0.5, 1.0, 2.5, 1.0]))
    torch.testing.assert_close(class_weights(np.array([3, 9]), 0.0), torch.ones(2))


def test_weighted_cross_entropy_is_torchs_own():
    logits, label = torch.randn(1, 3, 4, 4), torch.randint(0, 3, (1, 4, 4))
    label[0, 0] = 255
    weights = torch.tensor([0.5, 1.0, 2.0])
    got = cross_entropy(logits, label, mean_over="valid", align_corners=False, weights=weights)
    torch.testing.assert_close(
        got, torch.nn.functional.cross_entropy(logits, label, weights, ignore_index=255)
    )


def test_a_label_that_is_all_ignored_costs_nothing_and_gives_no_nan():
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    for mean_over in ("all", "valid"):
        loss = cross_entropy(logits, torch.full((1, 4, 4), 255), mean_over=mean_over, align_corners=False)
        loss.backward()
        assert float(loss.detach()) == 0
    assert torch.isfinite(logits.grad).all()


def test_the_total_weighs_the_heads_one_one_one_and_two_fifths():
    label = torch.randint(0, 3, (1, 4, 4))
    heads = [torch.randn(1, 3, 4, 4) for _ in range(4)]
    parts = [cross_entropy(head, label, mean_over="all", align_corners=False) for head in heads]
    got = total_loss(TrainingLogits(*heads), label, LossConfig(), align_corners=False)
    torch.testing.assert_close(got, parts[0] + parts[1] + parts[2] + 0.4 * parts[3])
    alone = total_loss(TrainingLogits(heads[0], None, None, None), label, LossConfig(), align_corners=False)
    torch.testing.assert_close(alone, parts[0])


def test_the_learning_rate_starts_at_its_base_and_ends_at_its_floor():
    config = ScheduleConfig(eta_min=1e-4)
    assert learning_rate(0, 100, 0.01, config) == 0.01
    assert learning_rate(50, 100, 0.01, config) == pytest.approx((0.01 - 1e-4) * 0.5**0.9 + 1e-4)
    assert learning_rate(100, 100, 0.01, config) == pytest.approx(1e-4)


@given(steps=st.integers(2, 300), warmup=st.integers(0, 30), base=st.floats(1e-5, 1))
def test_the_learning_rate_is_positive_and_falls_after_the_warm_up(steps, warmup, base):
    config = ScheduleConfig(warmup_steps=warmup)
    rates = [learning_rate(step, steps, base, config) for step in range(steps)]
    assert all(0 < rate <= base * (1 + 1e-9) for rate in rates)
    after = rates[warmup:]
    assert after == sorted(after, reverse=True)


def test_a_size_of_8k_plus_1_aligns_corners_unless_it_is_set():
    assert aligns_corners(None, (769, 769))
    assert not aligns_corners(None, (512, 1024))
    assert not aligns_corners(False, (769, 769))


def test_every_parameter_is_in_the_optimiser_once_and_norms_are_not_decayed():
    model = build_model(18, **SMALL)
    optimiser, factors = make_optimiser(
        model, _config(optimiser={"kind": "adamw", "head_lr_factor": 10.0}).optimiser
    )
    held = [id(p) for group in optimiser.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters())
    assert factors == [1, 1, 10, 10]
    assert all(
        (group["weight_decay"] == 0) == (p.ndim < 2)
        for group in optimiser.param_groups
        for p in group["params"]
    )


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(synthetic_root):
    dataset = open_dataset(synthetic_root, "train")
    first, second, other = (train_model(_config(seed=seed), dataset).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["decode_head.conv_seg.weight"], other["decode_head.conv_seg.weight"])


def test_training_lowers_the_loss(synthetic_root):
    losses = []
    config = _config(steps=16, optimiser={"kind": "adamw", "lr": 0.02}, schedule={"warmup_steps": 3})
    train_model(config, open_dataset(synthetic_root, "train"), lambda progress: losses.append(progress.loss))
    assert len(losses) == 16
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])


def test_a_loss_that_is_not_finite_stops_the_training(synthetic_root):
    config = _config(steps=20, optimiser={"kind": "sgd", "lr": 1e9})
    with pytest.raises(TrainingError, match=r"lower optimiser\.lr"):
        train_model(config, open_dataset(synthetic_root, "train"))


def test_stating_another_number_of_classes_than_the_data_is_refused(synthetic_root):
    with pytest.raises(ConfigError, match="num_classes is 7, but the dataset has 19"):
        train_model(_config(model={"depth": 18, "num_classes": 7}), open_dataset(synthetic_root, "train"))


def test_backbone_weights_of_a_classifier_are_taken(tmp_path, synthetic_root):
    donor = build_model(18, **SMALL)
    torch.nn.init.constant_(donor.backbone.stem[4].bias, 0.123)
    state = {**donor.backbone.state_dict(), "fc.weight": torch.zeros(3, 3)}
    torch.save(state, tmp_path / "imagenet.pth")
    config = _config(steps=1, backbone_weights=str(tmp_path / "imagenet.pth"), optimiser={"lr": 1e-9})
    model = train_model(config, open_dataset(synthetic_root, "train"))
    torch.testing.assert_close(model.backbone.stem[4].bias, donor.backbone.stem[4].bias, rtol=0, atol=1e-5)


def test_a_run_writes_a_checkpoint_and_its_record(tmp_path, synthetic_root):
    train, val = open_dataset(synthetic_root, "train"), open_dataset(synthetic_root, "val")
    matrix, _ = train_to_file(_config(), Splits(train, val), RunFiles(tmp_path / "out/c.pt"))
    loaded = read_checkpoint(tmp_path / "out/c.pt")
    record = json.loads((tmp_path / "out/c.json").read_text())
    assert record["miou"] == loaded.metadata["miou"] == matrix.miou
    assert set(record["iou"]) == set(train.classes.names)
    assert [point["step"] for point in record["loss_curve"]] == [1, 2, 3]
    again = score(loaded.model, val, loaded.normalisation).matrix
    np.testing.assert_array_equal(again.counts, matrix.counts)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["c.json", "c.pt"]


def test_a_run_that_cannot_write_is_refused_before_it_trains(tmp_path, synthetic_root):
    train = open_dataset(synthetic_root, "train")
    (tmp_path / "file").write_text("")
    for out in (tmp_path, tmp_path / "c.json", tmp_path / "file" / "c.pt"):
        with pytest.raises(UsageError):
            train_to_file(_config(steps=10**9), Splits(train, train), RunFiles(out))


@pytest.mark.parametrize("name", ["c.pt", "c.json"])
def test_a_checkpoint_or_record_that_is_there_is_replaced_only_where_asked(tmp_path, synthetic_root, name):
    train = open_dataset(synthetic_root, "train")
    (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError, match=rf"{name} exists already; give another path, or --overwrite"):
        train_to_file(_config(steps=10**9), Splits(train, train), RunFiles(tmp_path / "c.pt"))
    assert (tmp_path / name).read_text() == "mine"
    train_to_file(_config(), Splits(train, train), RunFiles(tmp_path / "c.pt", overwrite=True))
    assert (tmp_path / name).read_bytes() != b"mine"


def test_a_prediction_has_the_images_size_whatever_it_is():
    model = build_model(18, **SMALL, num_classes=3).eval()
    for size in ((17, 33), (24, 40), (31, 9)):
        labels = predict(model, np.zeros((*size, 3), np.uint8), _config().normalisation)
        assert labels.shape == size
        assert labels.dtype == np.uint8


def test_scoring_on_other_classes_is_refused(synthetic_root):
    classes = open_dataset(synthetic_root, "val").classes
    with pytest.raises(DataError, match="5 classes, the dataset 19"):
        check_classes_agree(None, 5, classes)
    renamed = classes.model_copy(update={"names": ("street", *classes.names[1:])})
    with pytest.raises(DataError, match="'street' in the checkpoint, but 'road'"):
        check_classes_agree(renamed, 19, classes)


def test_scores_that_are_no_number_are_null_in_json():
    from danet_train.evaluation.metrics import ConfusionMatrix
    from danet_train.evaluation.scoring import scores_of

    table = CITYSCAPES
    scores = scores_of(ConfusionMatrix(len(table)), table)
    assert scores["miou"] is None
    assert not any(isinstance(v, float) and math.isnan(v) for v in scores["iou"].values())
    json.dumps(scores, allow_nan=False)
