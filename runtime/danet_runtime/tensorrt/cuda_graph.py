"""A CUDA graph of one enqueue: one launch in place of hundreds, with shapes and addresses frozen."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from danet_runtime.errors import BackendError
from danet_runtime.tensorrt.cuda_session import CudaSession


def capture(session: CudaSession, stream: int, enqueue: Callable[[], None]) -> Any:  # noqa: ANN401
    """Capture what is enqueued on a stream; the session frees the graph.

    Only this thread is held to what may be done during a capture (thread-local mode): other threads may
    allocate meanwhile. The enqueue must have run once before: libraries load and allocate at their first one.

    Args:
        session: Its context is current.
        stream: Not the default one; nothing of its own may be under way.
        enqueue: Enqueues on that stream.

    Returns:
        The executable graph, for ``cuGraphLaunch``.

    Raises:
        BackendError: It cannot be captured, or nothing was enqueued on this stream. The stream works on.
        FaultError: The GPU is lost.
    """
    driver = session.driver
    driver.call(
        "cuStreamBeginCapture", stream, driver.api.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
    )
    try:
        enqueue()
    except BaseException:
        # Also an invalidated capture must be ended, or the stream takes nothing more.
        with contextlib.suppress(BackendError):
            graph = driver.call("cuStreamEndCapture", stream)
            if int(graph):
                driver.call("cuGraphDestroy", graph)
        raise
    graph = driver.call("cuStreamEndCapture", stream)
    try:
        _, nodes = driver.call_all("cuGraphGetNodes", graph, 0)
        if not nodes:  # a launch of it would leave the labels of the frame before, without an error
            raise BackendError("the graph is empty: what was enqueued went to another stream")
        executable = driver.call("cuGraphInstantiate", graph, 0)
    finally:
        driver.call("cuGraphDestroy", graph)
    session.keep_graph(executable)
    return executable
