"""The palette for classes without a color: distinct, readable, and always the same."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danet_train.classes.colors import as_hex, completed_colors, distinct_colors, parse_hex

BYTE = st.integers(0, 255)


def _lab(colors):
    return cv2.cvtColor((np.array([colors], np.float32) / 255), cv2.COLOR_RGB2LAB)[0]


@pytest.mark.parametrize(("count", "least"), [(8, 50), (20, 30), (60, 15), (255, 5)])
def test_colors_are_told_apart_from_each_other_and_from_black_and_white(count, least):
    lab = _lab([(0, 0, 0), (255, 255, 255), *distinct_colors(count)])
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert distances.min() > least


@settings(max_examples=20, deadline=None)
@given(stated=st.lists(st.one_of(st.none(), st.tuples(BYTE, BYTE, BYTE)), min_size=1, max_size=255))
def test_stated_colors_stay_and_missing_ones_differ_from_all(stated):
    colors = completed_colors([f"thing {index}" for index in range(len(stated))], stated)
    kept = [color for color in stated if color is not None]
    made = [color for color, given_one in zip(colors, stated, strict=True) if given_one is None]
    assert [color for color, given_one in zip(colors, stated, strict=True) if given_one is not None] == kept
    assert len(set(made)) == len(made)
    assert not set(made) & set(kept)


def test_a_known_name_gets_the_color_that_cityscapes_has_for_it_unless_it_is_taken():
    assert completed_colors(["car", "x"], [None, None])[0] == (0, 0, 142)
    assert completed_colors(["car", "x"], [None, (0, 0, 142)])[0] != (0, 0, 142)


@given(color=st.tuples(BYTE, BYTE, BYTE))
def test_hex_is_read_as_it_is_written(color):
    assert parse_hex(as_hex(color)) == color
    assert parse_hex(as_hex(color).upper()) == color


@pytest.mark.parametrize("text", ["", "#", "#80408", "#8040800", "0x804080", "#80408g", "848"])
def test_other_texts_are_no_hex(text):
    assert parse_hex(text) is None
