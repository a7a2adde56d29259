"""The gate's arithmetic: limits, guarded classes under other names, classes that do not occur."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danet_calibration.gate import ALIASES, GUARDED, GateRules, Guard, find_guard, judge
from danet_runtime.bundle import Accuracy
from danet_runtime.errors import UsageError
from danet_train.classes import CITYSCAPES, find_classes


def accuracy(iou, pixels=None):
    pixels = dict.fromkeys(iou, 100) if pixels is None else pixels
    return Accuracy(
        dataset="d", frames=1, backend="b", miou=0.5, pixel_accuracy=0.5, iou=iou, labelled_pixels=pixels
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
    pixels = {"person": 10, "road": 10, "train": 0}
    before = {"person": 0.6, "road": 0.8, "train": None}
    judgement = judged(before, {"person": 0.6, "road": 0.8, "train": 0.0}, pixels=pixels)
    assert judgement.miou_drop == pytest.approx(0.0)
    assert judgement.holds


def test_a_guarded_class_that_no_label_holds_is_named_as_unmeasured():
    pixels = {"person": 0, "road": 10}
    # predicted by both, labelled by none: IoU 0 and no drop, which says nothing of persons
    judgement = judged({"person": 0.0, "road": 0.8}, {"person": 0.0, "road": 0.8}, pixels=pixels)
    assert judgement.unmeasured == ("person",)
    assert judgement.class_drops == {}


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
    "limits", [{"max_miou_drop": -1}, {"max_class_drop": math.nan}, {"min_int8_share": 2}]
)
def test_limits_that_make_no_sense_are_refused(limits):
    with pytest.raises(UsageError, match=next(iter(limits))):
        GateRules(**limits)
