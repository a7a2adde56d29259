"""One step: by parts, in several precisions, with the switches of the loop."""

import functools
import math

import numpy as np
import pytest
import torch
from torch import nn

from danet_train import open_dataset
from danet_train.data.batches import Batch
from danet_train.data.samples.faults import Skipped
from danet_train.errors import ConfigError, TrainingError
from danet_train.training.config import TrainConfig
from danet_train.training.distributed import ALONE, World, check_world
from danet_train.training.learner import Learner
from danet_train.training.loop import make_learner, train_model
from danet_train.training.objective.optimiser import make_optimiser, set_learning_rate

SMALL = {
    "base_channels": 4,
    "stem_channels": 4,
    "head_channels": 8,
    "attention_channels": 4,
    "aux_channels": 4,
}
CLASSES = 4


def _config(**changes):
    return TrainConfig.model_validate({
        "model": {"depth": 18, **SMALL, "dropout": 0.0},
        "augmentation": {"crop_hw": [33, 48]},
        "optimiser": {"kind": "sgd", "lr": 0.05, "clip_norm": 3.0},
        "loss": {"mean_over": "valid", "class_balance": 0.5},
        "steps": 3, "batch_size": 4, "device": "cpu", "threads": 1, **changes,
    })  # fmt: skip


def _batch(size=4, seed=0, dtype=torch.float64):
    """Images whose labels are ignored to very different degrees."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(size, 3, 33, 48, generator=generator, dtype=dtype)
    label = torch.randint(0, CLASSES, (size, 33, 48), generator=generator)
    for index in range(size):
        label[index, : round(32 * index / size)] = 255
    return Batch(image, label, ())


def _trained(config, count=3, dtype=torch.float64, weights=(0.2, 1.0, 3.0, 0.7)):
    torch.manual_seed(0)
    model = make_learner(config, CLASSES, torch.device("cpu")).model.to(dtype)
    for attention in (model.decode_head.pam, model.decode_head.cam):
        nn.init.constant_(attention.gamma.scale, 0.5)
    learner = Learner(model, config, [make_optimiser(model, config.optimiser)])
    set_learning_rate(learner.optimisers, config.optimiser.lr)
    given = None if weights is None else torch.tensor(weights, dtype=dtype)
    return learner, [learner.step(_batch(seed=seed, dtype=dtype), given) for seed in range(count)]


@pytest.mark.parametrize(
    "loss", [{"mean_over": "valid", "class_balance": 0.5}, {"mean_over": "all", "label_stride": 3}]
)
@pytest.mark.parametrize("parts", [2, 4])
def test_a_batch_in_parts_is_the_batch_where_statistics_are_frozen(loss, parts):
    """In float64, where nothing but the order of sums differs."""
    whole, expected = _trained(_config(loss=loss, loop={"frozen_batch_norm": True}))
    cut, got = _trained(_config(loss=loss, loop={"frozen_batch_norm": True, "accumulate": parts}))
    for one, other in zip(got, expected, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-12)
        assert one.heads == pytest.approx(other.heads, rel=1e-12)
        assert one.gradient_norm == pytest.approx(other.gradient_norm, rel=1e-11)
    for name, tensor in whole.model.state_dict().items():
        torch.testing.assert_close(cut.model.state_dict()[name], tensor, rtol=1e-10, atol=1e-13)


def test_parts_differ_from_the_whole_where_statistics_are_of_the_batch():
    whole, _ = _trained(_config())
    cut, _ = _trained(_config(loop={"accumulate": 2}))
    name = "decode_head.conv_seg.weight"
    assert not torch.allclose(whole.model.state_dict()[name], cut.model.state_dict()[name], rtol=1e-6)


def test_frozen_statistics_stay_and_what_batch_norm_learns_moves():
    learner, _ = _trained(_config(loop={"frozen_batch_norm": True}))
    norm = learner.model.backbone.stem[1]
    assert torch.equal(norm.running_mean, torch.zeros_like(norm.running_mean))
    assert not torch.equal(norm.weight, torch.ones_like(norm.weight))
    assert learner.model.decode_head.training
    moved, _ = _trained(_config())
    assert not torch.equal(moved.model.backbone.stem[1].running_mean, torch.zeros(2, dtype=torch.float64))


def test_the_gradient_is_clipped_after_the_loss_scale_is_taken_out():
    """Under fp16 gradients are 65536 times too large until they are unscaled."""
    plain = {"kind": "sgd", "lr": 1.0, "momentum": 0.0, "weight_decay": 0.0, "clip_norm": 0.01}
    for precision in ("fp32", "fp16"):
        config = _config(precision=precision, optimiser=plain)
        torch.manual_seed(0)
        learner = make_learner(config, CLASSES, torch.device("cpu"))
        learner.scaler = torch.amp.GradScaler("cpu", init_scale=256.0, enabled=precision == "fp16")
        set_learning_rate(learner.optimisers, 1.0)
        before = [parameter.detach().clone() for parameter in learner.model.parameters()]
        result = learner.step(_batch(dtype=torch.float32), None)
        moved = math.sqrt(
            sum(
                float((p.detach() - old).square().sum())
                for p, old in zip(learner.model.parameters(), before, strict=True)
            )
        )
        assert 0.1 < result.gradient_norm < 1000
        assert moved == pytest.approx(0.01, rel=0.01)


def test_a_step_whose_gradients_overflow_is_left_out_and_the_scale_falls():
    config = _config(precision="fp16")
    learner = make_learner(config, CLASSES, torch.device("cpu"))
    learner.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**60)
    set_learning_rate(learner.optimisers, 0.1)
    before = [parameter.detach().clone() for parameter in learner.model.parameters()]
    result = learner.step(_batch(dtype=torch.float32), None)
    assert math.isfinite(result.loss)
    assert not math.isfinite(result.gradient_norm)
    assert all(torch.equal(p, old) for p, old in zip(learner.model.parameters(), before, strict=True))
    assert learner.scaler.get_scale() == 2.0**59


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_reduced_precisions_are_near_float32_and_leave_the_weights_in_it(precision):
    reference, expected = _trained(_config(), dtype=torch.float32)
    learner, got = _trained(_config(precision=precision), dtype=torch.float32)
    assert [u.loss for u in got] == pytest.approx([u.loss for u in expected], rel=0.05)
    assert all(tensor.dtype == torch.float32 for tensor in learner.model.parameters())
    assert not torch.equal(
        learner.model.decode_head.conv_seg.weight, reference.model.decode_head.conv_seg.weight
    )


def test_the_kind_of_attention_and_of_layout_changes_nothing_but_rounding():
    loop = {"attention": "blockwise", "attention_rows": 5, "channels_last": False}
    wide = {"depth": 18, **SMALL, "base_channels": 8, "dropout": 0.0}
    plain, expected = _trained(_config(model=wide))
    other, got = _trained(_config(model=wide, loop=loop))
    assert plain.model.backbone.stem[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert other.model.decode_head.pam.block_rows == 5
    assert other.model.backbone.stem[0].weight.is_contiguous()
    assert [u.loss for u in got] == pytest.approx([u.loss for u in expected], rel=1e-9)
    for name, tensor in plain.model.state_dict().items():
        torch.testing.assert_close(other.model.state_dict()[name], tensor, rtol=1e-6, atol=1e-9)


def test_channels_are_not_last_where_convolutions_would_write_outside_of_their_memory():
    learner, _ = _trained(_config(loop={"channels_last": True}))
    assert SMALL["base_channels"] < 8
    assert learner.model.backbone.stem[0].weight.is_contiguous()


@pytest.mark.slow
def test_a_compiled_network_learns_the_same(synthetic_root, monkeypatch):
    """By the compiler's front end: its generated C++ takes minutes, and is torch's own matter."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    dataset = open_dataset(synthetic_root, "train")
    losses = {}
    for compiled in (False, True):
        reports = []
        model = train_model(_config(loop={"compile": compiled}), dataset, reports.append)
        losses[compiled] = [progress.loss for progress in reports]
        assert not any("_orig_mod" in name for name in model.state_dict())
    assert losses[True] == pytest.approx(losses[False], rel=1e-3)


