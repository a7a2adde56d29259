"""Pictures that a segmenter takes: arrays, files, pictures of Pillow, and several of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from picture_kinds import KINDS, with_exif

from danet_runtime import Result, Segmenter
from danet_runtime.bundle import Bundle
from danet_runtime.errors import FrameError, SourceError
from danet_runtime.inference.images import taken


class Picture:
    """Has what Pillow's Image has and a segmenter uses; ``rgb`` is what stands in the file."""

    mode = "P"

    def __init__(self, rgb: np.ndarray, orientation: int | None = None) -> None:
        self._rgb = rgb
        self._exif = {} if orientation is None else {0x0112: orientation}

    def convert(self, mode: str) -> np.ndarray:
        assert mode == "RGB"
        return self._rgb

    def getexif(self) -> dict[int, int]:
        return self._exif


@pytest.fixture
def segmenter(bundle: Bundle) -> Segmenter:
    return Segmenter(bundle)


def test_an_array_a_file_and_a_picture_of_pillow_give_the_same_result(
    segmenter: Segmenter, picture_maker: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    frame = picture_maker(96, 128)
    cv2.imwrite(str(tmp_path / "street.png"), frame)
    expected = segmenter.labels_of(frame)
    images = [frame, str(tmp_path / "street.png"), tmp_path / "street.png", Picture(frame[..., ::-1])]
    results = segmenter(images)
    assert [result.frame_id for result in results] == [0, 1, 2, 3]
    assert [result.name for result in results] == [None, "street.png", "street.png", None]
    for result in results:
        np.testing.assert_array_equal(result.labels, expected)
        np.testing.assert_array_equal(result.frame, frame)
        assert result.classes == segmenter.classes
        assert result.confidence is None
        assert result.labelling.model == "onnxruntime:fp32"
        assert result.age_ms >= sum(result.stages_ms.values()) > 0
    assert sum(results[0].areas().values()) == pytest.approx(1)


def test_a_result_stays_as_it_is_when_the_callers_array_is_used_again(
    segmenter: Segmenter, picture_maker: Callable[..., np.ndarray]
) -> None:
    frame = picture_maker(48, 64)
    first = segmenter(frame)
    frame[:] = 0
    second = segmenter(frame)
    assert (first.frame != second.frame).any()
    assert (first.labels != second.labels).any()
    for array in (first.frame, first.labels):
        assert not array.flags.writeable


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_is_obeyed_as_in_a_file(
    segmenter: Segmenter, rng: np.random.Generator, orientation: int, tmp_path: Path
) -> None:
    stored = np.kron(rng.integers(0, 2, (3, 4, 3)), np.ones((16, 16, 1))).astype(np.uint8) * 255
    encoded = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    entry = b"\x01\x12\x00\x03\x00\x00\x00\x01\x00" + bytes([orientation]) + b"\x00\x00"
    exif = b"Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x01" + entry + b"\x00\x00\x00\x00"
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    file = tmp_path / "turned.jpg"
    file.write_bytes(encoded[:2] + segment + encoded[2:])
    of_file = segmenter(file)
    of_pillow = segmenter(Picture(stored[..., ::-1], orientation))
    assert of_file.frame.shape == of_pillow.frame.shape
    assert np.abs(of_pillow.frame.astype(int) - of_file.frame).mean() < 8  # JPEG blurs the edges


def test_several_are_a_list_or_a_tuple_and_none_of_them_is_one(
    segmenter: Segmenter, picture_maker: Callable[..., np.ndarray]
) -> None:
    assert isinstance(segmenter(picture_maker(48, 64)), Result)
    assert len(segmenter((picture_maker(48, 64), picture_maker(20, 30)))) == 2
    assert segmenter([]) == []
    with pytest.raises(FrameError, match="numpy array"):
        segmenter([[picture_maker(48, 64)]])


def test_a_file_that_is_no_picture_is_named(segmenter: Segmenter, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing to see")
    with pytest.raises(SourceError, match=r"notes\.txt is no picture"):
        segmenter(tmp_path / "notes.txt")
    with pytest.raises(SourceError, match=r"missing\.png cannot be read"):
        segmenter(tmp_path / "missing.png")
    with pytest.raises(SourceError, match=r"is a folder.*Stream\(segmenter, folder\)"):
        segmenter(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_that_pillow_opened_has_the_pixels_of_its_file_or_is_refused(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "street.png"
    path.write_bytes(KINDS[kind][0])
    with PIL.Image.open(path) as opened:
        if opened.mode == "I":
            with pytest.raises(FrameError, match=r"mode I does not say what white is.*path of its file"):
                taken(opened)
            return
        frame, name = taken(opened)
    truth, _ = taken(path)
    assert name == "street.png"
    assert frame.flags.c_contiguous
    assert np.abs(frame.astype(int) - truth).max() <= (1 if "CMYK" in kind else 0)


def test_a_picture_of_pillows_own_making_is_segmented_as_its_array(
    segmenter: Segmenter, picture_maker: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    frame = picture_maker(96, 128)
    result = segmenter(PIL.Image.fromarray(frame[..., ::-1].copy()))
    np.testing.assert_array_equal(result.labels, segmenter.labels_of(frame))
    np.testing.assert_array_equal(result.frame, frame)
    assert result.name is None
    turned = tmp_path / "turned.jpg"
    turned.write_bytes(with_exif(frame[..., ::-1].copy(), "JPEG", 6))
    assert segmenter(PIL.Image.open(turned)).labels.shape == (128, 96)
    with pytest.raises(FrameError, match="mode F"):
        segmenter(PIL.Image.new("F", (8, 8)))
