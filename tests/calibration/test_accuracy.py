"""Accuracy through the shipped files, and the whole way of `danet calibrate`."""

import importlib
import json

import cv2
import numpy as np
import pytest

from danet_calibration.accuracy import measure_accuracy, measure_agreement, measure_golden
from danet_calibration.errors import CalibrationError
from danet_calibration.images import choose_images
from danet_calibration.pipeline import LabelledSet, calibrate_bundle, require_calibratable
from danet_export.frames import pattern
from danet_runtime.bundle import Bundle
from danet_runtime.segmenter import Segmenter
from danet_runtime.tensorrt.library import library_of
from danet_runtime.tensorrt.lowering import lowered_model
from danet_runtime.tensorrt.rtx_builder import build_engine
from danet_train.classes import CITYSCAPES
from danet_train.data.layouts import open_dataset


@pytest.fixture(scope="module")
def labelled(tmp_path_factory, exported_bundle):
    """A data set whose labels are what the FP32 variant itself says, with one image half ignored."""
    root = tmp_path_factory.mktemp("labelled")
    for kind in ("images", "labels"):
        (root / "val" / kind).mkdir(parents=True)
    with Segmenter(exported_bundle, "fp32") as segmenter:
        for seed in range(3):
            image = pattern((64, 128), 50 + seed)
            labels = segmenter(image)
            if seed == 0:
                labels[:, :64] = 255
            cv2.imwrite(str(root / f"val/images/{seed}.png"), image)
            cv2.imwrite(str(root / f"val/labels/{seed}.png"), labels)
    entries = [
        f"  - {{name: {n}, color: {list(c)}}}"
        for n, c in zip(CITYSCAPES.names, CITYSCAPES.colours, strict=True)
    ]
    (root / "classes.yaml").write_text("classes:\n" + "\n".join(entries) + "\n")
    return open_dataset(root, "val")


def test_labels_of_the_model_itself_score_one(exported_bundle, labelled):
    accuracy = measure_accuracy(Bundle.open(exported_bundle), "fp32", labelled, "own labels")
    assert accuracy.miou == 1.0
    assert accuracy.pixel_accuracy == 1.0
    assert accuracy.frames == 3
    assert any(value is None for value in accuracy.iou.values())


def test_other_classes_are_refused(exported_bundle, tmp_path):
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
        cv2.imwrite(str(tmp_path / kind / "a.png"), np.zeros((8, 8), np.uint8))
    (tmp_path / "classes.yaml").write_text(
        "classes:\n  - {name: a, color: [1, 2, 3]}\n  - {name: b, color: [4, 5, 6]}\n"
    )
    with pytest.raises(CalibrationError, match="expected the bundle's 19 classes"):
        measure_accuracy(Bundle.open(exported_bundle), "fp32", open_dataset(tmp_path, "val"), "other")


def test_a_variant_agrees_with_itself(exported_bundle):
    assert measure_agreement(Bundle.open(exported_bundle), "fp32", "fp32", [pattern((64, 128), 1)]) == 1.0


@pytest.fixture(scope="module")
def calibrated(exported_bundle, image_folder, labelled, tmp_path_factory):
    path = tmp_path_factory.mktemp("calibrated") / "bundle"
    calibrate_bundle(
        Bundle.open(exported_bundle),
        choose_images(image_folder, 8),
        "max",
        LabelledSet("own labels", labelled),
        path,
    )
    return Bundle.open(path)


def test_the_new_bundle_is_whole_and_leaves_the_old_one_as_it_was(exported_bundle, calibrated):
    old = Bundle.open(exported_bundle)
    old.verify()
    calibrated.verify()
    assert "int8" not in old.manifest.variants
    assert calibrated.manifest.provenance.parent_sha256 == old.sha256
    assert calibrated.manifest.variants["fp16"].file == old.manifest.variants["fp16"].file


def test_every_variant_has_its_measured_accuracy_and_int8_its_share(calibrated):
    variants = calibrated.manifest.variants
    assert variants["fp32"].accuracy.miou == 1.0
    assert 0.3 < variants["int8"].accuracy.miou < 1.0
    assert variants["int8"].quantisation.conv_mac_share_int8 > 0.9
    report = json.loads((calibrated.path / "reports/calibration.json").read_text())
    assert report["images_used"][0] == "00.png"
    assert report["conv_macs_int8"] < report["conv_macs"]


def test_the_report_says_how_far_int8_agrees_with_the_golden_frame(calibrated):
    report = json.loads((calibrated.path / "reports/calibration.json").read_text())
    assert report["golden_agreement_int8"] == measure_golden(calibrated, "int8")
    assert measure_golden(calibrated, "fp32") >= calibrated.manifest.golden.agreement["fp32"]


def test_the_int8_file_builds_in_tensorrt_for_rtx(calibrated):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    library = library_of(importlib.import_module("tensorrt_rtx"))
    for attention in ("native", "reference"):
        built = build_engine(lowered_model(library, calibrated, "int8", attention), ["sm_89"])
        assert len(built.plan) > 10_000


def test_a_calibrated_bundle_is_not_calibrated_again(calibrated, tmp_path):
    with pytest.raises(CalibrationError, match="has an int8 variant already"):
        require_calibratable(calibrated, None, tmp_path / "out")


def test_nothing_is_left_behind_when_the_calibration_fails(
    exported_bundle, image_folder, tmp_path, monkeypatch
):
    def fail(*_args):
        raise CalibrationError("no")

    monkeypatch.setattr("danet_calibration.pipeline.measure_agreement", fail)
    with pytest.raises(CalibrationError, match="no"):
        calibrate_bundle(
            Bundle.open(exported_bundle), choose_images(image_folder, 2), "max", None, tmp_path / "out"
        )
    assert list(tmp_path.iterdir()) == []
