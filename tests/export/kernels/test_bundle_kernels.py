"""Kernels in a bundle, through the command that writes them."""

import json
import re
import subprocess
import sys

import pytest
from danet_command import danet

pytest.importorskip("triton", reason="Triton is not installed (it has wheels for Linux only)")

from danet_export import pipeline
from danet_export.cli import require_triton
from danet_export.errors import ExportError
from danet_export.graph.geometry import plan_geometry
from danet_export.graph.wrapper import held_operators, operator_sizes
from danet_export.kernels.architectures import KernelRequest, find_architectures
from danet_export.kernels.bundle_kernels import specify, write_kernels
from danet_runtime.bundle import Bundle, BundleWriter
from danet_runtime.errors import MissingDependencyError, UsageError
from danet_train.checkpoint import read_checkpoint
from danet_train.model.config import DANetConfig


def test_kernels_are_written_for_the_bundles_own_shapes(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    geometry = plan_geometry((65, 129), (90, 200))
    config = DANetConfig(depth=18, head_channels=32, attention_channels=8)
    request = KernelRequest(find_architectures(["sm_87"], "fp16"), "fp16")
    steps = []
    writer = BundleWriter(tmp_path)
    kernels = list(write_kernels(request, operator_sizes(config, geometry), writer, steps.append))
    check(kernels, lambda ref: (tmp_path / ref.path).read_bytes())
    assert len(steps) == len(kernels) == 6
    shapes = {kernel.operator: kernel.shape for kernel in kernels}
    assert shapes["PositionAttention"] == {
        **{"batch": 1, "tokens": 153, "pitch": 256},
        **{"d_qk": 8, "d_v": 32},
    }
    assert shapes["ChannelEnergy"] == {"batch": 1, "channels": 32, "tokens": 153, "slices": 1}
    assert shapes["UpsampleArgmax"] == {
        "batch": 1,
        "classes": 19,
        "logits_height": 9,
        "logits_width": 17,
        "height": 90,
        "width": 200,
        "align_corners": 1,
    }


def check(kernels, read):
    found = {(kernel.operator, kernel.variant) for kernel in kernels}
    operators = ("PositionAttention", "ChannelEnergy", "UpsampleArgmax")
    assert found == {(operator, variant) for operator in operators for variant in ("tuned", "small")}
    files = {kernel.ptx.path: read(kernel.ptx) for kernel in kernels}
    assert len(set(files.values())) == len(files), "the same code stands in two files"
    paths = {(kernel.operator, kernel.variant): kernel.ptx.path for kernel in kernels}
    for operator in ("PositionAttention", "UpsampleArgmax"):
        assert paths[operator, "small"] == paths[operator, "tuned"]
    for kernel in kernels:
        text = read(kernel.ptx).decode("ascii")
        assert f".visible .entry {kernel.entry}(" in text
        assert f".reqntid {kernel.block[0]}" in text
        stem = f"kernels/sm_87/{kernel.entry}.fp16"
        assert kernel.ptx.path in (f"{stem}.{kernel.variant}.ptx", f"{stem}.tuned.ptx")


def test_a_kernel_that_cannot_be_made_is_told_before_the_model_is_exported(
    checkpoint_file, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def refuse(*_):
        raise ExportError("it does not fit")

    monkeypatch.setattr("danet_export.kernels.bundle_kernels.compile_cached", refuse)
    monkeypatch.setattr(pipeline, "_export", lambda *_: pytest.fail("exported first"))
    loaded = read_checkpoint(checkpoint_file)
    request = KernelRequest(find_architectures(["sm_87"], "fp16"), "fp16")
    with pytest.raises(ExportError, match="does not fit"):
        pipeline.export_bundle(
            *(loaded, loaded.classes, plan_geometry((64, 128)), lambda _: [], tmp_path / "bundle"),
            settings=pipeline.ExportSettings(kernels=request),
        )
    assert not (tmp_path / "bundle").exists()


@pytest.mark.slow
def test_the_command_writes_ptx_and_launch_parameters_for_the_bundles_own_shapes(
    checkpoint_file, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "bundle"
    done = danet("export", checkpoint_file, "--size", "65x129", "-o", path, "--kernels", "sm_87")
    assert done.returncode == 0, done.stderr
    for word in ("PositionAttention", "registers", "spills", "sm_87"):
        assert word in done.stdout
    bundle = Bundle.open(path)
    bundle.verify()
    check(bundle.manifest.kernels, bundle.read)
    report = json.loads(danet("doctor", path, "--json", "-").stdout)
    held = [file for file in path.rglob("*") if file.is_file() and file.name != "manifest.json"]
    assert report["bundle"]["files_verified"] == len(held), "a file that two kernels share is one file"
    assert "triton" in bundle.manifest.provenance.tools


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kernels", "sm_87,sm_99"], r"sm_75, sm_80, .*sm_120 \(got 'sm_99'\)"),
        (["--kernels", ""], "at least one architecture"),
        (["--kernels", "sm_75", "--kernel-dtype", "bf16"], "sm_75 has no BF16"),
    ],
)
def test_the_command_refuses_before_it_exports(checkpoint_file, tmp_path, arguments, message):
    done = danet("export", checkpoint_file, "--size", "64x128", "-o", tmp_path / "bundle", *arguments)
    assert done.returncode == 2
    assert re.search(message, done.stderr)
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "bundle").exists()


@pytest.mark.slow
def test_triton_is_not_imported_before_kernels_are_asked_for():
    code = "import sys, danet_export.pipeline, danet_export.cli; print('triton' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_missing_triton_is_named_before_the_export_begins(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.raises(MissingDependencyError, match="pip install"):
        require_triton()


def test_an_architecture_named_twice_is_compiled_once():
    assert [a.name for a in find_architectures(["sm_87", "sm_80", "sm_87"], "fp16")] == ["sm_87", "sm_80"]
    with pytest.raises(UsageError, match="sm_80"):
        find_architectures(["87"], "fp16")


def test_a_network_without_an_attention_needs_no_kernel_for_it():
    geometry = plan_geometry((64, 128))
    (architecture,) = find_architectures(["sm_87"], "fp16")
    for branches, expected in (
        ({"pam": False}, ["ChannelEnergy", "UpsampleArgmax"]),
        ({"cam": False}, ["PositionAttention", "UpsampleArgmax"]),
    ):
        config = DANetConfig(depth=18, **branches)
        sizes = operator_sizes(config, geometry)
        problem = {operator: sizes[operator] for operator in held_operators(config)}
        assert [spec.operator for spec in specify(problem, architecture, "tuned")] == expected
