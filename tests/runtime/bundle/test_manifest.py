"""The manifest: what is written is what is read, and nothing unknown gets in."""

from __future__ import annotations

import copy
import functools
import json
import operator
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danet_runtime.bundle import Bundle, Manifest, parse_manifest
from danet_runtime.errors import ManifestError
from danet_runtime.pictures.header import MOST_PIXELS

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
extents = st.integers(1, 16384)
frame_sizes = extents.flatmap(
    lambda height: st.tuples(st.just(height), st.integers(1, min(16384, MOST_PIXELS // height))).map(list)
)
shares = st.floats(0, 1)
path_parts = st.text("axZ09._+-", max_size=6).map(lambda part: f"a{part}z")
refs = st.fixed_dictionaries(
    {
        "path": st.lists(path_parts, min_size=1, max_size=3).map("/".join),
        "sha256": digests,
        "bytes": st.integers(0, 2**31),
    }
)
model_sizes = st.tuples(st.integers(1, 300), st.integers(1, 300), st.sampled_from((0, 1))).map(
    lambda drawn: [8 * drawn[0] + drawn[2], 8 * drawn[1] + drawn[2]]
)
accuracies = st.fixed_dictionaries(
    {
        "dataset": names,
        "frames": st.integers(1, 10**6),
        "backend": names,
        "miou": shares,
        "pixel_accuracy": shares,
        "iou": st.dictionaries(names, st.none() | shares, max_size=3),
    }
)
precisions = st.sampled_from(("fp32", "fp16", "int8"))
manifests = st.fixed_dictionaries(
    {
        "kind": st.just("danet-bundle"),
        "schema_version": st.just(1),
        "frame": st.fixed_dictionaries({"size_hw": frame_sizes}),
        "model": st.fixed_dictionaries(
            {
                "architecture": st.dictionaries(
                    names, st.integers() | st.booleans() | names | st.none(), max_size=4
                ),
                "parameters": st.integers(1, 10**9),
                "size_hw": model_sizes,
                "fit": st.sampled_from(("stretch", "letterbox")),
                "align_corners": st.booleans(),
                "tokens": st.integers(1, 10**6),
            }
        ),
        "normalisation": st.fixed_dictionaries(
            {key: st.lists(st.floats(0, 255), min_size=3, max_size=3) for key in ("mean_rgb", "std_rgb")}
        ),
        "classes": st.lists(
            st.fixed_dictionaries(
                {"name": names, "color": st.lists(st.integers(0, 255), min_size=3, max_size=3)}
            ),
            min_size=1,
            max_size=20,
        ),
        "variants": st.dictionaries(
            precisions,
            st.fixed_dictionaries(
                {"file": refs, "opset": st.integers(1, 30)}, optional={"accuracy": st.none() | accuracies}
            ),
            min_size=1,
        ),
        "golden": st.fixed_dictionaries(
            {"frame": refs, "labels": refs, "agreement": st.dictionaries(precisions, shares)}
        ),
        "reports": st.dictionaries(names, refs, max_size=2),
        "provenance": st.fixed_dictionaries(
            {
                "created": names,
                "tools": st.dictionaries(names, names, max_size=2),
                "checkpoint_sha256": digests,
            },
            optional={"parent_sha256": st.none() | digests},
        ),
    }
)


@pytest.fixture
def content(bundle: Bundle) -> dict:
    return json.loads(bundle.manifest.to_json())


def parse(content: dict) -> Manifest:
    return parse_manifest(json.dumps(content), "manifest.json")


def _each_on_its_own_path(value: object) -> object:
    """Give every file another path: entries that share one must agree, which drawn ones do not."""
    entries = [
        entry
        for path in _objects(value)
        if "sha256" in (entry := functools.reduce(operator.getitem, path, value))
    ]
    for number, entry in enumerate(entries):
        entry["path"] += f"/file{number}"
    return value


@given(manifests.map(_each_on_its_own_path))
def test_what_is_written_is_what_is_read(content: dict) -> None:
    manifest = parse(content)
    assert parse_manifest(manifest.to_json(), "again") == manifest
    assert parse_manifest(manifest.to_json(), "again").to_json() == manifest.to_json()


def _objects(value: object, path: tuple = ()) -> list[tuple]:
    found = []
    if isinstance(value, dict):
        found.append(path)
        for key, inner in value.items():
            found += _objects(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += _objects(inner, (*path, index))
    return found


FREE_FORM = {
    ("model", "architecture"),
    ("reports",),
    ("variants",),
    ("golden", "agreement"),
    ("provenance", "tools"),
}


@given(data=st.data())
def test_an_unknown_key_is_refused_by_name_wherever_it_stands(bundle: Bundle, data: st.DataObject) -> None:
    content = json.loads(bundle.manifest.to_json())
    path = data.draw(st.sampled_from([path for path in _objects(content) if path not in FREE_FORM]))
    target = content
    for part in path:
        target = target[part]
    target["color_space"] = 1
    with pytest.raises(ManifestError, match=r"unknown key .*color_space"):
        parse(content)


@given(data=st.data())
def test_a_missing_required_key_is_named(bundle: Bundle, data: st.DataObject) -> None:
    content = json.loads(bundle.manifest.to_json())
    key = data.draw(st.sampled_from(("frame", "model", "normalisation", "classes", "variants", "golden")))
    del content[key]
    with pytest.raises(ManifestError, match=f"key {key} is missing"):
        parse(content)


@pytest.mark.parametrize("version", [0, 2, "1", 1.5, None])
def test_an_unknown_schema_version_says_what_was_expected_and_what_to_do(
    content: dict, version: object
) -> None:
    content["schema_version"] = version
    with pytest.raises(ManifestError, match=r"expected schema_version 1, got .*export it again"):
        parse(content)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("frame", "size_hw"), [48, "64"]),
        (("frame", "size_hw"), [48]),
        (("frame", "size_hw"), [0, 64]),
        (("frame", "pixel_format"), "rgb"),
        (("frame", "color"), "bt709"),  # of bgr
        (("frame", "range"), "full"),
        (("frame",), {"size_hw": [47, 64], "pixel_format": "nv12"}),
        (("frame",), {"size_hw": [48, 63], "pixel_format": "uyvy"}),
        (("frame",), {"size_hw": [48, 64], "pixel_format": "nv12", "color": "bt2020"}),
        (("model", "size_hw"), [24, 33]),
        (("model", "size_hw"), [28, 28]),
        (("model", "align_corners"), "yes"),
        (("classes", 0, "color"), [0, 0, 256]),
        (("classes",), []),
        (("variants",), {}),
        (("variants",), {"fp64": {}}),
        (("normalisation", "mean_rgb"), [0, 0]),
        (("golden", "agreement"), {"fp32": 1.5}),
        (("variants", "fp32", "file", "sha256"), "abc"),
        (("variants", "fp32", "file", "bytes"), 2**31 + 1),
        (("variants", "fp32", "file", "bytes"), -1),
    ],
)
def test_a_wrong_type_or_value_is_refused_with_its_place(content: dict, path: tuple, value: object) -> None:
    target = content
    for part in path[:-1]:
        target = target[part]
    target[path[-1]] = value
    with pytest.raises(ManifestError, match=str(path[0])):
        parse(content)


def test_what_came_is_told_once(bundle: Bundle) -> None:
    content = json.loads(bundle.manifest.to_json())
    content["golden"]["frame"]["path"] = "../s/model.int8.onnx"
    with pytest.raises(ManifestError) as refused:
        parse_manifest(json.dumps(content), "manifest.json")
    assert str(refused.value).count("(got '../s/model.int8.onnx')") == 1


@given(
    st.sampled_from(("../x", "a/../../x", "/etc/passwd", "a\\..\\x", "", "a\x00b", "..", "a/.."))
    | st.from_regex(r"[/\\.:~ -].*|.*[/\\:\x00\n].|.*[./]|.*/[./]|.*[^ -~].*", fullmatch=True).filter(
        lambda path: (
            not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_+.-]*(/[A-Za-z0-9_][A-Za-z0-9_+.-]*)*(?<!\.)", path)
        )
    ),
)
def test_a_path_that_leads_out_of_the_bundle_is_refused(bundle: Bundle, path: str) -> None:
    content = copy.deepcopy(json.loads(bundle.manifest.to_json()))
    content["variants"]["fp32"]["file"]["path"] = path
    with pytest.raises(ManifestError, match="relative path inside the bundle"):
        parse(content)


