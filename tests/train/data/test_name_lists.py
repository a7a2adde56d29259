"""Lists of names as editors and scripts leave them name the same pictures."""

import os

import numpy as np
import pytest
from labelled_folders import put, scene

from danet_train import open_dataset
from danet_train.errors import DataError

NAMES = ["v0", "v1", "caf\xe9"]


@pytest.fixture
def voc(tmp_path):
    for index, name in enumerate(NAMES):
        put(tmp_path / f"JPEGImages/{name}.jpg", scene(index)[0])
        put(tmp_path / f"SegmentationClass/{name}.png", scene(index)[1])
    (tmp_path / "ImageSets/Segmentation").mkdir(parents=True)
    return tmp_path


def write(voc, data):
    (voc / "ImageSets/Segmentation/val.txt").write_bytes(data)
    return voc


PLAIN = "".join(f"{name}\n" for name in NAMES)
LISTS = {
    "as it should be": PLAIN.encode(),
    "a mark of UTF-8": b"\xef\xbb\xbf" + PLAIN.encode(),
    "UTF-16, little end first": b"\xff\xfe" + PLAIN.encode("utf-16-le"),
    "UTF-16, big end first": b"\xfe\xff" + PLAIN.encode("utf-16-be"),
    "Latin-1": PLAIN.encode("latin-1"),
    "ends of lines of Windows": PLAIN.replace("\n", "\r\n").encode(),
    "ends of lines of an old Mac": PLAIN.replace("\n", "\r").encode(),
    "blank lines": PLAIN.replace("\n", "\n\n \t\n").encode(),
    "space at the ends": PLAIN.replace("\n", " \t\r\n").encode(),
    "no last end of line": PLAIN.rstrip().encode(),
    "suffixes": PLAIN.replace("\n", ".jpg\n").encode(),
    "relative paths": "".join(f"JPEGImages/{name}.jpg\n" for name in NAMES).encode(),
    "absolute paths": "".join(f"/old/VOC2012/JPEGImages/{name}.jpg\n" for name in NAMES).encode(),
    "paths of Windows": "".join(f"C:\\VOC\\JPEGImages\\{name}.jpg\r\n" for name in NAMES).encode(),
    "two columns of Windows": "".join(
        f"JPEGImages\\{n}.jpg SegmentationClass\\{n}.png\n" for n in NAMES
    ).encode(),
    "two columns": "".join(f"/JPEGImages/{n}.jpg /SegmentationClass/{n}.png\n" for n in NAMES).encode(),
    "names twice": (PLAIN + PLAIN).encode(),
    "decomposed letters": PLAIN.replace("\xe9", "e\u0301").encode(),
    "everything at once": b"\xef\xbb\xbf" + PLAIN.replace("\n", ".jpg \r\n\r\n").encode(),
}


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_is_read(voc, kind):
    dataset = open_dataset(write(voc, LISTS[kind]), "val")
    assert dataset.names == tuple(sorted(NAMES))
    np.testing.assert_array_equal(dataset[dataset.names.index("caf\xe9")].label, scene(2)[1])


def test_a_name_with_a_space_is_one_where_there_is_such_a_picture(voc):
    put(voc / "JPEGImages/my photo 1.jpg", scene(5)[0])
    put(voc / "SegmentationClass/my photo 1.png", scene(5)[1])
    for line in (b"my photo 1", b"JPEGImages/my photo 1.jpg", b"D:\\VOC\\JPEGImages\\my photo 1.jpg"):
        assert open_dataset(write(voc, line + b"\nv0\n"), "val").names == ("my photo 1", "v0")


def test_a_name_in_bytes_of_latin_1_is_found(voc):
    for place, suffix in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png")):
        (voc / place / f"v1{suffix}").rename(voc / place / os.fsdecode(b"stra\xdfe" + suffix.encode()))
    dataset = open_dataset(write(voc, b"v0\nstra\xdfe\n"), "val")
    assert [os.fsencode(name) for name in dataset.names] == [b"stra\xdfe", b"v0"]
    assert dataset[0].label.any()


@pytest.mark.parametrize("suffix", [".JPG", ".jpeg", ".png", ".webp"])
def test_pictures_of_other_suffixes_are_found(voc, suffix):
    (voc / "JPEGImages/v1.jpg").unlink()
    put(voc / f"JPEGImages/v1{suffix}", scene(1)[0])
    assert open_dataset(write(voc, b"v1\n"), "val")[0].image.shape == (32, 48, 3)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"v0\nv7\n", r"1 of the 2 images in .*val\.txt are missing; .*v7\.jpg is"),
        (b"\xef\xbb\xbfgone\n", r"JPEGImages/gone\.jpg is"),
        (b"v0 -1\n", r"val\.txt, line 1: expected the name of a picture .*'v0 -1'"),
        (b"v0\n\n../../secret\n", r"JPEGImages/secret\.jpg is"),
        (b"v0\0\1\2", r"val\.txt is no list of names: it holds bytes of zero"),
        (b"\xff\xfev", r"val\.txt is no list of names"),
        (b"\n \n", "there is no image in"),
    ],
)
def test_what_names_no_picture_is_said_with_the_list(voc, data, words):
    with pytest.raises(DataError, match=words) as caught:
        open_dataset(write(voc, data), "val")
    assert "\ufeff" not in str(caught.value)
