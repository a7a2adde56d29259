"""A result: what its labels cover, and the files that are made of it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from danet_runtime import Result
from danet_runtime.bundle.manifest import SegmentationClass
from danet_runtime.errors import SinkError, UsageError
from danet_runtime.results.palettes import palette_of
from danet_runtime.results.result import Labelling

CLASSES = tuple(
    SegmentationClass(name=name, color=color)
    for name, color in (("road", (128, 64, 128)), ("tree", (20, 200, 20)), ("car", (220, 30, 30)))
)


def result_of(labels: np.ndarray) -> Result:
    frame = np.full((*labels.shape, 3), 90, np.uint8)
    return Result(frame, labels, 0, 0, 0.0, {}, labelling=Labelling(CLASSES))


@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 2))
)
def test_areas_are_the_shares_of_the_classes_and_sum_to_one(labels: np.ndarray) -> None:
    areas = result_of(labels).areas()
    assert sum(areas.values()) == pytest.approx(1)
    assert areas == {
        entry.name: pytest.approx((labels == label).mean())
        for label, entry in enumerate(CLASSES)
        if (labels == label).any()
    }
    assert list(areas.values()) == sorted(areas.values(), reverse=True)


def test_pixels_without_a_class_belong_to_no_area() -> None:
    labels = np.full((4, 4), 255, np.uint8)
    labels[0] = 2
    assert result_of(labels).areas() == {"car": 0.25}


def palette_png(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Indices (H, W) and colors (N, 3) RGB of a PNG of color type 3, read by the specification."""
    chunks, at = [], 8
    while at < len(data):
        size, name = struct.unpack(">I4s", data[at : at + 8])
        content = data[at + 8 : at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0] == zlib.crc32(name + content)
        chunks.append((name, content))
        at += 12 + size
    assert [name for name, _ in chunks][:2] == [b"IHDR", b"PLTE"]
    width, height, depth, kind, *_, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
    assert (depth, kind, interlaced) == (8, 3, 0)
    raw = zlib.decompress(b"".join(content for name, content in chunks if name == b"IDAT"))
    rows = np.frombuffer(raw, np.uint8).reshape(height, width + 1)
    picture = np.zeros((height + 1, width + 1), np.int64)  # with a row and a column of zeros before it
    for y, row in enumerate(rows, 1):
        for x in range(1, width + 1):
            left, up, corner = picture[y, x - 1], picture[y - 1, x], picture[y - 1, x - 1]
            guess = left + up - corner
            paeth = min((left, up, corner), key=lambda one: abs(guess - one))
            before = (0, left, up, (left + up) // 2, paeth)[row[0]]
            picture[y, x] = (row[x] + before) % 256
    return picture[1:, 1:].astype(np.uint8), np.frombuffer(chunks[1][1], np.uint8).reshape(-1, 3)


def test_a_mask_is_a_palette_png_of_the_labels_in_the_colors_of_the_classes(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    labels = rng.choice(np.array([0, 1, 2, 255], np.uint8), (23, 31))
    labels[5:15, 3:20] = 1
    file = result_of(labels).save_mask(tmp_path / "new" / "mask.png")
    indices, colors = palette_png(file.read_bytes())
    np.testing.assert_array_equal(indices, labels)
    np.testing.assert_array_equal(colors[:3], [entry.color for entry in CLASSES])
    np.testing.assert_array_equal(cv2.imread(str(file)), palette_of(CLASSES)[labels])


def test_files_are_replaced_whole_or_refused_before_anything_is_written(tmp_path: Path) -> None:
    result = result_of(np.zeros((8, 8), np.uint8))
    result.save_mask(tmp_path / "a.png")
    result.save_mask(tmp_path / "a.png")
    for save, name in (
        (result.save_mask, "b.jpg"),
        (result.save_overlay, "b.gif"),
        (result.save_overlay, "b"),
    ):
        with pytest.raises(UsageError, match=r"PNG|suffix"):
            save(tmp_path / name)
    (tmp_path / "file").touch()
    with pytest.raises((SinkError, UsageError), match="file"):
        result.save_mask(tmp_path / "file" / "a.png")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.png", "file"]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG", ".webp", ".bmp", ".tiff"])
def test_an_overlay_is_written_as_its_suffix_says(tmp_path: Path, suffix: str) -> None:
    result = result_of(np.zeros((40, 60), np.uint8))
    file = result.save_overlay(tmp_path / f"a{suffix}", alpha=1.0, legend=False)
    read = cv2.imread(str(file))
    np.testing.assert_allclose(read, np.broadcast_to((128, 64, 128), (40, 60, 3)), atol=3)


def test_a_notebook_gets_the_overlay_as_png() -> None:
    result = result_of(np.ones((300, 400), np.uint8))
    shown = cv2.imdecode(np.frombuffer(result._repr_png_() or b"", np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(shown, result.overlay())
    assert (result.overlay() != result.overlay(legend=False)).any()
    np.testing.assert_array_equal(result.overlay(alpha=0, legend=False), result.frame)


def test_a_result_without_classes_says_so(tmp_path: Path) -> None:
    bare = Result(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), 0, 0, 0.0, {})
    assert bare.areas() == {}
    assert bare._repr_png_() is None
    with pytest.raises(UsageError, match="has no classes"):
        bare.overlay()


def test_a_copy_is_read_only_and_shares_nothing() -> None:
    result = result_of(np.zeros((4, 4), np.uint8))
    own = result.copy()
    assert not np.shares_memory(own.labels, result.labels)
    assert not np.shares_memory(own.frame, result.frame)
    with pytest.raises(ValueError, match="read-only"):
        own.labels[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        own.frame[0] = 1
