"""What an engine is asked for with decides its key; its manifest is read with suspicion."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from danet_runtime.errors import BackendError
from danet_runtime.tensorrt.build.builder import BuilderOptions
from danet_runtime.tensorrt.cuda.device import Gpu
from danet_runtime.tensorrt.store.manifest import EngineManifest, EngineRequest, read_engine_manifest
from danet_runtime.tensorrt.store.store import manifest_path, store_engine

OTHERS = {
    "bundle_sha256": "d" * 64,
    "model_sha256": "d" * 64,
    "parsed_sha256": "d" * 64,
    "precision": "int8",
    "conv_mac_share_int8": 0.5,
    "attention": "native",
    "kernel_variant": "small",
    "library": "tensorrt-rtx",
    "library_version": "10.4.0",
    "targets": ("sm_110",),
    "gpu": Gpu(name="Orin", arch="sm_87", multiprocessors=8),
    "platform": "linux-x86_64",
    "options": BuilderOptions(workspace_mib=64),
    "danet": "0.2.0",
}


def test_every_field_of_a_request_is_tried():
    assert set(OTHERS) == set(EngineRequest.model_fields)


@pytest.mark.parametrize("field", OTHERS)
def test_a_change_of_any_field_is_another_engine(request_maker, field):
    first, other = request_maker(), request_maker(**{field: OTHERS[field]})
    assert first.key != other.key
    assert first.stem != other.stem
    assert request_maker().key == first.key


options = st.builds(
    BuilderOptions,
    workspace_mib=st.none() | st.integers(1, 1 << 20),
    optimization_level=st.none() | st.integers(0, 5),
)


@given(first=options, other=options)
def test_builder_options_share_a_key_only_if_they_are_the_same(first, other):
    fields = {name: OTHERS[name] for name in OTHERS if name != "options"}
    keys = [EngineRequest(**fields, options=given).key for given in (first, other)]
    assert (keys[0] == keys[1]) == (first == other)


@pytest.mark.parametrize(
    "wrong", [{"workspace_mib": 0}, {"optimization_level": 6}, {"optimization_level": -1}]
)
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        BuilderOptions(**wrong)


@pytest.fixture
def stored(tmp_path, request_maker, built_maker, device):
    request = request_maker()
    engine = store_engine(tmp_path, request, built_maker(), device=device, golden_agreement=0.998)
    return manifest_path(tmp_path, request), engine.manifest


def test_a_manifest_comes_back_as_it_was_written(stored):
    path, manifest = stored
    assert read_engine_manifest(path) == manifest
    assert manifest.golden_agreement == 0.998
    assert manifest.device.driver == "540.4.0"
    assert manifest.key == manifest.engine_key


def edited(path, **changes):
    content = json.loads(path.read_text())
    content.update(changes)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"schema_version": 4}, r"expected schema_version 3, got 4: another version of danet wrote it"),
        ({"schema_version": 2}, r"expected schema_version 3, got 2"),
        ({"file": "../elsewhere.engine"}, r"no manifest of an engine: file"),
        ({"file": "/tmp/elsewhere.engine"}, r"no manifest of an engine: file"),  # noqa: S108
        ({"unheard": 1}, r"no manifest of an engine: unheard"),
        ({"precision": "int8"}, r"has been changed: its fields do not give its key"),
        ({"layers": "12"}, r"no manifest of an engine: layers"),
    ],
)
def test_a_manifest_of_another_version_or_one_that_was_changed_is_refused(stored, changes, complaint):
    path, _ = stored
    edited(path, **changes)
    with pytest.raises(BackendError, match=complaint):
        read_engine_manifest(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"danet-engine"'])
def test_what_is_no_manifest_is_refused(tmp_path, text):
    path = tmp_path / "x.engine.json"
    path.write_text(text)
    with pytest.raises(BackendError, match=r"no manifest of an engine|got None"):
        read_engine_manifest(path)


def test_a_manifest_as_large_as_a_model_is_not_read(tmp_path):
    path = tmp_path / "x.engine.json"
    path.write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(BackendError, match="this is no manifest"):
        read_engine_manifest(path)


def test_every_fact_that_is_asked_of_an_engine_stands_in_its_manifest():
    asked = {"device", "engine_sha256", "build_seconds", "activation_memory_bytes", "golden_agreement"}
    asked |= {"int8_convolutions", "convolutions", "ahead_of_time"}
    assert asked | set(OTHERS) <= set(EngineManifest.model_fields)
