"""The segmenter: the backend's own labels, for frames of any size, in buffers of the caller."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest

from danet_runtime import Segmenter
from danet_runtime.backends import open_backend
from danet_runtime.backends.base import Backend
from danet_runtime.bundle import Bundle
from danet_runtime.errors import BackendError, FrameError, IntegrityError, UsageError


@pytest.fixture
def reference(bundle: Bundle) -> Callable[[np.ndarray], np.ndarray]:
    session = onnxruntime.InferenceSession(
        bundle.path / "model.fp32.onnx", providers=["CPUExecutionProvider"]
    )
    return lambda frame: session.run(None, {"frame": frame[None]})[0][0]


def test_a_frame_of_the_bundles_size_gets_the_labels_of_the_file_itself(
    bundle: Bundle, reference: Callable, rng: np.random.Generator
) -> None:
    frame = rng.integers(0, 256, (48, 64, 3), np.uint8)
    with Segmenter(bundle) as segmenter:
        labels = segmenter.labels_of(frame)
    np.testing.assert_array_equal(labels, reference(frame))
    assert labels.dtype == np.uint8


@pytest.mark.parametrize("size_hw", [(96, 128), (24, 32), (101, 57), (1, 1), (49, 64)])
def test_another_size_is_resized_there_and_back(
    bundle: Bundle, reference: Callable, rng: np.random.Generator, size_hw: tuple[int, int]
) -> None:
    frame = rng.integers(0, 256, (*size_hw, 3), np.uint8)
    small = reference(cv2.resize(frame, (64, 48), interpolation=cv2.INTER_LINEAR))
    rows = ((np.arange(size_hw[0]) + 0.5) * 48 / size_hw[0]).astype(int)
    columns = ((np.arange(size_hw[1]) + 0.5) * 64 / size_hw[1]).astype(int)
    with Segmenter(bundle) as segmenter:
        labels = segmenter.labels_of(frame)
    assert labels.shape == size_hw
    assert np.mean(labels == small[rows][:, columns]) > 0.98


class Columns:
    """A backend whose labels are the columns' numbers."""

    name = "columns"

    def infer(self, frame: np.ndarray, labels: np.ndarray) -> None:
        labels[:] = np.arange(labels.shape[2], dtype=np.uint8)

    def describe(self) -> dict[str, object]:
        return {"name": self.name}

    def close(self) -> None:
        pass


@pytest.mark.parametrize("width", [23, 57, 64, 100, 333])
def test_labels_come_back_to_the_nearest_pixel_by_its_centre(bundle: Bundle, width: int) -> None:
    labels = Segmenter(bundle, backend=Columns()).labels_of(np.zeros((50, width, 3), np.uint8))
    centres = (np.arange(width) + 0.5) * 64 / width
    is_between = np.isclose(centres, np.round(centres))  # as near to one pixel as to the other
    expected = np.broadcast_to(centres.astype(int), (50, width))
    np.testing.assert_array_equal(labels[:, ~is_between], expected[:, ~is_between])


def test_labels_land_in_the_callers_buffer_and_the_frame_is_only_read(
    bundle: Bundle, reference: Callable, picture_maker: Callable
) -> None:
    for size_hw in ((48, 64), (96, 128)):
        frame = picture_maker(*size_hw)
        frame.flags.writeable = False
        labels = np.full(size_hw, 77, np.uint8)
        with Segmenter(bundle) as segmenter:
            times = segmenter.infer_into(frame, labels)
        assert 77 not in labels
        assert times.inference_ns > 0
        assert (times.preprocess_ns > 0) == (size_hw != (48, 64))


def test_a_frame_with_strides_is_taken_by_the_call(bundle: Bundle, picture_maker: Callable) -> None:
    frame = picture_maker(48, 128)[:, ::2]
    with Segmenter(bundle) as segmenter:
        np.testing.assert_array_equal(segmenter.labels_of(frame), segmenter.labels_of(frame.copy()))
        with pytest.raises(FrameError, match="C-contiguous"):
            segmenter.infer_into(frame, np.empty((48, 64), np.uint8))


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((48, 64, 3), np.float32),
        np.zeros((48, 64), np.uint8),
        np.zeros((48, 64, 4), np.uint8),
        np.zeros((1, 48, 64, 3), np.uint8),
        np.zeros((0, 64, 3), np.uint8),
        [[1, 2, 3]],
        None,
    ],
)
def test_what_is_no_frame_is_refused_with_what_is_one(bundle: Bundle, frame: np.ndarray) -> None:
    with (
        Segmenter(bundle) as segmenter,
        pytest.raises(FrameError, match=r"uint8 \(H, W, 3\) BGR \(got|numpy array"),
    ):
        segmenter.labels_of(frame)


