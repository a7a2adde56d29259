"""``classes.yaml``: lists, colors in two notations or none, and errors with the line and a right example."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danet_train.classes import ClassTable, read_classes
from danet_train.classes.class_file import classes_text, parse_classes
from danet_train.errors import ConfigError

LIBRARIES_WORDS = re.compile(
    r"mapping values|while (parsing|scanning)|<unicode string>|<stream end>|Input should|pydantic|yaml\.|"
    r"validation error|NoneType|constructor",
    re.IGNORECASE,
)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)


@pytest.mark.parametrize(
    "text",
    [
        "classes: [road, car, sky]",
        "[road, car, sky]",
        "- road\n- car\n- sky\n",
        "- name: road\n- {name: car}\n- sky\n",
    ],
)
def test_names_alone_are_classes_in_their_order_with_colors_of_their_own(text):
    table = parse_classes(text, "classes.yaml")
    assert table.names == ("road", "car", "sky")
    assert len(set(table.colors)) == 3
    assert table.colors[0] == (128, 64, 128)  # Cityscapes' road


def test_a_color_is_written_in_hex_or_as_three_numbers_or_is_missing():
    text = 'classes:\n- {name: a, color: "#804080"}\n- {name: b, color: [1, 2, 3]}\n- c\n'
    table = parse_classes(text + '- {name: d, color: "#f08"}\n- {name: e, color: 008000}', "x")
    assert table.colors[0] == (128, 64, 128)
    assert table.colors[1] == (1, 2, 3)
    assert table.colors[3:] == ((255, 0, 136), (0, 128, 0))
    assert table.colors[2] not in (table.colors[0], table.colors[1], *table.colors[3:])


def test_names_that_yaml_would_take_for_values_stay_names():
    assert parse_classes("[on, off, yes, 1, 2.50]", "x").names == ("on", "off", "yes", "1", "2.50")


def test_the_label_value_of_the_first_class_and_ignored_values_are_stated():
    table = parse_classes("classes: [a, b]\nfirst_value: 1\nignore: [0, 9]", "x")
    assert table.label_ids == (1, 2)
    assert table.ignored_values == (0, 9)


@pytest.mark.parametrize(
    ("text", "line", "problem", "example"),
    [
        ("classes:\n- {name: a, color: [0, 0, 0]}\n", 2, "at least two classes, got one, 'a'", "[background"),
        ("classes:\n- a\n- {name: b, colour: [0, 0, 0]}", 3, "unknown key 'colour'", "{name: road, color"),
        ("classes:\n- a\n- {name: b, color: [0, 0, 300]}", 3, "from 0 to 255, got '300'", "#804080"),
        ("classes:\n- a\n- {name: b, color: [0, 0]}", 3, "red, green and blue of 'b'", "[128, 64, 128]"),
        ("classes:\n- a\n- {name: b, color: purple}", 3, "the color of 'b', got 'purple'", "#804080"),
        ("classes:\n- a\n- name: b\n  color: #804080\n", 4, "a # begins a comment", "#804080"),
        ("classes:\n- a\n- b\n- a\n", 4, "'a' stands in line 2 already, and names must differ", "[road"),
        ("classes: [a, b]\nignore: [3, 1]", 2, "label value 1 is ignored, but stands for one class", "[255]"),
        ("classes: [a, b]\nignore: [no]", 2, "from 0 to 255, got 'no'", "ignore: [255]"),
        ("classes: [a, b]\nfirst_value: 254", 2, "the label values 254 to 255", "first_value: 0"),
        ("classes: [a, b]\nfirst_value: [1]", 2, "got a list or mapping", "first_value: 1"),
        ("- a\n-\n- b", 2, "expected the name of a class", "- road"),
        ("- a\n- [b]", 2, "expected a class", "- road"),
        ("- a\n- {color: [0, 0, 0]}", 2, "has no 'name'", "name: road"),
        ("names: [a, b]", 1, "unknown key 'names'; the keys here are classes", "classes: [road"),
        ("first_value: 1", 1, "expected the key 'classes'", "classes: [road"),
        ("classes: {0: a, 1: b}", 1, "expected a list of classes", "classes: [road"),
        ("just words", 1, "expected a list of classes", "classes: [road"),
        ("classes: [a,\nb: : c", 2, "not YAML", "classes: [road"),
        ("classes: [", 1, "not YAML", "classes: [road"),
        ("classes:\n- a\n- {name: b\n- c", 4, "not YAML", "classes: [road"),
        ("a: &x !!python/object:os.system [1]", 1, "unknown key 'a'", "classes: [road"),
    ],
)
def test_an_error_names_the_line_and_shows_a_right_example_in_own_words(
    tmp_path, text, line, problem, example
):
    path = tmp_path / "classes.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_classes(path)
    message = str(caught.value)
    assert message.startswith(f"{path}, line {line}: ")
    assert problem in message
    assert example in message.partition("right is e.g.")[2]
    assert not LIBRARIES_WORDS.search(message)


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "is empty"), ("a: 1\na: 2", "stands twice, again in line 2"), ("\x00", "not YAML")],
)
def test_a_file_without_a_line_to_blame_is_refused_in_own_words(text, words):
    with pytest.raises(ConfigError, match=words) as caught:
        parse_classes(text, "classes.yaml")
    assert not LIBRARIES_WORDS.search(str(caught.value))


@given(text=st.one_of(st.text(max_size=60), st.from_regex(r"classes:\n(- [a-z{}\[\]:#, ]{0,12}\n){0,4}")))
def test_any_text_is_a_table_or_an_error_in_own_words(text):
    problem = _problem(text)
    assert problem is None or problem.startswith("classes.yaml")
    assert not LIBRARIES_WORDS.search((problem or "").replace(text, ""))


def _problem(text):
    """The message of the error; None where the text is a table."""
    try:
        return None if len(parse_classes(text, "classes.yaml")) >= 2 else "fewer than two classes"
    except ConfigError as error:
        return str(error)


@given(
    names=st.lists(TEXTS.filter(str.strip), min_size=2, max_size=8, unique=True),
    data=st.data(),
)
def test_what_is_written_is_read_as_the_same_classes(names, data):
    byte = st.integers(0, 255)
    colors = data.draw(st.lists(st.tuples(byte, byte, byte), min_size=len(names), max_size=len(names)))
    table = ClassTable(names=tuple(names), colors=tuple(colors))
    assert parse_classes(classes_text(table, "classes of a test"), "x") == table


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_a_class_file_is_read_in_the_encoding_that_its_editor_chose(tmp_path, encoding):
    text = "classes:\r\n- {name: Straße, color: [0, 0, 0]}\r\n- {name: Gehsteig, color: [1, 0, 0]}\r\n"
    (tmp_path / "classes.yaml").write_bytes(text.encode(encoding))
    assert read_classes(tmp_path / "classes.yaml").names == ("Straße", "Gehsteig")
