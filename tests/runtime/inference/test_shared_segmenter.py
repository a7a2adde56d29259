"""One segmenter in several threads, and arrays that are not to be written: right labels, or an error."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stream_parts import Echo, Overlapping, until

from danet_runtime import Segmenter
from danet_runtime.backends import open_backend
from danet_runtime.backends.base import Backend
from danet_runtime.backends.polygraphy import PolygraphyBackend
from danet_runtime.bundle import Bundle
from danet_runtime.errors import BackendError, FrameError

HW = (48, 64)
LIMIT_S = 30.0


def scenes(count: int, size_hw: tuple[int, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    return [rng.integers(0, 256, (*size_hw, 3), np.uint8) for _ in range(count)]


@pytest.mark.parametrize("size_hw", [HW, (101, 57)])
def test_many_threads_get_the_labels_of_their_own_frames(bundle: Bundle, size_hw: tuple[int, int]) -> None:
    frames = scenes(6, size_hw)
    with Segmenter(bundle, threads=1) as segmenter:
        alone = [segmenter.labels_of(frame) for frame in frames]
        together = threading.Barrier(len(frames))

        def call(number: int) -> int:
            together.wait(LIMIT_S)
            return sum(
                not np.array_equal(segmenter.labels_of(frames[number]), alone[number]) for _ in range(60)
            )

        with ThreadPoolExecutor(len(frames)) as pool:
            assert list(pool.map(call, range(len(frames)))) == [0] * len(frames)


@pytest.mark.parametrize("opener", [lambda bundle: open_backend(bundle, "fp32", threads=1), None])
def test_many_threads_of_a_backend_alone_get_their_own_labels(
    bundle: Bundle, opener: Callable | None
) -> None:
    if opener is None:
        pytest.importorskip("polygraphy")
        backend: Backend = PolygraphyBackend(bundle, "fp32")
    else:
        backend = opener(bundle)
    frames = [frame[None] for frame in scenes(4, HW)]

    def labels_of(frame: np.ndarray) -> np.ndarray:
        labels = np.full((1, *HW), 77, np.uint8)
        backend.infer(frame, labels)
        return labels

    alone = [labels_of(frame) for frame in frames]
    together = threading.Barrier(len(frames))

    def call(number: int) -> int:
        together.wait(LIMIT_S)
        return sum(not np.array_equal(labels_of(frames[number]), alone[number]) for _ in range(15))

    with ThreadPoolExecutor(len(frames)) as pool:
        assert list(pool.map(call, range(len(frames)))) == [0] * len(frames)
    backend.close()


def test_a_call_never_comes_into_the_backend_while_another_is_inside(segmenter_of: Callable) -> None:
    class Alone(Echo):
        inside = 0
        most = 0

        def infer(self, frame: np.ndarray, labels: np.ndarray) -> None:
            self.inside += 1
            self.most = max(self.most, self.inside)
            super().infer(frame, labels)
            self.inside -= 1

    segmenter = segmenter_of(backend := Alone(pause_s=0.001))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: segmenter.labels_of(np.zeros((*HW, 3), np.uint8)), range(40)))
    assert (backend.most, backend.calls) == (1, 40)


def test_a_call_out_of_a_call_is_refused_and_the_segmenter_goes_on(segmenter_of: Callable) -> None:
    frame = np.zeros((*HW, 3), np.uint8)

    class Calling(Echo):
        def infer(self, frame: np.ndarray, labels: np.ndarray) -> None:
            if self.calls == 0:
                self.calls += 1
                with pytest.raises(BackendError, match="inside it"):
                    segmenter.labels_of(frame[0])
            super().infer(frame, labels)

    segmenter = segmenter_of(Calling())
    segmenter.labels_of(frame)
    assert not segmenter.labels_of(frame).any()


def test_closing_waits_for_the_call_that_is_inside(segmenter_of: Callable) -> None:
    begun, go = threading.Event(), threading.Event()
    order: list[str] = []

    class Slow(Echo):
        def infer(self, frame: np.ndarray, labels: np.ndarray) -> None:
            begun.set()
            go.wait(LIMIT_S)
            order.append("inferred")

        def close(self) -> None:
            order.append("closed")

    segmenter = segmenter_of(Slow())
    frame = np.zeros((*HW, 3), np.uint8)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(segmenter, frame)
        assert begun.wait(LIMIT_S)
        closing = pool.submit(segmenter.close)
        until(lambda: segmenter._closed)
        late = pool.submit(segmenter, frame)
        go.set()
        first.result(LIMIT_S)
        closing.result(LIMIT_S)
        with pytest.raises(BackendError, match="closed"):
            late.result(LIMIT_S)
    assert order[:2] == ["inferred", "closed"]
    assert order.count("inferred") == 1


def test_a_call_that_hangs_does_not_keep_the_segmenter_from_being_closed(
    segmenter_of: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("danet_runtime.inference.segmenter.CLOSE_GRACE_S", 0.05)
    begun, go, closed = threading.Event(), threading.Event(), threading.Event()

    class Hanging(Echo):
        def infer(self, frame: np.ndarray, labels: np.ndarray) -> None:
            begun.set()
            go.wait(LIMIT_S)

        def close(self) -> None:
            closed.set()

    segmenter = segmenter_of(Hanging())
    thread = threading.Thread(target=segmenter, args=(np.zeros((*HW, 3), np.uint8),), daemon=True)
    thread.start()
    assert begun.wait(LIMIT_S)
    segmenter.close()
    assert not closed.is_set()  # that would not be safe
    go.set()
    assert closed.wait(LIMIT_S)


# Arrays.


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("size_hw", [HW, (96, 128)])
def test_read_only_labels_are_refused_and_stay_as_they_were(bundle: Bundle, size_hw: tuple[int, int]) -> None:
    frame = scenes(1, size_hw)[0]
    labels = read_only(np.full(size_hw, 77, np.uint8))
    with Segmenter(bundle) as segmenter:
        with pytest.raises(FrameError, match="labels are read-only"):
            segmenter.infer_into(frame, labels)
        if size_hw == HW:
            with pytest.raises(BackendError, match="labels are read-only"):
                segmenter.backend.infer(frame[None], labels[None])
    assert (labels == 77).all()


MEMMAP = """
import sys, numpy as np
from danet_runtime import Segmenter
from danet_runtime.errors import FrameError
labels = np.memmap(sys.argv[2], np.uint8, "r", shape=(48, 64))
with Segmenter(sys.argv[1]) as segmenter:
    try:
        segmenter.infer_into(np.zeros((48, 64, 3), np.uint8), labels)
    except FrameError as error:
        print("refused:", error)
