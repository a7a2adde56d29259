"""Hard example mining, against a loop over the pixels."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from whole_losses import total_loss

from danet_train.config.sections import LossConfig, OhemConfig
from danet_train.model.danet import TrainingLogits
from danet_train.training.config import TrainConfig
from danet_train.training.objective.ohem import hard_pixels


def _batch(seed, images=2, classes=3, height=4, width=5, ignored=0.2):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(images, classes, height, width, generator=generator)
    label = torch.randint(classes, (images, height, width), generator=generator)
    label[torch.rand(label.shape, generator=generator) < ignored] = 255
    return logits, label


def _slowly(logits, label, threshold, min_kept):
    """Pixel by pixel: softmax, sort, bound, as the reference describes it."""
    probability = {}
    for b, row in enumerate(label.tolist()):
        for y, line in enumerate(row):
            for x, value in enumerate(line):
                if value != 255:
                    exponentials = [math.exp(v) for v in logits[b, :, y, x].tolist()]
                    probability[b, y, x] = exponentials[value] / sum(exponentials)
    ranked = sorted(probability.values())
    if not ranked:
        return set()
    least = min_kept * label.shape[0]
    if threshold is None:
        ordered = sorted(probability, key=probability.get)
        return set(ordered[:least])
    bound = max(ranked[min(least, len(ranked) - 1)], threshold)
    return {place for place, value in probability.items() if value < bound}


@settings(deadline=None, max_examples=80)
@given(
    seed=st.integers(0, 2**20),
    threshold=st.none() | st.floats(0.05, 1),
    min_kept=st.integers(1, 25),
    ignored=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_the_pixels_are_those_of_a_loop_over_all(seed, threshold, min_kept, ignored):
    logits, label = _batch(seed, ignored=ignored)
    config = OhemConfig(threshold=threshold, min_kept=min_kept)
    hard = hard_pixels(logits, label, config)
    assert hard.dtype == torch.bool
    assert {tuple(place) for place in hard.nonzero().tolist()} == _slowly(logits, label, threshold, min_kept)


def test_the_loss_sums_the_hard_pixels_and_still_divides_by_all_or_by_the_valid_ones():
    logits, label = _batch(7)
    hard = _slowly(logits, label, 0.5, 3)
    assert 0 < len(hard) < int((label != 255).sum())
    log_probability = torch.log_softmax(logits, dim=1)
    total = -sum(float(log_probability[b, label[b, y, x], y, x]) for b, y, x in hard)
    ohem = {"threshold": 0.5, "min_kept": 3}
    for mean_over, count in (("all", label.numel()), ("valid", int((label != 255).sum()))):
        config = LossConfig.model_validate({"mean_over": mean_over, "ohem": ohem})
        loss = total_loss(TrainingLogits(logits, None, None, None), label, config, align_corners=False)
        assert float(loss) == pytest.approx(total / count, rel=1e-5)


def test_easy_pixels_have_no_gradient_and_each_classifier_has_its_own_hard_ones():
    fused, label = _batch(1, ignored=0.1)
    pam, _ = _batch(2)
    logits = TrainingLogits(fused.requires_grad_(), pam.requires_grad_(), None, None)
    config = LossConfig.model_validate({"ohem": {"threshold": 0.4, "min_kept": 2}})
    total_loss(logits, label, config, align_corners=False).backward()
    for head in (fused, pam):
        moved = {tuple(place) for place in (head.grad.abs().sum(dim=1) > 0).nonzero().tolist()}
        assert moved == _slowly(head.detach(), label, 0.4, 2)


def test_a_batch_of_ignored_pixels_costs_nothing():
    logits, label = _batch(3, ignored=1.0)
    config = LossConfig.model_validate({"ohem": {}, "mean_over": "valid"})
    assert (
        float(total_loss(TrainingLogits(logits, None, None, None), label, config, align_corners=False)) == 0
    )


def test_mining_is_off_unless_it_is_asked_for_and_defaults_to_the_usual_numbers():
    assert TrainConfig().loss.ohem is None
    config = TrainConfig.model_validate({"loss": {"ohem": {}}})
    assert (config.loss.ohem.threshold, config.loss.ohem.min_kept) == (0.7, 100_000)
