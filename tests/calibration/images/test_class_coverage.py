"""The classes of a set come from its labels where they fit, else from the model; the report says which."""

import cv2
import numpy as np
import pytest

from danet_calibration.errors import CalibrationSetError
from danet_calibration.images.class_coverage import class_coverage
from danet_calibration.images.images import choose_images
from danet_export.frames import pattern
from danet_runtime.bundle import Bundle
from danet_runtime.inference.segmenter import Segmenter
from danet_train.errors import DataError

ROAD, CAR, UNLABELED = 7, 26, 0  # label ids of Cityscapes


@pytest.fixture
def labelled_root(tmp_path):
    """Eight frames in Cityscapes' layout: of each 8 rows one is a car, one ignored, the others road."""
    for number in range(8):
        stem = f"train/aachen/aachen_{number:06}_000019"
        image, label = (
            tmp_path / f"leftImg8bit/{stem}_leftImg8bit.png",
            tmp_path / f"gtFine/{stem}_gtFine_labelIds.png",
        )
        values = np.full((64, 128), ROAD, np.uint8)
        values[::8], values[1::8] = CAR, UNLABELED
        for file, content in ((image, pattern((64, 128), number)), (label, values)):
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), content)
    return tmp_path


def test_labels_are_counted_where_the_folder_has_them(labelled_root, exported_bundle):
    coverage = class_coverage(Bundle.open(exported_bundle), choose_images(labelled_root, 8))
    assert (coverage.source, coverage.reason, coverage.frames) == ("labels", "", 8)
    assert coverage.shares["road"] == pytest.approx(6 / 7)
    assert coverage.shares["car"] == pytest.approx(1 / 7)
    assert len(coverage.never_seen) == 17
    assert "person" in coverage.never_seen
    assert coverage.to_json()["never_seen"] == list(coverage.never_seen)


def test_a_label_image_that_cannot_be_read_is_an_error_and_no_reason_to_guess(labelled_root, exported_bundle):
    images = choose_images(labelled_root, 8)
    file = labelled_root / "gtFine/train/aachen/aachen_000003_000019_gtFine_labelIds.png"
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(DataError, match="aachen_000003"):
        class_coverage(Bundle.open(exported_bundle), images)


def test_without_labels_the_model_is_asked_and_the_reason_given(image_folder, exported_bundle, monkeypatch):
    monkeypatch.setattr("danet_calibration.images.class_coverage.PREDICTED_FRAMES", 3)
    images, progress = choose_images(image_folder, 8), []
    coverage = class_coverage(
        Bundle.open(exported_bundle), images, progress=lambda *done: progress.append(done)
    )
    assert (coverage.source, coverage.frames) == ("prediction", 3)
    assert "no folder of a labelled data set" in coverage.reason
    assert progress == [(1, 3), (2, 3), (3, 3)]
    with Segmenter(exported_bundle, "fp32") as segmenter:
        labels = np.stack(
            [segmenter.labels_of(frame) for frame, _ in zip(images.frames((64, 128)), range(3), strict=False)]
        )
        assert class_coverage(segmenter, images) == coverage
    for index, share in enumerate(coverage.shares.values()):
        assert share == pytest.approx((labels == index).mean())
    assert set(coverage.never_seen) == {name for name, share in coverage.shares.items() if share == 0}


@pytest.mark.parametrize("lack", ["a label", "its classes", "the right classes"])
def test_labels_that_do_not_fit_leave_the_model_to_say(labelled_root, tmp_path, exported_bundle, lack):
    root = labelled_root
    if lack == "a label":
        next(root.glob("gtFine/train/aachen/*")).unlink()
    else:
        root = tmp_path / "plain"
        for number, file in enumerate(sorted(labelled_root.glob("leftImg8bit/train/aachen/*"))):
            for kind in ("images", "labels"):
                (root / "train" / kind).mkdir(parents=True, exist_ok=True)
            (root / f"train/images/{number}.png").write_bytes(file.read_bytes())
            cv2.imwrite(str(root / f"train/labels/{number}.png"), np.zeros((64, 128), np.uint8))
    classes = "camvid" if lack == "the right classes" else None
    coverage = class_coverage(Bundle.open(exported_bundle), choose_images(root, 8), classes=classes)
    assert coverage.source == "prediction"
    expected = {
        "a label": "have no labels",
        "its classes": "classes.yaml",
        "the right classes": "class 0 is 'road' in the bundle",
    }
    assert expected[lack] in coverage.reason


def test_a_set_without_a_pixel_of_any_class_is_refused(labelled_root, exported_bundle):
    for file in labelled_root.glob("gtFine/train/aachen/*"):
        cv2.imwrite(str(file), np.zeros((64, 128), np.uint8))
    with pytest.raises(CalibrationSetError, match="no pixel of 8 frames"):
        class_coverage(Bundle.open(exported_bundle), choose_images(labelled_root, 8))
