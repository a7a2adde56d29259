"""Ranges of activations equal modelopt's, in one pass and in memory that does not grow with the frames."""

import itertools
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from danet_calibration.errors import CalibrationError
from danet_calibration.images.images import FrameReader, choose_images
from danet_calibration.int8.ranges import placement_rules
from danet_calibration.int8.ranges.placement_rules import PlacedInput, find_placement, inline
from danet_calibration.int8.ranges.ranges import collect_ranges, plan_checkpoints
from danet_export.frames import pattern
from danet_runtime.bundle import Bundle
from danet_runtime.errors import SourceError

SIZE_HW = (64, 128)


class Given:
    """Frames made by a function of their index; counts how many are read."""

    def __init__(self, make, count):
        self.make, self.count, self.read = make, count, 0

    def rewind(self):
        self.read = 0

    def get_next(self):
        if self.read == self.count:
            return None
        self.read += 1
        return {"frame": self.make(self.read - 1)[None]}


@pytest.fixture(scope="module")
def model(exported_bundle):
    bundle = Bundle.open(exported_bundle)
    return bundle.read(bundle.variant("fp32").file)


@pytest.fixture(scope="module")
def reader(image_folder):
    return FrameReader(choose_images(image_folder, 8), SIZE_HW)


@pytest.fixture(scope="module")
def placement(model, reader):
    return find_placement(model, reader)


@pytest.fixture(scope="module")
def ranges(model, reader, placement):
    return collect_ranges(model, reader, placement, plan_checkpoints(8))


def modelopts_scales(model, reader, method):
    """The scales that modelopt itself finds on all frames, without the attention, by node and position."""
    reader.rewind()
    placed = placement_rules._run_modelopt(inline(model), reader, method)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in placed.graph.initializer}
    scales = {
        node.output[0]: constants[node.input[1]]
        for node in placed.graph.node
        if node.op_type == "DequantizeLinear"
    }
    return {
        (node.name, position): scales[name]
        for node in placed.graph.node
        for position, name in enumerate(node.input)
        if name in scales and node.op_type != "QuantizeLinear" and not node.name.startswith("inlined_")
    }


def test_max_ranges_and_weights_are_modelopts_own_to_float32_rounding(model, reader, ranges):
    expected = modelopts_scales(model, reader, "max")
    found = {(item.node, item.position): item.scale for item in ranges.inputs("max")}
    assert set(found) == set(expected)
    assert len(found) > 40
    for key, scale in found.items():
        assert scale.dtype == np.float32
        assert scale.shape == expected[key].shape
        np.testing.assert_allclose(scale, expected[key], rtol=2e-6, err_msg=str(key))


@pytest.mark.slow
def test_entropy_ranges_are_of_the_size_of_modelopts_own(model, reader, ranges):
    # modelopt.onnx searches 128 bins over both signs, its torch calibrator 2048 over magnitudes.
    expected = modelopts_scales(model, reader, "entropy")
    found = {(item.node, item.position): item.scale for item in ranges.inputs("entropy")}
    ratios = [float(found[key] / scale) for key, scale in expected.items() if scale.ndim == 0]
    assert len(ratios) > 20
    assert 0.8 < np.median(ratios) < 1.25
    assert 0.4 < min(ratios) <= max(ratios) < 2.5


def test_one_frame_decides_the_placement_and_leaves_the_reader_at_its_beginning(model, placement):
    frames = Given(lambda index: pattern(SIZE_HW, 40 + index), 9)
    other = find_placement(model, frames)
    assert frames.read == 0
    assert [(item.node, item.position, item.tensor) for item in other] == [
        (item.node, item.position, item.tensor) for item in placement
    ]
    for item, before in zip(other, placement, strict=True):
        assert item.is_weight == before.is_weight
        if item.is_weight:
            np.testing.assert_array_equal(item.weight_scale, before.weight_scale)


