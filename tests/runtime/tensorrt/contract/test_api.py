"""Everything that danet_runtime.tensorrt uses of TensorRT exists in every release that it serves."""

from __future__ import annotations

import pytest

from danet_runtime.tensorrt.plugins import aot as plugin_aot

# One release of each kind of plugin runs always; `make test-all` runs all four.
RELEASES = [
    "10.3.0",
    pytest.param("10.13.3.9", marks=pytest.mark.slow),
    pytest.param("10.16.1.11", marks=pytest.mark.slow),
    "11.4.0.106",
]


IN_USE = {
    "trt.IErrorRecorder",
    "Recorder.report_error",
    "trt.MemoryPoolType.WORKSPACE",
    "config.set_memory_pool_limit",
    "config.builder_optimization_level",
    "config.create_timing_cache",
    "config.set_timing_cache",
    "timing_cache.combine",
    "timing_cache.serialize",
    "problem.node_name",
    "problem.local_function_stack",
    "runtime.deserialize_cuda_engine",
    "engine.get_tensor_mode",
    "engine.create_execution_context",
    "context.set_input_shape",
    "context.set_tensor_address",
    "context.set_device_memory",
    "engine.device_memory_size_v2",
    "trt.ExecutionContextAllocationStrategy",
    "trt.BuilderFlag.TF32",
    "config.clear_flag",
    "context.execute_async_v3",
    "trt.TensorIOMode.INPUT",
    "trt.DataType.UINT8",
}


@pytest.mark.parametrize("version", RELEASES)
def test_every_name_enumerator_and_signature_in_use_exists(with_bindings, version):
    found = with_bindings(version, "api_use.py", "tensorrt_bindings")
    assert found["version"] == version
    assert found["missing"] == []
    assert found["undeclared"] == []  # a module that uses TensorRT says which releases it serves
    plugin = "plugins/v3.py" if version == "10.3.0" else "plugins/aot.py"
    assert {"build/library.py", "build/builder.py", "execution.py", "store/timing_cache.py", plugin} <= set(
        found["read"]
    )
    assert set(found["checked"]) >= IN_USE
    others = {"plugins/v3.py", "plugins/aot.py", "build/rtx_builder.py", "store/runtime_cache.py"} - {plugin}
    assert not others & set(found["read"])
    assert "trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED" in found["checked"]
    assert ("KernelPlugin.enqueue" if version == "10.3.0" else "trtp.aot_impl") in found["checked"]


def test_what_a_release_lacks_is_reported_by_name(with_bindings):
    found = with_bindings("10.3.0", "api_use.py", "tensorrt_bindings", plugin_aot.__file__)
    assert any(
        "plugins/aot.py" in entry and "trt.NetworkDefinitionCreationFlag.PREFER_AOT_PYTHON_PLUGINS" in entry
        for entry in found["missing"]
    )


WRONG = {
    "trt.BuilderFlag.FP16": "flag = trt.BuilderFlag.FP16",
    "trt.IInt8EntropyCalibrator2": "class Calibrator(trt.IInt8EntropyCalibrator2): pass",
    "registry.load_nothing": "registry.load_nothing()",
    "registry.register_creator()": "registry.register_creator()",
    "flags.EXPLICIT_BATCH": "flags = trt.NetworkDefinitionCreationFlag\nx = flags.EXPLICIT_BATCH",
    "trt.Builder()": "builder = trt.Builder(log, 1, 2)",
    "trtp.KernelLaunchParams()": "trtp.KernelLaunchParams(cluster_x=2)",
    "Mine.get_nothing": "class Mine(trt.IPluginV3):\n    def get_nothing(self): ...",
    "Mine.clone": "class Mine(trt.IPluginV3):\n    def clone(self, deep): ...",
}
RIGHT = """
class Mine(trt.IPluginV3):
    def clone(self): return self
builder = trt.Builder(log)
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
registry.register_creator(creator, plugin_namespace="danet")
unrelated.anything(1, 2).goes()
"""


def test_the_reader_of_the_source_sees_what_is_wrong_and_nothing_else(with_bindings, tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text("\n".join(WRONG.values()))
    right = tmp_path / "right.py"
    right.write_text(RIGHT)
    missing = with_bindings("11.4.0.106", "api_use.py", "tensorrt_bindings", wrong, right)["missing"]
    assert [entry for entry in missing if "right.py" in entry] == []
    for name in WRONG:
        assert any(f": {name}" in entry for entry in missing), (name, missing)
    assert len(missing) == len(WRONG)


def test_the_builder_for_rtx_uses_what_the_installed_library_has(with_bindings):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    found = with_bindings("11.4.0.106", "api_use.py", "tensorrt_rtx")
    assert found["missing"] == []
    assert set(found["read"]) == {
        *("build/log.py", "build/builder.py", "execution.py", "build/rtx_builder.py"),
        "store/runtime_cache.py",
    }
    assert {
        *(
            "builder.error_recorder",
            "problem.local_function_stack",
            "trt.BuilderFlag.REQUIRE_USER_ALLOCATION",
        ),
        *("runtime_config.create_runtime_cache", "runtime_cache.deserialize", "engine.create_runtime_config"),
    } <= set(found["checked"])
