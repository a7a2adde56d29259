"""The calibration set: what is found, chosen and refused."""

import cv2
import numpy as np
import pytest

from danet_calibration.errors import CalibrationSetError
from danet_calibration.images import FrameReader, choose_images
from danet_runtime.errors import SourceError


def test_the_same_folder_gives_the_same_set_and_hash(image_folder):
    one, two = choose_images(image_folder, 4), choose_images(image_folder, 4)
    assert one == two
    assert [file.name for file in one.files] == ["00.png", "02.png", "05.png", "07.png"]
    assert one.sha256 != choose_images(image_folder, 5).sha256


def test_a_data_sets_label_images_are_not_taken_for_photographs(tmp_path):
    for name in ("images/a.png", "labels/a.png"):
        (tmp_path / name).parent.mkdir()
        cv2.imwrite(str(tmp_path / name), np.arange(64, dtype=np.uint8).reshape(8, 8))
    assert [file.parent.name for file in choose_images(tmp_path, 9).files] == ["images"]


def test_cityscapes_train_split_is_taken(tmp_path):
    for split in ("train", "val"):
        for kind, suffix in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_labelIds")):
            folder = tmp_path / kind / split / "aachen"
            folder.mkdir(parents=True)
            cv2.imwrite(str(folder / f"aachen_0_{suffix}.png"), np.arange(64, dtype=np.uint8).reshape(8, 8))
    (file,) = choose_images(tmp_path, 9).files
    assert file.relative_to(tmp_path).parts[:2] == ("leftImg8bit", "train")


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
