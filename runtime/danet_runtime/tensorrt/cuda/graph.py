"""A CUDA graph of one enqueue: one launch in place of hundreds, with shapes and addresses frozen."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from danet_runtime.errors import BackendError, FaultError
from danet_runtime.tensorrt.cuda.executor_slot import Slot
from danet_runtime.tensorrt.cuda.session import CudaSession

logger = logging.getLogger(__name__)


def capture_each(
    session: CudaSession, stream: int, slots: Collection[Slot], run: Callable[[Slot, int], None]
) -> str:
    """Give every slot a graph of the model between its own addresses, or none of them one.

    Each slot's model runs once for real before: whatever it loads, allocates or is told of its addresses at
    its first enqueue must not come into the capture.

    Args:
        session: CUDA session whose context is current.
        stream: CUDA stream that the model runs on.
        slots: All that there are, with nothing under way.
        run: Enqueues the model of a slot on a stream.

    Returns:
        ``captured``, or why not, which is said in the log as well.

    Raises:
        BackendError: The model does not run at all.
        FaultError: The GPU is lost.
    """
    for slot in slots:
        session.call("cuMemsetD8Async", slot.frame_address, 0, slot.frame.array.nbytes, stream)
        run(slot, stream)
    session.call("cuStreamSynchronize", stream)
    try:
        graphs = [capture(session, stream, partial(run, slot, stream)) for slot in slots]
    except FaultError:
        raise
    except BackendError as error:
        session.raise_if_lost()
        logger.warning("the model runs without a CUDA graph: %s", error)
        return f"not captured: {error}"
    for slot, graph in zip(slots, graphs, strict=True):
        slot.graph = graph
    return "captured"


def capture(session: CudaSession, stream: int, enqueue: Callable[[], None]) -> Any:  # noqa: ANN401
    """Capture what is enqueued on a stream; the session frees the graph.

    Only this thread is held to what may be done during a capture (thread-local mode): other threads may
    allocate meanwhile. The enqueue must have run once before: libraries load and allocate at their first one.

    Args:
        session: CUDA session whose context is current.
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
