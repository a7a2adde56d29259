"""`calibrate_bundle` refuses before anything is written and before anything long begins."""

import json
import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from danet_calibration import pipeline
from danet_calibration.errors import CalibrationError, CalibrationSetError, GateError
from danet_calibration.gate.rules import GateRules
from danet_calibration.images.images import choose_images
from danet_calibration.int8 import drafts
from danet_calibration.int8.coverage import measure_coverage
from danet_calibration.measure.accuracy import LabelledSet
from danet_calibration.measure.overlap import find_overlap
from danet_calibration.pipeline import CalibrationSettings, calibrate_bundle
from danet_runtime.bundle import Bundle, write_bundle
from danet_runtime.errors import DanetError, IntegrityError, UsageError
from danet_train.data.datasets.layouts import open_dataset
from danet_train.errors import DataError

QUICK = CalibrationSettings("max", range_frames=0)


@pytest.fixture
def bundle(exported_bundle, tmp_path):
    """A copy of the bundle that a test may damage."""
    return Bundle.open(shutil.copytree(exported_bundle, tmp_path / "bundle"))


@pytest.fixture
def images(image_folder):
    return choose_images(image_folder, 2)


@pytest.fixture
def nothing_long(monkeypatch):
    """Fail the test when the quantisation begins."""

    def begin(*_args, **_options):
        raise AssertionError("the quantisation has begun")

    monkeypatch.setattr(pipeline, "class_coverage", begin)


def with_agreement(bundle, agreement):
    golden = bundle.manifest.golden.model_copy(update={"agreement": agreement})
    return Bundle(bundle.path, bundle.manifest.model_copy(update={"golden": golden}), bundle.sha256)


