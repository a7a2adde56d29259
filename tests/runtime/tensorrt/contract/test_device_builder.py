"""Building on the device: the driver is asked before any CUDA context is there, as `danet build` does."""

from __future__ import annotations

import pytest
from onnx import helper

RELEASES = ["11.4.0.106", pytest.param("10.13.3.9", marks=pytest.mark.slow)]
NO_CONTEXT = {"DRIVER_STUB_CONTEXT": "0"}


@pytest.fixture(scope="module")
def bundle(kernel_bundle):
    """For sm_87, with a model of one custom node."""
    pytest.importorskip("cuda.bindings", reason="cuda-python is not installed")
    node = helper.make_node("UpsampleArgmax", ["x"], ["y"], domain="danet")
    model = helper.make_model(helper.make_graph([node], "g", [], [])).SerializeToString()
    return kernel_bundle(precisions=("fp16",), model=model)


@pytest.mark.parametrize("version", RELEASES)
def test_an_engine_is_built_for_the_gpu_of_a_process_that_has_no_context_yet(with_bindings, bundle, version):
    answers = with_bindings(version, "device_build_answers.py", bundle.path, **NO_CONTEXT)
    assert answers["without_a_context"] == "cuCtxGetDevice failed with CUDA_ERROR_INVALID_CONTEXT"
    assert (answers["plan"], answers["attention"], answers["arch"]) == ("plan", "plugin", "sm_87")
    assert (answers["gpu"], answers["runs_here"]) == ("Orin (sm_87, 16 multiprocessors)", True)
    assert answers["library"] == f"TensorRT {version}"
    assert answers["flags"] != 0  # ahead-of-time plugins are asked for
    assert answers["model_bytes"] > 0
    assert answers["workspace_bytes"] is None  # all of the GPU's own memory


def test_python_plugins_are_built_so_too_and_scratch_memory_is_half_of_what_a_jetson_has_free(
    with_bindings, bundle
):
    integrated = {"DRIVER_STUB_INTEGRATED": "1"}
    answers = with_bindings(
        "10.3.0", "device_build_answers.py", bundle.path, numpy_1=True, **NO_CONTEXT, **integrated
    )
    assert (answers["attention"], answers["arch"]) == ("plugin", "sm_87")
    assert answers["workspace_bytes"] == 5 << 30


def test_a_gpu_that_the_bundle_has_no_kernels_for_is_named(with_bindings, bundle):
    answers = with_bindings(
        "10.3.0",
        "device_build_answers.py",
        bundle.path,
        numpy_1=True,
        DRIVER_STUB_CAPABILITY="89",
        **NO_CONTEXT,
    )
    assert "this GPU is sm_89" in answers["refused"]
    assert "kernels for sm_87 only" in answers["refused"]


def test_a_driver_too_old_for_the_kernels_is_refused_before_the_builder_runs(with_bindings, bundle):
    answers = with_bindings(
        "10.3.0",
        "device_build_answers.py",
        bundle.path,
        numpy_1=True,
        DRIVER_STUB_CUDA="12010",
        **NO_CONTEXT,
    )
    assert "(CUDA 12.1) reads PTX up to 8.1" in answers["refused"]
    assert "library" not in answers


def test_a_machine_without_a_gpu_is_told_so(with_bindings, bundle):
    answers = with_bindings("11.4.0.106", "device_build_answers.py", bundle.path, DRIVER_STUB_INIT="100")
    assert "CUDA_ERROR_NO_DEVICE; this machine has no usable NVIDIA GPU" in answers["refused"]
