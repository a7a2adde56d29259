"""The calibration set: what is found, chosen and refused."""

import cv2
import numpy as np
import pytest

from danet_calibration.errors import CalibrationSetError
from danet_calibration.images import FrameReader, choose_images
from danet_export.frames import pattern
from danet_runtime.errors import SourceError


def put(file, picture=None):
    """Write a picture, by default a photograph's like, where its folder need not be yet."""
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), pattern((32, 32), 0) if picture is None else picture)
    return file


def label_image():
    return np.arange(64, dtype=np.uint8).reshape(8, 8)


def test_the_same_folder_gives_the_same_set_and_hash(image_folder):
    one, two = choose_images(image_folder, 4), choose_images(image_folder, 4)
    assert one == two
    assert [file.name for file in one.files] == ["00.png", "02.png", "05.png", "07.png"]
    assert one.sha256 != choose_images(image_folder, 5).sha256


@pytest.mark.parametrize("root", ["", "train/", "val/"])
def test_a_data_sets_label_images_are_not_taken_for_photographs(tmp_path, root):
    image = put(tmp_path / f"{root}images/a.png")
    put(tmp_path / f"{root}labels/a.png")
    assert choose_images(tmp_path, 9).files == (image,)


def test_training_images_are_taken_before_those_that_measure_the_accuracy(tmp_path):
    put(tmp_path / "val/images/a.png")
    image = put(tmp_path / "train/images/a.png")
    assert choose_images(tmp_path, 9).files == (image,)


def test_cityscapes_train_split_is_taken(tmp_path):
    for split in ("train", "val"):
        put(tmp_path / f"leftImg8bit/{split}/aachen/aachen_0_leftImg8bit.png")
        put(tmp_path / f"gtFine/{split}/aachen/aachen_0_gtFine_labelIds.png")
    (file,) = choose_images(tmp_path, 9).files
    assert file.relative_to(tmp_path).parts[:2] == ("leftImg8bit", "train")


def test_any_folder_is_searched_without_its_label_images(tmp_path):
    image = put(tmp_path / "drive/front/a.png")
    for name in ("drive/labels/a.png", "gtCoarse/x/a.png", "gtFine/a.png", "drive/front/a_gtFine_color.png"):
        put(tmp_path / name)
    for kind in ("labelIds", "labelTrainIds", "instanceIds"):
        put(tmp_path / f"drive/front/a_gtFine_{kind}.png")
    assert choose_images(tmp_path, 9).files == (image,)


def test_linked_folders_are_entered_and_loops_left(tmp_path):
    put(tmp_path / "disk/a.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/monday").symlink_to(tmp_path / "disk")
    (tmp_path / "set/again").symlink_to(tmp_path / "set")
    (file,) = choose_images(tmp_path / "set", 9).files
    assert file == tmp_path / "set/monday/a.png"


@pytest.mark.parametrize(
    ("folder", "name"), [("gtFine", "val/a/a_gtFine_labelIds.png"), ("gtFine", "a.png"), ("labels", "0.png")]
)
def test_a_folder_of_label_images_is_refused_by_its_names(tmp_path, folder, name):
    put(tmp_path / folder / name)
    for given in (tmp_path, tmp_path / folder):
        with pytest.raises(CalibrationSetError, match=r"holds label images only.*camera's frames"):
            choose_images(given, 9)


def test_a_label_image_is_refused_by_what_it_shows(tmp_path):
    put(tmp_path / "a.png")
    put(tmp_path / "b.png", label_image())
    with pytest.raises(CalibrationSetError, match=r"b\.png is a label image"):
        choose_images(tmp_path, 9)


def test_a_grey_photograph_is_taken(tmp_path):
    put(tmp_path / "a.png", np.arange(65, dtype=np.uint8).reshape(5, 13))
    assert len(choose_images(tmp_path, 9).files) == 1


def test_frames_are_read_one_at_a_time_at_the_bundles_size(image_folder):
    reader = FrameReader(choose_images(image_folder, 3), (32, 40))
    assert reader.get_first()["frame"].shape == (1, 32, 40, 3)
    shapes = [frame["frame"].shape for frame in iter(reader.get_next, None)]
    assert shapes == [(1, 32, 40, 3)] * 3
    assert reader.get_next() is None
    reader.rewind()
    assert reader.get_next() is not None


def test_a_folder_that_is_missing_or_empty_is_refused(tmp_path):
    with pytest.raises(CalibrationSetError, match="expected a folder"):
        choose_images(tmp_path / "none", 8)
    with pytest.raises(CalibrationSetError, match="holds no images"):
        choose_images(tmp_path, 8)


def test_a_constant_image_is_refused_by_name(tmp_path, image_folder):
    for file in image_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    cv2.imwrite(str(tmp_path / "03.png"), np.full((64, 128, 3), 7, np.uint8))
    with pytest.raises(CalibrationSetError, match=r"1 of 8 images show nothing.*03\.png"):
        choose_images(tmp_path, 8)


@pytest.mark.parametrize("content", [b"", b"not a picture", "cut"])
def test_an_unreadable_image_is_refused_by_name(tmp_path, image_folder, content):
    good = (image_folder / "00.png").read_bytes()
    (tmp_path / "a.png").write_bytes(good)
    (tmp_path / "b.png").write_bytes(good[: len(good) // 2] if content == "cut" else content)
    with pytest.raises(SourceError, match=r"b\.png"):
        choose_images(tmp_path, 8)
