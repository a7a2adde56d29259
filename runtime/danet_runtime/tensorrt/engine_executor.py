"""An engine on this machine's GPU, ready for frames, and tried with the golden one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from danet_runtime.bundle.golden import GoldenCheck, check_golden
from danet_runtime.bundle.manifest import Precision
from danet_runtime.bundle.reader import Bundle
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.tensorrt.build.library import TensorRTLibrary
from danet_runtime.tensorrt.cuda.executor import Executor
from danet_runtime.tensorrt.cuda.session import CudaSession
from danet_runtime.tensorrt.execution import EngineExecution
from danet_runtime.tensorrt.store.runtime_cache import RuntimeCache


def open_engine(
    bundle: Bundle, plan: bytes, library: TensorRTLibrary, path: Path | None, *, depth: int = 2
) -> Executor:
    """Deserialise an engine and make everything that its frames need.

    Args:
        bundle: Bundle that states the tensors of the engine.
        plan: The engine, whose hash has been checked: it is native code.
        library: Library that deserialises the engine.
        path: Path of the engine, for errors, and for the kernels that TensorRT for RTX compiles, which are
            kept beside it; ``None``: it was just built, and is not stored.
        depth: Most frames that may be in flight.

    Raises:
        BackendError: No GPU, not enough memory on it, or the engine does not load or run.
        MissingDependencyError: cuda-python is not installed.
    """
    height, width = bundle.manifest.frame.size_hw
    frame_shape, labels_shape = (1, *bundle.manifest.frame.shape), (1, height, width)
    compiled = None
    if path is not None and library.compiles_at_start:
        compiled = RuntimeCache(path, library)
    session = CudaSession()
    try:
        with session.active():  # before TensorRT looks for a context
            engine = EngineExecution(
                library,
                plan,
                "the engine just built" if path is None else str(path),
                inputs={"frame": frame_shape},
                outputs={"labels": labels_shape},
                allocate=session.make_memory,
                compiled=compiled,
            )
    except BaseException:
        session.close()
        raise
    executor = Executor(session, engine.bind, frame_shape, labels_shape, depth=depth, release=engine.close)
    if compiled is not None:
        with session.active():
            compiled.keep()
    return executor


def try_engine(bundle: Bundle, precision: Precision, plan: bytes, library: TensorRTLibrary) -> GoldenCheck:
    """Run the golden frame through an engine that was just built, before it may take another's place.

    Raises:
        BackendError: The engine does not load or run.
        BundleError: The golden frame is not what was written.
        MissingDependencyError: OpenCV or cuda-python is not installed.
    """

    def label(frame: UInt8Array) -> UInt8Array:
        labels: UInt8Array = np.empty(bundle.manifest.frame.size_hw, np.uint8)
        executor = open_engine(bundle, plan, library, None, depth=1)
        try:
            executor.collect(executor.submit(frame[None], labels[None]))
        finally:
            executor.close()
        return labels

    return check_golden(bundle, precision, label)
