"""The figures of whole engines: complete as they are kept, and made by a script that still runs."""

import json

import pytest

from benchmarks.engines import rtx_engines as script
from benchmarks.networks import random_network
from danet_export.graph.geometry import plan_geometry
from danet_runtime.cli.options.arguments import parse_size


def test_every_network_size_and_precision_is_measured():
    kept = json.loads(script.RESULTS.read_text())
    assert kept["library"].startswith("tensorrt-rtx 1.7")
    assert set(kept["engines"]) == {"R-50", "R-101"}
    for sizes in kept["engines"].values():
        assert set(sizes) == {"512x1024", "1024x2048"}
        for precisions in sizes.values():
            fp16, int8 = precisions["fp16"], precisions["int8"]
            assert int8["engine_bytes"] < fp16["engine_bytes"]
            assert int8["conv_mac_share_int8"] > 0.8
            for row in (fp16, int8):
                assert min(row["activation_memory_bytes"], row["layers"], row["build_seconds"]) > 0


@pytest.mark.slow
def test_scales_of_a_small_size_quantise_a_larger_one():
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    network = random_network(18, 0)
    small = script.exported(network, plan_geometry(script.CALIBRATION_HW), script.torch.float32)
    scales = script.find_scales(small, script.Scenes(0), "max")
    figures = script.measure(network, scales, "192x256", "sm_89")
    assert parse_size("192x256", "--size") != script.CALIBRATION_HW
    assert figures["int8"]["conv_mac_share_int8"] > 0.8
    assert figures["int8"]["engine_bytes"] < figures["fp16"]["engine_bytes"]
