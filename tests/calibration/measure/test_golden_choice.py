"""The golden frame of an INT8 bundle is one of the camera's; a drawn pattern refuses no bundle."""

import json
import logging
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from danet_calibration import pipeline
from danet_calibration.errors import GateError
from danet_calibration.images.images import choose_images
from danet_calibration.measure.golden_choice import put_golden
from danet_calibration.pipeline import CalibrationSettings, calibrate_bundle
from danet_calibration.summary import candidate_table
from danet_runtime.bundle import Bundle, write_bundle
from danet_runtime.bundle.golden import check_golden, golden_frame
from danet_runtime.inference.segmenter import Segmenter

SETTINGS = CalibrationSettings("max", range_frames=0)


def with_golden(source, path, origin):
    """A bundle whose golden frame is noise, of which no file gives the labels, as an INT8 file might not."""
    frame = np.random.default_rng(0).integers(0, 256, (64, 128, 3), np.uint8)
    with write_bundle(path) as writer:
        for ref in source.manifest.files():
            writer.copy(source, ref)
        with Segmenter(source, "fp32") as segmenter:
            labels = (segmenter.labels_of(frame) + 1) % 19
        golden = source.manifest.golden.model_dump()
        golden["origin"] = origin
        for name, picture in (("frame", frame), ("labels", labels)):
            ref = writer.add(golden[name]["path"], cv2.imencode(".png", picture)[1].tobytes())
            golden[name] = ref.model_dump()
        if origin is None:  # as an older version wrote it
            del golden["origin"]
        held = type(source.manifest.golden).model_validate(golden)
        writer.finish(source.manifest.model_copy(update={"golden": held}))
    return Bundle.open(path)


@pytest.fixture
def images(image_folder):
    return choose_images(image_folder, 2, 5)


@pytest.fixture(autouse=True)
def agreeing(monkeypatch):
    """The random network's own agreement is not what these tests are about."""
    monkeypatch.setattr(pipeline, "measure_agreement", lambda *_: 0.98)


@pytest.mark.parametrize("origin", ["drawn", pytest.param(None, marks=pytest.mark.slow)])
def test_a_golden_frame_that_was_drawn_or_is_not_known_vetoes_no_int8(
    balanced_bundle, images, tmp_path, origin
):
    drawn = with_golden(balanced_bundle, tmp_path / "drawn", origin)
    calibrate_bundle(drawn, images, None, tmp_path / "out", settings=SETTINGS)
    bundle = Bundle.open(tmp_path / "out")
    assert bundle.manifest.golden.origin == "calibration"
    frame, labels = golden_frame(bundle)
    shown = [file for file, picture in _pictures(images.held_out) if np.array_equal(picture, frame)]
    assert len(shown) == 1
    with Segmenter(bundle, "fp32") as segmenter:
        np.testing.assert_array_equal(segmenter.labels_of(frame), labels)
        assert check_golden(bundle, "fp32", segmenter.labels_of).share == 1
    report = json.loads((tmp_path / "out/reports/calibration.json").read_text())
    assert report["golden_origin"] == "calibration"
    assert report["golden_agreement_int8"] >= bundle.manifest.golden.agreement["int8"]


def test_a_frame_that_the_user_gave_stays_and_its_condition_stands_in_words(
    balanced_bundle, images, tmp_path
):
    given = with_golden(balanced_bundle, tmp_path / "given", "frames")
    with pytest.raises(
        GateError, match=r"golden frame's labels.*the first of `danet export --data`"
    ) as error:
        calibrate_bundle(given, images, None, tmp_path / "out", settings=SETTINGS)
    candidate = error.value.verdict["ladder"][0]
    assert candidate["gate"] == "failed"
    assert candidate["golden_agreement"] < candidate["golden_agreement_asked"] == 0.5


@pytest.mark.slow
def test_the_table_of_the_gate_has_a_row_for_the_golden_frame(balanced_bundle, images, tmp_path):
    calibrate_bundle(balanced_bundle, images, None, tmp_path / "out", settings=SETTINGS)
    report = json.loads((tmp_path / "out/reports/calibration.json").read_text())
    table = candidate_table(report, "")
    rows = list(zip(*(column.cells for column in table.columns), strict=True))
    row = next(row for row in rows if "golden" in str(row[0]))
    assert row == (
        "golden frame's labels (at least 50%)",
        f"{report['golden_agreement_int8']:.2%}",
        "",
        "",
    )


@pytest.mark.slow
def test_without_held_out_frames_it_is_one_of_the_calibrations_own(balanced_bundle, image_folder, tmp_path):
    drawn = with_golden(balanced_bundle, tmp_path / "drawn", "drawn")
    own = choose_images(image_folder, 4)
    calibrate_bundle(drawn, own, None, tmp_path / "out", settings=SETTINGS)
    frame, _ = golden_frame(Bundle.open(tmp_path / "out"))
    assert any(np.array_equal(picture, frame) for _, picture in _pictures(own))


def test_a_frame_of_one_class_throughout_is_never_taken(balanced_bundle, images, tmp_path, caplog):
    """An engine that gives one class everywhere would pass such a frame; a limit of 0 stands for it here."""
    drawn = with_golden(balanced_bundle, tmp_path / "drawn", "drawn")
    strict = drawn.manifest.golden.model_copy(update={"agreement": {"fp32": 0.0, "fp16": 0.0, "int8": 0.0}})
    bundle = Bundle(drawn.path, drawn.manifest.model_copy(update={"golden": strict}), drawn.sha256)
    writer = SimpleNamespace(add=None, preview=None)
    with caplog.at_level(logging.WARNING):
        assert put_golden(bundle, images, writer, lambda *_: None) is bundle
    assert "shows a drawn pattern: export with --data of the camera" in caplog.text


def _pictures(images):
    return list(zip(images.files, images.frames((64, 128)), strict=True))
