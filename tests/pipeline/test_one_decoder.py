"""Training, calibration and the runtime decode a picture alike, upright, or refuse it in words."""

from __future__ import annotations

import resource
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_kinds import GREY, KINDS, REFUSED, RGB, png_chunk, png_that_states, saved, upright, with_exif
from PIL import Image

import danet_runtime.pictures.decoding
import danet_train.pictures.decoding
from danet_calibration.errors import CalibrationSetError
from danet_calibration.images.images import choose_images
from danet_calibration.images.near_duplicates import fingerprints_of
from danet_runtime.errors import SourceError
from danet_runtime.pictures.reading import decode_picture
from danet_runtime.sources import open_source
from danet_train.data.samples.orientation import stored
from danet_train.data.samples.sample import read_image
from danet_train.errors import DataError

ORIENTATIONS = range(1, 9)


def decoded(path: Path) -> npt.NDArray[np.uint8]:
    """As RGB, the same of training's reader, the runtime's, and its source of frames."""
    learnt = read_image(path)
    np.testing.assert_array_equal(learnt, decode_picture(path))
    source = open_source(str(path))
    frame = np.zeros((*source.size_hw, 3), np.uint8)
    assert source.read_into(frame) is not None
    source.close()
    np.testing.assert_array_equal(learnt, frame)
    return learnt[..., ::-1]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_picture_is_decoded_alike_and_to_its_own_pixels(kind: str, tmp_path: Path) -> None:
    data, truth = KINDS[kind]
    path = tmp_path / "it.png"  # whatever its name says
    path.write_bytes(data)
    difference = np.abs(decoded(path).astype(int) - truth)
    assert difference.max() <= (3 if "JPEG" in kind or "CMYK" in kind else 0)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_is_obeyed_by_all_alike(form: str, orientation: int, tmp_path: Path) -> None:
    path = tmp_path / f"it.{form.lower()}"
    path.write_bytes(with_exif(RGB, form, orientation))
    shown, truth = decoded(path), upright(RGB, orientation)
    assert shown.shape == truth.shape
    assert np.abs(shown.astype(int) - truth).max() <= (12 if form == "JPEG" else 0)
    lies = stored(path.read_bytes())
    assert lies == stored(path) == (orientation, *RGB.shape[:2])


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_exif_behind_the_pixels_of_a_png_is_obeyed_too(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain = saved(Image.fromarray(RGB), "PNG")
    end = plain.rindex(b"IEND") - 4
    path = tmp_path / "it.png"
    path.write_bytes(plain[:end] + png_chunk(b"eXIf", exif.tobytes()[6:]) + plain[end:])
    np.testing.assert_array_equal(decoded(path), upright(RGB, orientation))
    lies = stored(path.read_bytes())
    assert lies is not None
    assert lies.orientation == orientation


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_calibration_looks_at_pictures_upright(form: str, tmp_path: Path) -> None:
    steep = np.repeat(np.repeat(GREY, 8, axis=0), 8, axis=1)
    color = np.stack([steep] * 3, -1)
    path, plain = tmp_path / f"it.{form.lower()}", tmp_path / "plain.png"
    path.write_bytes(with_exif(color, form, 6))
    plain.write_bytes(saved(Image.fromarray(upright(color, 6)), "PNG"))
    turned, as_shown = fingerprints_of([path, plain])
    assert np.abs(turned.thumbnail.astype(int) - as_shown.thumbnail).max() <= 6


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_taken_is_refused_in_words_by_all_alike(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "it.png"
    path.write_bytes(REFUSED[kind])
    words = []
    for read, error in (
        (read_image, DataError),
        (decode_picture, SourceError),
        (lambda file: open_source(str(file)), SourceError),
        (lambda file: fingerprints_of([file]), SourceError),
    ):
        with pytest.raises(error, match=r"it\.png") as caught:
            read(path)
        words.append(str(caught.value))
    assert len(set(words)) == 1
    assert "imgcodecs" not in words[0]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["BMP", "TIFF", "WEBP", "PPM", "JPEG"]),
    st.integers(0, 80),
    st.integers(0, 7),
)
def test_one_wrong_bit_in_a_header_gives_a_picture_or_words_but_never_opencvs_exception(
    form: str, at: int, bit: int
) -> None:
    data = bytearray(saved(Image.fromarray(RGB), form))
    data[at] ^= 1 << bit
    outcomes = []
    for package in (danet_runtime.pictures.decoding, danet_train.pictures.decoding):
        try:
            outcomes.append(package.decode(bytes(data), cv2.IMREAD_COLOR).tobytes())
        except package.PictureError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


def test_a_header_that_lies_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    path.write_bytes(png_that_states(60000, 60000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for read, error in ((read_image, DataError), (decode_picture, SourceError)):
        with pytest.raises(error, match=r"huge\.png states 60000x60000 pixels"):
            read(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


def test_a_damaged_picture_in_a_calibration_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "it.bmp").write_bytes(REFUSED["BMP of one wrong bit in its width"])
    with pytest.raises((SourceError, CalibrationSetError), match=r"it\.bmp"):
        choose_images(tmp_path, 1)
