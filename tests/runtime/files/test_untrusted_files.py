"""Manifests of strangers: no size, depth, number or repeated key of theirs takes memory or ends badly."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_box import record
from typer.testing import CliRunner

from danet_runtime.bundle import MANIFEST_NAME, Bundle, parse_manifest
from danet_runtime.cli.app import build_app
from danet_runtime.errors import DanetError, ManifestError, SourceError
from danet_runtime.files.limited import read_limited, require_plain_json
from danet_runtime.recorder.format import MANIFEST_NAME as BOX_MANIFEST
from danet_runtime.recorder.reader import FlightRecording

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)


@given(PLAIN)
def test_plain_json_is_taken(value: object) -> None:
    require_plain_json(json.dumps(value).encode())


@given(
    st.text(max_size=5),
    st.lists(st.text(max_size=5).map(lambda key: key + "!"), max_size=3),
    st.integers(0, 3),
)
def test_a_key_that_stands_twice_is_refused_wherever_it_stands(
    key: str, others: list[str], depth: int
) -> None:
    keys = [key, *dict.fromkeys(others), key]
    text = "{" + ", ".join(f"{json.dumps(one)}: 1" for one in keys) + "}"
    for _ in range(depth):
        text = f'[{{"in": {text}}}]'
    with pytest.raises(ValueError, match="stands twice"):
        require_plain_json(text.encode())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 70), st.integers(0, 70))
def test_no_more_than_the_limit_is_read(
    tmp_path_factory: pytest.TempPathFactory, size: int, limit: int
) -> None:
    file = tmp_path_factory.mktemp("limited") / "it"
    file.write_bytes(bytes(range(size)))
    for plain in (False, True):
        if size <= limit:
            assert read_limited(file, limit, plain=plain) == bytes(range(size))
        else:
            with pytest.raises(ValueError, match=f"at most {limit} bytes, got {size} bytes"):
                read_limited(file, limit, plain=plain)


def test_what_has_no_size_is_read_up_to_the_limit_and_where_plain_files_are_asked_for_not_at_all(
    tmp_path: Path,
) -> None:
    with pytest.raises(ValueError, match="at most 100 bytes, got more"):
        read_limited(Path("/dev/zero"), 100)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ValueError, match="expected a plain file"):
        read_limited(pipe, 100, plain=True)  # without waiting for a writer
    writer = threading.Thread(target=pipe.write_bytes, args=(b"words",))
    writer.start()
    assert read_limited(pipe, 5) == b"words"
    writer.join()
    (tmp_path / "link").symlink_to("/dev/zero")
    with pytest.raises(OSError, match="symbolic link"):
        read_limited(tmp_path / "link", 100, plain=True)


def _twice(text: str) -> str:
    return text.replace('"schema_version"', '"schema_version": 1, "schema_version"', 1)


CHANGES: dict[str, Callable[[str], str]] = {
    "a key twice": _twice,
    "a key twice below": lambda text: text.replace('"frame_id"', '"frame_id": 0, "frame_id"').replace(
        '"sha256"', '"sha256": "0", "sha256"'
    ),
    "depth": lambda text: text.rstrip()[:-1] + ', "context": ' + '{"a":' * 3000 + "1" + "}" * 3001,
    "digits": lambda text: re.sub(r'"schema_version": \d', '"schema_version": 1' + "0" * 5000, text),
    "a long number": lambda text: text.replace('"frame_id": 0', '"frame_id": 1' + "0" * 4000).replace(
        '"tokens": 12', '"tokens": 1' + "0" * 4000
    ),
    "infinity": lambda text: (
        text.replace('"age_ms": ', '"age_ms": 1e999, "x": ')
        .replace('"miou"', '"x": Infinity, "miou"')
        .replace('"std_rgb"', '"y": NaN, "std_rgb"')
    ),
    "bytes": lambda text: text + "\x00\x01",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_manifest_that_means_two_things_or_too_much_is_refused(
    bundle: Bundle, tmp_path: Path, change: Callable[[str], str]
) -> None:
    with pytest.raises(ManifestError, match=r"manifest\.json: .{20}") as caught:
        parse_manifest(change((bundle.path / MANIFEST_NAME).read_text()), "manifest.json")
    assert len(str(caught.value)) < 2000
    box = record(bundle, tmp_path / "box")
    manifest = box / BOX_MANIFEST
    text = json.dumps(json.loads(manifest.read_text()))
    manifest.write_text(change(text))
    with pytest.raises(SourceError, match=r"blackbox\.json"):
        FlightRecording(box)


def test_times_of_a_flight_recording_at_the_ends_of_the_clock_are_shown_or_refused_and_never_a_crash(
    bundle: Bundle, tmp_path: Path
) -> None:
    box = record(bundle, tmp_path / "box", 3)
    content = json.loads((box / BOX_MANIFEST).read_text())
    for extreme in (2**63 - 1, -(2**63), 2**63, 10**400):
        content["frames"][0]["capture_time_ns"] = extreme
        content["events"][0]["monotonic_ns"] = -extreme
        (box / BOX_MANIFEST).write_text(json.dumps(content))
        done = CliRunner().invoke(build_app(), ["replay", str(box)])
        assert done.exit_code == 0 or isinstance(done.exception, DanetError), done.exception


def test_a_manifest_of_a_flight_recording_that_is_too_large_or_a_device_is_refused(
    bundle: Bundle, tmp_path: Path
) -> None:
    box = record(bundle, tmp_path / "box")
    manifest = box / BOX_MANIFEST
    os.truncate(manifest, 1 << 40)  # a hole, which takes no room
    with pytest.raises(SourceError, match=f"at most {64 << 20} bytes"):
        FlightRecording(box)
    manifest.unlink()
    os.mkfifo(manifest)
    with pytest.raises(SourceError, match="expected a plain file"):
        FlightRecording(box)