@pytest.mark.slow
def test_too_little_int8_is_refused(bundle, images, tmp_path, monkeypatch):
    choose, shares = pipeline.choose_scales, []

    def choose_few(*args):
        found = choose(*args)
        return replace(found, inputs=found.inputs[: len(found.inputs) // 4])

    def measure(model):
        coverage = measure_coverage(model)
        shares.append(coverage.share)
        return coverage

    monkeypatch.setattr(pipeline, "choose_scales", choose_few)
    monkeypatch.setattr(drafts, "measure_coverage", measure)
    with pytest.raises(GateError, match="of the convolution MACs"):
        calibrate_bundle(bundle, images, None, tmp_path / "out", settings=QUICK)
    assert 0 < shares[-1] < 0.8
    assert [file.name for file in tmp_path.iterdir()] == ["bundle"]


def test_scales_that_spoil_the_labels_are_refused_on_the_golden_frame(bundle, images, tmp_path, monkeypatch):
    choose = pipeline.choose_scales

    def choose_too_large(*args):
        found = choose(*args)
        return replace(found, inputs=[replace(item, scale=item.scale * 50) for item in found.inputs])

    monkeypatch.setattr(pipeline, "choose_scales", choose_too_large)
    with pytest.raises(
        GateError, match=r"of the golden frame's labels in int8; expected 95% or more"
    ) as raised:
        calibrate_bundle(bundle, images, None, tmp_path / "out", settings=QUICK)
    assert raised.value.verdict["gate"] == "failed"
    assert [file.name for file in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.usefixtures("nothing_long")
def test_a_changed_byte_anywhere_in_the_bundle_is_refused(bundle, images, tmp_path):
    for ref in bundle.manifest.files():
        file = bundle.path / ref.path
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(IntegrityError, match=file.name):
            calibrate_bundle(bundle, images, None, tmp_path / "out", settings=QUICK)
        file.write_bytes(content)


@pytest.mark.usefixtures("nothing_long")
def test_a_bundle_does_not_replace_itself_nor_the_folder_it_is_in(bundle, images, tmp_path):
    (tmp_path / "link").symlink_to(bundle.path)
    for path in (bundle.path, bundle.path / ".." / "bundle", tmp_path / "link", tmp_path):
        with pytest.raises(UsageError, match="would replace the bundle"):
            calibrate_bundle(bundle, images, None, path, settings=QUICK, overwrite=True)
    bundle.verify()


@pytest.mark.usefixtures("nothing_long")
def test_labelled_images_of_other_classes_are_refused(bundle, images, image_folder, tmp_path):
    for kind in ("images", "labels"):
        shutil.copytree(image_folder, tmp_path / "other" / kind)
    other = LabelledSet("other", open_dataset(tmp_path / "other", "val", "camvid"))
    with pytest.raises(CalibrationError, match="expected the bundle's 19 classes"):
        calibrate_bundle(bundle, images, other, tmp_path / "out", settings=QUICK)


@pytest.mark.usefixtures("nothing_long")
def test_a_bundle_that_asks_no_agreement_of_int8_is_refused(bundle, images, tmp_path):
    with pytest.raises(CalibrationError, match="does not say how far INT8 must agree"):
        calibrate_bundle(
            with_agreement(bundle, {"fp32": 0.9}), images, None, tmp_path / "out", settings=QUICK
        )


def test_without_labels_agreement_with_fp32_decides_and_the_bundle_says_so(
    bundle, images, tmp_path, monkeypatch
):
    monkeypatch.setattr(pipeline, "measure_agreement", lambda *_: 0.98)
    manifest = calibrate_bundle(bundle, images, None, tmp_path / "out", settings=QUICK)
    report = json.loads((tmp_path / "out/reports/calibration.json").read_text())
    held = manifest.variants["int8"].quantisation
    assert report["gate"] == held.gate == "agreement only"
    assert held.agreement == 0.98
    assert "gives FP32's label to 98.00% of the pixels of 2 of the calibration frames" in held.gate_doubt
    assert "No labelled frames" in report["reason"]
    assert [(item["name"], item["gate"], item["miou"]) for item in report["ladder"]] == [
        ("INT8 everywhere", "agreement only", None),
        ("FP16", "not measured", None),
        ("FP32", "not measured", None),
    ]
    monkeypatch.setattr(pipeline, "measure_agreement", lambda *_: 0.96)
    message = r"the same label to 96.00% of the pixels .* expected 97.0% or more \(--min-agreement\)"
    with pytest.raises(GateError, match=message) as raised:
        calibrate_bundle(bundle, images, None, tmp_path / "other", settings=QUICK)
    assert raised.value.verdict["gate"] == raised.value.verdict["ladder"][0]["gate"] == "failed"
    assert raised.value.verdict["agreement"]["label_agreement_int8_fp32"] == 0.96
    assert not (tmp_path / "other").exists()
    lower = replace(QUICK, rules=GateRules(min_agreement=0.9))
    calibrate_bundle(bundle, images, None, tmp_path / "other", settings=lower)


@pytest.mark.usefixtures("nothing_long")
@pytest.mark.parametrize("named", [None, ("person",)])
def test_labels_that_show_too_little_of_the_guarded_classes_decide_nothing(
    balanced_bundle, labelled, images, tmp_path, named
):
    settings = replace(QUICK, rules=GateRules(guard=named))
    with pytest.raises(GateError, match=r"cannot be measured: .* too little of") as raised:
        calibrate_bundle(balanced_bundle, images, labelled, tmp_path / "out", settings=settings)
    assert raised.value.verdict["gate"] == "not measured"
    assert "person" in raised.value.verdict["not_measured"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("which", ["calibrated", "held_out"])
def test_copies_of_the_gates_frames_are_refused_by_their_contents(
    balanced_bundle, labelled, image_folder, tmp_path, which
):
    folder = shutil.copytree(image_folder, tmp_path / "images")
    copied = labelled.dataset.pairs[0]
    shutil.copy(copied.image, folder / "99_other_name.png")
    chosen = choose_images(folder, 9)
    if which == "held_out":
        chosen = replace(choose_images(image_folder, 8), held_out=chosen)
    with pytest.raises(CalibrationSetError, match=r"1 of the 3 labelled frames .* --allow-overlap"):
        calibrate_bundle(balanced_bundle, chosen, labelled, tmp_path / "out", settings=QUICK)
    found = find_overlap(chosen, labelled).to_json()
    assert found["of"] == 3
    assert found[which] == [copied.name]
    rules = GateRules(20.0, 60.0, min_class_pixels=1, min_class_frames=1)
    allowed = replace(QUICK, rules=rules, allow_overlap=True)
    manifest = calibrate_bundle(balanced_bundle, chosen, labelled, tmp_path / "out", settings=allowed)
    assert manifest.variants["int8"].quantisation.gate_overlap == 1


@pytest.mark.slow
def test_auto_takes_the_method_that_agrees_best_with_fp32(bundle, images, tmp_path):
    settings = CalibrationSettings("auto", range_frames=0)
    calibrate_bundle(bundle, images, None, tmp_path / "out", settings=settings)
    report = json.loads((tmp_path / "out/reports/calibration.json").read_text())
    scores = report["method_scores"]
    assert set(scores) == {"max", "entropy", "percentile", "mse"}
    assert scores[report["method"]] == max(scores.values()) > 0.5
    assert report["methods_compared_by"].startswith("agreement with FP32")


def with_qdq(source, path, precision):
    """A bundle of which one floating-point file holds a Q/DQ pair."""
    variant = source.variant(precision)
    model = onnx.load_from_string(source.read(variant.file))
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    scale = numpy_helper.from_array(np.array(0.1, np.float16 if precision == "fp16" else np.float32), "s")
    zero = numpy_helper.from_array(np.array(0, np.int8), "z")
    model.graph.initializer.extend([scale, zero])
    position = list(model.graph.node).index(conv)
    model.graph.node.insert(position, helper.make_node("QuantizeLinear", [conv.input[0], "s", "z"], ["q"]))
    model.graph.node.insert(position + 1, helper.make_node("DequantizeLinear", ["q", "s", "z"], ["dq"]))
    conv.input[0] = "dq"
    with write_bundle(path) as writer:
        for ref in source.manifest.files():
            writer.copy(source, ref)
        changed = variant.model_copy(
            update={"file": writer.add(variant.file.path, model.SerializeToString())}
        )
        variants = {**source.manifest.variants, precision: changed}
        writer.finish(source.manifest.model_copy(update={"variants": variants}))
    return Bundle.open(path)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_bundle_whose_model_holds_qdq_already_is_refused(bundle, images, tmp_path, precision):
    quantised = with_qdq(bundle, tmp_path / "qdq", precision)
    with pytest.raises(
        CalibrationError, match="Q/DQ nodes already; calibrate the bundle that `danet export`"
    ):
        calibrate_bundle(quantised, images, None, tmp_path / "out", settings=QUICK)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_calibration_folder_that_loses_a_file_half_way_ends_with_its_name(
    bundle, image_folder, tmp_path, monkeypatch
):
    folder = shutil.copytree(image_folder, tmp_path / "images")
    images = choose_images(folder, 8)
    choose = pipeline.choose_scales

    def lose(*args):
        images.files[-1].unlink()
        return choose(*args)

    monkeypatch.setattr(pipeline, "choose_scales", lose)
    with pytest.raises(DanetError, match=images.files[-1].name) as raised:
        calibrate_bundle(bundle, images, None, tmp_path / "out", settings=QUICK)
    assert raised.value.exit_code == 1
    assert not (tmp_path / "out").exists()


def test_a_labelled_set_that_loses_a_file_half_way_leaves_nothing(
    balanced_bundle, labelled, images, tmp_path
):
    root = shutil.copytree(labelled.dataset.pairs[0].image.parents[2], tmp_path / "labelled")
    dataset = open_dataset(root, "val")
    dataset.pairs[-1].label.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        calibrate_bundle(
            balanced_bundle, images, LabelledSet("lost", dataset), tmp_path / "out", settings=QUICK
        )
    assert [file.name for file in tmp_path.iterdir()] == ["labelled"]
