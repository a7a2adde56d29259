"""The overlay: colors where there are classes, the frame itself where there are none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from danet_runtime import Segmenter
from danet_runtime.bundle import Bundle
from danet_runtime.errors import UsageError
from danet_runtime.results.overlay import Overlay


@pytest.fixture
def segmenter(bundle: Bundle) -> Segmenter:
    return Segmenter(bundle)


@pytest.mark.parametrize("opacity", [0.0, 0.3, 1.0])
def test_color_and_frame_are_mixed_by_the_opacity(
    segmenter: Segmenter, rng: np.random.Generator, opacity: float
) -> None:
    frame = rng.integers(0, 256, (40, 50, 3), np.uint8)
    labels = rng.choice(np.array([0, 1, 2, 3, 255], np.uint8), (40, 50))
    out = np.empty_like(frame)
    Overlay((40, 50), segmenter.classes, segmenter.palette, opacity=opacity).blend_into(frame, labels, out)
    mixed = (1 - opacity) * frame + opacity * segmenter.palette[labels]
    expected = np.where((labels == 255)[..., None], frame, mixed)
    np.testing.assert_allclose(out, expected, atol=0.51)


def test_the_legend_covers_a_corner_only_and_fits_into_any_frame(
    segmenter: Segmenter, picture_maker: Callable[..., np.ndarray]
) -> None:
    for size_hw in ((360, 640), (16, 16)):
        frame = picture_maker(*size_hw)
        labels = np.full(size_hw, 255, np.uint8)
        out = np.empty_like(frame)
        Overlay(size_hw, segmenter.classes, segmenter.palette, legend=True).blend_into(frame, labels, out)
        assert tuple(out[0, 0]) == tuple(segmenter.palette[0])
        if size_hw[0] > 16:
            np.testing.assert_array_equal(out[100:], frame[100:])


def test_an_opacity_out_of_range_is_refused(segmenter: Segmenter) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        Overlay((4, 4), segmenter.classes, segmenter.palette, opacity=1.5)
