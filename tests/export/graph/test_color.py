"""The color conversion inside the file: OpenCV's, on random and real frames, in ONNX Runtime."""

import cv2
import numpy as np
import onnxruntime
import pytest
import torch

from danet_export.frames import load_frames, pattern
from danet_export.graph import parity
from danet_export.graph.color import FrameToBgr
from danet_export.graph.geometry import plan_geometry
from danet_export.graph.onnx_model import CONVERSION_PREFIX, to_onnx
from danet_export.graph.wrapper import ExportedDANet
from danet_runtime.errors import UsageError
from danet_runtime.frames.color import to_bgr, to_pixel_format
from danet_runtime.frames.pixel_formats import Pixels
from danet_train.checkpoint import read_checkpoint

pytestmark = pytest.mark.slow  # processes, or whole exports, by the dozen

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
NV12, UYVY = Pixels("nv12"), Pixels("uyvy")
OPENCVS = {"nv12": cv2.COLOR_YUV2BGR_NV12, "uyvy": cv2.COLOR_YUV2BGR_UYVY}


class Cast(torch.nn.Module):
    def __init__(self, pixels):
        super().__init__()
        self.convert = FrameToBgr(pixels)

    def forward(self, frame):
        return self.convert(frame.to(torch.float32))


def in_onnx_runtime(pixels, size_hw):
    frame = torch.zeros((1, *pixels.shape(size_hw)), dtype=torch.uint8)
    program = torch.onnx.export(
        Cast(pixels), (frame,), dynamo=True, opset_version=18, input_names=["frame"], verbose=False
    )
    model = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda frame: session.run(None, {"frame": frame[None]})[0][0].transpose(1, 2, 0)


@pytest.fixture(scope="module")
def model(checkpoint_file):
    return read_checkpoint(checkpoint_file).model


@pytest.mark.filterwarnings("ignore")  # the exporter warns of its own deprecations
@pytest.mark.parametrize("layout", OPENCVS)
def test_the_graph_converts_as_opencv_does(layout):
    """Random bytes: clipped colors and levels below black are among them."""
    pixels = Pixels(layout)
    convert = in_onnx_runtime(pixels, (64, 128))
    random = np.random.default_rng(0)
    for _ in range(4):
        frame = random.integers(0, 256, pixels.shape((64, 128)), np.uint8)
        got, expected = convert(frame), cv2.cvtColor(frame, OPENCVS[layout]).astype(int)
        assert np.abs(got - expected).max() <= 1
        assert np.mean(got == expected) > 0.9999
        assert (got == np.rint(got)).all()
    assert {0, 255} <= set(np.unique(expected)), "nothing was clipped"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("pixels", [Pixels("nv12", "bt709"), Pixels("uyvy", "bt709", "full")], ids=str)
def test_the_graph_converts_as_the_host_does_in_other_matrices_and_ranges(pixels):
    frame = np.random.default_rng(1).integers(0, 256, pixels.shape((16, 32)), np.uint8)
    assert np.abs(in_onnx_runtime(pixels, (16, 32))(frame) - to_bgr(frame, pixels).astype(int)).max() <= 1


@pytest.mark.parametrize(
    ("pixels", "frame_hw"),
    [
        pytest.param(NV12, (90, 200), id="nv12 resized"),
        pytest.param(NV12, (64, 128), id="nv12", marks=pytest.mark.slow),
        pytest.param(UYVY, (90, 200), id="uyvy resized", marks=pytest.mark.slow),
        pytest.param(UYVY, (64, 128), id="uyvy", marks=pytest.mark.slow),
    ],
)
def test_labels_are_those_of_the_bgr_file_on_the_frame_that_opencv_converts(model, pixels, frame_hw):
    bgr_geometry = plan_geometry((64, 128), frame_hw)
    geometry = plan_geometry((64, 128), frame_hw, pixels=pixels)
    native = [to_pixel_format(pattern(frame_hw, seed), pixels) for seed in range(4)]
    converted = [cv2.cvtColor(frame, OPENCVS[pixels.format]) for frame in native]
    files = [
        to_onnx(ExportedDANet(model, used, MEAN, STD, torch.float32), used)
        for used in (geometry, bgr_geometry)
    ]
    got, expected = parity.run_labels(files[0], native), parity.run_labels(files[1], converted)
    assert np.mean(np.array(got) == np.array(expected)) >= 0.999
    assert len(np.unique(expected)) >= 3
    nodes = files[0].graph.node
    assert (nodes[0].op_type, list(nodes[0].input)) == ("Cast", ["frame"])
    assert not any("frame" in node.input for node in nodes[1:]), "only the cast may read UINT8"


