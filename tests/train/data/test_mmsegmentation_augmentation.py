"""The two references' augmentations, step by step, against arithmetic written out here."""

from collections import deque

import cv2
import numpy as np
import PIL.Image
import pytest

from danet_train import Sample
from danet_train.config.sections import AugmentationConfig
from danet_train.data.augmentation.augmentation import augment
from danet_train.data.augmentation.color import distort, distort_in_fixed_order
from danet_train.data.augmentation.framing import Framed, size_within
from danet_train.training.config import read_config

FILL = (103.53, 116.28, 123.675)


class Script:
    """Stands where a generator does and gives what was written down, each draw checked against its range."""

    def __init__(self, *values):
        self.values = deque(values)

    def random(self):
        return self.values.popleft()

    def uniform(self, low, high):
        value = self.values.popleft()
        assert low <= value <= high
        return value

    def integers(self, low, high=None):
        low, high = (0, low) if high is None else (low, high)
        value = self.values.popleft()
        assert low <= value < high
        return value


@pytest.mark.parametrize(
    ("size_hw", "base_hw", "ratio", "expected"),
    [
        ((1024, 2048), (1024, 2048), 0.5, (512, 1024)),
        (
            (1024, 2048),
            (1024, 2048),
            1.2345,
            (1264, 2528),
        ),  # int(1024 * 1.2345) is 1264, int(2048 * ...) 2528
        ((1024, 2048), (1025, 2049), 1.0, (1025, 2049)),  # the 769 crops' base: 8k + 1
        ((512, 683), (512, 2048), 1.0, (512, 683)),  # ADE20K: the short side decides
        ((683, 512), (512, 2048), 1.0, (683, 512)),  # whichever way it lies
        ((375, 500), (512, 2048), 1.0, (512, 683)),  # 500 * 512 / 375 = 682.67
        ((375, 500), (512, 2048), 0.5, (256, 341)),  # 341.33
        ((100, 1000), (512, 2048), 1.0, (205, 2048)),  # the long side decides: 204.8
    ],
)
def test_an_image_is_resized_within_the_base(size_hw, base_hw, ratio, expected):
    assert size_within(size_hw, base_hw, ratio) == expected


def _two_classes(height, width, at):
    label = np.zeros((height, width), np.uint8)
    label[:, at:] = 1
    return Framed(np.zeros((height, width, 3), np.uint8), label)


def test_a_crop_is_checked_ten_times_and_the_one_after_that_is_taken_as_it_is():
    framed = _two_classes(10, 100, 50)
    lefts = [value for left in range(11) for value in (0, left)]
    script = Script(*lefts, "not drawn")
    framed.cropped((10, 20), 0.75, 11, script)
    assert list(script.values) == ["not drawn"]


@pytest.mark.parametrize(
    ("left", "taken"),
    [(35, True), (34, False), (45, True), (46, False), (50, False)],
)
def test_a_crop_is_taken_where_no_class_fills_three_quarters(left, taken):
    # 20 columns from `left`; class 1 begins at column 50: 15 of 20 is three quarters, which is too many
    framed = _two_classes(10, 100, 50)
    script = Script(0, left + 1 if left < 40 else left - 1, 0, 40)
    framed.cropped((10, 20), 0.75, 11, script)
    assert (len(script.values) == 2) == taken


def test_ignored_pixels_do_not_count_in_a_crop():
    framed = _two_classes(10, 20, 10)
    framed.label[:, 2:10] = 255  # 2 columns of class 0, 10 of class 1: 10/12 is more than three quarters
    script = Script(*[0] * 30)
    framed.cropped((10, 20), 0.75, 11, script)
    assert len(script.values) == 30 - 22


def _hsv(image):
    return cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(int)


def _bgr(hsv):
    return cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR)


YES, NO = 0.0, 0.99


@pytest.mark.parametrize("contrast_first", [1, 0])
def test_colors_are_distorted_in_mmsegmentations_order(contrast_first):
    image = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)
    contrast, saturation, hue = (YES, 1.37), (YES, 0.61), (YES, -17)
    draws = (contrast, saturation, hue) if contrast_first else (saturation, hue, contrast)
    script = Script(YES, -20.7, contrast_first, *[value for pair in draws for value in pair])
    got = distort(image, AugmentationConfig(), script)
    assert not script.values

    def scaled(values, factor):
        return np.clip(values * factor, 0, 255).astype(int)

    expected = np.clip(image.astype(np.float64) - 20.7, 0, 255).astype(np.uint8)
    if contrast_first:
        expected = scaled(expected.astype(np.float64), 1.37).astype(np.uint8)
    hsv = _hsv(expected)
    hsv[..., 1] = scaled(hsv[..., 1], 0.61)
    hsv = _hsv(_bgr(hsv))  # to BGR and back, as two transforms do
    hsv[..., 0] = (hsv[..., 0] - 17) % 180
    expected = _bgr(hsv)
    if not contrast_first:
        expected = scaled(expected.astype(np.float64), 1.37).astype(np.uint8)
    np.testing.assert_array_equal(got, expected)


