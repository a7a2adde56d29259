"""Finding, choosing and refusing the images of a calibration set."""

import hashlib
import os
import shutil
import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from danet_calibration.errors import CalibrationError, CalibrationSetError
from danet_calibration.images.images import FrameReader, choose_images, manifest_frames
from danet_calibration.images.pictures import find_pictures
from danet_calibration.pipeline import calibrate_bundle
from danet_export.frames import pattern
from danet_runtime.bundle import Bundle
from danet_runtime.errors import SourceError
from danet_runtime.pictures.reading import decode_picture


def put(file, picture=None):
    """Write a picture, by default like a photograph, and make its folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), pattern((32, 32), 0) if picture is None else picture)
    return file


def label_image():
    return np.arange(64, dtype=np.uint8).reshape(8, 8)


@pytest.fixture(scope="module")
def drive_folder(tmp_path_factory):
    """Two cities of Cityscapes' layout, 12 and 6 different frames."""
    root = tmp_path_factory.mktemp("drive")
    for city, count in (("aachen", 12), ("bremen", 6)):
        for number in range(count):
            frame = pattern((64, 128), 100 * count + number)
            put(root / f"leftImg8bit/train/{city}/{city}_{number:06}_000019_leftImg8bit.png", frame)
    return root


def copied(folder, to, order=iter):
    """Copy the pictures of a folder to another one, in another order."""
    for file in order([file for file in sorted(folder.rglob("*")) if file.is_file()]):
        target = to / file.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    return to


def names(images):
    return [name for name, _ in manifest_frames(images)]


def test_the_same_folder_gives_the_same_set_and_hash(image_folder):
    one, two = choose_images(image_folder, 4), choose_images(image_folder, 4)
    assert one == two
    assert len(set(one.files)) == 4
    assert one.sha256 != choose_images(image_folder, 5).sha256


def test_neither_where_a_folder_lies_nor_how_it_is_listed_changes_the_choice(
    drive_folder, tmp_path, monkeypatch
):
    one = choose_images(drive_folder, 7, 4)
    other_root = copied(drive_folder, tmp_path / "zz" / "elsewhere", reversed)
    listed = os.walk
    monkeypatch.setattr(
        os, "walk", lambda *a, **k: ((top, dirs, files[::-1]) for top, dirs, files in listed(*a, **k))
    )
    other = choose_images(other_root, 7, 4)
    assert manifest_frames(one) == manifest_frames(other)
    assert manifest_frames(one.held_out) == manifest_frames(other.held_out)
    assert one.sha256 == other.sha256


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(1, 20), held_out=st.integers(0, 20))
def test_a_set_is_as_large_as_asked_for_and_its_held_out_frames_are_others(drive_folder, count, held_out):
    images = choose_images(drive_folder, count, held_out)
    assert len(set(images.files)) == len(images.files) == min(count, 18)
    apart = images.held_out.files if images.held_out else ()
    assert len(set(apart)) == len(apart) == min(held_out, 18 - len(images.files))
    assert not set(apart) & set(images.files)
    assert {file.parent.name for file in images.files} == ({"aachen", "bremen"} if count > 1 else {"aachen"})
    used = {group.name: group.used for group in images.coverage.groups}
    assert abs(used["aachen"] - len(images.files) * 12 / 18) < 1
    assert abs(used["bremen"] - len(images.files) * 6 / 18) < 1


def test_every_frames_hash_is_that_of_its_file(drive_folder):
    images = choose_images(drive_folder, 5)
    for (name, sha256), file in zip(manifest_frames(images), images.files, strict=True):
        assert images.folder / name == file
        assert hashlib.sha256(file.read_bytes()).hexdigest() == sha256
    assert images.sha256 == hashlib.sha256(b"".join(map(bytes.fromhex, images.hashes))).hexdigest()


def test_a_set_takes_dark_and_bright_frames_alike(tmp_path):
    for number in range(40):  # four are dark, and lie where equal steps over the names miss them
        light = 0.15 if number in (3, 7, 11, 15) else 1.0
        put(tmp_path / f"{number:02}.png", (pattern((64, 128), number) * light).astype(np.uint8))
    images = choose_images(tmp_path, 10)
    assert sum(decode_picture(file).mean() < 48 for file in images.files) == 1


