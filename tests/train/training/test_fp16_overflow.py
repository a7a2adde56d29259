"""An overflow in half precision costs one step; only many in a row end the training."""

import json
import math

import pytest
import torch

from danet_train.data.batches import Batch
from danet_train.errors import TrainingError
from danet_train.training.config import TrainConfig
from danet_train.training.history import History
from danet_train.training.learner import OVERFLOWS_IN_A_ROW
from danet_train.training.loop import Progress, make_learner
from danet_train.training.objective.optimiser import set_learning_rate

SMALL = {"base_channels": 4, "stem_channels": 4, "head_channels": 8, "attention_channels": 4}


@pytest.fixture
def learner():
    config = TrainConfig.model_validate({
        "model": {"depth": 18, **SMALL}, "augmentation": {"crop_hw": [32, 48]}, "steps": 3, "batch_size": 2,
        "device": "cpu", "threads": 1, "precision": "fp16",
    })  # fmt: skip
    torch.manual_seed(0)
    learner = make_learner(config, 4, torch.device("cpu"))
    learner.scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    set_learning_rate(learner.optimisers, 0.01)
    return learner


def _batch(factor=1.0):
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(2, 3, 32, 48, generator=generator) * factor
    return Batch(image, torch.randint(0, 4, (2, 32, 48), generator=generator), ())


TOO_LARGE = 1e6  # the largest number of half precision is 65504


def test_an_overflow_on_the_way_forward_leaves_everything_as_it_was_and_the_scale_falls(learner):
    learner.step(_batch(), None)
    before = {name: tensor.clone() for name, tensor in learner.model.state_dict().items()}
    result = learner.step(_batch(TOO_LARGE), None)
    assert not math.isfinite(result.loss)
    assert not math.isfinite(result.gradient_norm)
    after = learner.model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert learner.scaler.get_scale() == 128.0
    assert math.isfinite(learner.step(_batch(), None).loss)
    assert any(not torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.slow
def test_many_in_a_row_end_the_training_and_one_good_step_forgets_them(learner):
    for _ in range(2):
        for _ in range(OVERFLOWS_IN_A_ROW - 1):
            learner.step(_batch(TOO_LARGE), None)
        learner.scaler.update(256.0)
        learner.step(_batch(), None)
    for _ in range(OVERFLOWS_IN_A_ROW - 1):
        learner.step(_batch(TOO_LARGE), None)
    with pytest.raises(TrainingError, match="for the 20th step in a row"):
        learner.step(_batch(TOO_LARGE), None)


def test_the_loss_curve_stays_json_without_the_losses_that_overflowed():
    history = History()
    for step in range(1, 301):
        history.note(Progress(step, math.nan if step in (2, 4, 5, 6) else float(step), 0.1))
    curve = history.document()["loss_curve"]
    json.dumps(curve, allow_nan=False)
    assert [point["loss"] for point in curve[:3]] == [2.0, None, 8.0]
