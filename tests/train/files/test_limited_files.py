"""YAML and pictures of strangers: what would take all memory or minutes is refused at once, by name."""

import struct
import time
import zlib

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from danet_train.classes import read_classes
from danet_train.config.inheritance import read_settings
from danet_train.data.samples.sample import read_image, read_label
from danet_train.errors import ConfigError, DataError
from danet_train.files.limited import MOST_TEXT_BYTES, MOST_VALUES, read_yaml


def billion(levels=9, width=10):
    """Ten aliases of ten aliases of ...: some hundred bytes, width**levels values."""
    lines = ["a0: &a0 [" + ", ".join(["x"] * width) + "]"]
    lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * width) + "]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


BOMBS = {
    "aliases": billion(),
    "merges": "a0: &a0 {x: 1}\n"
    + "".join(f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)),
    "itself": "classes: &a [*a]\n",
    "depth": "classes: " + "[" * 20000 + "]" * 20000 + "\n",
    "depth of mappings": "".join(" " * n + f"a{n}:\n" for n in range(900)),
    "many values": "classes: [" + "0, " * 60000 + "0]\n",
    "size": "#" * (MOST_TEXT_BYTES + 1),
    "base 60": "classes: 1" + ":59" * 200000 + "\n",
    "digits": "classes: " + "9" * 9000 + "\n",
    "a key twice": "classes: []\nclasses: []\n",
    "month 13": "classes: 2020-13-01\n",
    "half a character of UTF-16": b"\xff\xfec",
    "a list as a key": "? [1]\n: 2\n",
    "an object": "!!python/object/apply:os.system [true]\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_yaml_beyond_the_limits_is_refused_at_once_in_classes_and_configurations(tmp_path, text):
    path = tmp_path / "classes.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    started = time.process_time()
    for read in (read_classes, read_settings):
        with pytest.raises(ConfigError, match=r"classes\.yaml"):
            read(path)
    assert time.process_time() - started < 30  # the bombs take hours, or all memory


def test_aliases_and_merges_that_stand_for_little_are_taken(tmp_path):
    path = tmp_path / "it.yaml"
    path.write_text("grey: &grey [1, 2, 3]\nbase: &base {color: *grey}\nclasses: [{<<: *base, name: a}]\n")
    assert read_yaml(path)["classes"] == [{"color": [1, 2, 3], "name": "a"}]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=25,
)


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_what_is_within_the_limits_is_read_as_pyyaml_reads_it(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("yaml") / "it.yaml"
    path.write_text(yaml.safe_dump(value, allow_unicode=True), encoding="utf-8")
    assert read_yaml(path) == yaml.safe_load(path.read_text(encoding="utf-8"))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 7), st.integers(1, 7))
def test_aliases_are_counted_as_what_they_stand_for(tmp_path_factory, levels, width):
    path = tmp_path_factory.mktemp("yaml") / "it.yaml"
    path.write_text(billion(levels, width))
    values = [width**level for level in range(levels + 1)]
    total = 1 + levels + sum(sum(values[: level + 1]) for level in range(1, levels + 1))  # with the keys
    if total > MOST_VALUES:
        with pytest.raises(ConfigError, match="aliases repeat"):
            read_yaml(path)
    else:
        assert len(read_yaml(path)) == levels


def liar(color, channels):
    """A PNG of 8 x 8 that states 30000 x 30000, with the checksum of that."""
    data = bytearray(cv2.imencode(".png", np.zeros((8, 8, channels), np.uint8))[1])
    data[16:24] = struct.pack(">II", 30000, 30000)
    data[25] = color
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def test_pictures_and_labels_that_state_gigabytes_are_refused_before_they_are_decoded(tmp_path):
    for color, channels in ((2, 3), (0, 1), (3, 1)):
        (tmp_path / "it.png").write_bytes(liar(color, channels))
        for read in (read_image, read_label):
            with pytest.raises(DataError, match=r"it\.png states 30000x30000 pixels .* expected at most"):
                read(tmp_path / "it.png")
    jpeg = bytearray(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1])
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 60000, 50000)
    (tmp_path / "it.jpg").write_bytes(jpeg)
    with pytest.raises(DataError, match=r"it\.jpg states 60000x50000 pixels"):
        read_image(tmp_path / "it.jpg")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".ppm"])
def test_ordinary_pictures_are_still_read(tmp_path, suffix):
    picture = np.full((21, 34, 3), 80, np.uint8)
    cv2.imwrite(str(tmp_path / f"it{suffix}"), picture)
    assert read_image(tmp_path / f"it{suffix}").shape == (21, 34, 3)
