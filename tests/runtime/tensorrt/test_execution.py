"""Loading an engine and enqueueing it: what TensorRT is told, and what is refused."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from danet_runtime.errors import BackendError
from danet_runtime.tensorrt.build.builder import BuilderOptions, NetworkSetup, build_plan
from danet_runtime.tensorrt.build.library import TensorRTLibrary
from danet_runtime.tensorrt.cuda.session import ALIGNMENT
from danet_runtime.tensorrt.execution import EngineExecution

FRAME, LABELS = (1, 48, 64, 3), (1, 48, 64)


@pytest.fixture
def library(trt):
    return TensorRTLibrary(trt, "tensorrt", (10, 13, 3, 9))


@pytest.fixture
def plan(library, model_maker):
    return build_plan(library, model_maker(), NetworkSetup(library.network_flags)).plan


def load(library, plan, inputs=None, outputs=None):
    return EngineExecution(
        library,
        plan,
        "the.engine",
        inputs=inputs or {"frame": FRAME},
        outputs=outputs or {"labels": LABELS},
        allocate=allocate,
    )


def allocate(nbytes):
    """Memory for the life of this process, aligned as the driver's."""
    KEPT.append(np.zeros(nbytes + ALIGNMENT, np.uint8))
    return KEPT[-1].ctypes.data + -KEPT[-1].ctypes.data % ALIGNMENT


KEPT: list[np.ndarray] = []


def view(address, shape):
    memory = (ctypes.c_uint8 * int(np.prod(shape))).from_address(address)
    return np.frombuffer(memory, np.uint8).reshape(shape)


def bound(execution):
    """An enqueue, and the frame and labels that it is bound to."""
    frame, labels = allocate(int(np.prod(FRAME))), allocate(int(np.prod(LABELS)))
    enqueue = execution.bind({"frame": frame}, {"labels": labels})
    return enqueue, view(frame, FRAME), view(labels, LABELS)


@pytest.fixture
def truth(bundle):
    """Labels of a frame, by another backend."""
    from danet_runtime.backends import open_backend

    reference = open_backend(bundle, "fp32")

    def labels_of(frame):
        labels = np.zeros(LABELS, np.uint8)
        reference.infer(np.ascontiguousarray(frame), labels)
        assert len(np.unique(labels)) > 2
        return labels

    yield labels_of
    reference.close()


def test_each_set_of_addresses_has_a_context_that_is_told_them_once(trt, library, plan, picture_maker, truth):
    execution = load(library, plan)
    assert "context USER_MANAGED" not in trt.CALLS
    trt.CALLS.clear()
    slots = [bound(execution) for _ in range(2)]
    made = ["context USER_MANAGED", "memory 4096", "shape frame 1x48x64x3", "address frame", "address labels"]
    assert made * 2 == trt.CALLS
    trt.CALLS.clear()
    for number in range(4):
        enqueue, frame, labels = slots[number % 2]
        frame[0] = picture_maker(48, 64, number)
        enqueue(7)
        np.testing.assert_array_equal(labels, truth(frame))
    run = "execute stream=7"
    assert [run, "prepare", run, "prepare", run, run] == trt.CALLS


def test_before_10_1_which_tells_no_size_each_context_has_memory_of_its_own(trt, plan):
    execution = load(TensorRTLibrary(trt, "tensorrt", (10, 0, 1)), plan)
    trt.CALLS.clear()
    bound(execution)[0](7)
    assert trt.CALLS[:2] == ["context STATIC", "shape frame 1x48x64x3"]


def test_the_stand_in_refuses_an_address_that_is_no_multiple_of_256(library, plan):
    execution, aligned = load(library, plan), allocate(4096)
    for offset in (1, 128):
        with pytest.raises(BackendError, match=r"the address of frame: .*no multiple of 256"):
            execution.bind({"frame": aligned + offset}, {"labels": aligned})


def test_the_stand_in_runs_no_context_without_its_memory_nor_two_that_share_it_on_two_streams(
    trt, library, plan, monkeypatch
):
    execution = load(library, plan)
    first, second = bound(execution)[0], bound(execution)[0]
    first(7)
    with pytest.raises(BackendError, match="share their memory are enqueued on two streams"):
        second(8)
    monkeypatch.setattr(trt.ICudaEngine, "device_memory_size_v2", 1 << 20)
    with pytest.raises(BackendError, match="misaligned, or too small"):
        bound(execution)[0](7)


@pytest.fixture
def captured(trt, monkeypatch):
    """A stream that is captured: what is enqueued becomes nodes, and no code may be loaded."""
    nodes = []
    monkeypatch.setattr(trt, "add_to_graph", lambda _, run: nodes.append(run) or True)
    monkeypatch.setattr(trt, "may_load_code", lambda: False)
    return nodes


def test_in_the_stand_in_a_context_that_was_not_run_before_spoils_a_capture(
    library, plan, captured, monkeypatch
):
    execution = load(library, plan)
    with pytest.raises(BackendError, match="code is loaded while a stream is captured"):
        bound(execution)[0](7)
    assert captured == []