def test_of_a_large_folder_an_even_sample_is_looked_at(drive_folder, monkeypatch):
    monkeypatch.setattr("danet_calibration.images.images.EXAMINED_FRAMES", 6)
    images = choose_images(drive_folder, 3)
    assert (images.coverage.examined, images.coverage.found, images.found) == (6, 18, 18)
    assert [group.used for group in images.coverage.groups] == [2, 1]


def test_near_duplicates_are_never_taken_and_the_coverage_says_so(tmp_path, image_folder):
    copied(image_folder, tmp_path)
    noise = np.random.default_rng(0)
    for number in range(30):
        frame = decode_picture(image_folder / "00.png") + noise.normal(0, 3, (64, 128, 3))
        put(tmp_path / f"00_{number}.png", np.clip(frame, 0, 255).astype(np.uint8))
    few = choose_images(tmp_path, 8, 4)
    assert few.coverage.distinct == 8
    assert len([name for name in names(few) if name.startswith("00")]) == 1
    assert few.held_out is None
    many = choose_images(tmp_path, 20)
    assert len(many.files) == 8
    assert {f"{number:02}.png" for number in range(1, 8)} < set(names(many))
    assert any("thinned to the 8 that differ" in thin for thin in many.coverage.thin)


def test_a_parked_cars_frames_are_refused(tmp_path):
    scene, noise = pattern((120, 240), 1).astype(float), np.random.default_rng(0)
    for number in range(40):
        frame = scene * noise.normal(1, 0.01) + noise.normal(0, 4, scene.shape)
        left = int(noise.integers(0, 210))
        frame[60:84, left : left + 30] = noise.uniform(0, 255, 3)  # a car passes
        put(tmp_path / f"{number:03}.jpg", np.clip(frame, 0, 255).astype(np.uint8))
    with pytest.raises(CalibrationSetError, match=r"of 40 images .*nearly the same.*\.jpg.*different places"):
        choose_images(tmp_path, 32)


def test_too_few_frames_are_refused_unless_fewer_are_asked_for(tmp_path, image_folder):
    copied(image_folder, tmp_path)
    (tmp_path / "00.png").unlink()
    with pytest.raises(CalibrationSetError, match=r"holds 7 images.*fewer than 8"):
        choose_images(tmp_path, 32)
    assert len(choose_images(tmp_path, 32, least=7).files) == 7
    assert len(choose_images(tmp_path, 3).files) == 3


@pytest.mark.parametrize(("count", "held_out"), [(0, 0), (-1, 0), (4, -1)])
def test_counts_out_of_range_are_refused(image_folder, count, held_out):
    with pytest.raises(ValueError, match="at least"):
        choose_images(image_folder, count, held_out)


@pytest.mark.parametrize("change", ["gone", "another", "cut"])
def test_a_file_that_changes_after_it_was_chosen_is_refused_by_name(tmp_path, image_folder, change):
    images = choose_images(copied(image_folder, tmp_path), 8)
    file = images.files[4]
    content = file.read_bytes()
    if change == "gone":
        file.unlink()
    else:
        file.write_bytes(
            content[:-20] if change == "cut" else (image_folder / images.files[5].name).read_bytes()
        )
    reader = FrameReader(images, (64, 128))
    for _ in range(4):
        reader.get_next()
    what = "cannot be read any more" if change == "gone" else "has changed since"
    with pytest.raises(CalibrationSetError, match=rf"{file.name}.*{what}"):
        reader.get_next()


def test_a_file_that_is_gone_when_the_calibration_reads_it_leaves_nothing_behind(
    tmp_path, image_folder, exported_bundle
):
    images = choose_images(copied(image_folder, tmp_path / "images"), 8)
    images.files[4].unlink()
    with pytest.raises(CalibrationError, match=rf"{images.files[4].name}.*cannot be read any more"):
        calibrate_bundle(Bundle.open(exported_bundle), images, None, tmp_path / "out")
    assert [entry.name for entry in tmp_path.iterdir()] == ["images"]


def test_only_one_frame_is_held_while_a_set_is_read(tmp_path):
    size_hw = (256, 512)
    for number in range(12):
        put(tmp_path / f"{number}.png", pattern(size_hw, number))
    peaks = []
    for count in (3, 12):
        reader = FrameReader(choose_images(tmp_path, count), size_hw)
        tracemalloc.start()
        for frame in iter(reader.get_next, None):
            del frame
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 256 * 512 * 3 / 2


@pytest.mark.parametrize("root", ["", "train/", "val/"])
def test_a_data_sets_label_images_are_not_taken_for_photographs(tmp_path, root):
    image = put(tmp_path / f"{root}images/a.png")
    put(tmp_path / f"{root}labels/a.png")
    assert choose_images(tmp_path, 9, least=1).files == (image,)