@pytest.mark.parametrize("pixels", [NV12, UYVY], ids=["nv12", "uyvy"])
def test_labels_of_a_real_video_are_those_of_the_bgr_file(model, shared_data, pixels):
    frame_hw = (540, 960)
    frames = load_frames(str(shared_data / "video" / "highway_960x540.mp4"), frame_hw, 4)
    native = [to_pixel_format(frame, pixels) for frame in frames]
    converted = [cv2.cvtColor(frame, OPENCVS[pixels.format]) for frame in native]
    used = [plan_geometry((256, 512), frame_hw, pixels=pixels), plan_geometry((256, 512), frame_hw)]
    got, expected = (
        parity.run_labels(to_onnx(ExportedDANet(model, size, MEAN, STD, torch.float32), size), given)
        for size, given in zip(used, (native, converted), strict=True)
    )
    assert np.mean(np.array(got) == np.array(expected)) >= 0.999


def test_the_fp16_file_converts_in_fp32(model):
    geometry = plan_geometry((64, 128), pixels=NV12)
    exported = to_onnx(ExportedDANet(model, geometry, MEAN, STD, torch.float16), geometry)
    types = {value.name: value.type.tensor_type.elem_type for value in exported.graph.value_info}
    before_network = []
    for node in exported.graph.node:
        if node.op_type == "Conv":
            break
        before_network.append(types[node.output[0]])
    assert set(before_network[:-1]) == {1}, "FP32"
    assert before_network[-1] == 10, "FP16"


def test_int8_can_tell_the_conversion_by_its_names(model):
    """modelopt would quantise its sums and its resize."""
    for pixels in (NV12, UYVY, Pixels()):
        geometry = plan_geometry((64, 128), (90, 200), pixels=pixels)
        exported = to_onnx(ExportedDANet(model, geometry, MEAN, STD, torch.float16), geometry)
        named = [node for node in exported.graph.node if node.name.startswith(CONVERSION_PREFIX)]
        types = [node.op_type for node in named]
        if pixels.format == "bgr":
            assert not named
            continue
        assert {"Cast", "Add", "Resize", "Round"} <= set(types)
        assert types[-1] == "Clip"
        assert types.count("Resize") == 1, "the resize to the model size is no part of it"
        assert len({node.name for node in named}) == len(named)


def test_odd_sizes_are_refused_with_the_reason():
    for pixels, frame_hw, message in (
        (NV12, (89, 200), r"nv12 has one U and V for 2x2 pixels.*even \(got 89x200\).*--frame-size"),
        (NV12, (90, 201), r"even \(got 90x201\)"),
        (UYVY, (90, 201), r"uyvy has one U and V for two pixels"),
    ):
        with pytest.raises(UsageError, match=message):
            plan_geometry((64, 128), frame_hw, pixels=pixels)
    with pytest.raises(UsageError, match=r"even \(got 769x769\)"):
        plan_geometry((769, 769), pixels=NV12)
    assert plan_geometry((64, 128), (89, 200), pixels=UYVY).frame_shape == (1, 89, 200, 2)


def test_the_smaller_size_of_a_comparison_has_the_format_too():
    small = parity.parity_geometry(plan_geometry((1024, 2048), (1082, 1930), pixels=NV12))
    assert small.pixels == NV12
    assert small.frame_hw[0] % 2 == small.frame_hw[1] % 2 == 0
