"""What `calibrate_bundle` refuses, and that nothing is written and nothing long begun when it does."""

import shutil

import pytest

from danet_calibration import pipeline
from danet_calibration.coverage import measure_coverage
from danet_calibration.errors import CalibrationError, GateError
from danet_calibration.images import choose_images
from danet_calibration.pipeline import LabelledSet, calibrate_bundle
from danet_runtime.bundle import Bundle
from danet_runtime.errors import IntegrityError, UsageError
from danet_train.data.layouts import open_dataset


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

    def begin(*_args):
        raise AssertionError("the quantisation has begun")

    monkeypatch.setattr(pipeline, "find_scales", begin)


def with_agreement(bundle, agreement):
    golden = bundle.manifest.golden.model_copy(update={"agreement": agreement})
    return Bundle(bundle.path, bundle.manifest.model_copy(update={"golden": golden}), bundle.sha256)


def test_too_little_int8_is_refused(bundle, images, tmp_path, monkeypatch):
    find, shares = pipeline.find_scales, []

    def find_few(*args):
        found = find(*args)
        return found[: len(found) // 4]

    def measure(model):
        coverage = measure_coverage(model)
        shares.append(coverage.share)
        return coverage

    monkeypatch.setattr(pipeline, "find_scales", find_few)
    monkeypatch.setattr(pipeline, "measure_coverage", measure)
    with pytest.raises(GateError, match="of the convolution MACs"):
        calibrate_bundle(bundle, images, "max", None, tmp_path / "out")
    assert 0 < shares[0] < 0.8
    assert [file.name for file in tmp_path.iterdir()] == ["bundle"]


def test_scales_that_spoil_the_labels_are_refused_on_the_golden_frame(bundle, images, tmp_path, monkeypatch):
    find = pipeline.find_scales

    def find_too_large(*args):
        return [item.__class__(item.node, item.position, item.scale * 50) for item in find(*args)]

    monkeypatch.setattr(pipeline, "find_scales", find_too_large)
    with pytest.raises(GateError, match=r"of the golden frame's labels; expected 95% or more"):
        calibrate_bundle(bundle, images, "max", None, tmp_path / "out")
    assert [file.name for file in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.usefixtures("nothing_long")
def test_a_changed_byte_anywhere_in_the_bundle_is_refused(bundle, images, tmp_path):
    for ref in bundle.manifest.files():
        file = bundle.path / ref.path
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(IntegrityError, match=file.name):
            calibrate_bundle(bundle, images, "max", None, tmp_path / "out")
        file.write_bytes(content)


@pytest.mark.usefixtures("nothing_long")
def test_a_bundle_does_not_replace_itself_nor_the_folder_it_is_in(bundle, images, tmp_path):
    (tmp_path / "link").symlink_to(bundle.path)
    for path in (bundle.path, bundle.path / ".." / "bundle", tmp_path / "link", tmp_path):
        with pytest.raises(UsageError, match="would replace the bundle"):
            calibrate_bundle(bundle, images, "max", None, path, overwrite=True)
    bundle.verify()


@pytest.mark.usefixtures("nothing_long")
def test_labelled_images_of_other_classes_are_refused(bundle, images, image_folder, tmp_path):
    for kind in ("images", "labels"):
        shutil.copytree(image_folder, tmp_path / "other" / kind)
    other = LabelledSet("other", open_dataset(tmp_path / "other", "val", "camvid"))
    with pytest.raises(CalibrationError, match="expected the bundle's 19 classes"):
        calibrate_bundle(bundle, images, "max", other, tmp_path / "out")


@pytest.mark.usefixtures("nothing_long")
def test_a_bundle_that_asks_no_agreement_of_int8_is_refused(bundle, images, tmp_path):
    with pytest.raises(CalibrationError, match="does not say how far INT8 must agree"):
        calibrate_bundle(with_agreement(bundle, {"fp32": 0.9}), images, "max", None, tmp_path / "out")