def test_a_tensor_has_one_scale_whatever_reads_it(model, ranges, placement):
    graph = inline(model).graph
    nodes = {node.name: node for node in graph.node}
    by_tensor = {}
    for item, placed in zip(ranges.inputs("mse"), placement, strict=True):
        if not placed.is_weight:
            name = nodes[item.node].input[item.position]
            by_tensor.setdefault(name, []).append(float(item.scale))
    assert sum(len(scales) > 1 for scales in by_tensor.values()) > 5
    assert all(len(set(scales)) == 1 for scales in by_tensor.values())
    added = [node.name for node in graph.node if node.op_type == "Add"]
    assert any(item.node in added and not item.is_weight for item in placement)


def test_no_method_clips_outside_what_was_seen(ranges):
    largest = ranges.amax("max")
    for method in ("percentile", "mse"):
        clipped = ranges.amax(method)
        assert set(clipped) == set(largest)
        assert all(0 < clipped[tensor] <= largest[tensor] for tensor in largest)
        assert any(clipped[tensor] < 0.99 * largest[tensor] for tensor in largest)


def small_model(*nodes, shape=(1, 4, 4, 3)):
    """frame (uint8) -> values, and then ``nodes`` down to y."""
    graph = helper.make_graph(
        [helper.make_node("Cast", ["frame"], ["values"], "cast", to=1), *nodes],
        "small",
        [helper.make_tensor_value_info("frame", 2, shape)],
        [helper.make_tensor_value_info("y", 1, None)],
    )
    opset = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()


VALUES = PlacedInput("after", 0, "values", None)
PLAIN = small_model(helper.make_node("Neg", ["values"], ["y"], "after"))


def constant(value):
    return np.full((4, 4, 3), value, np.uint8)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="reads the resident size from /proc")
def test_memory_does_not_grow_with_the_number_of_frames():
    resident = {}

    def note(done):
        resident[done] = int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    model = small_model(
        helper.make_node("Neg", ["values"], ["negated"], "after"),
        helper.make_node("Relu", ["negated"], ["y"], "last"),
        shape=(1, 256, 512, 3),
    )
    placement = [VALUES, PlacedInput("last", 0, "negated", None)]
    frames = Given(lambda index: np.full((256, 512, 3), index, np.uint8), 64)
    ranges = collect_ranges(model, frames, placement, plan_checkpoints(64), note)
    assert {name: held.counts.sum() for name, held in ranges.snapshots[64].items()} == {
        "values": 64 * 256 * 512 * 3,
        "negated": 64 * 256 * 512 * 3,
    }
    # Medians, since the allocator moves single readings by up to 11 MB, without a trend over 512 frames.
    early = np.median([resident[done] for done in range(9, 17)])
    late = np.median([resident[done] for done in range(57, 65)])
    kept_bytes = 48 * 4 * 256 * 512 * 3  # more, if only one of the two tensors of each frame were kept
    assert late - early < kept_bytes / 4


