"""The plugins as TensorRT meets them: NVIDIA's validators pass, and what TensorRT asks is answered."""

from __future__ import annotations

import pytest

SHAPES = {"PositionAttention": 4, "ChannelEnergy": 4, "UpsampleArgmax": 3}
INPUTS = {"PositionAttention": 4, "ChannelEnergy": 1, "UpsampleArgmax": 1}
CONSTANTS = {"PositionAttention": [], "ChannelEnergy": [4], "UpsampleArgmax": [48, 64]}
TYPES = {"PositionAttention": "HALF", "ChannelEnergy": "FLOAT", "UpsampleArgmax": "HALF"}
ATTRIBUTES = {
    "PositionAttention": [],
    "ChannelEnergy": ["slices"],
    "UpsampleArgmax": ["height", "width", "align_corners"],
}
AHEAD_OF_TIME = [
    pytest.param("10.13.3.9", marks=pytest.mark.slow),
    pytest.param("10.16.1.11", marks=pytest.mark.slow),
    "11.4.0.106",
]


@pytest.fixture(scope="module")
def v3(with_bindings, kernel_bundle, tmp_path_factory):
    """What they answer, and what reached the driver."""
    record = tmp_path_factory.mktemp("record") / "driver.txt"
    answers = with_bindings(
        "10.3.0", "v3_answers.py", kernel_bundle().path, numpy_1=True, DRIVER_STUB_RECORD=str(record)
    )
    return answers, record.read_text().splitlines()


def test_python_plugins_answer_build_carry_their_kernel_and_launch_it(v3):
    answers, _ = v3
    assert answers["route"] == answers["for_running"] == "v3"
    assert answers["strongly_typed"]
    assert answers["creators"] == [[name, "1", "danet"] for name in sorted(SHAPES)]
    assert answers["field_names"] == ATTRIBUTES
    for name, plugin in answers["plugins"].items():
        assert plugin["identity"] == [name, "danet", "1", 1]
        assert plugin["is_itself"]
        assert plugin["workspace_bytes"] == 0
        assert (plugin["output_type"], plugin["output_rank"]) == (TYPES[name], SHAPES[name])
        assert plugin["constants"] == CONSTANTS[name]
        assert all(plugin["supports"])
        assert not plugin["supports_wrong_type"]
        assert not plugin["supports_wrong_layout"]
        assert "compiled for its own shapes alone" in plugin["refused_shapes"]
        assert plugin["refused_at_run"] == plugin["refused_shapes"]
        assert "before it was told its shapes" in plugin["early_enqueue"]
        assert set(plugin["fields"]) == {*ATTRIBUTES[name], "danet_kernel", "danet_ptx", "danet_digest"}
        assert plugin["same_state"]  # the engine's fields alone make the same plugin again
        assert plugin["clones_are_new"]
        assert plugin["clones_share"]


def test_python_plugins_say_why_they_refuse(v3):
    answers, _ = v3
    assert "lacks danet_ptx; build the engine again" in answers["lacking"]
    assert "is damaged" in answers["damaged"]
    assert "register_plugins first" in answers["build_without_bundle"]
    assert answers["lacking"] in answers["failures"]
    assert any("tokens=54 (kernel: 48)" in failure for failure in answers["failures"])


def test_creators_are_registered_once_and_a_later_bundle_takes_over(v3):
    answers, _ = v3
    assert answers["creators_after"] == 3
    assert answers["exchanged"] == "small"


def test_a_python_plugin_launches_its_kernel_with_the_manifests_parameters(v3):
    _, record = v3
    launches = [line for line in record if line.startswith("launch")]
    assert len(launches) == 3
    attention = next(line for line in launches if "4096,4097,4098,4099,9000" in line)
    assert "grid=6,2,1 block=128,1,1 shared=98304 stream=77 extra=0" in attention
    assert "function danet_positionattention of=1005" in record
    assert "attribute of=2005 8=98304" in record  # MAX_DYNAMIC_SHARED_SIZE_BYTES


def test_bindings_that_read_fields_wrong_under_numpy_2_are_refused_at_once(with_bindings, kernel_bundle):
    import numpy as np

    if np.lib.NumpyVersion(np.__version__) < "2.0.0":
        pytest.skip("NumPy 1 is installed")
    answers = with_bindings("10.3.0", "v3_answers.py", kernel_bundle().path)
    assert set(answers) == {"refused"}
    assert "TensorRT 10.3.0 reads plugin fields wrong under NumPy 2" in answers["refused"]
    assert 'pip install "numpy<2"' in answers["refused"]


@pytest.fixture
def two_bundles(kernel_bundle):
    return kernel_bundle(), kernel_bundle(grid=(3, 1, 1))


@pytest.mark.parametrize("version", AHEAD_OF_TIME)
def test_ahead_of_time_plugins_hand_the_bundles_kernel_to_tensorrt(with_bindings, two_bundles, version):
    first, second = two_bundles
    answers = with_bindings(version, "aot_answers.py", first.path, second.path)
    assert answers["route"] == answers["for_running"] == "aot"
    assert answers["prefers_ahead_of_time"]
    assert bool(answers["flags"] & answers["strongly_typed_flag"]) == version.startswith("10.")
    assert answers["namespaces"] == ["danet"]
    assert answers["field_names"] == ATTRIBUTES
    code = {kernel.operator: kernel for kernel in first.manifest.kernels if kernel.variant == "tuned"}
    for name, forms in answers["plugins"].items():
        assert forms[0] == forms[1]  # the parser may hand integers over with 64 or 32 bits
        plugin = forms[0]
        assert plugin["identity"] == [name, "danet", "1", 1]
        assert (plugin["output_type"], plugin["output_rank"]) == (TYPES[name], SHAPES[name])
        assert plugin["output_constants"] == CONSTANTS[name]
        assert plugin["types"] == ["HALF"] * INPUTS[name] + [TYPES[name]]
        assert plugin["layouts"] == ["LINEAR"]
        assert plugin["tactics"] == []
        assert plugin["launch"] == [6, 2, 1, 128, 1, 1, 98304]
        assert len(plugin["launch_set"]) == 7
        assert plugin["extra_arguments"] == 0
        assert plugin["entry"] == code[name].entry
        assert plugin["ptx"].encode() == first.read(code[name].ptx)
    assert "tokens=54 (kernel: 48)" in answers["refused_shapes"]
    assert "expects logits in fp16" in answers["refused_type"]
    assert answers["failures"] == [answers["refused_shapes"], answers["refused_type"]]
    assert answers["exchanged"] == [3, 1, 1, 128, 1, 1, 40960]
