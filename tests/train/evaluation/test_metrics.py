import argparse

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from danet_train.classes import CITYSCAPES
from danet_train.errors import DataError
from danet_train.evaluation.metrics import ConfusionMatrix


def _cityscapes_scores(tmp_path, predictions, labels):
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as Official

    pairs = []
    for index, images in enumerate(zip(predictions, labels, strict=True)):
        paths = [tmp_path / f"{kind}_{index}.png" for kind in ("prediction", "label")]
        for path, image in zip(paths, images, strict=True):
            cv2.imwrite(str(path), CITYSCAPES.encode(image))
        pairs.append([str(path) for path in paths])
    args = argparse.Namespace(**vars(Official.args))
    args.evalInstLevelScore, args.JSONOutput, args.quiet = False, False, True
    args.evalPixelAccuracy = False
    return Official.evaluateImgLists([p for p, _ in pairs], [g for _, g in pairs], args)


@pytest.mark.parametrize("classes_present", [19, 5])
def test_scores_are_those_of_cityscapes_own_evaluation(tmp_path, classes_present):
    rng = np.random.default_rng(classes_present)
    labels = [rng.integers(0, classes_present, (40, 60)).astype(np.uint8) for _ in range(3)]
    predictions = [
        np.where(rng.random((40, 60)) < 0.6, label, rng.integers(0, 7, (40, 60))) for label in labels
    ]
    predictions = [prediction.astype(np.uint8) for prediction in predictions]
    for label in labels:
        label[rng.random((40, 60)) < 0.1] = 255
    official = _cityscapes_scores(tmp_path, predictions, labels)

    matrix = ConfusionMatrix(19)
    for prediction, label in zip(predictions, labels, strict=True):
        matrix.update(prediction, label)
    assert matrix.miou == pytest.approx(official["averageScoreClasses"], abs=1e-9)
    for name, iou in zip(CITYSCAPES.names, matrix.iou(), strict=True):
        assert iou == pytest.approx(official["classScores"][name], abs=1e-9, nan_ok=True)


def test_a_class_that_is_absent_is_no_number_and_one_only_predicted_is_zero():
    matrix = ConfusionMatrix(3)
    matrix.update(np.array([0, 1]), np.array([0, 0]))
    np.testing.assert_array_equal(matrix.iou(), [0.5, 0.0, np.nan])
    assert matrix.miou == 0.25


def test_nothing_counted_is_no_number():
    matrix = ConfusionMatrix(2)
    matrix.update(np.zeros((2, 2), np.uint8), np.full((2, 2), 255, np.uint8))
    assert np.isnan(matrix.miou)
    assert np.isnan(matrix.pixel_accuracy)


@settings(deadline=None)
@given(
    pair=hnp.arrays(np.uint8, (2, 30), elements=st.integers(0, 3)),
    ignored=hnp.arrays(np.bool_, 30),
)
def test_each_score_is_what_counting_pixel_by_pixel_gives(pair, ignored):
    prediction, label = pair
    label = np.where(ignored, 255, label)
    matrix = ConfusionMatrix(4)
    matrix.update(prediction[:11], label[:11])
    matrix.update(prediction[11:], label[11:])
    scored = [(p, t) for p, t in zip(prediction, label, strict=True) if t != 255]
    for index, iou in enumerate(matrix.iou()):
        union = sum(p == index or t == index for p, t in scored)
        expected = sum(p == index and t == index for p, t in scored) / union if union else float("nan")
        assert iou == pytest.approx(expected, nan_ok=True)
    if scored:
        assert matrix.pixel_accuracy == pytest.approx(np.mean([p == t for p, t in scored]))


def test_shapes_and_values_that_do_not_fit_are_refused():
    matrix = ConfusionMatrix(2)
    with pytest.raises(DataError, match="same shape"):
        matrix.update(np.zeros(2, np.uint8), np.zeros(3, np.uint8))
    with pytest.raises(DataError, match=r"label must hold 0\.\.1"):
        matrix.update(np.array([0]), np.array([2]))
    with pytest.raises(DataError, match="prediction must hold"):
        matrix.update(np.array([255]), np.array([1]))
