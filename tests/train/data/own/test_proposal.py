"""Which codes of masks are classes, void or in between, and that labels give the masks' colors back."""

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danet_train.classes import ClassTable
from danet_train.data.own.census import count_codes
from danet_train.data.own.masks import code_of, read_mask
from danet_train.data.own.names import names_by_known_colors, parse_list
from danet_train.data.own.proposal import Wishes, propose
from danet_train.errors import DataError, UsageError

BYTE = st.integers(0, 255)
COLOR = st.tuples(BYTE, BYTE, BYTE)


def _proposed(kind, codes, wishes=None, listed=None):
    return propose(kind, count_codes(codes, "m"), wishes or Wishes(), listed)


def _blocks(values, size=6):
    """Codes in squares, each large enough to be an area."""
    return np.kron(np.array(values, np.uint32), np.ones((size, size), np.uint32))


def _color_codes(colors, rows=1):
    return _blocks([[code_of(color) for color in colors]] * rows)


@settings(max_examples=40, deadline=None)
@given(
    colors=st.lists(COLOR.filter(lambda color: len(set(color)) > 1), min_size=2, max_size=12, unique=True),
    data=st.data(),
)
def test_colors_become_labels_and_labels_the_colors_again(colors, data):
    order = data.draw(st.lists(st.sampled_from(colors), min_size=1, max_size=20))
    codes = _color_codes([*colors, *order])
    proposal = _proposed("color", codes, Wishes(void=frozenset()))
    assert sorted(proposal.table.colors) == sorted(colors)
    labels = proposal.encode(codes, "m")
    painted = proposal.table.palette()[labels]
    expected = np.stack([codes >> 16 & 255, codes >> 8 & 255, codes & 255], axis=-1)
    np.testing.assert_array_equal(painted, expected)


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.integers(0, 254), min_size=2, max_size=30, unique=True))
def test_grey_values_are_classes_in_their_order_and_255_is_none(values):
    codes = _blocks([[*values, 255]])
    proposal = _proposed("grey", codes)
    labels = proposal.encode(codes, "m")
    for label, value in enumerate(sorted(values)):
        assert (labels[codes == value] == label).all()
    assert (labels[codes == 255] == 255).all()


def test_a_mask_of_0_and_255_has_two_classes():
    proposal = _proposed("grey", _blocks([[0, 255]]))
    assert proposal.table.names == ("background", "foreground")
    assert not proposal.void


def test_values_in_between_of_a_smoothed_grey_mask_of_several_classes_are_refused():
    codes = _blocks([[0, 100, 200]], size=200)
    for column, value in enumerate((12, 25, 37, 50, 62, 75, 82, 90)):
        codes[20 * column : 20 * column + 20, 200] = value
    with pytest.raises(DataError, match="resized with smoothing"):
        _proposed("grey", codes)


def test_a_thin_class_between_its_neighbours_in_value_stays_a_class():
    codes = _blocks([[2, 7]], size=40)
    codes[:, 40] = 5
    assert _proposed("grey", codes).codes == (2, 5, 7)


def test_a_thin_class_in_a_color_of_its_own_stays_a_class():
    codes = _color_codes([(128, 64, 128), (244, 35, 232)], rows=4)
    codes[:, 6] = code_of((196, 196, 196))
    assert code_of((196, 196, 196)) in _proposed("color", codes).codes


@pytest.mark.parametrize(("share", "is_void"), [(0.01, True), (0.3, False)])
def test_black_is_void_where_it_is_rare_and_the_background_where_it_is_not(share, is_void):
    codes = np.full((100, 100), code_of((200, 10, 10)), np.uint32)
    codes[50:] = code_of((10, 200, 10))
    codes[: int(100 * share) + 2, : 50 if is_void else 100] = 0
    proposal = _proposed("color", codes)
    assert (0 in proposal.void) == is_void
    assert ("background" in proposal.table.names) == (not is_void)
    kept = _proposed("color", codes, Wishes(void=frozenset()))
    assert not kept.void
    ignored = _proposed("color", codes, Wishes(void=frozenset({"#000000"})))
    assert list(ignored.void) == [0]


