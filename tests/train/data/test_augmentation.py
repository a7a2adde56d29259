import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from danet_train import Normalisation, Sample
from danet_train.config.sections import AugmentationConfig
from danet_train.data.augmentation.augmentation import augment
from danet_train.data.torch_samples import TrainingSamples, normalise

FILL = (103.53, 116.28, 123.675)


def _sample(height=20, width=30):
    """Every pixel's color encodes its label, so that an augmented sample can be checked pixel by pixel."""
    label = (np.arange(height * width).reshape(height, width) // 7 % 5).astype(np.uint8)
    return Sample(np.repeat(label[..., None] * 40, 3, axis=2), label, "x")


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**16),
    height=st.integers(1, 40),
    width=st.integers(1, 50),
    low=st.floats(0.4, 1),
    kind=st.sampled_from(["mmsegmentation", "authors", "plain"]),
)
def test_an_item_has_the_crops_size_and_only_labels_of_the_sample(seed, height, width, low, kind):
    config = AugmentationConfig(kind=kind, scale=(low, 2.0), crop_hw=(height, width))
    item = TrainingSamples([_sample()], 1, config, Normalisation(), seed)[0]
    assert item.image.shape == (3, height, width)
    assert item.label.shape == (height, width)
    assert set(np.unique(item.label)) <= {0, 1, 2, 3, 4, 255}


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**16),
    height=st.integers(4, 40),
    width=st.integers(4, 50),
    kind=st.sampled_from(["mmsegmentation", "authors", "plain"]),
)
def test_image_and_label_move_together_and_what_lies_outside_is_ignored(seed, height, width, kind):
    config = AugmentationConfig(kind=kind, scale=(1.0, 1.0), crop_hw=(height, width), photometric=0.0)
    item = TrainingSamples([_sample()], 1, config, Normalisation(mean=(9, 9, 9), std=(2, 2, 2)), seed)[0]
    inside = item.label != 255
    assert inside.sum() == min(height, 20) * min(width, 30)
    torch.testing.assert_close(item.image[0][inside], (item.label[inside] * 40 - 9) / 2)
    assert (item.image[:, ~inside] == 0).all()


def test_the_same_generator_state_gives_the_same_sample_and_leaves_the_sample_alone():
    sample, config = _sample(), AugmentationConfig(crop_hw=(12, 12), photometric=1.0)
    before = sample.image.copy()
    samples = [augment(sample, config, FILL, np.random.default_rng(5)) for _ in range(2)]
    np.testing.assert_array_equal(samples[0].image, samples[1].image)
    np.testing.assert_array_equal(sample.image, before)


def _crops_of_two_classes(sample, crop_max_ratio):
    config = AugmentationConfig(scale=(1.0, 1.0), crop_hw=(10, 20), crop_max_ratio=crop_max_ratio)
    samples = [augment(sample, config, FILL, np.random.default_rng(seed)) for seed in range(60)]
    return sum(len(np.unique(sample.label)) == 2 for sample in samples)


def test_a_crop_of_one_class_is_drawn_again_unless_that_is_allowed():
    label = np.zeros((10, 100), np.uint8)
    label[:, 50:] = 1
    sample = Sample(np.zeros((10, 100, 3), np.uint8), label, "x")
    assert _crops_of_two_classes(sample, 0.95) > 45
    assert _crops_of_two_classes(sample, 1.0) < 30


def test_normalisation_turns_bgr_bytes_to_rgb_of_the_stated_statistics():
    image = np.zeros((1, 1, 3), np.uint8)
    image[0, 0] = (10, 20, 30)
    got = normalise(image, Normalisation(mean=(1, 2, 3), std=(2, 3, 7)))
    torch.testing.assert_close(got[:, 0, 0], torch.tensor([(30 - 1) / 2, (20 - 2) / 3, (10 - 3) / 7]))


def test_item_k_is_the_same_whoever_loads_it_and_an_epoch_holds_every_sample_once():
    source = [Sample(np.full((4, 4, 3), i, np.uint8), np.full((4, 4), i, np.uint8), str(i)) for i in range(5)]
    config = AugmentationConfig(scale=(1.0, 1.0), crop_hw=(4, 4))
    samples = [
        TrainingSamples(source, 10, config, Normalisation(), seed=1, in_memory=m) for m in (False, True)
    ]
    for index in reversed(range(10)):
        torch.testing.assert_close(samples[0][index][0], samples[1][index][0], rtol=0, atol=0)
    order = [int(samples[0][index][1][0, 0]) for index in range(10)]
    assert sorted(order[:5]) == sorted(order[5:]) == list(range(5))
    assert order[:5] != order[5:]
    np.testing.assert_array_equal(samples[0].count_pixels(6), [16, 16, 16, 16, 16, 0])


@pytest.mark.parametrize("scale", [(2.0, 1.0), (0.0, 1.0)])
def test_a_range_must_ascend(scale):
    with pytest.raises(ValueError, match="low <= high"):
        AugmentationConfig(scale=scale)
