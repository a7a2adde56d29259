"""The end of a JPEG is found in pictures of an encoder, with any data before and behind."""

import cv2
import numpy as np
import pytest

from danet_train.data.samples.sample import read_image
from danet_train.errors import DataError
from danet_train.pictures.wholeness import damage

PHOTO = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)


def _encoded(*options, picture=PHOTO):
    return cv2.imencode(".jpg", picture, list(options))[1].tobytes()


KINDS = {
    "baseline": _encoded(),
    "progressive": _encoded(cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "restarts": _encoded(cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
}


def _with_preview(data):
    """A whole small JPEG in an APP1 segment, as a camera's EXIF has it."""
    payload = b"Exif\0\0" + _encoded(picture=PHOTO[::4, ::4].copy())
    return data[:2] + b"\xff\xe1" + (len(payload) + 2).to_bytes(2, "big") + payload + data[2:]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trailer", [b"", b"\0" * 65, b"made by a camera" * 100, KINDS["baseline"][:-40]])
def test_a_whole_picture_is_read_whatever_is_appended(tmp_path, kind, trailer):
    path = tmp_path / "photo.jpg"
    for data in (KINDS[kind], _with_preview(KINDS[kind])):
        path.write_bytes(data + trailer)
        np.testing.assert_array_equal(read_image(path), cv2.imdecode(np.frombuffer(data, np.uint8), 1))


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_that_ends_early_anywhere_is_not_whole_even_with_a_preview(kind):
    for data in (KINDS[kind], _with_preview(KINDS[kind])):
        assert all(damage(data[:length]) for length in range(2, len(data)))
        assert damage(data) is None


def test_the_end_of_the_preview_is_not_taken_for_the_pictures(tmp_path):
    path = tmp_path / "photo.jpg"
    data = _with_preview(KINDS["baseline"])
    path.write_bytes(data[: len(data) * 3 // 4])
    with pytest.raises(DataError, match=r"photo\.jpg is cut off"):
        read_image(path)
