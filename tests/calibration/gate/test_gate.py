"""The gate's arithmetic: limits, guarded classes under other names, classes that do not occur."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danet_calibration.gate.gate import (
    ALIASES,
    GUARDED,
    find_evidence,
    find_guard,
    judge,
    why_not_measured,
)
from danet_calibration.gate.rules import GateRules, Guard
from danet_runtime.bundle import Accuracy
from danet_runtime.errors import UsageError
from danet_train.classes import CITYSCAPES, find_classes


def accuracy(iou, pixels=None):
    pixels = dict.fromkeys(iou, 5000) if pixels is None else pixels
    return Accuracy(
        dataset="d",
        frames=9,
        backend="b",
        miou=0.5,
        pixel_accuracy=0.5,
        iou=iou,
        labelled_pixels=pixels,
        labelled_frames={name: 9 * (count > 0) for name, count in pixels.items()},
    )


def judged(before, after, guard=("person",), rules=None, pixels=None):
    return judge(rules or GateRules(), Guard(guard), accuracy(before, pixels), accuracy(after, pixels))


def test_a_drop_of_exactly_the_limits_holds_and_more_does_not():
    before = {"person": 0.6, "road": 0.9}
    # person 2.0 points, road a gain of 1.0: the mean falls by 0.5
    at_limit = judged(before, {"person": 0.58, "road": 0.91})
    assert at_limit.holds
    assert at_limit.miou_drop == pytest.approx(0.5)
    assert at_limit.class_drops == {"person": pytest.approx(2.0)}
    (failure,) = judged(before, {"person": 0.58, "road": 0.9098}).failures
    assert "mIoU is 0.51 points under FP32 (limit 0.5)" in failure
    (failure,) = judged(before, {"person": 0.579, "road": 0.95}).failures
    assert "person is 2.10 points under FP32 (limit 2)" in failure


def test_a_class_that_is_not_guarded_may_fall_further():
    before, after = {"person": 0.5, "road": 0.9, "sky": 0.8}, {"person": 0.5, "road": 0.86, "sky": 0.84}
    assert judged(before, after).holds
    assert not judged(before, after, guard=("road",)).holds


def test_stray_pixels_of_a_class_that_no_label_holds_do_not_move_the_gate():
    pixels = {"person": 5000, "road": 5000, "train": 0}
    before = {"person": 0.6, "road": 0.8, "train": None}
    judgement = judged(before, {"person": 0.6, "road": 0.8, "train": 0.0}, pixels=pixels)
    assert judgement.miou_drop == pytest.approx(0.0)
    assert judgement.only_one_scores == ("train",)
    assert judgement.holds


def test_the_drop_is_that_of_the_mean_over_every_class_that_both_score():
    pixels = {"person": 5000, "road": 5000, "train": 0}
    before, after = {"person": 0.6, "road": 0.9, "train": 0.0}, {"person": 0.6, "road": 0.87, "train": 0.0}
    judgement = judged(before, after, pixels=pixels)
    assert judgement.miou_drop == pytest.approx(100 * (1.5 - 1.47) / 3)
    assert judgement.only_one_scores == ()


def test_a_guarded_class_that_no_label_holds_is_named_as_unmeasured():
    pixels = {"person": 0, "road": 5000}
    # predicted by both, labelled by none: IoU 0 and no drop, which says nothing of persons
    judgement = judged({"person": 0.0, "road": 0.8}, {"person": 0.0, "road": 0.8}, pixels=pixels)
    assert judgement.unmeasured == ("person",)
    assert judgement.class_drops == {}


@pytest.mark.parametrize(("pixels", "frames"), [(999, 9), (5000, 4)])
def test_a_class_of_few_pixels_or_frames_is_not_measured(pixels, frames):
    rules = GateRules()
    guard = Guard(("person", "rider"))
    evidence = find_evidence(rules, guard, {"person": 5000, "rider": pixels}, {"person": 9, "rider": frames})
    assert [name for name, held in evidence.items() if held.is_enough] == ["person"]
    assert why_not_measured(rules, evidence) is None


def test_no_verdict_without_one_guarded_class_nor_without_one_that_was_named():
    none = find_evidence(GateRules(), Guard(("person", "rider")), {}, {})
    assert "hold too little of every guarded class: person (0 pixels in 0 frames), rider" in why_not_measured(
        GateRules(), none
    )
    named = GateRules(guard=("person", "rider"))
    one = find_evidence(named, Guard(("person", "rider")), {"person": 5000}, {"person": 9})
    assert "of what --guard names: rider (0 pixels in 0 frames)" in why_not_measured(named, one)
    assert why_not_measured(GateRules(), {}) is None  # the bundle has none of them


def test_a_limit_inside_the_interval_is_near_and_the_drop_itself_decides():
    def counts(wrong):
        """Nine frames of 1000 pixels of person, of which so many are taken for road."""
        return np.array([[[1000 - w, w], [0, 1000]] for w in wrong])

    reference = counts([0] * 9)
    for wrong, holds, near in (
        ([5] * 9, True, False),
        ([0] * 8 + [150], True, True),
        ([400] * 9, False, False),
    ):
        measured = counts(wrong)
        judgement = judge(
            GateRules(max_miou_drop=50),
            Guard(("person",)),
            accuracy_of(reference),
            accuracy_of(measured),
            (reference, measured),
        )
        interval = judgement.intervals.classes["person"]
        assert interval.low <= judgement.class_drops["person"] <= interval.high
        assert (judgement.holds, bool(judgement.near)) == (holds, near)
    again = judge(
        GateRules(), Guard(("person",)), accuracy_of(reference), accuracy_of(measured), (reference, measured)
    )
    assert again.intervals.classes["person"] == interval


def accuracy_of(counts):
    total = counts.sum(axis=0)
    right = np.diag(total)
    return accuracy(dict(zip(("person", "road"), right / (total.sum(0) + total.sum(1) - right), strict=True)))


shares = st.floats(0, 1, allow_nan=False)


@given(st.dictionaries(st.sampled_from(CITYSCAPES.names), st.tuples(shares, shares), min_size=1))
def test_it_holds_exactly_where_no_limit_is_passed(scores):
    guard = find_guard(GateRules(), CITYSCAPES.names)
    before = {name: one for name, (one, _) in scores.items()}
    after = {name: other for name, (_, other) in scores.items()}
    judgement = judge(GateRules(), guard, accuracy(before), accuracy(after))
    mean_drop = sum(before.values()) / len(before) - sum(after.values()) / len(after)
    worst = max((before[name] - after[name] for name in GUARDED if name in before), default=-1.0)
    if not (math.isclose(mean_drop, 0.005, abs_tol=1e-9) or math.isclose(worst, 0.02, abs_tol=1e-9)):
        assert judgement.holds == (mean_drop < 0.005 and worst < 0.02)
    assert set(judgement.unmeasured) == set(GUARDED) - set(before)


def test_cityscapes_own_names_are_guarded():
    guard = find_guard(GateRules(), CITYSCAPES.names)
    assert set(guard.classes) == set(GUARDED)
    assert guard.missing == ()


def test_camvids_names_are_guarded_too():
    guard = find_guard(GateRules(), find_classes("camvid").names)
    assert guard.classes == ("sign", "pedestrian", "bicyclist")
    assert guard.missing == ("bicycle", "motorcycle", "traffic light")
    original = ("Sky", "SignSymbol", "TrafficLight", "MotorcycleScooter", "Bicyclist", "Child", "Pedestrian")
    assert find_guard(GateRules(), original).classes == original[1:]


def test_no_alias_stands_for_two_classes():
    names = [alias for guarded, aliases in ALIASES.items() for alias in (guarded, *aliases)]
    plain = ["".join(filter(str.isalnum, name)) for name in names]
    twice = {name for name in plain if plain.count(name) > 1}
    assert twice == {"trafficlight"}  # with and without the space, of one class


def test_classes_that_are_asked_for_replace_the_default_ones():
    assert find_guard(GateRules(guard=("Road", "car")), CITYSCAPES.names).classes == ("road", "car")
    with pytest.raises(UsageError, match="no class 'tram' to guard; it has road, sidewalk"):
        find_guard(GateRules(guard=("tram",)), CITYSCAPES.names)


@pytest.mark.parametrize(
    "limits",
    [{"max_miou_drop": -1}, {"max_class_drop": math.nan}, {"min_int8_share": 2}, {"min_class_frames": 0}],
)
def test_limits_that_make_no_sense_are_refused(limits):
    with pytest.raises(UsageError, match=next(iter(limits))):
        GateRules(**limits)
