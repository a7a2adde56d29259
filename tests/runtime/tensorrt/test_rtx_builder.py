"""Engines from the real builder of TensorRT for RTX, which needs no GPU."""

import json
import subprocess
import sys

import pytest

from danet_runtime.bundle import Bundle
from danet_runtime.errors import BackendError, UsageError
from danet_runtime.files import sha256_of
from danet_runtime.tensorrt.engine_store import EngineManifest, store_engine
from danet_runtime.tensorrt.rtx_builder import build_engine, known_targets

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")


@pytest.fixture(scope="module")
def model(exported_bundle):
    bundle = Bundle.open(exported_bundle)
    return bundle.read(bundle.variant("fp16").file)


@pytest.fixture(scope="module")
def built(model):
    return build_engine(model, ["sm_89"])


def test_the_exported_model_builds_and_its_memory_is_read_from_the_builder(built):
    assert len(built.plan) > 10_000
    # 128 tokens: one FP32 map is 64 KiB, and the FP32 frame 96 KiB.
    assert 2**16 < built.activation_memory_bytes < 2**24
    assert built.layers > 50


def test_more_targets_make_one_larger_engine(model, built):
    assert len(build_engine(model, ["sm_89", "sm_86"]).plan) > len(built.plan)


def test_progress_is_told(model):
    seen = []
    build_engine(model, ["sm_89"], lambda phase, step, steps: seen.append((phase, step, steps)))
    assert seen
    assert all(0 <= step <= steps for _, step, steps in seen)


def test_an_unknown_target_is_refused_with_those_that_exist(model):
    assert {"sm_75", "sm_86", "sm_89", "sm_120"} <= set(known_targets())
    with pytest.raises(UsageError, match=r"sm_86.*got 'sm_87'"):
        build_engine(model, ["sm_87"])


def test_a_file_that_is_no_model_is_refused():
    with pytest.raises(BackendError, match="cannot parse"):
        build_engine(b"not a model", ["sm_89"])


def test_an_engine_is_stored_with_what_it_is(built, tmp_path):
    path, manifest = store_engine(
        tmp_path,
        built,
        bundle_sha256="a" * 64,
        model_sha256="b" * 64,
        precision="fp16",
        attention="reference",
        library="tensorrt-rtx",
        targets=("sm_89",),
    )
    stored = EngineManifest.model_validate_json(path.with_suffix(".engine.json").read_text())
    assert stored == manifest
    assert stored.engine_sha256 == sha256_of(path.read_bytes())
    assert stored.activation_memory_bytes == built.activation_memory_bytes
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.name, path.name + ".json"]


def test_the_command_writes_the_engine_and_its_manifest(exported_bundle, tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "danet_runtime",
            "build",
            str(exported_bundle),
            "--backend",
            "tensorrt-rtx",
            "--target",
            "sm_89",
            "--target",
            "sm_120",
            "--engine-dir",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (engine,) = tmp_path.glob("*.engine")
    manifest = json.loads(engine.with_suffix(".engine.json").read_text())
    assert manifest["targets"] == ["sm_89", "sm_120"]
    assert manifest["activation_memory_bytes"] > 0


def test_the_command_refuses_what_the_bundle_does_not_hold(exported_bundle, tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "danet_runtime",
            "build",
            str(exported_bundle),
            "--target",
            "sm_89",
            "--precision",
            "int8",
            "--engine-dir",
            str(tmp_path / "engines"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "danet calibrate" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "engines").exists()
