"""Accuracy through the shipped files, and the whole way of `danet calibrate`."""

import hashlib
import importlib
import json

import cv2
import numpy as np
import pytest

from danet_calibration.errors import CalibrationError
from danet_calibration.gate.rules import GateRules
from danet_calibration.images.images import choose_images
from danet_calibration.measure.accuracy import (
    LabelledSet,
    measure_accuracy,
    measure_agreement,
    measure_golden,
    named_as_in,
    require_classes,
)
from danet_calibration.pipeline import CalibrationSettings, calibrate_bundle, require_calibratable
from danet_export.frames import pattern
from danet_runtime.bundle import Bundle
from danet_runtime.tensorrt.build.library import library_of
from danet_runtime.tensorrt.build.rtx_builder import build_engine
from danet_runtime.tensorrt.plugins.lowering import lowered_model
from danet_train.data.datasets.layouts import open_dataset
from danet_train.data.samples.sample import Dataset


def test_labels_of_the_model_itself_score_one(balanced_bundle, labelled):
    accuracy = measure_accuracy(balanced_bundle, "fp32", labelled.dataset, "own labels").accuracy
    assert accuracy.pixel_accuracy == 1.0
    assert accuracy.frames == 3
    pixels = accuracy.labelled_pixels
    assert {accuracy.iou[name] for name, count in pixels.items() if count} == {1.0}
    assert {accuracy.iou[name] for name, count in pixels.items() if not count} == {None}
    assert sum(pixels.values()) == sum(int((sample.label != 255).sum()) for sample in labelled.dataset)


def test_other_classes_are_refused(exported_bundle, tmp_path):
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
        cv2.imwrite(str(tmp_path / kind / "a.png"), np.zeros((8, 8), np.uint8))
    (tmp_path / "classes.yaml").write_text(
        "classes:\n  - {name: a, color: [1, 2, 3]}\n  - {name: b, color: [4, 5, 6]}\n"
    )
    with pytest.raises(CalibrationError, match="expected the bundle's 19 classes"):
        measure_accuracy(Bundle.open(exported_bundle), "fp32", open_dataset(tmp_path, "val"), "other")


def test_the_first_class_that_differs_is_named_and_white_space_around_names_is_no_difference(
    exported_bundle, labelled
):
    bundle, classes = Bundle.open(exported_bundle), labelled.dataset.classes
    spaced = tuple(f" {name} " for name in classes.names)
    dataset = Dataset(labelled.dataset.pairs, classes.model_copy(update={"names": spaced}))
    require_classes(bundle, dataset, "mine")
    assert named_as_in(bundle, LabelledSet("mine", dataset)).dataset.classes == classes
    other = classes.model_copy(update={"names": (*spaced[:5], "post", *spaced[6:])})
    with pytest.raises(
        CalibrationError, match="class 5 is 'pole' in the bundle, but 'post' in mine; give a data set"
    ):
        require_classes(bundle, Dataset(labelled.dataset.pairs, other), "mine")


def test_a_variant_agrees_with_itself(exported_bundle):
    assert measure_agreement(Bundle.open(exported_bundle), "fp32", "fp32", [pattern((64, 128), 1)]) == 1.0


@pytest.fixture(scope="module")
def calibrated(balanced_bundle, image_folder, labelled, tmp_path_factory):
    path = tmp_path_factory.mktemp("calibrated") / "bundle"
    rules = GateRules(20.0, 30.0, min_class_pixels=1, min_class_frames=1)
    settings = CalibrationSettings("max", rules, range_frames=1)
    calibrate_bundle(balanced_bundle, choose_images(image_folder, 8), labelled, path, settings=settings)
    return Bundle.open(path)


def test_the_new_bundle_is_whole_and_leaves_the_old_one_as_it_was(balanced_bundle, calibrated):
    old = Bundle.open(balanced_bundle.path)
    old.verify()
    calibrated.verify()
    assert "int8" not in old.manifest.variants
    assert calibrated.manifest.provenance.parent_sha256 == old.sha256
    assert calibrated.manifest.variants["fp16"].file == old.manifest.variants["fp16"].file


def test_every_variant_has_its_measured_accuracy_and_int8_its_share(calibrated):
    variants = calibrated.manifest.variants
    assert variants["fp32"].accuracy.pixel_accuracy == 1.0
    assert 0.3 < variants["int8"].accuracy.miou < 1.0
    assert variants["int8"].quantisation.conv_mac_share_int8 > 0.9
    report = json.loads((calibrated.path / "reports/calibration.json").read_text())
    assert sorted(report["images_used"]) == [f"{seed:02}.png" for seed in range(8)]
    assert report["conv_macs_int8"] < report["conv_macs"]


def test_the_manifest_names_every_calibration_frame_with_its_hash(calibrated, image_folder):
    frames = calibrated.manifest.variants["int8"].quantisation.frames
    assert sorted(frame.path for frame in frames) == [f"{seed:02}.png" for seed in range(8)]
    for frame in frames:
        assert frame.sha256 == hashlib.sha256((image_folder / frame.path).read_bytes()).hexdigest()


def test_the_report_says_how_far_int8_agrees_with_the_golden_frame(calibrated):
    report = json.loads((calibrated.path / "reports/calibration.json").read_text())
    assert report["golden_agreement_int8"] == measure_golden(calibrated, "int8").share
    assert measure_golden(calibrated, "fp32").is_passed


def test_the_int8_file_builds_in_tensorrt_for_rtx(calibrated):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    library = library_of(importlib.import_module("tensorrt_rtx"))
    for attention in ("native", "reference"):
        built = build_engine(lowered_model(library, calibrated, "int8", attention), ["sm_89"])
        assert len(built.plan) > 10_000


def test_a_calibrated_bundle_is_not_calibrated_again(calibrated, tmp_path):
    with pytest.raises(CalibrationError, match="has an int8 variant already"):
        require_calibratable(calibrated, None, tmp_path / "out")


@pytest.mark.slow
def test_nothing_is_left_behind_when_the_calibration_fails(
    exported_bundle, image_folder, tmp_path, monkeypatch
):
    def fail(*_args):
        raise CalibrationError("no")

    monkeypatch.setattr("danet_calibration.pipeline.measure_agreement", fail)
    with pytest.raises(CalibrationError, match="no"):
        calibrate_bundle(
            Bundle.open(exported_bundle),
            choose_images(image_folder, 2),
            None,
            tmp_path / "out",
            settings=CalibrationSettings("max", range_frames=0),
        )
    assert list(tmp_path.iterdir()) == []