print("alive", int(labels.min()), int(labels.max()))
"""


def test_a_memmap_that_may_only_be_read_ends_no_process(bundle: Bundle, tmp_path: Path) -> None:
    file = tmp_path / "labels.bin"
    file.write_bytes(bytes([77]) * (48 * 64))
    done = subprocess.run(
        [sys.executable, "-c", MEMMAP, str(bundle.path), str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"it ended with {done.returncode}"
    assert "refused: labels are read-only" in done.stdout
    assert "alive 77 77" in done.stdout


def test_a_memmap_that_may_be_written_takes_the_labels(bundle: Bundle, tmp_path: Path) -> None:
    frame = scenes(1, HW)[0]
    for mode in ("w+", "c"):
        (tmp_path / "labels.bin").write_bytes(bytes(48 * 64))
        labels = np.memmap(tmp_path / "labels.bin", np.uint8, mode, shape=HW)
        with Segmenter(bundle) as segmenter:
            segmenter.infer_into(np.asarray(frame), labels)
            np.testing.assert_array_equal(np.asarray(labels), segmenter.labels_of(frame))


def test_a_frame_that_may_only_be_read_is_taken_as_it_is(bundle: Bundle, tmp_path: Path) -> None:
    frame = scenes(1, HW)[0]
    (tmp_path / "frame.bin").write_bytes(frame.tobytes())
    mapped = np.memmap(tmp_path / "frame.bin", np.uint8, "r", shape=frame.shape)
    with Segmenter(bundle) as segmenter:
        expected = segmenter.labels_of(frame)
        for given_frame in (mapped, read_only(frame.copy()), np.frombuffer(frame.tobytes(), np.uint8)):
            labels = np.full(HW, 77, np.uint8)
            segmenter.infer_into(given_frame.reshape(frame.shape), labels)
            np.testing.assert_array_equal(labels, expected)


class Odd(np.ndarray):
    """A subclass whose views have other shapes than numpy's own."""

    def __getitem__(self, index: Any) -> Any:
        return np.zeros(3)


