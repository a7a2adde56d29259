"""Comparing two sides: the counts are those of the pixels themselves, and the worst frames are the worst."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from danet_runtime.backends.onnxruntime import OnnxRuntimeBackend
from danet_runtime.backends.statement import BackendWanted
from danet_runtime.backends.tensorrt import TensorRT
from danet_runtime.bundle import Bundle, Precision, SegmentationClass
from danet_runtime.comparison import comparison
from danet_runtime.comparison.comparison import Side, SideOptions, compare, parse_side
from danet_runtime.comparison.labels import FrameAgreement, LabelComparison
from danet_runtime.comparison.pictures import DifferencePicture
from danet_runtime.errors import BackendError, SourceError, UsageError
from danet_runtime.sources.protocol.source import FrameInfo

CLASSES = tuple(
    SegmentationClass(name=name, color=color)
    for name, color in (("road", (128, 64, 128)), ("tree", (20, 200, 20)), ("sky", (60, 60, 220)))
)
NAMES = ["road", "tree", "sky"]
label_maps = hnp.arrays(np.uint8, (3, 4), elements=st.sampled_from((0, 1, 2, 255)))


def info(number: int) -> FrameInfo:
    return FrameInfo(number, 0)


def added(frames: list[tuple[np.ndarray, np.ndarray]], worst: int = 0) -> LabelComparison:
    labels = LabelComparison(CLASSES, worst)
    for number, (a, b) in enumerate(frames):
        labels.add(info(number), np.zeros((*a.shape, 3), np.uint8), a, b)
    return labels


@given(st.lists(st.tuples(label_maps, label_maps), min_size=1, max_size=4))
def test_agreement_iou_and_confusions_are_those_of_the_pixels(frames: list) -> None:
    pixels = [
        (int(one), int(other))
        for a, b in frames
        for one, other in zip(a.ravel(), b.ravel(), strict=True)
        if (one, other) != (255, 255)
    ]
    labels = added(frames)
    if not pixels:
        with pytest.raises(BackendError, match="nothing was compared"):
            _ = labels.agreement
        return
    assert labels.agreement == sum(one == other for one, other in pixels) / len(pixels)
    for label, name in enumerate(NAMES):
        both = sum(one == other == label for one, other in pixels)
        either = sum(label in pair for pair in pixels)
        assert labels.iou()[name] == (both / either if either else None)
    different = [pair for pair in pixels if pair[0] != pair[1]]
    names = {**dict(enumerate(NAMES)), 255: None}
    found = {(item.class_a, item.class_b): item.pixels for item in labels.confusions(limit=99)}
    assert found == {tuple(names[part] for part in pair): different.count(pair) for pair in different}
    shares = [item.share for item in labels.confusions(limit=99)]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1 - labels.agreement)


def test_padding_is_not_agreement_and_a_class_on_one_side_alone_is_a_difference() -> None:
    a = np.array([[0, 0, 255, 255]], np.uint8)
    b = np.array([[0, 255, 0, 255]], np.uint8)
    labels = added([(a, b)])
    assert labels.agreement == pytest.approx(1 / 3)
    assert {(item.class_a, item.class_b) for item in labels.confusions()} == {("road", None), (None, "road")}


@pytest.mark.parametrize("side", ["A", "B"])
@pytest.mark.parametrize("label", [3, 100, 254])
def test_a_label_that_is_no_class_is_an_error_that_names_the_side(side: str, label: int) -> None:
    maps = [np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8)]
    maps["AB".index(side)][1, 1] = label
    with pytest.raises(BackendError, match=f"{side} gave the label {label} on frame 0"):
        added([(maps[0], maps[1])])


@given(st.lists(st.integers(0, 12), min_size=1, max_size=30), st.integers(1, 5))
def test_the_frames_kept_are_those_that_agree_least_in_order(changes: list[int], limit: int) -> None:
    a = np.zeros((3, 4), np.uint8)
    frames = [(a, (np.arange(12) < count).astype(np.uint8).reshape(3, 4)) for count in changes]
    kept = added(frames, limit).worst()
    expected = sorted(((1 - count / 12, number) for number, count in enumerate(changes) if count))[:limit]
    assert [frame.info.id for frame in kept] == [number for _, number in expected]
    assert [frame.agreement for frame in kept] == pytest.approx([agreement for agreement, _ in expected])
    for frame in kept:
        assert np.array_equal(frame.labels_b, frames[frame.info.id][1])


def test_kept_frames_are_copies_of_the_readers_buffers() -> None:
    labels = LabelComparison(CLASSES, 1)
    frame, a, b = np.full((2, 2, 3), 7, np.uint8), np.zeros((2, 2), np.uint8), np.ones((2, 2), np.uint8)
    labels.add(info(0), frame, a, b)
    for buffer in (frame, a, b):
        buffer[:] = 99
    kept = labels.worst()[0]
    assert (kept.frame.max(), kept.labels_a.max(), kept.labels_b.max()) == (7, 0, 1)


def test_percentiles_are_over_frames_and_a_frame_without_a_class_is_in_none() -> None:
    a = np.zeros((1, 10), np.uint8)
    frames = [(a, (np.arange(10)[None] < count).astype(np.uint8)) for count in (0, 1, 2, 3, 10)]
    none = np.full((1, 10), 255, np.uint8)
    found = added([*frames, (none, none)]).to_dict()
    assert found["agreement"]["overall"] == pytest.approx(34 / 50)
    assert found["agreement"]["frame_min"] == 0.0
    assert found["agreement"]["frame_median"] == pytest.approx(0.8)
    assert found["agreement"]["frame_p5"] == pytest.approx(np.percentile([1, 0.9, 0.8, 0.7, 0], 5))
    assert [entry["agreement"] for entry in found["per_frame"]][-1] is None
    assert found["frames_compared"] == 6


def test_memory_does_not_grow_with_the_frames() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 3, (64, 96), np.uint8) for _ in range(2))
    frame = np.zeros((64, 96, 3), np.uint8)

    def peak(frames: int) -> int:
        labels = LabelComparison(CLASSES, 3)
        tracemalloc.start()
        for number in range(frames):
            labels.add(info(number), frame, a, b)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(5)
    assert peak(400) < 1.1 * peak(20)


class Frames:
    """A source of plain frames whose grey is their number."""

    fps = None
    size_hw = (6, 8)

    def __init__(self, total: int, count: int | None, live: bool = False) -> None:
        self.count, self.live, self._total, self._read = count, live, total, 0

    def read_into(self, buffer: np.ndarray) -> FrameInfo | None:
        if self._read == self._total:
            return None
        buffer[:] = self._read % 256
        self._read += 1
        return info(self._read - 1)

    def describe(self) -> dict:
        return {"path": "frames"}

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("total", "count", "wanted", "expected"),
    [
        (10, 10, 5, [1, 3, 5, 7, 9]),
        (10, 10, 3, [2, 5, 9]),
        (4, 4, 9, [0, 1, 2, 3]),
        (10, None, 3, [0, 1, 2]),
        (10, 10, None, list(range(10))),
        (6, 10, 5, [1, 3, 5]),  # fewer frames come than were announced
        (20, 10, 5, [1, 3, 5, 7, 9]),
    ],
)
def test_frames_are_spread_evenly_over_what_the_source_holds(
    total: int, count: int | None, wanted: int | None, expected: list[int]
) -> None:
    taken = [found.id for found, frame in comparison._chosen(Frames(total, count), wanted)]
    assert taken == expected


@given(st.integers(1, 300), st.integers(1, 300))
def test_as_many_frames_are_taken_as_were_asked_for(count: int, wanted: int) -> None:
    taken = [found.id for found, _ in comparison._chosen(Frames(count, count), wanted)]
    assert len(taken) == min(count, wanted)
    assert taken == comparison.evenly(count, wanted)
    gaps = set(np.diff([-1, *taken]).tolist())
    assert max(gaps) - min(gaps) <= 1


SIDES = (Side("onnxruntime", "fp32"), Side("onnxruntime", "fp32"))


def test_a_camera_and_a_source_without_frames_are_refused(bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="a camera never ends"):
        compare(bundle, SIDES, Frames(3, None, live=True))
    with pytest.raises(SourceError, match="frames gave no frame"):
        compare(bundle, SIDES, Frames(0, None))


def test_where_the_second_side_cannot_be_opened_the_first_is_closed(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []
    real = comparison.Segmenter.close
    monkeypatch.setattr(comparison.Segmenter, "close", lambda self: closed.append(1) or real(self))
    with pytest.raises(UsageError, match="no backend is called 'abacus'"):
        compare(bundle, (SIDES[0], Side("abacus", "fp32")), Frames(3, 3))
    assert closed


def test_threads_go_to_onnxruntime_alone_and_engines_to_tensorrt_alone(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def recording(kind: type, of: Bundle, precision: Precision, wanted: BackendWanted) -> OnnxRuntimeBackend:
        asked.append((kind.statement.name, *wanted))
        return OnnxRuntimeBackend(of, precision, wanted.threads)

    for kind in (OnnxRuntimeBackend, TensorRT):
        monkeypatch.setattr(kind, "opened", classmethod(recording))
    engines = Path("engines")
    options = SideOptions(threads=1, engine_folder=engines)
    compare(bundle, (SIDES[0], Side("tensorrt", "fp32")), Frames(2, 2), options=options)
    assert asked == [("onnxruntime", 1, None), ("tensorrt", None, engines)]
    with pytest.raises(UsageError, match="leave --threads out"):
        compare(bundle, (Side("tensorrt", "fp32"),) * 2, Frames(2, 2), options=options)


def test_frames_of_another_size_than_the_bundles_are_compared_at_their_own(bundle: Bundle) -> None:
    found = compare(bundle, SIDES, Frames(3, 3))
    assert found.labels.counts.sum() == 3 * 6 * 8
    assert found.labels.agreement == 1.0


@pytest.mark.parametrize("text", ["onnxruntime", "onnxruntime:", ":fp32", "onnxruntime:fp64", "a:b:fp32", ""])
def test_what_names_no_side_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"--a must be BACKEND:PRECISION.*for example"):
        parse_side(text, "--a")
    assert parse_side("tensorrt-rtx:fp16", "--a") == ("tensorrt-rtx", "fp16")


@pytest.mark.parametrize("size_hw", [(6, 8), (300, 600), (1200, 2600), (40, 2000)])
def test_a_picture_shows_both_label_maps_and_every_pixel_that_differs(size_hw: tuple[int, int]) -> None:
    palette = np.zeros((256, 3), np.uint8)
    palette[:3] = [entry.color[::-1] for entry in CLASSES]
    a = np.zeros(size_hw, np.uint8)
    b = a.copy()
    b[size_hw[0] // 2, size_hw[1] // 2] = 1
    frame = FrameAgreement(info(7), 0.5, np.full((*size_hw, 3), 200, np.uint8), a, b)
    drawing = DifferencePicture(("onnxruntime:fp32", "tensorrt:int8"), CLASSES, palette)
    picture = drawing.draw(frame)
    cyan = (picture == (255, 255, 0)).all(axis=2)
    legend_px = 42
    assert cyan[:-legend_px].any(), "the one pixel that differs is lost"
    panel_px = (picture.shape[0] - legend_px) // 2 - 30
    road = (picture[:-legend_px] == palette[0]).all(axis=2).sum()
    assert road >= 0.97 * 2 * panel_px * (picture.shape[1] - 24) / 2
    again = cv2.imdecode(np.frombuffer(drawing.encode(frame), np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(again, picture)


def test_with_ground_truth_a_picture_shows_it_and_who_is_right_where_they_differ() -> None:
    palette = np.zeros((256, 3), np.uint8)
    palette[:3] = [entry.color[::-1] for entry in CLASSES]
    truth, a, b = (np.zeros((200, 600), np.uint8) for _ in range(3))
    truth[:20] = 255  # not labelled
    b[40:80] = 1  # A alone is right
    a[80:100] = 2  # B alone is right
    a[100:110], b[100:110] = 1, 2
    frame = FrameAgreement(info(7), 0.65, np.full((200, 600, 3), 200, np.uint8), a, b, truth)
    picture = DifferencePicture(("one", "other"), CLASSES, palette).draw(frame)
    assert picture.shape[1] == 3 * 600 + 4 * 8
    rows, columns = (slice(30, 230), slice(260, 460)), [slice(left, left + 600) for left in (8, 616, 1224)]
    assert np.array_equal(picture[rows[0], columns[1]], palette[truth])
    assert np.array_equal(picture[rows[1], columns[0]], palette[a])
    assert np.array_equal(picture[rows[1], columns[1]], palette[b])
    right = picture[rows[1], columns[2]]
    found = [tuple(map(int, right[row, 0])) for row in (10, 30, 60, 90, 105)]
    grey, colors = found[:2], found[2:]
    assert set(grey) == {(100, 100, 100)}  # the frame, dim, where there is no label and where both are right
    assert len(set(colors)) == 3
    assert {tuple(map(int, color)) for color in np.unique(right.reshape(-1, 3), axis=0)} == {*grey, *colors}
    legend = picture[460:].reshape(-1, 3)
    assert all((legend == color).all(axis=1).any() for color in colors)


def test_many_classes_and_long_names_stay_inside_the_picture(tmp_path: Path) -> None:
    many = tuple(SegmentationClass(name=f"a class with a long name {n}", color=(n, n, n)) for n in range(255))
    labels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    frame = FrameAgreement(info(0), 0.5, np.zeros((16, 16, 3), np.uint8), labels, labels[::-1].copy())
    picture = DifferencePicture(("a", "b"), many, np.zeros((256, 3), np.uint8)).draw(frame)
    assert picture.shape[1] == 2 * 512 + 3 * 8
    assert (picture[-16:, -8:] == 24).all()