def test_in_the_stand_in_a_graph_uses_the_addresses_that_its_context_has_when_it_is_launched(
    trt, library, plan, monkeypatch, picture_maker, truth
):
    execution = load(library, plan)
    enqueue, frame, labels = bound(execution)
    enqueue(7)
    nodes = []
    monkeypatch.setattr(trt, "add_to_graph", lambda _, run: nodes.append(run) or True)
    enqueue(7)
    frame[0] = picture_maker(48, 64, 1)
    nodes[0]()
    np.testing.assert_array_equal(labels, truth(frame))
    elsewhere = allocate(labels.size)
    execution._contexts[0].set_tensor_address("labels", elsewhere)  # as one context for two graphs would
    before = labels.copy()
    frame[0] = picture_maker(48, 64, 2)
    nodes[0]()
    np.testing.assert_array_equal(labels, before)
    np.testing.assert_array_equal(view(elsewhere, LABELS), truth(frame))


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ({"frame": (1, 96, 128, 3)}, None),
        ({"image": FRAME}, None),
        (None, {"labels": (1, 24, 32)}),
        (None, {"labels": LABELS, "more": LABELS}),
    ],
)
def test_an_engine_with_other_tensors_than_the_bundles_is_refused(library, plan, inputs, outputs):
    with pytest.raises(BackendError, match=r"the bundle promises the tensors .*; build it again"):
        load(library, plan, inputs, outputs)


def test_what_the_library_does_not_load_is_told_in_its_own_words(library, plan):
    with pytest.raises(BackendError, match=r"does not load the\.engine: the magic tag does not match"):
        load(library, plan[5:])


@pytest.mark.parametrize(
    ("method", "complaint"),
    [
        ("execute_async_v3", "failed in the.engine"),
        ("set_tensor_address", "does not take the address of frame"),
    ],
)
def test_a_refusal_while_running_is_an_error(trt, library, plan, monkeypatch, method, complaint):
    execution = load(library, plan)
    monkeypatch.setattr(trt.IExecutionContext, method, lambda *_: False)
    with pytest.raises(BackendError, match=complaint):
        bound(execution)[0](7)


def test_no_context_is_an_error(trt, library, plan, monkeypatch):
    monkeypatch.setattr(trt.ICudaEngine, "create_execution_context", lambda *_: None)
    with pytest.raises(BackendError, match=r"makes no execution context of the\.engine"):
        bound(load(library, plan))


def test_a_closed_engine_says_so_and_closes_twice(library, plan):
    execution = load(library, plan)
    enqueue, _, _ = bound(execution)
    execution.close()
    execution.close()
    for again in (lambda: enqueue(7), lambda: bound(execution)):
        with pytest.raises(BackendError, match="is closed; open another"):
            again()


def test_options_reach_the_builder_and_nothing_is_set_unasked(trt, library, model_maker):
    build_plan(library, model_maker(), NetworkSetup(library.network_flags))
    assert trt.CALLS == ["network flags=2 recorder=False", "build"]
    trt.CALLS.clear()
    options = BuilderOptions(workspace_mib=3, optimization_level=5)
    built = build_plan(library, model_maker(), NetworkSetup(library.network_flags), options=options)
    assert ["network flags=2 recorder=False", f"WORKSPACE {3 << 20}", "level 5", "build"] == trt.CALLS
    assert built.activation_memory_bytes == 4096


def test_fp32_is_kept_in_fp32_where_that_is_asked_for(trt, library, model_maker):
    build_plan(library, model_maker(), NetworkSetup(library.network_flags, full_fp32=True))
    assert trt.CALLS == ["network flags=2 recorder=False", "clear TF32", "build"]


def test_a_limit_of_the_machine_is_taken_where_the_user_sets_none(trt, library, model_maker, monkeypatch):
    setup = NetworkSetup(library.network_flags, workspace_bytes=5 << 20)
    build_plan(library, model_maker(), setup)
    build_plan(library, model_maker(), setup, options=BuilderOptions(workspace_mib=3))
    assert [call for call in trt.CALLS if "WORKSPACE" in call] == [f"WORKSPACE {n << 20}" for n in (5, 3)]
    monkeypatch.setenv("TENSORRT_STAND_IN_BUILD", "fails")
    with pytest.raises(BackendError, match=r"a layer may take 5 MiB, half of what is free"):
        build_plan(library, model_maker(), setup)


def test_a_level_that_the_library_does_not_take_is_told(trt, library, model_maker, monkeypatch):
    silent = property(lambda _: 3, lambda *_: None)
    monkeypatch.setattr(trt.IBuilderConfig, "builder_optimization_level", silent)
    with pytest.raises(BackendError, match="did not take optimization level 5, it stays at 3"):
        build_plan(library, model_maker(), NetworkSetup(2), options=BuilderOptions(optimization_level=5))