def test_a_loss_that_is_not_finite_moves_nothing():
    learner, _ = _trained(_config(), count=0)
    before = [parameter.detach().clone() for parameter in learner.model.parameters()]
    batch = _batch()
    batch.image[0, 0, 0, 0] = np.nan
    with pytest.raises(TrainingError, match="the loss is nan"):
        learner.step(batch, None)
    assert all(torch.equal(p, old) for p, old in zip(learner.model.parameters(), before, strict=True))


def test_left_out_samples_are_counted_with_the_step():
    learner, _ = _trained(_config(), count=0)
    batch = _batch()._replace(skipped=(Skipped("a", "cut off"), Skipped("b", "no picture")))
    result = learner.step(batch, None, asked_to_stop=True)
    assert result.skipped == 2
    assert result.stop


def test_a_batch_that_cannot_be_cut_is_refused():
    with pytest.raises(ValueError, match=r"batch_size 4 must be a multiple of loop\.accumulate 3"):
        _config(loop={"accumulate": 3})
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    check_world(ALONE, cpu, 4, 2, frozen=False)
    check_world(World(0, 2, 0), cuda, 4, 2, frozen=False)
    with pytest.raises(ConfigError, match="multiple of 6: 3 processes of 2 parts"):
        check_world(World(0, 3, 0), cuda, 4, 2, frozen=True)
    with pytest.raises(ConfigError, match=r"set loop\.frozen_batch_norm: true"):
        check_world(World(0, 2, 0), cpu, 4, 2, frozen=False)
