"""The coverage of a set counts groups, brightness and shapes, and has a sentence for each lack."""

import json

import cv2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danet_calibration.images.images import choose_images
from danet_calibration.images.set_coverage import UsedFrame, describe_set, is_stretched, luma_histogram
from danet_export.frames import pattern


def used(group="a", luma=100.0, size_hw=(64, 128)):
    return UsedFrame(group, luma, size_hw)


@given(st.lists(st.floats(0, 255)))
def test_every_brightness_falls_into_one_bin(lumas):
    assert sum(luma_histogram(lumas)) == len(lumas)


def test_bins_are_equal_and_hold_both_ends():
    assert luma_histogram([0, 31.9, 32, 255]) == (2, 1, 0, 0, 0, 0, 0, 1)


def test_a_group_without_a_frame_in_the_set_is_named():
    coverage = describe_set({"a": 90, "b": 1}, [100.0] * 91, 91, [used()] * 40, None)
    assert [(group.name, group.found, group.used) for group in coverage.groups] == [
        ("a", 90, 40),
        ("b", 1, 0),
    ]
    assert "1 of 2 groups have no frame in the set: b" in coverage.thin


def test_brightness_that_was_seen_and_not_taken_is_said():
    coverage = describe_set({"a": 41, "b": 40}, [100.0] * 80 + [10.0], 81, [used(), used("b")] * 20, None)
    assert any("0 to 31" in thin and "1 of the 81" in thin for thin in coverage.thin)
    assert any("night and tunnels are not covered" in thin for thin in coverage.thin)


def test_a_set_that_lacks_nothing_says_nothing():
    frames = [used(), used("b", 20.0)] * 20
    assert describe_set({"a": 20, "b": 20}, [100.0, 20.0] * 20, 40, frames, (64, 128)).thin == ()


def test_frames_of_another_shape_are_counted_and_said_while_another_size_is_only_counted():
    frames = [used(), used("b", 20.0)] * 20 + [used(size_hw=(128, 256)), used(size_hw=(96, 128))]
    coverage = describe_set({"a": 22, "b": 20}, [100.0, 20.0] * 21, 42, frames, (64, 128))
    assert (coverage.resized, coverage.aspect_changed) == (2, 1)
    (thin,) = coverage.thin
    assert "1 of 42 frames are stretched" in thin
    assert "64x128" in thin
    assert describe_set({"a": 42}, [1.0], 1, frames, None).aspect_changed is None


@pytest.mark.parametrize(
    ("size_hw", "stretched"),
    [((1024, 2048), False), ((769, 1538), False), ((1080, 1920), True), ((99, 200), False)],
)
def test_an_aspect_within_the_tolerance_is_not_stretched(size_hw, stretched):
    assert is_stretched(size_hw, (512, 1024)) is stretched


def test_a_chosen_set_carries_its_coverage_as_json(tmp_path):
    for number in range(9):
        cv2.imwrite(str(tmp_path / f"{number}.png"), pattern((48, 64) if number == 8 else (64, 128), number))
    coverage = choose_images(tmp_path, 9, frame_hw=(64, 128)).coverage
    report = json.loads(json.dumps(coverage.to_json()))
    assert report["groups"] == {"": {"found": 9, "used": 9}}
    assert (report["found"], report["examined"], report["distinct"], report["used"]) == (9, 9, 9, 9)
    assert sum(report["luma_used"]) == sum(report["luma_examined"]) == 9
    assert report["sizes"] == [{"size_hw": [64, 128], "frames": 8}, {"size_hw": [48, 64], "frames": 1}]
    assert (report["resized"], report["aspect_changed"]) == (1, 1)
    assert any("9 frames are few" in thin for thin in report["thin"])
