"""Sizes between frame, network and labels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danet_export.graph.geometry import plan_geometry
from danet_runtime.errors import UsageError

cells = st.integers(1, 64)
frames = st.tuples(st.integers(1, 3000), st.integers(1, 3000))


@given(cells, cells, st.sampled_from([0, 1]), frames)
def test_letterbox_keeps_the_aspect_ratio_to_within_a_cell_and_fills_one_side(rows, columns, extra, frame):
    model = (8 * rows + extra, 8 * columns + extra)
    size = plan_geometry(model, frame, "letterbox")
    scale = min(model[0] / frame[0], model[1] / frame[1])
    for content, limit, source in zip(size.content_hw, model, frame, strict=True):
        assert 8 + extra <= content <= limit or content == limit
        assert content % 8 == extra
        assert abs(content - source * scale) <= 8 + extra
    assert any(content == limit for content, limit in zip(size.content_hw, model, strict=True))


@given(cells, cells, st.sampled_from([0, 1]))
def test_stretch_uses_the_whole_network(rows, columns, extra):
    size = plan_geometry((8 * rows + extra, 8 * columns + extra), (480, 640))
    assert size.content_hw == size.model_hw
    assert size.logits_hw == (rows + extra, columns + extra)
    assert size.align_corners == bool(extra)


@pytest.mark.parametrize("size", [(130, 256), (128, 250), (128, 257), (0, 0), (7, 7), (1, 1)])
def test_a_size_that_is_neither_8k_nor_8k_plus_1_is_refused(size):
    with pytest.raises(UsageError, match="8k or 8k\\+1"):
        plan_geometry(size)


def test_align_corners_can_be_forced():
    assert plan_geometry((768, 768), align_corners=True).align_corners
    assert not plan_geometry((769, 769), align_corners=False).align_corners
