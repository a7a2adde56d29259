"""The overlay: colors where there are classes, the frame where there are none, and what is written on it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danet_runtime import Segmenter
from danet_runtime.bundle import Bundle
from danet_runtime.bundle.manifest import SegmentationClass
from danet_runtime.errors import UsageError
from danet_runtime.results.head_up import HeadUp
from danet_runtime.results.legend import Legend
from danet_runtime.results.overlay import Overlay
from danet_runtime.results.regions import RegionNames
from danet_runtime.results.result import Labelling, Result
from danet_runtime.results.smoothing import Smoothing
from danet_runtime.results.style import OverlayStyle

CLASSES = tuple(
    SegmentationClass(name=name, color=(20 * label + 15, 255 - 20 * label, 60))
    for label, name in enumerate(("road", "sidewalk", "building", "traffic light", "person", "vegetation"))
)


@pytest.fixture
def segmenter(bundle: Bundle) -> Segmenter:
    return Segmenter(bundle)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_color_and_frame_are_mixed_by_alpha(
    segmenter: Segmenter, rng: np.random.Generator, alpha: float
) -> None:
    frame = rng.integers(0, 256, (40, 50, 3), np.uint8)
    labels = rng.choice(np.array([0, 1, 2, 3, 255], np.uint8), (40, 50))
    out = np.empty_like(frame)
    Overlay((40, 50), segmenter.classes, OverlayStyle(alpha=alpha)).blend_into(frame, labels, out)
    mixed = (1 - alpha) * frame + alpha * segmenter.palette[labels]
    expected = np.where((labels == 255)[..., None], frame, mixed)
    np.testing.assert_allclose(out, expected, atol=0.51)


def test_a_value_out_of_range_is_refused() -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        OverlayStyle(alpha=1.5)
    with pytest.raises(UsageError, match="palette must be one of bundle, color-blind"):
        OverlayStyle(palette="rainbow")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="upsample must be one of"):
        OverlayStyle(upsample="cubic")  # type: ignore[arg-type]


@settings(max_examples=50)
@given(
    size_hw=st.tuples(st.integers(1, 1100), st.integers(1, 2000)),
    names=st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=40),
)
def test_the_legend_covers_a_quarter_of_any_frame_at_most(size_hw: tuple[int, int], names: list[str]) -> None:
    legend = Legend(cv2, size_hw, names, np.full((256, 3), 200, np.uint8))
    picture = np.full((*size_hw, 3), 255, np.uint8)
    legend.draw_into(np.arange(len(names), dtype=np.uint8)[None], picture)
    touched = (picture != 255).any(axis=2)
    rows, columns = np.flatnonzero(touched.any(axis=1)), np.flatnonzero(touched.any(axis=0))
    if len(rows):
        assert 4 * (rows[-1] + 1) * (columns[-1] + 1) <= size_hw[0] * size_hw[1]
    if min(size_hw) >= 240:
        assert len(rows), "a frame of this size has room for a legend"


def test_the_legend_names_the_classes_that_are_there_by_their_areas() -> None:
    labels = np.zeros((480, 640), np.uint8)
    labels[:300] = 5
    labels[:20, :20] = 3
    legend = Legend(cv2, (480, 640), [entry.name for entry in CLASSES], np.zeros((256, 3), np.uint8))
    legend.draw_into(labels, np.zeros((480, 640, 3), np.uint8))
    assert [entry.name for entry in legend.entries()] == ["vegetation", "road", "traffic light"]


def test_a_legend_with_more_classes_than_room_counts_the_rest() -> None:
    names = [f"class {number}" for number in range(40)]
    labels = np.repeat(np.arange(40, dtype=np.uint8), 8)[:, None].repeat(200, axis=1)
    legend = Legend(cv2, labels.shape, names, np.zeros((256, 3), np.uint8))
    legend.draw_into(labels, np.zeros((*labels.shape, 3), np.uint8))
    *shown, last = [entry.name for entry in legend.entries()]
    assert 3 < len(shown) < 40
    assert last == f"+{40 - len(shown)} more"


def test_two_classes_of_about_the_same_size_do_not_change_places_from_frame_to_frame() -> None:
    legend = Legend(cv2, (480, 640), ["a", "b"], np.zeros((256, 3), np.uint8))
    orders = set()
    for number in range(40):
        labels = np.zeros((480, 640), np.uint8)
        labels[: 240 + (10 if number % 2 else -10)] = 1
        legend.draw_into(labels, np.zeros((480, 640, 3), np.uint8))
        orders.add(tuple(entry.name for entry in legend.entries()))
    assert len(orders) == 1


def test_contours_have_the_full_color_on_both_sides_of_a_border_and_nowhere_else() -> None:
    frame, labels = np.full((100, 120, 3), 90, np.uint8), np.zeros((100, 120), np.uint8)
    labels[40:] = 2
    plain, drawn = np.empty_like(frame), np.empty_like(frame)
    Overlay((100, 120), CLASSES).blend_into(frame, labels, plain)
    Overlay((100, 120), CLASSES, OverlayStyle(contours=True)).blend_into(frame, labels, drawn)
    assert set(np.flatnonzero((plain != drawn).any(axis=(1, 2)))) == {39, 40}
    assert tuple(drawn[39, 7]) == CLASSES[0].color[::-1]
    assert tuple(drawn[40, 7]) == CLASSES[2].color[::-1]


def test_a_name_stands_in_each_large_region_of_its_class_and_in_no_small_one() -> None:
    labels = np.zeros((540, 960), np.uint8)
    labels[50:200, 100:400] = 2
    labels[300:500, 600:900] = 2
    labels[250:260, 10:30] = 4
    places = RegionNames(cv2, (540, 960), [entry.name for entry in CLASSES]).places(labels)
    assert sorted(name for name, _ in places) == ["building", "building", "road"]
    for name, (x, y) in places:
        assert CLASSES[labels[y, x]].name == name


def result_of(labels: np.ndarray, given_hw: tuple[int, int] | None = None, **more: object) -> Result:
    frame = np.full((*labels.shape, 3), 128, np.uint8)
    made = Result(frame, labels, 0, 1_000_000_000, 43.2, {}, labelling=Labelling(CLASSES, "x:fp16", given_hw))
    return replace(made, **more)  # type: ignore[arg-type]


def test_smoothing_keeps_the_middle_of_each_block_and_turns_a_staircase_into_a_line() -> None:
    small = np.tril(np.ones((12, 16), np.uint8))
    large = cv2.resize(small, (320, 240), interpolation=cv2.INTER_NEAREST_EXACT)
    smooth = Smoothing(cv2, (240, 320))(large, (12, 16))
    np.testing.assert_array_equal(smooth[10::20, 10::20], small)
    assert set(np.unique(smooth)) == {0, 1}
    rows, columns = np.mgrid[0:240, 0:320]
    ideal = (rows + 10 >= columns).astype(np.uint8)  # the diagonal that the staircase stands for
    inner = np.s_[20:220, 20:220]
    assert np.mean(smooth[inner] != ideal[inner]) < 0.3 * np.mean(large[inner] != ideal[inner])


@settings(max_examples=25)
@given(
    small_hw=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    size_hw=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    seed=st.integers(0, 99),
)
def test_smoothing_brings_up_no_label_that_is_not_there(
    small_hw: tuple[int, int], size_hw: tuple[int, int], seed: int
) -> None:
    small = np.random.default_rng(seed).choice(np.array([0, 3, 255], np.uint8), small_hw)
    labels = cv2.resize(small, size_hw[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    smooth = Smoothing(cv2, size_hw)(labels, small_hw)
    assert smooth.shape == size_hw
    assert set(np.unique(smooth)) <= set(np.unique(labels))


def test_the_overlay_of_a_small_models_result_is_smooth_where_that_is_asked_for() -> None:
    small = np.tril(np.ones((12, 16), np.uint8))
    result = result_of(cv2.resize(small, (320, 240), interpolation=cv2.INTER_NEAREST_EXACT), (12, 16))
    blocks, smooth = (np.empty((240, 320, 3), np.uint8) for _ in range(2))
    Overlay((240, 320), CLASSES).draw_into(result, blocks)
    Overlay((240, 320), CLASSES, OverlayStyle(upsample="bilinear")).draw_into(result, smooth)
    assert (blocks != smooth).any()
    again = np.empty_like(smooth)
    unscaled = replace(result, labelling=Labelling(CLASSES, "x:fp16", (240, 320)))
    Overlay((240, 320), CLASSES, OverlayStyle(upsample="bilinear")).draw_into(unscaled, again)
    np.testing.assert_array_equal(again, blocks)


def test_the_head_up_line_tells_the_rate_by_the_capture_times_the_age_and_the_model() -> None:
    head_up = HeadUp(cv2, (480, 640))
    result = result_of(np.zeros((480, 640), np.uint8))
    assert head_up.words(result) == "- fps   43 ms   x:fp16"
    for number in range(1, 50):
        words = head_up.words(replace(result, capture_time_ns=1_000_000_000 + 40_000_000 * number))
    assert words == "25.0 fps   43 ms   x:fp16"
    assert head_up.words(replace(result, capture_time_ns=5)).startswith("- fps")


@pytest.mark.parametrize("size_hw", [(1, 1), (9, 500), (48, 64), (480, 640), (2000, 300)])
def test_everything_at_once_can_be_drawn_on_a_frame_of_any_size(size_hw: tuple[int, int]) -> None:
    style = OverlayStyle(
        legend=True, contours=True, names=True, head_up=True, palette="color-blind", upsample="bilinear"
    )
    labels = np.arange(size_hw[0] * size_hw[1]).reshape(size_hw) * 6 // (size_hw[0] * size_hw[1])
    result = result_of(labels.astype(np.uint8), (4, 5))
    out = np.zeros((*size_hw, 3), np.uint8)
    Overlay(size_hw, CLASSES, style).draw_into(result, out)
    assert out.any()
