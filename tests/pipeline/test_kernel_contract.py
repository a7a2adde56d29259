"""What the export compiles is what the plugins of the runtime ask for."""

import re

import onnx
import pytest

from danet_export.graph.geometry import plan_geometry
from danet_export.graph.wrapper import operator_sizes
from danet_runtime.bundle import Bundle
from danet_runtime.bundle.operators import NAMESPACE, OPERATORS
from danet_runtime.errors import UsageError
from danet_runtime.tensorrt.kernels.targets import KERNEL_TARGETS, remedy
from danet_train.checkpoint import read_checkpoint

pytest.importorskip("triton", reason="Triton is not installed")


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
@pytest.mark.parametrize("arch", [*KERNEL_TARGETS, "sm_90a", "sm_103"])
def test_the_command_that_the_runtime_names_is_one_that_the_export_takes(arch, dtype):
    from danet_export.kernels.architectures import find_architectures

    options = re.search(r"--kernels (sm_\w+)(?: --kernel-dtype (\w+))?", remedy(arch, dtype))
    if options:
        (found,) = find_architectures([options[1]], options[2] or "fp16")
        assert (found.name, options[2] or "fp16") == (arch.rstrip("a"), dtype)
    else:
        with pytest.raises(UsageError):
            find_architectures([arch], dtype)


def test_the_sizes_that_kernels_are_compiled_for_are_those_of_the_exported_nodes(
    checkpoint_file, exported_bundle
):
    from danet_export.kernels.architectures import ARCHITECTURES
    from danet_export.kernels.bundle_kernels import specify

    problem = operator_sizes(read_checkpoint(checkpoint_file).model.config, plan_geometry((64, 128)))
    specified = {spec.operator: spec.shape for spec in specify(problem, ARCHITECTURES["sm_87"], "tuned")}
    bundle = Bundle.open(exported_bundle)
    graph = onnx.load_from_string(bundle.read(bundle.variant("fp16").file)).graph
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.value_info}
    nodes = {node.op_type: node for node in graph.node if node.domain == NAMESPACE}
    assert set(nodes) == set(specified) == set(OPERATORS)
    for operator, node in nodes.items():
        attributes = {item.name: item.i for item in node.attribute if item.type == item.INT}
        assert specified[operator] == OPERATORS[operator].sizes([shapes[n] for n in node.input], attributes)
