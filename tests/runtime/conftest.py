"""A real bundle of a real, tiny model, and real videos; everything is made here."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import danet_command
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from danet_runtime.bundle import (
    Bundle,
    FrameSpec,
    Golden,
    Manifest,
    ModelSpec,
    Normalisation,
    Provenance,
    SegmentationClass,
    Variant,
    write_bundle,
)

REPO_ROOT = Path(__file__).parents[2]
REAL_VIDEOS = REPO_ROOT.parent / "shared" / "data" / "video"

FRAME_HW = (48, 64)
MODEL_HW = (24, 32)
# Name, RGB: the model calls a pixel by the nearest of these colors.
CLASSES = (("road", (128, 64, 128)), ("tree", (20, 200, 20)), ("sky", (60, 60, 220)), ("car", (220, 30, 30)))


def tiny_model(frame_hw: tuple[int, int] = FRAME_HW, labels_hw: tuple[int, int] | None = None) -> bytes:
    """An ONNX file with the signature of every bundle: the nearest class color at model size."""
    height, width = frame_hw
    colors = np.array([color[::-1] for _, color in CLASSES], np.float32)  # (classes, 3) BGR
    # argmax of 2 p.x - |p|^2 is the nearest prototype p of x.
    weight = np.repeat(np.repeat(2 * colors[:, :, None, None], 3, 2), 3, 3) / 9  # (classes, 3, 3, 3)
    constants = {
        "weight": weight.astype(np.float32),
        "bias": -(colors**2).sum(1),
        "model_size": np.array([1, 3, *MODEL_HW], np.int64),
        "frame_size": np.array([1, len(CLASSES), *(labels_hw or frame_hw)], np.int64),
    }
    half_pixel = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    nodes = [
        helper.make_node("Cast", ["frame"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Resize", ["nchw", "", "", "model_size"], ["small"], **half_pixel),
        helper.make_node("Conv", ["small", "weight", "bias"], ["logits"], pads=[1, 1, 1, 1]),
        helper.make_node("Resize", ["logits", "", "", "frame_size"], ["large"], **half_pixel),
        helper.make_node("ArgMax", ["large"], ["index"], axis=1, keepdims=0),
        helper.make_node("Cast", ["index"], ["labels"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, [1, height, width, 3])],
        [helper.make_tensor_value_info("labels", TensorProto.UINT8, [1, *(labels_hw or frame_hw)])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def picture(height: int, width: int, shift: int = 0) -> np.ndarray:
    """A street of sorts, (H, W, 3) BGR: sky over road, a tree, and a car that moves with ``shift``."""
    colors = {name: color[::-1] for name, color in CLASSES}
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2] = colors["sky"]
    image[height // 2 :] = colors["road"]
    image[height // 4 : height // 2, : width // 4] = colors["tree"]
    left = width // 4 + shift % (width // 2)
    image[height // 2 : height * 3 // 4, left : left + width // 4] = colors["car"]
    return image


def make_bundle(
    path: Path,
    frame_hw: tuple[int, int] = FRAME_HW,
    precisions: tuple[str, ...] = ("fp32",),
    model: bytes | None = None,
) -> Bundle:
    """Write a bundle through the product's own writer and open it."""
    model = model or tiny_model(frame_hw)
    frame = picture(*frame_hw)
    session = onnxruntime.InferenceSession(tiny_model(frame_hw), providers=["CPUExecutionProvider"])
    (labels,) = session.run(None, {"frame": frame[None]})
    with write_bundle(path) as writer:
        writer.finish(
            Manifest(
                frame=FrameSpec(size_hw=frame_hw),
                model=ModelSpec(
                    architecture={"backbone": "tiny"},
                    parameters=112,
                    size_hw=MODEL_HW,
                    fit="stretch",
                    align_corners=False,
                    tokens=12,
                ),
                normalisation=Normalisation(mean_rgb=(0.0, 0.0, 0.0), std_rgb=(1.0, 1.0, 1.0)),
                classes=tuple(SegmentationClass(name=name, color=color) for name, color in CLASSES),
                variants={
                    precision: Variant(file=writer.add(f"model.{precision}.onnx", model), opset=18)
                    for precision in precisions
                },
                golden=Golden(
                    frame=writer.add("golden/frame.png", cv2.imencode(".png", frame)[1].tobytes()),
                    labels=writer.add("golden/labels.png", cv2.imencode(".png", labels[0])[1].tobytes()),
                    agreement=dict.fromkeys(precisions, 0.99),
                ),
                provenance=Provenance(
                    created="2026-01-01T00:00:00Z",
                    tools={"onnx": onnx.__version__},
                    checkpoint_sha256="0" * 64,
                ),
            )
        )
    return Bundle.open(path)


def make_video(path: Path, frames: int, size_hw: tuple[int, int] = FRAME_HW, fps: float = 25.0) -> Path:
    """A real video with a moving car; MJPEG in .avi, else MPEG-4."""
    codec = cv2.VideoWriter_fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v"))
    writer = cv2.VideoWriter(str(path), codec, fps, size_hw[::-1])
    assert writer.isOpened()
    for number in range(frames):
        writer.write(picture(*size_hw, shift=2 * number))
    writer.release()
    return path


def read_video(path: Path) -> tuple[list[np.ndarray], float]:
    """All frames of a video, and its rate."""
    capture = cv2.VideoCapture(str(path))
    assert capture.isOpened(), path
    frames = []
    while True:
        ok, frame = capture.read()
        if not ok:
            return frames, capture.get(cv2.CAP_PROP_FPS)
        frames.append(frame)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="session")
def bundle_maker() -> Callable[..., Bundle]:
    return make_bundle


@pytest.fixture(scope="session")
def model_maker() -> Callable[..., bytes]:
    return tiny_model


@pytest.fixture(scope="session")
def picture_maker() -> Callable[..., np.ndarray]:
    return picture


@pytest.fixture(scope="session")
def video_maker() -> Callable[..., Path]:
    return make_video


@pytest.fixture(scope="session")
def video_reader() -> Callable[[Path], tuple[list[np.ndarray], float]]:
    return read_video


@pytest.fixture
def real_video() -> Callable[[str], Path]:
    def find(name: str) -> Path:
        path = REAL_VIDEOS / name
        if not path.is_file():
            pytest.skip(f"the real video {name} is not on this machine")
        return path

    return find


@pytest.fixture
def watchdog() -> Iterator[Callable[[int], None]]:
    """Fails a test that hangs, instead of letting it hang: ``watchdog(seconds)``.

    It strikes again every five seconds, since what hangs once also hangs while it is cleaned up.
    """

    def expired(_number: int, _frame: object) -> None:
        raise TimeoutError("the test hangs: threads wait for each other")

    previous = signal.signal(signal.SIGALRM, expired)

    def guard(seconds: int) -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds, 5)

    yield guard
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def danet(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command as a user does, in a process of its own."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return danet_command.danet(*arguments, cwd=tmp_path)

    return run