def test_training_images_are_taken_before_those_that_measure_the_accuracy(tmp_path):
    put(tmp_path / "val/images/a.png")
    image = put(tmp_path / "train/images/a.png")
    assert choose_images(tmp_path, 9, least=1).files == (image,)


def test_cityscapes_train_split_is_taken(tmp_path):
    for split in ("train", "val"):
        put(tmp_path / f"leftImg8bit/{split}/aachen/aachen_0_leftImg8bit.png")
        put(tmp_path / f"gtFine/{split}/aachen/aachen_0_gtFine_labelIds.png")
    (file,) = choose_images(tmp_path, 9, least=1).files
    assert file.relative_to(tmp_path).parts[:2] == ("leftImg8bit", "train")


def test_any_folder_is_searched_without_its_label_images(tmp_path):
    image = put(tmp_path / "drive/front/a.png")
    for name in ("drive/labels/a.png", "gtCoarse/x/a.png", "gtFine/a.png", "drive/front/a_gtFine_color.png"):
        put(tmp_path / name)
    for kind in ("labelIds", "labelTrainIds", "instanceIds"):
        put(tmp_path / f"drive/front/a_gtFine_{kind}.png")
    assert choose_images(tmp_path, 9, least=1).files == (image,)


def test_groups_are_cities_in_cityscapes_layout_and_sequences_elsewhere(tmp_path):
    for city in ("aachen", "ulm"):
        put(tmp_path / f"city/leftImg8bit/train/{city}/{city}_000000_000019_leftImg8bit.png")
    for number in range(8):
        put(tmp_path / f"drives/0001TP_{number:06}.png")
        put(tmp_path / f"drives/night/frame-{number}.jpg")
    put(tmp_path / "drives/cafe12.png")
    assert set(find_pictures(tmp_path / "city").groups.values()) == {"aachen", "ulm"}
    groups = find_pictures(tmp_path / "drives").groups
    assert groups["0001TP_000003.png"] == "0001TP"
    assert groups["night/frame-3.jpg"] == "night/frame"
    assert groups["cafe12.png"] == ""


def test_linked_folders_are_entered_and_loops_left(tmp_path):
    put(tmp_path / "disk/a.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/monday").symlink_to(tmp_path / "disk")
    (tmp_path / "set/again").symlink_to(tmp_path / "set")
    (file,) = choose_images(tmp_path / "set", 9, least=1).files
    assert file == tmp_path / "set/monday/a.png"


@pytest.mark.parametrize(
    ("folder", "name"), [("gtFine", "val/a/a_gtFine_labelIds.png"), ("gtFine", "a.png"), ("labels", "0.png")]
)
def test_a_folder_of_label_images_is_refused_by_its_names(tmp_path, folder, name):
    put(tmp_path / folder / name)
    for start in (tmp_path, tmp_path / folder):
        with pytest.raises(CalibrationSetError, match=r"holds label images only.*camera's frames"):
            choose_images(start, 9)


def test_a_label_image_is_refused_by_what_it_shows(tmp_path):
    put(tmp_path / "a.png")
    put(tmp_path / "b.png", label_image())
    with pytest.raises(CalibrationSetError, match=r"1 of 2 images are label images.*b\.png"):
        choose_images(tmp_path, 9, least=1)


def test_a_grey_photograph_is_taken(tmp_path):
    put(tmp_path / "a.png", pattern((64, 128), 0)[..., 0])
    assert len(choose_images(tmp_path, 9, least=1).files) == 1


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


def test_what_macos_keeps_beside_pictures_is_none_and_is_counted(tmp_path, image_folder):
    folder = shutil.copytree(image_folder, tmp_path / "images")
    for number in range(3):
        (folder / f"._{number:02}.png").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        ")
    chosen = choose_images(folder, 4)
    assert chosen.sha256 == choose_images(image_folder, 4).sha256
    assert "3 files: " in (chosen.coverage.left_out or "")
    assert "._00.png and 2 more: a hidden file" in (chosen.coverage.left_out or "")


def test_a_video_in_place_of_a_folder_is_told_what_to_do(tmp_path):
    (tmp_path / "drive.mp4").touch()
    with pytest.raises(CalibrationSetError, match=r"drive\.mp4, found a file; `ffmpeg -i VIDEO FOLDER"):
        find_pictures(tmp_path / "drive.mp4")