def test_a_pool_has_the_scale_of_its_input_on_both_sides():
    weights = np.random.default_rng(0).standard_normal((2, 32, 32, 3, 3)).astype(np.float32)
    model = onnx.load_from_string(
        small_model(
            helper.make_node("Transpose", ["values"], ["x"], "transpose", perm=[0, 3, 1, 2]),
            helper.make_node("Conv", ["x", "w0"], ["c0"], "conv0", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c0"], ["r0"], "relu0"),
            helper.make_node("MaxPool", ["r0"], ["pooled"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
            helper.make_node("Conv", ["pooled", "w1"], ["c1"], "conv1", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c1"], ["y"], "relu1"),
            shape=(1, 16, 16, 32),
        )
    )
    for index in range(2):
        model.graph.initializer.append(numpy_helper.from_array(weights[index], f"w{index}"))
    frames = Given(lambda index: np.random.default_rng(index).integers(0, 255, (16, 16, 32), np.uint8), 2)
    placement = find_placement(model.SerializeToString(), frames)
    tensors = {(item.node, item.position): item.tensor for item in placement}
    assert tensors["pool", 0] == tensors["conv1", 0] == "r0"
    assert tensors["conv1", 1] == "w1"


def test_an_activation_that_is_not_finite_is_named_with_its_frame():
    model = small_model(
        helper.make_node("Log", ["values"], ["logs"], "log"),
        helper.make_node("Neg", ["logs"], ["y"], "after"),
    )
    frames = Given(lambda index: constant(5 - index), 9)
    with pytest.raises(CalibrationError, match="activation logs is not finite on calibration frame 6"):
        collect_ranges(model, frames, [PlacedInput("after", 0, "logs", None)])


@pytest.mark.parametrize("method", ["max", "entropy", "percentile", "mse"])
def test_an_activation_of_only_zeros_has_a_valid_scale(method):
    ranges = collect_ranges(PLAIN, Given(lambda _index: constant(0), 3), [VALUES])
    (item,) = ranges.inputs(method)
    assert item.scale.shape == ()
    assert item.scale == 1.0
    assert ranges.convergence(method) == []


def test_frames_that_break_off_are_an_error_that_says_where():
    def lost(index):
        if index == 3:
            raise error
        return constant(9)

    error = OSError("the disk is gone")
    with pytest.raises(CalibrationError, match="calibration frame 4 could not be read: the disk is gone"):
        collect_ranges(PLAIN, Given(lost, 9), [VALUES])
    error = SourceError("cannot read 03.png")  # says what is wrong by itself
    with pytest.raises(SourceError, match=r"cannot read 03\.png"):
        collect_ranges(PLAIN, Given(lost, 9), [VALUES])


def test_a_frame_of_another_size_and_no_frame_at_all_are_refused(model, reader):
    frames = Given(lambda index: constant(1) if index < 2 else np.zeros((5, 4, 3), np.uint8), 4)
    with pytest.raises(CalibrationError, match="does not run on calibration frame 3"):
        collect_ranges(PLAIN, frames, [VALUES])
    with pytest.raises(CalibrationError, match="at least one calibration frame"):
        collect_ranges(PLAIN, Given(constant, 0), [VALUES])
    with pytest.raises(CalibrationError, match="at least one calibration frame"):
        find_placement(model, Given(constant, 0))
    with pytest.raises(CalibrationError, match="quantises no activation"):
        collect_ranges(PLAIN, Given(constant, 3), [])


def test_convergence_tells_how_far_each_snapshot_is_from_the_next_and_the_last():
    # The brightest value doubles with each snapshot: after 1, 2, 4 and 8 frames it is 10, 20, 40 and 80.
    frames = Given(lambda index: constant(10 * 2 ** (index.bit_length())), 8)
    rows = collect_ranges(PLAIN, frames, [VALUES], (1, 2, 4)).convergence("max")
    assert [(row["frames"], row["next_frames"]) for row in rows] == [(1, 2), (2, 4), (4, 8)]
    for row, to_last in zip(rows, (0.875, 0.75, 0.5), strict=True):
        assert row["median_change"] == row["p95_change"] == row["worst_change"] == 0.5
        assert row["median_change_to_last"] == row["p95_change_to_last"] == to_last
        assert row["worst_tensor"] == "values"
    assert json.loads(json.dumps(rows)) == rows


def test_snapshots_of_a_small_set_are_those_of_its_parts(model, image_folder, placement, ranges):
    assert sorted(ranges.snapshots) == [2, 4, 8]
    reader = FrameReader(choose_images(image_folder, 8), SIZE_HW)
    first = Given(lambda _index: reader.get_next()["frame"][0], 4)
    half = collect_ranges(model, first, placement).amax("max")
    assert half == ranges.amax("max", 4)
    assert half != ranges.amax("max")
    for early, late in itertools.pairwise((2, 4, 8)):
        assert all(ranges.amax("max", early)[name] <= ranges.amax("max", late)[name] for name in half)
    assert len(ranges.convergence("percentile")) == 2


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, (1,)),
        (3, (1, 3)),
        (8, (2, 4, 8)),
        (31, (7, 15, 31)),
        (64, (32, 64)),
        (100, (32, 64, 100)),
        (512, (32, 64, 128, 256, 512)),
    ],
)
def test_checkpoints_double_from_32_and_halve_below(count, expected):
    assert plan_checkpoints(count) == expected
