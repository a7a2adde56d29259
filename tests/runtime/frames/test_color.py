"""Luma and chroma to BGR and back, against OpenCV and against the standards' own formulas."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danet_runtime.errors import FrameError
from danet_runtime.frames.color import FromBgr, to_bgr, to_pixel_format
from danet_runtime.frames.pixel_formats import BGR, Pixels

YUV = [
    Pixels(layout, color, levels)
    for layout in ("nv12", "uyvy")
    for color in ("bt601", "bt709")
    for levels in ("limited", "full")
]
OPENCVS = {"nv12": cv2.COLOR_YUV2BGR_NV12, "uyvy": cv2.COLOR_YUV2BGR_UYVY}


def by_the_standard(yuv: np.ndarray, color: str, levels: str) -> np.ndarray:
    """(N, 3) Y, U, V to blue, green, red: the standard's own direction, inverted as a matrix."""
    red, blue = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}[color]
    y = np.array([blue, 1 - red - blue, red])
    cb = (np.array([1, 0, 0]) - y) / (1.772 if color == "bt601" else 1.8556)
    cr = (np.array([0, 0, 1]) - y) / (1.402 if color == "bt601" else 1.5748)
    forward = np.stack([y, cb, cr])
    if levels == "limited":
        ycc = np.stack([(np.maximum(yuv[:, 0], 16) - 16) / 219, *((yuv[:, 1:] - 128) / 224).T], axis=1)
    else:
        ycc = (yuv - np.array([0, 128, 128])) / 255
    return np.clip(255 * ycc @ np.linalg.inv(forward).T, 0, 255)


def planes(frame: np.ndarray, pixels: Pixels) -> np.ndarray:
    """(H * W, 3) Y, U, V, pixel by pixel."""
    if pixels.format == "nv12":
        height, width = frame.shape[0] * 2 // 3, frame.shape[1]
        rows, columns = np.mgrid[0:height, 0:width]
        u = frame[height + rows // 2, columns // 2 * 2]
        v = frame[height + rows // 2, columns // 2 * 2 + 1]
        y = frame[:height]
    else:
        y, columns = frame[..., 1], np.arange(frame.shape[1]) // 2 * 2
        u, v = frame[:, columns, 0], frame[:, columns + 1, 0]
    return np.stack([y, u, v], axis=-1).reshape(-1, 3).astype(float)


@pytest.mark.parametrize("pixels", YUV, ids=str)
def test_every_matrix_and_range_is_the_standards(rng: np.random.Generator, pixels: Pixels) -> None:
    frame = rng.integers(0, 256, pixels.shape((48, 64)), np.uint8)
    expected = by_the_standard(planes(frame, pixels), pixels.color, pixels.range)
    assert np.abs(to_bgr(frame, pixels).reshape(-1, 3) - expected).max() <= 1


@pytest.mark.parametrize("layout", OPENCVS)
def test_the_default_is_opencvs(rng: np.random.Generator, layout: str) -> None:
    pixels = Pixels(layout)
    frame = rng.integers(0, 256, pixels.shape((48, 64)), np.uint8)
    np.testing.assert_array_equal(to_bgr(frame, pixels), cv2.cvtColor(frame, OPENCVS[layout]))


@given(st.sampled_from(YUV), st.integers(1, 12), st.integers(1, 12), st.tuples(*[st.integers(0, 255)] * 3))
def test_a_plain_color_survives_the_way_there_and_back(
    pixels: Pixels, rows: int, columns: int, color: tuple[int, int, int]
) -> None:
    bgr = np.full((2 * rows, 2 * columns, 3), color, np.uint8)
    frame = to_pixel_format(bgr, pixels)
    assert frame.shape == pixels.shape(bgr.shape[:2])
    assert frame.flags.c_contiguous
    assert np.abs(to_bgr(frame, pixels).astype(int) - bgr).max() <= 3  # three roundings, 255 / 219 apart


def test_luma_is_opencvs_and_chroma_is_the_mean_of_its_pixels(rng: np.random.Generator) -> None:
    bgr = cv2.GaussianBlur(rng.integers(0, 256, (48, 64, 3), np.uint8), (0, 0), 1.0)
    wanted = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420)
    frame = to_pixel_format(bgr, Pixels("nv12"))
    assert np.abs(frame[:48].astype(int) - wanted[:48]).max() <= 1
    block = bgr.reshape(24, 2, 32, 2, 3).mean((1, 3))
    u = 128 + 224 / 255 * (block[..., 0] - block @ [0.114, 0.587, 0.299]) / 1.772
    assert np.abs(frame[48:, ::2] - u).max() <= 1
    half = bgr.reshape(48, 32, 2, 3).mean(2)
    v = 128 + 224 / 255 * (half[..., 2] - half @ [0.114, 0.587, 0.299]) / 1.402
    assert np.abs(to_pixel_format(bgr, Pixels("uyvy"))[:, 1::2, 0] - v).max() <= 1


def test_bgr_stays_the_same_array() -> None:
    frame = np.zeros((3, 5, 3), np.uint8)
    assert to_pixel_format(frame, BGR) is frame
    assert to_bgr(frame, BGR) is frame
    out = np.ones_like(frame)
    assert to_bgr(frame, BGR, out) is out
    assert not out.any()
    FromBgr((3, 5), BGR)(np.full_like(frame, 9), out)
    assert (out == 9).all()


@pytest.mark.parametrize(("layout", "size_hw"), [("nv12", (47, 64)), ("nv12", (48, 63)), ("uyvy", (48, 63))])
def test_a_size_that_the_format_does_not_have_is_refused(layout: str, size_hw: tuple[int, int]) -> None:
    with pytest.raises(FrameError, match=r"must be even \(got 4[78]x6[34]\)"):
        to_pixel_format(np.zeros((*size_hw, 3), np.uint8), Pixels(layout))
