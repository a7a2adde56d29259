"""A picture that is cut off or damaged never becomes pixels, least of all labels."""

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from danet_train.data.datasets.layouts import open_dataset
from danet_train.data.samples.faults import Skipped, read_samples
from danet_train.data.samples.sample import read_image, read_label
from danet_train.errors import DataError
from danet_train.pictures.wholeness import damage

LABEL = (np.arange(40 * 60).reshape(40, 60) // 37 % 7).astype(np.uint8)
ENCODED = cv2.imencode(".png", LABEL)[1].tobytes()


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, len(ENCODED) - 1), bit=st.integers(0, 7))
def test_one_wrong_bit_anywhere_in_a_label_is_an_error_that_names_it(tmp_path, at, bit):
    path = tmp_path / "label.png"
    path.write_bytes(ENCODED[:at] + bytes([ENCODED[at] ^ 1 << bit]) + ENCODED[at + 1 :])
    with pytest.raises(DataError, match=r"label\.png"):
        read_label(path)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.integers(0, len(ENCODED) - 1))
def test_a_label_that_ends_early_anywhere_is_an_error_that_names_it(tmp_path, length):
    path = tmp_path / "label.png"
    path.write_bytes(ENCODED[:length])
    with pytest.raises(DataError, match=r"label\.png"):
        read_label(path)
    with pytest.raises(DataError, match=r"label\.png"):
        read_image(path)


def test_what_follows_the_end_does_no_harm_and_damage_is_told_in_words(tmp_path):
    path = tmp_path / "label.png"
    path.write_bytes(ENCODED + b"more")
    np.testing.assert_array_equal(read_label(path), LABEL)
    assert damage(ENCODED) is None
    assert "checksum" in (damage(ENCODED[:60] + b"\0\0\0\0" + ENCODED[64:]) or "")
    assert "cut off after 90 bytes" in (damage(ENCODED[:90]) or "")


def test_a_label_that_is_no_png_is_refused(tmp_path):
    path = tmp_path / "label.png"
    path.write_bytes(cv2.imencode(".jpg", LABEL)[1].tobytes())
    with pytest.raises(DataError, match=r"label\.png .*no PNG"):
        read_label(path)


@pytest.fixture
def folder(tmp_path):
    """Four samples: a good one, a damaged label, an image without labels, a pair of two sizes."""
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    names = [f"{{name: c{i}, color: [0, 0, {i}]}}" for i in range(7)]
    (tmp_path / "classes.yaml").write_text(f"classes: [{', '.join(names)}]")
    for name in "abcd":
        cv2.imwrite(str(tmp_path / f"images/{name}.png"), np.zeros((40, 60, 3), np.uint8))
        (tmp_path / f"labels/{name}.png").write_bytes(ENCODED)
    (tmp_path / "labels/b.png").write_bytes(ENCODED[:60] + b"\0" + ENCODED[61:])
    (tmp_path / "labels/c.png").unlink()
    cv2.imwrite(str(tmp_path / "images/d.png"), np.zeros((40, 61, 3), np.uint8))
    return tmp_path


def test_skipping_leaves_out_what_cannot_be_read_and_says_which_and_why(folder):
    dataset = open_dataset(folder, "val", bad_samples="skip")
    assert dataset.names == ("a", "b", "d")
    assert [skipped.name for skipped in dataset.skipped] == ["c"]
    assert "c.png has no labels" in dataset.skipped[0].why
    read = list(read_samples(dataset, "skip"))
    assert [item.name for item in read] == ["a", "b", "d"]
    assert [isinstance(item, Skipped) for item in read] == [False, True, True]
    assert "b.png is damaged" in read[1].why
    assert "61x40" in read[2].why


def test_stopping_is_the_default(folder):
    with pytest.raises(DataError, match=r"c\.png needs"):
        open_dataset(folder, "val")
    dataset = open_dataset(folder, "val", bad_samples="skip")
    with pytest.raises(DataError, match=r"b\.png is damaged"):
        list(read_samples(dataset, "stop"))


def test_a_dataset_of_which_nothing_can_be_read_is_an_error(folder):
    dataset = open_dataset(folder, "val", bad_samples="skip")[1:]
    with pytest.raises(DataError, match=r"none of the 2 samples can be read; the first: .*b\.png"):
        list(read_samples(dataset, "skip"))
    for label in (folder / "labels").iterdir():
        label.unlink()
    with pytest.raises(DataError, match="4 of 4 images have no labels"):
        open_dataset(folder, "val", bad_samples="skip")
