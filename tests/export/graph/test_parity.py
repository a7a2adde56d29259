"""The exported file against PyTorch, with weights for which the attention decides labels."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from danet_export.errors import ParityError
from danet_export.frames import pattern
from danet_export.graph import parity, torch_reference
from danet_export.graph.geometry import plan_geometry
from danet_export.graph.onnx_model import to_onnx
from danet_export.graph.torch_reference import TorchReference
from danet_export.graph.wrapper import ExportedDANet
from danet_runtime.bundle import Bundle
from danet_train.checkpoint import read_checkpoint
from danet_train.model.danet import build_model

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@pytest.fixture(scope="module")
def model(checkpoint_file):
    return read_checkpoint(checkpoint_file).model


@pytest.fixture(scope="module")
def exported(exported_bundle):
    """The files of that model at 64x128, by their precision: what every export writes."""
    bundle = Bundle.open(exported_bundle)
    return {
        precision: onnx.load_from_string(bundle.read(variant.file))
        for precision, variant in bundle.manifest.variants.items()
    }


def compare(model, geometry, mutate=None):
    exported = to_onnx(ExportedDANet(model, geometry, MEAN, STD, torch.float32), geometry)
    if mutate:
        mutate(exported)
    return compare_file(model, geometry, exported)


def compare_file(model, geometry, exported):
    frames = [pattern(geometry.frame_hw, seed) for seed in range(2)]
    reference = TorchReference(model, geometry, MEAN, STD)
    return parity.compare_frames(
        "fp32", exported, [reference(frame) for frame in frames], frames, geometry.model_hw
    )


GEOMETRIES = {
    "stretch": plan_geometry((64, 128)),
    "odd": plan_geometry((65, 129)),
    "resized": plan_geometry((64, 128), (90, 200)),
    "letterbox": plan_geometry((64, 128), (96, 96), "letterbox"),
    "odd letterbox": plan_geometry((65, 129), (60, 200), "letterbox"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", GEOMETRIES)
def test_labels_are_pytorchs_at_every_geometry(model, name):
    result = compare(model, GEOMETRIES[name])
    parity.require_agreement(result)
    assert result.classes_seen >= 3, "labels of one class would agree whatever the model does"


def test_fp16_labels_are_close_to_pytorchs(model, exported):
    assert compare_file(model, GEOMETRIES["stretch"], exported["fp16"]).agreement > 0.99


def without(operator, source):
    def mutate(exported):
        """Remove the operator: its readers read its input ``source`` instead."""
        node = next(node for node in exported.graph.node if node.op_type == operator)
        for consumer in exported.graph.node:
            for position, name in enumerate(consumer.input):
                if name == node.output[0]:
                    consumer.input[position] = node.input[source]
        exported.graph.node.remove(node)

    return mutate


def without_channels(exported):
    """Remove CAM: the readers of its sum read its input instead."""
    x = next(node for node in exported.graph.node if node.op_type == "ChannelEnergy").input[0]
    total = next(node for node in exported.graph.node if node.name == "channel_attention_add")
    for consumer in exported.graph.node:
        for position, name in enumerate(consumer.input):
            if name == total.output[0]:
                consumer.input[position] = x


def flip_channel_sign(exported):
    next(node for node in exported.graph.node if node.name == "channel_attention_neg").op_type = "Identity"


def swap_query_and_key(exported):
    node = next(node for node in exported.graph.node if node.op_type == "PositionAttention")
    node.input[0], node.input[1] = node.input[1], node.input[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "mutate",
    [without("PositionAttention", 3), without_channels, flip_channel_sign, swap_query_and_key],
    ids=["no PAM", "no CAM", "CAM's sign flipped", "query and key swapped"],
)
def test_a_wrong_attention_fails_the_same_check(model, mutate):
    with pytest.raises(ParityError, match="agrees with PyTorch on"):
        parity.require_agreement(compare(model, GEOMETRIES["stretch"], mutate))


@pytest.mark.slow
@pytest.mark.parametrize(
    "branches",
    [
        {"pam": False},
        pytest.param({"cam": False}, marks=pytest.mark.slow),
        pytest.param({"pam": False, "cam": False}, marks=pytest.mark.slow),
    ],
)
def test_the_papers_ablations_export_too(branches):
    torch.manual_seed(0)
    model = build_model(
        18, base_channels=8, stem_channels=8, head_channels=16, attention_channels=4, **branches
    )
    torch.nn.init.normal_(model.decode_head.conv_seg.weight, 0.0, 0.5)
    result = compare(model.eval(), GEOMETRIES["stretch"])
    parity.require_agreement(result)


@pytest.mark.slow
def test_bottlenecks_export_too():
    torch.manual_seed(0)
    model = build_model(50, base_channels=4, stem_channels=8, head_channels=16, attention_channels=4).eval()
    torch.nn.init.normal_(model.decode_head.conv_seg.weight, 0.0, 5.0)
    parity.require_agreement(compare(model, GEOMETRIES["stretch"]))


def test_at_a_large_size_the_reference_holds_no_map_and_gives_the_same_labels(model, monkeypatch):
    geometry = GEOMETRIES["stretch"]
    frame = pattern(geometry.frame_hw, 0)
    whole = TorchReference(model, geometry, MEAN, STD)
    monkeypatch.setattr(torch_reference, "BLOCKWISE_BEYOND_TOKENS", geometry.tokens - 1)
    blockwise = TorchReference(model, geometry, MEAN, STD)
    assert (whole.model.decode_head.pam.block_rows, model.decode_head.pam.block_rows) == (None, None)
    assert blockwise.model.decode_head.pam.block_rows is not None
    assert (blockwise(frame) == whole(frame)).mean() > 0.999


def test_large_sizes_are_compared_smaller_and_say_so():
    full = plan_geometry((1024, 2048))
    small = parity.parity_geometry(full)
    assert small.model_hw == (512, 1024)
    assert parity.parity_geometry(plan_geometry((512, 1024))) == plan_geometry((512, 1024))
    result = parity.FrameParity("fp32", small.model_hw, 1, 1.0, 1.0, 5, 0.1)
    assert parity.report(full, [result], [])["compared_at_reduced_size"]


def test_the_first_and_last_nodes_are_the_casts_and_every_node_has_a_name(exported):
    for precision in ("fp32", "fp16"):
        nodes = exported[precision].graph.node
        assert nodes[0].op_type == "Cast"
        assert list(nodes[0].input) == ["frame"]
        assert nodes[-1].op_type == "Cast"
        assert list(nodes[-1].output) == ["labels"]
        names = [node.name for node in nodes]
        assert all(names)
        assert len(set(names)) == len(names)
        assert {"position_attention", "channel_energy", "upsample_argmax"} < set(names)


def test_the_file_holds_nothing_of_the_machine_that_made_it(exported):
    text = onnx.printer.to_text(exported["fp32"])
    for word in ("site-packages", str(Path.home()), str(Path.cwd()), ".py"):
        assert word not in text


def test_batch_norm_and_gamma_leave_no_trace_in_the_file(model, exported):
    graph = exported["fp32"].graph
    assert not any(node.op_type == "BatchNormalization" for node in graph.node)
    value = next(t for t in graph.initializer if t.name.endswith("pam.value_project.weight"))
    expected = model.decode_head.pam.value_project.weight * model.decode_head.pam.gamma.scale
    assert np.allclose(onnx.numpy_helper.to_array(value), expected.detach().numpy())