def test_palettes_that_differ_are_told_by_color(tmp_path):
    counts = {}
    for name, palette in (("a", [255, 0, 0, 0, 0, 255]), ("b", [0, 0, 255, 255, 0, 0])):
        picture = PIL.Image.fromarray(np.kron([[0, 1]], np.ones((6, 6))).astype(np.uint8))
        picture.putpalette(palette)
        picture.save(tmp_path / f"{name}.png")
        mask = read_mask(tmp_path / f"{name}.png")
        counts |= count_codes(mask.codes, name)
    proposal = propose("palette", counts, Wishes(), None)
    labels = [proposal.encode(read_mask(tmp_path / f"{name}.png").codes, name) for name in "ab"]
    np.testing.assert_array_equal(labels[0], labels[1][:, ::-1])
    assert set(proposal.table.colors) == {(255, 0, 0), (0, 0, 255)}


def test_transparent_pixels_are_ignored(tmp_path):
    pixels = np.zeros((8, 12, 4), np.uint8)
    pixels[:, :4] = (200, 0, 0, 255)
    pixels[:, 4:8] = (0, 0, 200, 255)
    PIL.Image.fromarray(pixels).save(tmp_path / "m.png")
    mask = read_mask(tmp_path / "m.png")
    labels = _proposed(mask.kind, mask.codes).encode(mask.codes, "m")
    assert (labels[:, 8:] == 255).all()
    assert set(np.unique(labels[:, :8])) == {0, 1}


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_values_of_few_bits_stay_as_they_are(tmp_path, bits):
    import cv2

    values = np.kron([[0, 1]], np.ones((4, 4))).astype(np.uint8)
    PIL.Image.fromarray(values).convert("P").save(tmp_path / "p.png", bits=bits)
    written = bytearray((tmp_path / "p.png").read_bytes())
    assert written[24] == bits
    assert read_mask(tmp_path / "p.png").kind == "palette"
    PIL.Image.fromarray(values * 255).convert("1").save(tmp_path / "one.png")
    mask = read_mask(tmp_path / "one.png")
    assert mask.kind == "grey"
    np.testing.assert_array_equal(mask.codes, values)
    cv2.imwrite(str(tmp_path / "wide.png"), values.astype(np.uint16))
    np.testing.assert_array_equal(read_mask(tmp_path / "wide.png").codes, values)


def test_a_stated_color_that_no_mask_holds_is_wrong_usage():
    codes = _color_codes([(200, 0, 0), (0, 0, 200)])
    for wishes in (Wishes(names={"#123456": "x"}), Wishes(void=frozenset({"7"}))):
        with pytest.raises(UsageError, match=r"told by color.*they hold #0000c8, #c80000"):
            _proposed("color", codes, wishes)


def test_a_table_beside_which_masks_hold_more_is_refused():
    table = ClassTable(names=("a", "b"), colors=((200, 0, 0), (0, 0, 200)))
    codes = _color_codes([(200, 0, 0), (0, 0, 200), (9, 9, 200)])
    with pytest.raises(DataError, match="1 colors that the class table has not: #0909c8"):
        _proposed("color", codes, Wishes(table=table))


@pytest.mark.parametrize(
    ("text", "by_color", "by_value"),
    [
        (
            "# label:color_rgb:parts\nvoid:0,0,0::\nroad:128,64,128::\n",
            {(128, 64, 128): "road"},
            {},
        ),
        ("64 128 64\tAnimal\n192 0 128\tArchway\n", {(64, 128, 64): "Animal", (192, 0, 128): "Archway"}, {}),
        ("name,r,g,b\nRoad,128,64,128\nCar,64,0,128\n", {(128, 64, 128): "Road"}, {}),
        ("Pixel Value, Class\n0, background\n1, lane line\n", {}, {0: "background", 1: "lane line"}),
        ("road\nlane line\n", {}, {0: "road", 1: "lane line"}),
    ],
)
def test_lists_of_classes_are_read_in_the_forms_that_tools_write(text, by_color, by_value):
    found = parse_list(text, "list")
    assert by_color.items() <= found.by_color.items()
    assert by_value.items() <= found.by_value.items()


@pytest.mark.parametrize("text", ["", "one", "a,b,c,d\nx", "road:300,0,0::\ncar:1,1,1::", "a\n" * 400])
def test_other_texts_are_no_list(text):
    assert parse_list(text, "list") is None


def test_cityscapes_colors_bring_its_names():
    colors = [(128, 64, 128), (0, 0, 142), (70, 130, 180)]
    found = names_by_known_colors(colors)
    assert [found.by_color[color] for color in colors] == ["road", "car", "sky"]
    assert names_by_known_colors([*colors, (1, 2, 3)]) is None
    assert names_by_known_colors(colors[:2]) is None
