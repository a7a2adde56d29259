import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danet_train.classes import CITYSCAPES, ClassTable, find_classes
from danet_train.errors import ConfigError, DataError


def test_cityscapes_has_its_19_classes_in_order():
    assert len(CITYSCAPES) == 19
    assert CITYSCAPES.names[0] == "road"
    assert CITYSCAPES.names[18] == "bicycle"
    assert CITYSCAPES.colors[0] == (128, 64, 128)
    assert CITYSCAPES.label_ids == (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


def test_camvids_unlabelled_pixels_are_ignored():
    camvid = find_classes("camvid")
    assert camvid.names[3] == "road"
    raw = np.array([[3, 11, 255]], np.uint8)
    np.testing.assert_array_equal(camvid.decode(raw, "x"), [[3, 255, 255]])


@given(ids=st.lists(st.sampled_from([*range(19), 255]), min_size=1, max_size=50))
def test_encoding_and_decoding_cityscapes_gives_the_train_ids_back(ids):
    train_ids = np.array([ids], np.uint8)
    np.testing.assert_array_equal(CITYSCAPES.decode(CITYSCAPES.encode(train_ids), "x"), train_ids)


def test_an_unknown_label_value_is_named_with_its_file():
    with pytest.raises(DataError, match=r"a\.png holds the label values 34, 200"):
        CITYSCAPES.decode(np.array([[7, 34, 200]], np.uint8), "a.png")


def test_a_name_that_is_neither_table_nor_file_is_refused_with_the_tables_there_are():
    with pytest.raises(
        ConfigError, match=r"camvd is neither a packaged class table \(ade20k, camvid, cityscapes, voc2012\)"
    ):
        find_classes("camvd")


def test_colors_must_match_the_names_in_number():
    with pytest.raises(ValueError, match="one entry a class"):
        ClassTable(names=("a", "b"), colors=((0, 0, 0),))


def test_a_table_as_checkpoints_of_version_0_1_hold_it_is_read():
    stored = CITYSCAPES.model_dump(mode="json")
    stored["colours"] = stored.pop("colors")
    assert ClassTable.model_validate(stored) == CITYSCAPES
