"""Which plugins and which file a TensorRT gets; TensorRT for RTX gets none."""

from __future__ import annotations

import sys
from types import ModuleType

import onnx
import pytest
from onnx import helper

from danet_runtime.bundle import Bundle
from danet_runtime.errors import BackendError, BundleError, MissingDependencyError
from danet_runtime.tensorrt.cuda.driver import CudaDriver
from danet_runtime.tensorrt.kernels.kernels import select_kernels
from danet_runtime.tensorrt.plugins.onnx_file import function_names
from danet_runtime.tensorrt.plugins.registration import (
    model_for,
    operators_of,
    register_for_running,
    register_plugins,
)

SERVED = (
    "10.0.1",
    "10.3.0",
    "10.6.0",
    "10.7.0",
    "10.8.0.43",
    "10.9.0.34",
    "10.13.3.9",
    "10.16.1.11",
    "11.4.0.106",
)


@pytest.fixture
def model(exported_bundle):
    bundle = Bundle.open(exported_bundle)
    return bundle.read(bundle.variant("fp16").file)


@pytest.mark.parametrize("version", SERVED)
def test_the_file_that_plugins_are_built_from_holds_no_function_bodies(model, version):
    assert {domain for _, domain in function_names(model)} == {"danet"}
    stripped = model_for(version, model)
    assert function_names(stripped) == []
    assert len(onnx.load_model_from_string(stripped).functions) == 0
    assert onnx.load_model_from_string(stripped).graph == onnx.load_model_from_string(model).graph


def of_danet(*op_types: str) -> bytes:
    """A model of nodes of the domain ``danet`` and one of another."""
    nodes = [helper.make_node(name, ["x"], ["y"], domain="danet") for name in op_types]
    nodes.append(helper.make_node("PositionAttention", ["x"], ["z"], domain="other"))
    return helper.make_model(helper.make_graph(nodes, "g", [], [])).SerializeToString()


def test_a_model_tells_which_operators_it_needs_kernels_for(kernel_bundle):
    operators = operators_of(of_danet("UpsampleArgmax", "ChannelEnergy", "UpsampleArgmax"))
    assert operators == ("ChannelEnergy", "UpsampleArgmax")
    bundle = kernel_bundle(operators=operators)
    assert set(select_kernels(bundle, "sm_87", "fp16", operators=operators)) == set(operators)
    with pytest.raises(BackendError, match=r"the model holds Unheard; use the danet version"):
        operators_of(of_danet("UpsampleArgmax", "Unheard"))


def test_a_release_without_these_plugins_gets_no_file(model):
    with pytest.raises(BackendError, match=r"10\.0 or later, got 8\.6\.2"):
        model_for("8.6.2", model)


def test_a_file_that_is_no_model_is_refused():
    with pytest.raises(BundleError, match="expected an ONNX model"):
        model_for("10.3.0", b"not a model")


@pytest.mark.parametrize(
    "register",
    [lambda trt, bundle: register_plugins(trt, bundle, "sm_89"), lambda trt, _: register_for_running(trt)],
)
def test_nothing_is_ever_registered_with_the_real_tensorrt_for_rtx(kernel_bundle, register):
    rtx = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    before = len(rtx.get_plugin_registry().all_creators)
    with pytest.raises(BackendError, match=r"has no plugins: its parser aborts the process"):
        register(rtx, kernel_bundle("sm_89"))
    assert len(rtx.get_plugin_registry().all_creators) == before


def test_a_bundle_without_the_gpus_kernels_registers_nothing(kernel_bundle):
    trt = ModuleType("tensorrt")
    trt.__version__ = "10.3.0"
    trt.NetworkDefinitionCreationFlag = type("Flags", (), {"STRONGLY_TYPED": 1})
    with pytest.raises(BackendError, match="this GPU is sm_110"):
        register_plugins(trt, kernel_bundle("sm_87"), "sm_110")


def test_cuda_python_that_is_not_installed_is_told_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", None)
    with pytest.raises(MissingDependencyError, match=r"cuda-python.*danet-runtime\[cuda12\].*\[cuda13\]"):
        CudaDriver()


def test_a_machine_without_a_driver_says_so(kernel_bundle):
    driver = pytest.importorskip("cuda.bindings.driver", reason="cuda-python is not installed")
    try:
        status, *_ = driver.cuInit(0)
    except RuntimeError:
        pass
    else:
        if int(status) == 0:
            pytest.skip("this machine has a CUDA GPU")
    assert select_kernels(kernel_bundle(), "sm_87", "fp16")  # choosing needs no driver
    with pytest.raises(
        BackendError, match=r"expected an NVIDIA driver, found none|cuInit failed with CUDA_ERROR"
    ):
        CudaDriver()