def test_hue_turns_by_whole_half_degrees_from_minus_18_to_17():
    image = np.full((1, 1, 3), (20, 60, 200), np.uint8)
    before = _hsv(image)[0, 0, 0]
    for turn in (-18, 17):
        got = distort(image, AugmentationConfig(), Script(NO, 1, NO, NO, YES, turn))
        assert abs((int(_hsv(got)[0, 0, 0]) - before - turn + 90) % 180 - 90) <= 1
    with pytest.raises(AssertionError):
        distort(image, AugmentationConfig(), Script(NO, 1, NO, NO, YES, 18))


def test_mmsegmentation_resizes_crops_flips_and_leaves_padding_to_the_end():
    image = np.random.default_rng(1).integers(0, 256, (6, 10, 3), np.uint8)
    label = (np.arange(60).reshape(6, 10) % 5).astype(np.uint8)
    config = AugmentationConfig(base_hw=(12, 20), crop_hw=(8, 40), crop_max_ratio=1.0)
    # ratio, top, left (nothing to choose: the image is narrower than the crop), flip, no colors
    augmented = augment(Sample(image, label, "x"), config, FILL, Script(1.0, 3, 0, YES, NO, 0, NO, NO, NO))
    expected = cv2.resize(image, (20, 12), interpolation=cv2.INTER_LINEAR)[3:11, ::-1]
    np.testing.assert_array_equal(augmented.image, expected)
    np.testing.assert_array_equal(augmented.label, np.repeat(np.repeat(label, 2, 0), 2, 1)[3:11, ::-1])


def test_the_authors_flip_first_and_resize_the_short_side_as_pillow_does():
    image = np.random.default_rng(2).integers(0, 256, (20, 31, 3), np.uint8)
    label = (np.arange(620).reshape(20, 31) % 5).astype(np.uint8)
    config = AugmentationConfig(
        kind="authors",
        base_hw=(16, 32),
        scale=(0.75, 2.0),
        crop_hw=(14, 14),
        crop_max_ratio=1.0,
        photometric=0.0,
    )
    # flip; a short side of 12..32; then 12x18 is padded to 14 rows: top 0, left 0..4
    augmented = augment(Sample(image, label, "x"), config, FILL, Script(YES, 12, 0, 4, NO, 0, NO, NO, NO))
    resized = PIL.Image.fromarray(image[:, ::-1].copy()).resize((18, 12), PIL.Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(augmented.image[:12], np.asarray(resized)[:, 4:])
    assert (augmented.image[12:] == (104, 116, 124)).all()
    assert (augmented.label[12:] == 255).all()
    rows, columns = (
        [int((r + 0.5) * 20 / 12) for r in range(12)],
        [int((c + 0.5) * 31 / 18) for c in range(18)],
    )
    np.testing.assert_array_equal(augmented.label[:12], label[:, ::-1][np.ix_(rows, columns)][:, 4:])


def test_the_plain_order_has_no_base():
    with pytest.raises(ValueError, match="leave base_hw out"):
        AugmentationConfig(kind="plain", base_hw=(10, 10))


def _distorted_in_floating_point(image, config, rng):
    """The plain order as it was when the small configurations were trained."""
    if rng.random() < config.photometric:
        shift = float(rng.uniform(-config.brightness, config.brightness))
        image = np.clip(image.astype(np.float32) + shift, 0, 255).astype(np.uint8)
    if rng.random() < config.photometric:
        factor = float(rng.uniform(*config.contrast))
        image = np.clip(image.astype(np.float32) * factor, 0, 255).astype(np.uint8)
    saturate, turn = rng.random() < config.photometric, rng.random() < config.photometric
    if saturate or turn:
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(np.float32)
        if saturate:
            hsv[..., 1] = np.clip(hsv[..., 1] * float(rng.uniform(*config.contrast)), 0, 255)
        if turn:
            hsv[..., 0] = np.mod(hsv[..., 0] + rng.uniform(-config.hue_degrees, config.hue_degrees) / 2, 180)
        image = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR)
    return image


@pytest.mark.parametrize("name", ["demo", "camvid_r18_small"])
def test_the_small_configurations_colors_are_those_they_were_trained_with(name):
    config = read_config(name).augmentation
    image = np.random.default_rng(3).integers(0, 256, (32, 48, 3), np.uint8)
    for seed in range(200):
        got = distort_in_fixed_order(image, config, np.random.default_rng(seed))
        expected = _distorted_in_floating_point(image, config, np.random.default_rng(seed))
        np.testing.assert_array_equal(got, expected)
