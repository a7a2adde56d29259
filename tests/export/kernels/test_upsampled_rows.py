"""Which rows of labels lie between the same rows of logits, against exact fractions."""

from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("triton", reason="Triton is not installed (it has wheels for Linux only)")

from danet_export.kernels.architectures import ARCHITECTURES
from danet_export.kernels.upsample_argmax import shares_rows, specify


def row_above(row, logits_height, height, align_corners):
    """The row of logits above a row of labels; PyTorch's ``interpolate`` has the positions."""
    if align_corners:
        position = Fraction(row * (logits_height - 1), height - 1) if height > 1 else Fraction(0)
    else:
        position = max(
            Fraction(2 * row + 1, 2) * Fraction(logits_height, height) - Fraction(1, 2), Fraction(0)
        )
    return min(floor(position), logits_height - 1)


@given(st.integers(1, 20), st.integers(1, 24), st.integers(0, 3), st.booleans())
def test_four_rows_are_taken_together_only_where_all_lie_in_one_cell(cells, ratio, more, align_corners):
    height = cells * ratio + (1 if align_corners else 0) + more
    logits_height = cells + 1 if align_corners else cells
    if not shares_rows(logits_height, height, align_corners=align_corners):
        return
    for first in range(0, height, 4):
        rows = range(first, min(first + 4, height))
        assert len({row_above(row, logits_height, height, align_corners) for row in rows}) == 1


@pytest.mark.parametrize(
    ("logits_hw", "size_hw", "align_corners", "name"),
    [
        ((128, 256), (1024, 2048), False, "upsample_argmax_of_four_rows"),
        ((97, 97), (769, 769), True, "upsample_argmax_of_four_rows"),
        ((128, 256), (1000, 2048), False, "upsample_argmax"),
    ],
)
def test_the_network_s_own_sizes_take_four_rows_at_a_time(logits_hw, size_hw, align_corners, name):
    sizes = {
        **{"batch": 1, "classes": 19, "logits_height": logits_hw[0], "logits_width": logits_hw[1]},
        **{"height": size_hw[0], "width": size_hw[1], "align_corners": int(align_corners)},
    }
    spec = specify(sizes, ARCHITECTURES["sm_87"], "tuned")
    assert spec.function.__name__ == name
    assert spec.grid[1] == -(-size_hw[0] // 4)
