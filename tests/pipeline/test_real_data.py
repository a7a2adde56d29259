"""The whole way on real driving data: calibrate on Cityscapes frames, run two real drives."""

import json

import cv2
import danet_command
import pytest

VIDEOS = {"highway_960x540.mp4": (221, 960, 540), "highway_1280x720.mp4": (38, 1280, 720)}


def danet(*arguments):
    done = danet_command.danet(*arguments, timeout_s=1800)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def calibrated(shared_data, exported_bundle, tmp_path_factory):
    """An INT8 bundle calibrated on real frames."""
    path = tmp_path_factory.mktemp("real") / "bundle"
    data = shared_data / "cityscapes_mini"
    danet(
        "calibrate",
        exported_bundle,
        "--data",
        data,
        "--labelled",
        data,
        "--split",
        "train",
        "-o",
        path,
        "--allow-overlap",
    )
    return path


@pytest.mark.slow
def test_calibration_on_real_cityscapes_frames_reports_every_variant(calibrated):
    manifest = json.loads((calibrated / "manifest.json").read_text())
    assert manifest["variants"]["int8"]["quantisation"]["calibration_frames"] == 8
    for variant in manifest["variants"].values():
        assert variant["accuracy"]["frames"] == 8
        # Truck, bus and train occur in none of these frames; a class nobody predicts either has no score.
        assert variant["accuracy"]["iou"].keys() >= {"road", "truck", "bus", "train"}
    report = json.loads((calibrated / "reports/calibration.json").read_text())
    assert report["label_agreement_int8_fp32"] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("name", VIDEOS)
def test_a_real_drive_gives_one_overlay_frame_a_frame_at_its_own_size(
    calibrated, shared_data, tmp_path, name
):
    frames, width, height = VIDEOS[name]
    danet(
        "run", calibrated, shared_data / "video" / name, "--precision", "int8", "-o", tmp_path / "overlay.mp4"
    )
    report = json.loads((tmp_path / "overlay.json").read_text())
    counted = report["frames"]
    assert (counted.pop("in"), counted.pop("out"), *set(counted.values())) == (frames, frames, 0)
    capture = cv2.VideoCapture(str(tmp_path / "overlay.mp4"))
    seen = 0
    while True:
        good, frame = capture.read()
        if not good:
            break
        assert frame.shape == (height, width, 3)
        seen += 1
    assert seen == frames
