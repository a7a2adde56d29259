"""Bad input at the command line: one message, the right exit code, nothing half-written."""

import json
import shutil

import cv2
import numpy as np
import pytest
import torch
from danet_command import danet

from danet_export.frames import pattern
from danet_train.model.danet import build_model

pytestmark = pytest.mark.slow  # processes, or whole exports, by the dozen


@pytest.fixture
def bundle(exported_bundle, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(exported_bundle, tmp_path / "in" / "bundle")


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "in" / "video.avi"
    path.parent.mkdir(exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (128, 64))
    for index in range(12):
        writer.write(pattern((64, 128), index))
    writer.release()
    return path


def refused(done, code, *words):
    assert done.returncode == code, done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout
    message = done.stderr.replace("\n", " ")
    for word in words:
        assert word in message, message


def edit_manifest(bundle, change):
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_export_of_a_checkpoint_that_is_not_there(tmp_path):
    done = danet("export", tmp_path / "none.pt", "--size", "64x128", "-o", tmp_path / "out")
    refused(done, 2, "none.pt")
    assert not (tmp_path / "out").exists()


def test_export_of_another_architecture(tmp_path):
    torch.save({"state_dict": torch.nn.Linear(2, 2).state_dict()}, tmp_path / "linear.pt")
    done = danet("export", tmp_path / "linear.pt", "--size", "64x128", "-o", tmp_path / "out")
    refused(done, 1, "linear.pt")
    assert not (tmp_path / "out").exists()


def test_export_of_a_file_that_is_no_checkpoint(tmp_path):
    (tmp_path / "text.pt").write_text("hello")
    refused(danet("export", tmp_path / "text.pt", "--size", "64x128", "-o", tmp_path / "out"), 1, "text.pt")


@pytest.mark.parametrize("size", ["65x128", "60x128", "0x0", "64", "axb", "64x128x3"])
def test_export_at_a_size_that_the_network_does_not_take(checkpoint_file, tmp_path, size):
    done = danet("export", checkpoint_file, "--size", size, "-o", tmp_path / "out")
    refused(done, 2, size if size != "64" else "HEIGHTxWIDTH")
    assert list(tmp_path.iterdir()) == []


def test_export_without_classes_for_an_unknown_number_of_them(tmp_path):
    model = build_model(
        18, num_classes=7, base_channels=8, stem_channels=8, head_channels=16, attention_channels=4
    )
    torch.save({"state_dict": model.state_dict()}, tmp_path / "seven.pt")
    refused(
        danet("export", tmp_path / "seven.pt", "--size", "64x128", "-o", tmp_path / "out"), 2, "--classes"
    )


def test_export_over_a_bundle_that_is_there(checkpoint_file, bundle):
    before = (bundle / "manifest.json").read_bytes()
    refused(danet("export", checkpoint_file, "--size", "64x128", "-o", bundle), 2, "--overwrite")
    assert (bundle / "manifest.json").read_bytes() == before


def test_overwrite_removes_nothing_but_a_bundle(checkpoint_file, bundle, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years")
    done = danet("export", checkpoint_file, "--size", "64x128", "-o", precious, "--overwrite")
    refused(done, 2, "precious", "manifest.json")
    refused(danet("calibrate", bundle, "--data", tmp_path, "-o", precious, "--overwrite"), 2)
    assert (precious / "thesis.txt").read_text() == "years"
    done = danet("export", checkpoint_file, "--size", "64x128", "-o", precious / "thesis.txt", "--overwrite")
    refused(done, 2, "is a file")


def test_an_output_that_cannot_be_made_is_refused(checkpoint_file, bundle, video, tmp_path):
    (tmp_path / "file").write_text("")
    target = tmp_path / "file" / "sub" / "out"
    refused(danet("export", checkpoint_file, "--size", "64x128", "-o", target), 2, "cannot be made")
    refused(danet("run", bundle, video, "-o", target.with_suffix(".mp4")), 2, "cannot be made")
    refused(danet("run", bundle, video, "--report", target.with_suffix(".json")), 2, "cannot be made")
    refused(danet("build", bundle, "--target", "sm_89", "--engine-dir", target), 2, "cannot be made")
    refused(danet("profile", bundle, "--frames", "1", "--json", target), 2, "cannot be made")


def test_sizes_beyond_the_schema_are_refused_before_memory_is_taken(checkpoint_file, tmp_path):
    arguments = ["export", checkpoint_file, "--size", "64x128", "--frame-size", "99999x20000"]
    refused(danet(*arguments, "-o", tmp_path / "out"), 2, "16384")


def test_classes_that_contradict_the_checkpoint_are_refused(checkpoint_file, tmp_path):
    done = danet("export", checkpoint_file, "--size", "64x128", "--classes", "camvid", "-o", tmp_path / "out")
    refused(done, 2, "leave --classes out")


def test_a_changed_byte_is_found_before_the_model_is_parsed(bundle, video, tmp_path):
    model = bundle / "model.fp32.onnx"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    done = danet("run", bundle, video, "--precision", "fp32", "-o", tmp_path / "out.mp4")
    refused(done, 1, "sha256", "model.fp32.onnx")
    assert not list(tmp_path.glob("*out*"))
    refused(danet("doctor", bundle), 1, "sha256")


def test_an_unknown_manifest_key(bundle, video, tmp_path):
    edit_manifest(bundle, lambda manifest: manifest.update(color="red"))
    for arguments in (["run", bundle, video], ["build", bundle, "--target", "sm_89"], ["doctor", bundle]):
        refused(danet(*arguments), 1, "unknown key color")


def test_a_manifest_of_a_later_schema(bundle, video):
    edit_manifest(bundle, lambda manifest: manifest.update(schema_version=99))
    refused(danet("run", bundle, video), 1, "schema_version 1", "99")


def test_a_manifest_that_points_out_of_the_bundle(bundle, video):
    edit_manifest(bundle, lambda manifest: manifest["variants"]["fp32"]["file"].update(path="../secret.onnx"))
    refused(danet("run", bundle, video), 1, "inside the bundle")


def test_a_bundle_that_is_not_there(tmp_path, video):
    refused(danet("run", tmp_path / "none", video), 2, "does not exist")


@pytest.mark.parametrize("kind", ["empty", "missing", "text", "constant"])
def test_calibration_images_that_are_none(bundle, tmp_path, kind):
    folder = tmp_path / "images"
    if kind != "missing":
        folder.mkdir()
    if kind == "text":
        (folder / "a.png").write_text("hello")
    if kind == "constant":
        cv2.imwrite(str(folder / "a.png"), np.zeros((64, 128, 3), np.uint8))
    missing = kind == "missing"
    refused(
        danet("calibrate", bundle, "--data", folder, "-o", tmp_path / "out"),
        2 if missing else 1,
        str(folder),
    )
    left = [] if missing else ["out.verdict.json"]
    assert [file.name for file in tmp_path.glob("*out*")] == left


def test_a_video_that_is_no_video_makes_no_output(bundle, tmp_path):
    (tmp_path / "in" / "fake.mp4").write_bytes(b"hello" * 1000)
    done = danet("run", bundle, tmp_path / "in" / "fake.mp4", "-o", tmp_path / "out.mp4")
    refused(done, 1, "fake.mp4")
    assert not list(tmp_path.glob("*out*"))


def test_a_folder_with_no_images(bundle, tmp_path):
    (tmp_path / "empty").mkdir()
    refused(danet("run", bundle, tmp_path / "empty", "-o", tmp_path / "out.mp4"), 1, "no picture")
    refused(
        danet("run", bundle, tmp_path / "nothing", "-o", tmp_path / "out.mp4"),
        2,
        "there is no file or folder",
    )
    assert not list(tmp_path.glob("*out*"))


def test_a_video_cut_off_midway_keeps_the_finished_part(bundle, video, tmp_path):
    data = video.read_bytes()
    cut = tmp_path / "in" / "cut.avi"
    cut.write_bytes(data[: len(data) * 6 // 10])
    done = danet("run", bundle, cut, "-o", tmp_path / "out.mp4")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    report = json.loads((tmp_path / "out.json").read_text())
    assert 0 < report["frames"]["in"] == report["frames"]["out"] < 12
    assert str(report["frames"]["in"]) in done.stderr
    capture = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    count = 0
    while capture.read()[0]:
        count += 1
    assert count == report["frames"]["out"]


def test_wrong_options_are_usage_errors():
    refused(danet("build", "x"), 2)
    refused(danet("nonsense"), 2)
    refused(danet("run"), 2)