@pytest.mark.parametrize(
    ("path", "other"),
    [
        ("x.onnx", "x.onnx"),
        ("x.onnx", "X.ONNX"),
        ("kernels/a.ptx", "Kernels/A.ptx"),
        ("a", "a/b"),
        ("A/b", "a"),
    ],
)
def test_two_entries_that_could_be_one_file_must_agree(content: dict, path: str, other: str) -> None:
    content["golden"]["frame"]["path"] = path
    content["golden"]["labels"]["path"] = other
    with pytest.raises(ManifestError, match=r"said to be (two|both)"):
        parse(content)
    content["golden"]["labels"] = content["golden"]["frame"]
    parse(content)


@given(st.binary(max_size=200))
def test_whatever_is_no_manifest_is_a_manifest_error(data: bytes) -> None:
    with pytest.raises(ManifestError):
        parse_manifest(data, "manifest.json")


def test_a_bundle_without_a_pixel_format_takes_bgr(content: dict) -> None:
    content["frame"] = {"size_hw": [47, 63]}
    frame = parse(content).frame
    assert (frame.pixel_format, frame.color, frame.range) == ("bgr", "bt601", "limited")
    assert frame.shape == (47, 63, 3)


def test_a_manifest_of_version_0_1_whose_key_is_spelt_colour_is_read_and_written_anew(content: dict) -> None:
    content["frame"] = {"size_hw": [48, 64], "pixel_format": "nv12", "colour": "bt709"}
    manifest = parse(content)
    assert manifest.frame.color == "bt709"
    assert json.loads(manifest.to_json())["frame"]["color"] == "bt709"
    content["frame"]["color"] = "bt601"
    with pytest.raises(ManifestError, match="colour"):
        parse(content)


@pytest.mark.parametrize(("layout", "shape"), [("nv12", (72, 64)), ("uyvy", (48, 64, 2))])
def test_the_format_gives_the_shape_and_survives_writing(content: dict, layout: str, shape: tuple) -> None:
    content["frame"] = {"size_hw": [48, 64], "pixel_format": layout, "color": "bt709", "range": "full"}
    manifest = parse(content)
    assert manifest.frame.shape == shape
    assert parse_manifest(manifest.to_json(), "again").frame == manifest.frame
