"""What the export compiles is what the plugins of the runtime ask for."""

import re

import pytest

from danet_export.graph.geometry import plan_geometry
from danet_export.ops.attention_ops import channel_energy_attributes, upsample_argmax_attributes
from danet_runtime.errors import UsageError
from danet_runtime.tensorrt.kernels.operators import OPERATORS
from danet_runtime.tensorrt.kernels.targets import KERNEL_TARGETS, remedy
from danet_train.model.config import DANetConfig

pytest.importorskip("triton", reason="Triton is not installed")


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
@pytest.mark.parametrize("arch", [*KERNEL_TARGETS, "sm_90a", "sm_103"])
def test_the_command_that_the_runtime_names_is_one_that_the_export_takes(arch, dtype):
    from danet_export.kernels.architectures import find_architectures

    told = re.search(r"--kernels (sm_\w+)(?: --kernel-dtype (\w+))?", remedy(arch, dtype))
    if told:
        (found,) = find_architectures([told[1]], told[2] or "fp16")
        assert (found.name, told[2] or "fp16") == (arch.rstrip("a"), dtype)
    else:
        with pytest.raises(UsageError):
            find_architectures([arch], dtype)


@pytest.mark.parametrize(("size", "frame"), [((512, 1024), None), ((769, 769), (720, 1280))])
def test_shapes_of_compiled_kernels_are_the_sizes_that_the_plugins_check(size, frame):
    from danet_export.kernels.architectures import ARCHITECTURES
    from danet_export.kernels.bundle_kernels import Problem

    geometry = plan_geometry(size, frame)
    config = DANetConfig()
    problem = Problem.of_network(config, geometry)
    h, w = geometry.logits_hw
    x = (1, 512, h, w)
    q = (1, 64, h, w)
    logits = (1, 19, *geometry.content_logits_hw)
    cases = {
        "PositionAttention": ([q, q, x, x], {}),
        "ChannelEnergy": ([x], channel_energy_attributes(geometry.tokens)),
        "UpsampleArgmax": ([logits], upsample_argmax_attributes(geometry.frame_hw, geometry.align_corners)),
    }
    specified = {spec.operator: spec.shape for spec in problem.specify(ARCHITECTURES["sm_87"], "tuned")}
    for operator, (inputs, attributes) in cases.items():
        wanted = {name: attributes[name] for name in OPERATORS[operator].attributes}
        assert specified[operator] == OPERATORS[operator].sizes(inputs, wanted)
