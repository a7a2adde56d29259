"""An engine on this machine's GPU, ready for frames, and tried with the golden one."""

from __future__ import annotations

import numpy as np

from danet_runtime.bundle.golden import GoldenCheck, check_golden
from danet_runtime.bundle.manifest import Precision
from danet_runtime.bundle.reader import Bundle
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.tensorrt.build.library import TensorRTLibrary
from danet_runtime.tensorrt.cuda.executor import Executor
from danet_runtime.tensorrt.cuda.session import CudaSession
from danet_runtime.tensorrt.execution import EngineExecution


def open_engine(
    bundle: Bundle, plan: bytes, library: TensorRTLibrary, origin: str, *, depth: int = 2, graph: bool = True
) -> Executor:
    """Deserialise an engine and make everything that its frames need.

    Args:
        bundle: Bundle that states the tensors of the engine.
        plan: The engine, whose hash has been checked: it is native code.
        library: Library that deserialises the engine.
        origin: Name of the engine in errors.
        depth: Most frames that may be in flight.
        graph: Capture its enqueue in CUDA graphs.

    Raises:
        BackendError: No GPU, not enough memory on it, or the engine does not load or run.
        MissingDependencyError: cuda-python is not installed.
    """
    height, width = bundle.manifest.frame.size_hw
    frame_shape, labels_shape = (1, *bundle.manifest.frame.shape), (1, height, width)
    session = CudaSession()
    try:
        with session.active():  # before TensorRT looks for a context
            engine = EngineExecution(
                library,
                plan,
                origin,
                inputs={"frame": frame_shape},
                outputs={"labels": labels_shape},
                allocate=session.make_memory,
            )
    except BaseException:
        session.close()
        raise
    return Executor(
        session, engine.bind, frame_shape, labels_shape, depth=depth, graph=graph, release=engine.close
    )


def try_engine(bundle: Bundle, precision: Precision, plan: bytes, library: TensorRTLibrary) -> GoldenCheck:
    """Run the golden frame through an engine that was just built, before it may take another's place.

    Raises:
        BackendError: The engine does not load or run.
        BundleError: The golden frame is not what was written.
        MissingDependencyError: OpenCV or cuda-python is not installed.
    """

    def label(frame: UInt8Array) -> UInt8Array:
        labels: UInt8Array = np.empty(bundle.manifest.frame.size_hw, np.uint8)
        executor = open_engine(bundle, plan, library, "the engine just built", depth=1)
        try:
            executor.collect(executor.submit(frame[None], labels[None]))
        finally:
            executor.close()
        return labels

    return check_golden(bundle, precision, label)
