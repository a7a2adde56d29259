"""Loading an engine and enqueueing it: what TensorRT is told, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from danet_runtime.errors import BackendError
from danet_runtime.tensorrt.build.builder import BuilderOptions, NetworkSetup, build_plan
from danet_runtime.tensorrt.build.library import TensorRTLibrary
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
    )


def test_an_inference_binds_every_tensor_and_is_enqueued_on_the_given_stream(
    trt, library, plan, picture_maker, bundle
):
    from danet_runtime.backends import open_backend

    execution = load(library, plan)
    frame, labels, expected = (
        picture_maker(48, 64)[None],
        np.zeros(LABELS, np.uint8),
        np.zeros(LABELS, np.uint8),
    )
    trt.CALLS.clear()
    for stream in (7, 8):
        execution.enqueue(stream, {"frame": frame.ctypes.data}, {"labels": labels.ctypes.data})
    once = ["address frame", "address labels"]
    assert [*once, "execute stream=7", *once, "execute stream=8"] == trt.CALLS  # and nothing else
    reference = open_backend(bundle, "fp32")
    reference.infer(frame, expected)
    reference.close()
    assert len(np.unique(expected)) > 2
    np.testing.assert_array_equal(labels, expected)


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
        execution.enqueue(7, {"frame": 1}, {"labels": 1})


def test_no_context_is_an_error(trt, library, plan, monkeypatch):
    monkeypatch.setattr(trt.ICudaEngine, "create_execution_context", lambda _: None)
    with pytest.raises(BackendError, match=r"makes no execution context of the\.engine"):
        load(library, plan)


def test_a_closed_engine_says_so_and_closes_twice(library, plan):
    execution = load(library, plan)
    execution.close()
    execution.close()
    with pytest.raises(BackendError, match="is closed; open another"):
        execution.enqueue(7, {"frame": 1}, {"labels": 1})


def test_options_reach_the_builder_and_nothing_is_set_unasked(trt, library, model_maker):
    build_plan(library, model_maker(), NetworkSetup(library.network_flags))
    assert trt.CALLS == ["network flags=2 recorder=False", "build"]
    trt.CALLS.clear()
    options = BuilderOptions(workspace_mib=3, optimization_level=5)
    built = build_plan(library, model_maker(), NetworkSetup(library.network_flags), options=options)
    assert ["network flags=2 recorder=False", f"WORKSPACE {3 << 20}", "level 5", "build"] == trt.CALLS
    assert built.activation_memory_bytes == 4096


def test_a_level_that_the_library_does_not_take_is_told(trt, library, model_maker, monkeypatch):
    silent = property(lambda _: 3, lambda *_: None)
    monkeypatch.setattr(trt.IBuilderConfig, "builder_optimization_level", silent)
    with pytest.raises(BackendError, match="did not take optimization level 5, it stays at 3"):
        build_plan(library, model_maker(), NetworkSetup(2), options=BuilderOptions(optimization_level=5))
