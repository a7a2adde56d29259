"""Engines from the real builder of TensorRT for RTX, which needs no GPU."""

import gc
import signal

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from danet_runtime.bundle import Bundle
from danet_runtime.errors import BackendError, UsageError
from danet_runtime.tensorrt.build import builder
from danet_runtime.tensorrt.build import log as build_log
from danet_runtime.tensorrt.build.builder import BuilderOptions, NetworkSetup, build_plan
from danet_runtime.tensorrt.build.library import load_library
from danet_runtime.tensorrt.build.rtx_builder import build_engine, known_targets, target_setter

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


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ValueError])
def test_an_interruption_ends_the_build_and_comes_out_of_it(model, kind):
    calls = []

    def interrupt(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise kind("enough")

    with pytest.raises(kind, match="enough"):
        build_engine(model, ["sm_89"], interrupt)


@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_build_by_its_own_handler(model, monkeypatch, number, watched):
    class AskedError(Exception):
        pass

    def handler(*_arguments):
        raise AskedError

    class Messages(list):
        """The builder's log: the signal comes while it is written to, as it does most often."""

        def append(self, message):
            if not self:
                signal.raise_signal(number)
            super().append(message)

    def make_log(trt):
        log = build_log.make_log(trt)
        log.messages = Messages()
        return log

    monkeypatch.setattr(builder, "make_log", make_log)
    previous = signal.signal(number, handler)
    try:
        with pytest.raises(AskedError):
            build_engine(model, ["sm_89"], (lambda *progress: None) if watched else None)
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, previous)


def flags_of(**setup):
    """Whether products are TF32, and whether memory is the user's, when an engine was built."""
    trt, seen = load_library("tensorrt-rtx").module, []

    def configure(config):
        seen.append(config)
        target_setter(["sm_89"])(config)

    library = load_library("tensorrt-rtx")
    assert build_plan(library, small_model(WORKS), NetworkSetup(configure=configure, **setup)).plan
    (config,) = seen
    return [config.get_flag(trt.BuilderFlag.TF32), config.get_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)]


def test_memory_is_always_the_users_as_a_capture_needs_and_fp32_is_no_tf32_where_it_is_asked_for():
    assert flags_of() == [True, True]
    assert flags_of(full_fp32=True) == [False, True]


def test_an_unknown_target_is_refused_with_those_that_exist(model):
    assert {"sm_75", "sm_86", "sm_89", "sm_120"} <= set(known_targets())
    with pytest.raises(UsageError, match=r"sm_86.*got 'sm_87'"):
        build_engine(model, ["sm_87"])


def test_a_gpu_that_takes_no_fp32_product_is_told_what_builds_for_it(model):
    with pytest.raises(BackendError, match=r"FP32 GEMM .*for sm_75 build with TensorRT on the device"):
        build_engine(model, ["sm_75"])


def test_a_file_that_is_no_model_is_refused():
    with pytest.raises(BackendError, match="cannot parse"):
        build_engine(b"not a model", ["sm_89"])


HALF = TensorProto.FLOAT16


def small_model(*nodes, functions=()):
    """Nodes from ``x`` to ``y``, (1, 4, 8, 8) FP16; ``ones`` is a constant of that shape in FP32."""
    shape = [1, 4, 8, 8]
    graph = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info("x", HALF, shape)],
        [helper.make_tensor_value_info("y", HALF, shape)],
        [numpy_helper.from_array(np.ones(shape, np.float32), "ones")],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("danet", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=list(functions))
    return model.SerializeToString()


WORKS = helper.make_node("Relu", ["x"], ["y"], name="the_relu")


def test_an_operator_that_the_parser_does_not_know_is_told_with_its_node():
    model = small_model(
        helper.make_node("Relu", ["x"], ["z"], name="the_relu"),
        helper.make_node("Nonsense", ["z"], ["y"], name="the_culprit"),
    )
    with pytest.raises(BackendError, match=r"cannot parse the model: node 'the_culprit' \(Nonsense\): "):
        build_engine(model, ["sm_89"])


def test_a_node_of_wrong_types_is_told_with_its_name_and_the_reason():
    model = small_model(helper.make_node("Add", ["x", "ones"], ["y"], name="the_add"))
    with pytest.raises(BackendError, match=r"node 'the_add' \(Add\): .*same input types.*Half and Float"):
        build_engine(model, ["sm_89"])


def test_a_node_inside_a_function_is_told_with_the_function():
    body = helper.make_function(
        "danet",
        "Wrapped",
        ["a"],
        ["b"],
        [helper.make_node("Nonsense", ["a"], ["b"], name="inner")],
        [helper.make_opsetid("", 18)],
    )
    node = helper.make_node("Wrapped", ["x"], ["y"], name="outer", domain="danet")
    with pytest.raises(BackendError, match=r"\(Nonsense, in the function .*Wrapped"):
        build_engine(small_model(node, functions=[body]), ["sm_89"])


def test_what_the_builder_records_is_told_with_the_option_to_change(model):
    with pytest.raises(BackendError, match=r"cannot build .*workspace limit.*--workspace-mib 1, or"):
        build_engine(model, ["sm_89"], options=BuilderOptions(workspace_mib=1))


def test_failures_free_their_networks_without_a_crash():
    # TensorRT for RTX 1.7.1 crashes when a network is freed that was created with a recorder.
    wrong = small_model(helper.make_node("Nonsense", ["x"], ["y"], name="n"))
    for _ in range(3):
        with pytest.raises(BackendError):
            build_engine(wrong, ["sm_89"])
        assert build_engine(small_model(WORKS), ["sm_89"]).plan
        gc.collect()


def test_every_optimization_level_is_taken():
    for level in (0, 5):
        options = BuilderOptions(optimization_level=level, workspace_mib=256)
        assert build_engine(small_model(WORKS), ["sm_89"], options=options).plan


def test_the_small_model_is_a_model():
    onnx.checker.check_model(onnx.load_from_string(small_model(WORKS)))


def quantised_convolution(dtype):
    """A convolution between Q/DQ, or without them where ``dtype`` is FP16."""
    half = dtype == "fp16"
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    weight = np.linspace(-1, 1, 32 * 32 * 9).reshape(32, 32, 3, 3)
    constants = {"scale": np.float32(0.02), "zero": np.int8(0)}
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])]
    if half:
        constants = {"w": weight.astype(np.float16)}
    else:
        constants["quantised"] = np.round(weight * 127).astype(np.int8)
        constants["weight_scale"] = np.float32(1 / 127)
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
            helper.make_node("DequantizeLinear", ["quantised", "weight_scale", "zero"], ["w"]),
            helper.make_node("Conv", ["d", "w"], ["y"], pads=[1, 1, 1, 1]),
        ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, [1, 32, 32, 32])],
        [helper.make_tensor_value_info("y", kind, [1, 32, 32, 32])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()


@pytest.mark.parametrize(("dtype", "counted"), [("int8", (1, 1)), ("fp16", (0, 1))])
def test_the_real_builder_tells_which_convolutions_run_on_int8(dtype, counted):
    library, configure = load_library("tensorrt-rtx"), target_setter(["sm_89"])
    model = quantised_convolution(dtype)
    assert (
        build_plan(library, model, NetworkSetup(configure=configure), list_layers=True).convolutions
        == counted
    )
    assert build_plan(library, model, NetworkSetup(configure=configure)).convolutions is None
