"""Noise is distinguished from photographs, also dark and textured ones; every refusal names its files."""

import cv2
import numpy as np
import pytest

from danet_calibration.errors import CalibrationSetError
from danet_calibration.images.frame_checks import check_frames, is_noise, neighbour_correlation
from danet_calibration.images.images import choose_images
from danet_calibration.images.near_duplicates import distinct_frames, fingerprint_of
from danet_export.frames import pattern
from danet_train.synthetic.dataset import Scenes, synthesize_dataset


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Street scenes as `danet synthesize` draws them."""
    root = tmp_path_factory.mktemp("scenes") / "set"
    synthesize_dataset(root, Scenes(train=10, val=0, video_frames=0, size_hw=(128, 256), seed=0), workers=1)
    return sorted(root.glob("leftImg8bit/train/*/*.png"))


def night(picture, seed=0):
    """A tenth of the light, and a sensor's noise."""
    noise = np.random.default_rng(seed).normal(0, 3, picture.shape)
    return np.clip(picture * 0.1 + noise, 0, 255).astype(np.uint8)


def noise_pictures():
    random = np.random.default_rng(0)
    uniform = random.integers(0, 256, (96, 160, 3), dtype=np.uint8)
    yield "uniform", uniform
    yield "normal", np.clip(random.normal(128, 40, (96, 160, 3)), 0, 255).astype(np.uint8)
    yield "grey", np.repeat(uniform[..., :1], 3, axis=2)
    for sigma in (2, 4):
        blurred = cv2.GaussianBlur(random.normal(128, 40, (360, 640, 3)).astype(np.float32), (0, 0), sigma)
        yield f"blurred{sigma}", cv2.normalize(blurred, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    yield "jpeg", cv2.imdecode(cv2.imencode(".jpg", uniform, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], 1)


@pytest.mark.parametrize("picture", [pytest.param(picture, id=name) for name, picture in noise_pictures()])
def test_noise_is_refused_by_name(tmp_path, picture):
    assert is_noise(picture)
    cv2.imwrite(str(tmp_path / "fine.png"), pattern((64, 128), 0))
    cv2.imwrite(str(tmp_path / "static.png"), picture)
    with pytest.raises(CalibrationSetError, match=r"1 of 2 images show noise.*static\.png; .*take them out"):
        check_frames([tmp_path / "fine.png", tmp_path / "static.png"])


@pytest.mark.slow
def test_drawn_scenes_and_their_nights_are_no_noise_and_differ(scenes, tmp_path):
    assert check_frames(scenes) == [(128, 256)] * 10
    pictures = [cv2.imread(str(file)) for file in scenes]
    assert not any(is_noise(night(picture)) for picture in pictures)
    assert len(distinct_frames([fingerprint_of(file) for file in scenes])) == 10


def test_fine_textures_are_no_noise():
    y, x = np.mgrid[0:96, 0:128]
    for texture in ((x // 2 + y // 2) % 2, x % 2, y % 2, (x + y) % 2):
        assert not is_noise(np.repeat((texture * 200).astype(np.uint8)[..., None], 3, axis=2))


@pytest.mark.slow
def test_real_frames_by_day_and_night_are_no_noise_and_mostly_differ(shared_data, tmp_path):
    camvid = sorted((shared_data / "camvid/train/images").glob("*.jpg"))[::6]
    cityscapes = sorted((shared_data / "cityscapes_mini/leftImg8bit").rglob("*.png"))
    check_frames([*camvid, *cityscapes])
    assert not any(is_noise(night(cv2.imread(str(file)))) for file in [*camvid, *cityscapes])
    assert len(distinct_frames([fingerprint_of(file) for file in camvid])) > 0.9 * len(camvid)
    assert len(distinct_frames([fingerprint_of(file) for file in cityscapes])) == len(cityscapes)
    for video in sorted((shared_data / "video").glob("*.mp4")):
        capture, files = cv2.VideoCapture(str(video)), []
        while (read := capture.read())[0]:
            files.append(tmp_path / f"{video.stem}_{len(files):04}.jpg")
            cv2.imwrite(str(files[-1]), read[1])
        assert len(files) > 30
        check_frames(files)
        assert 8 <= len(distinct_frames([fingerprint_of(file) for file in files])) < len(files)


def test_the_correlation_of_neighbours_is_one_on_a_ramp_and_none_in_noise():
    assert neighbour_correlation(np.arange(64)[None].repeat(8, 0)) == pytest.approx(1)
    assert neighbour_correlation(np.random.default_rng(0).normal(size=(200, 200))) < 0.02
    assert neighbour_correlation(np.zeros((4, 4))) == 1


def test_an_error_names_at_most_three_files(tmp_path):
    files = [tmp_path / f"{number}.png" for number in range(5)]
    for file in files:
        cv2.imwrite(str(file), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(
        CalibrationSetError, match=r"5 of 5 images.*0\.png.*1\.png.*2\.png, \.\.\."
    ) as refused:
        check_frames(files)
    assert "3.png" not in str(refused.value)


def test_ramps_are_refused_by_name(tmp_path):
    y, x = np.mgrid[0:96, 0:160]
    for name, ramp in (("across", x), ("down", y * 2), ("aslant", x + y / 2)):
        file = tmp_path / f"{name}.png"
        cv2.imwrite(str(file), np.repeat(ramp.astype(np.uint8)[..., None], 3, axis=2))
        with pytest.raises(CalibrationSetError, match=rf"1 of 1 images show nothing but an even.*{name}"):
            check_frames([file])


@pytest.mark.parametrize("kind", ["brightness", "rolled"])
def test_one_picture_under_other_light_or_moved_by_a_little_is_one_picture(scenes, tmp_path, kind):
    picture = cv2.imread(str(scenes[0]))
    for step in range(20):
        changed = np.roll(picture, 2 * step, axis=1)
        if kind == "brightness":
            changed = np.clip(picture * (0.3 + 0.05 * step), 0, 255).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f"{step:02}.png"), changed)
    with pytest.raises(CalibrationSetError, match="show nearly the same as another"):
        choose_images(tmp_path, 20)