def test_arrays_of_a_subclass_are_used_as_plain_ones(bundle: Bundle) -> None:
    frame = scenes(1, HW)[0]
    labels = np.full(HW, 77, np.uint8)
    matrix = np.full(HW, 77, np.uint8).view(np.matrix)
    with Segmenter(bundle) as segmenter:
        expected = segmenter.labels_of(frame)
        segmenter.infer_into(frame.view(Odd), labels.view(Odd))
        segmenter.infer_into(frame, matrix)
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(np.asarray(matrix), expected)


def test_labels_in_the_frames_own_memory_are_refused(bundle: Bundle) -> None:
    memory = np.zeros(48 * 64 * 4, np.uint8)
    frame = memory[: 48 * 64 * 3].reshape(*HW, 3)
    with Segmenter(bundle) as segmenter:
        for start in (0, 100, 48 * 64 * 3 - 1):
            with pytest.raises(FrameError, match="share memory with the frame"):
                segmenter.infer_into(frame, memory[start : start + 48 * 64].reshape(HW))
        segmenter.infer_into(frame, memory[48 * 64 * 3 :].reshape(HW))  # beside it


@pytest.mark.parametrize("labels", [None, [[1]], bytearray(48 * 64), np.ma.zeros(HW, np.int8)])
def test_what_is_no_array_of_labels_is_refused(bundle: Bundle, labels: Any) -> None:
    with Segmenter(bundle) as segmenter, pytest.raises(FrameError, match="labels must be"):
        segmenter.infer_into(np.zeros((*HW, 3), np.uint8), labels)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    layout=st.sampled_from(("plain", "fortran", "reversed", "strided", "transposed", "offset")),
    dtype=st.sampled_from((np.uint8, np.int8, np.dtype(">u2"), np.float32, np.bool_)),
    writeable=st.booleans(),
    size_hw=st.sampled_from(((48, 64), (64, 48), (0, 64), (47, 64), (48, 1))),
)
def test_labels_are_filled_or_refused_and_then_untouched(
    segmenter_of: Callable, layout: str, dtype: Any, writeable: bool, size_hw: tuple[int, int]
) -> None:
    height, width = size_hw
    memory = np.full(height * width * 2 + 1, 77).astype(dtype)
    part = memory[: height * width]
    labels = {
        "plain": part.reshape(size_hw),
        "fortran": part.reshape(size_hw, order="F"),
        "reversed": part.reshape(size_hw)[::-1],
        "strided": memory[:-1].reshape(height, 2 * width)[:, ::2],
        "transposed": part.reshape(width, height).T,
        "offset": memory[1 : height * width + 1].reshape(size_hw),
    }[layout]
    labels.flags.writeable = writeable
    before = memory.tobytes()
    frame = np.full((*HW, 3), 5, np.uint8)
    fits = dtype is np.uint8 and size_hw == HW and layout in ("plain", "offset") and writeable
    if fits:
        segmenter_of(Echo()).infer_into(frame, labels)
        assert (labels == 5).all()
        assert np.count_nonzero(memory == 5) == labels.size
    else:
        with pytest.raises(FrameError):
            segmenter_of(Echo()).infer_into(frame, labels)
        assert memory.tobytes() == before


def test_a_pipelined_backend_is_shown_none_of_these_arrays_either(segmenter_of: Callable) -> None:
    segmenter = segmenter_of(backend := Overlapping())
    frame = np.zeros((*HW, 3), np.uint8)
    with pytest.raises(FrameError, match="read-only"):
        segmenter.submit(frame, read_only(np.zeros(HW, np.uint8)))
    with pytest.raises(FrameError, match="share memory"):
        segmenter.submit(frame, frame.reshape(-1)[: 48 * 64].reshape(HW))
    assert backend.submitted == 0


@pytest.fixture
def segmenter_of(bundle: Bundle) -> Callable[[Any], Segmenter]:
    return lambda backend: Segmenter(bundle, backend=backend)