def test_labels_of_another_size_are_refused(bundle: Bundle) -> None:
    frame = np.zeros((48, 64, 3), np.uint8)
    with Segmenter(bundle) as segmenter:
        for labels in (np.empty((64, 48), np.uint8), np.empty((48, 64), np.int32)):
            with pytest.raises(FrameError, match=r"labels must be uint8 \(48, 64\)"):
                segmenter.infer_into(frame, labels)


def test_the_default_is_the_most_precise_variant(bundle_maker: Callable[..., Bundle], tmp_path: Path) -> None:
    for number, (held, chosen) in enumerate(
        [(("int8", "fp16"), "fp16"), (("fp16", "int8", "fp32"), "fp32"), (("int8",), "int8")]
    ):
        with Segmenter(bundle_maker(tmp_path / str(number), precisions=held)) as segmenter:
            assert segmenter.precision == chosen


def test_a_precision_or_backend_that_is_not_there_is_not_replaced(bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="no fp16 variant, only fp32; `danet export` makes"):
        Segmenter(bundle, "fp16")
    with pytest.raises(UsageError, match="no backend is called 'cuda'"):
        Segmenter(bundle, backend="cuda")
    with pytest.raises(UsageError, match="threads must be at least 1"):
        Segmenter(bundle, threads=0)


def test_classes_and_palette_are_the_manifests(bundle: Bundle) -> None:
    with Segmenter(bundle.path) as segmenter:
        assert [entry.name for entry in segmenter.classes] == ["road", "tree", "sky", "car"]
        assert segmenter.palette.shape == (256, 3)
        assert tuple(segmenter.palette[3]) == (30, 30, 220)  # BGR of RGB (220, 30, 30)
        assert not segmenter.palette[4:].any()
        with pytest.raises(ValueError, match="read-only"):
            segmenter.palette[0] = 0


def test_closing_twice_is_harmless_and_using_it_afterwards_is_an_error(bundle: Bundle) -> None:
    segmenter = Segmenter(bundle)
    segmenter.close()
    segmenter.close()
    with pytest.raises(BackendError, match="closed"):
        segmenter.labels_of(np.zeros((48, 64, 3), np.uint8))
    backend = open_backend(bundle, "fp32")
    assert isinstance(backend, Backend)
    backend.close()
    backend.close()
    with pytest.raises(BackendError, match="closed"):
        backend.infer(np.zeros((1, 48, 64, 3), np.uint8), np.zeros((1, 48, 64), np.uint8))


def test_a_file_whose_output_is_not_the_manifests_is_refused(
    bundle_maker: Callable[..., Bundle], model_maker: Callable[..., bytes], tmp_path: Path
) -> None:
    lying = bundle_maker(tmp_path / "lying", model=model_maker((48, 64), labels_hw=(24, 32)))
    with pytest.raises(
        BackendError, match=r"manifest promises the outputs .*\[1, 48, 64\].*the file has .*\[1, 24, 32\]"
    ):
        Segmenter(lying)


def test_a_file_that_is_no_model_is_a_backend_error_with_its_cause(
    bundle_maker: Callable[..., Bundle], tmp_path: Path
) -> None:
    with pytest.raises(IntegrityError, match="expected an ONNX model"):
        bundle_maker(tmp_path / "b", model=b"no model")
    with pytest.raises(BackendError, match="cannot load") as caught:
        Segmenter(bundle_maker(tmp_path / "b", model=onnx.ModelProto(ir_version=9).SerializeToString()))
    assert caught.value.__cause__ is not None


def test_a_changed_model_is_not_parsed(bundle_maker: Callable[..., Bundle], tmp_path: Path) -> None:
    changed = bundle_maker(tmp_path / "b")
    file = changed.path / "model.fp32.onnx"
    file.write_bytes(file.read_bytes()[:-1] + b"\x00")
    with pytest.raises(IntegrityError):
        Segmenter(changed)


def test_a_backend_takes_only_buffers_that_it_can_use_in_place(bundle: Bundle) -> None:
    frame, labels = np.zeros((1, 48, 64, 3), np.uint8), np.zeros((1, 48, 64), np.uint8)
    backend = open_backend(bundle, "fp32", threads=1)
    assert backend.describe()["threads"] == 1
    for wrong_frame, wrong_labels in (
        (frame[0], labels),
        (frame, labels[0]),
        (frame, labels.astype(np.int64)),
    ):
        with pytest.raises(BackendError, match="must be C-contiguous uint8"):
            backend.infer(wrong_frame, wrong_labels)
    backend.close()
