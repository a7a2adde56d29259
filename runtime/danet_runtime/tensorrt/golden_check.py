"""Trying an engine with the bundle's golden frame, before it may take another's place."""

from __future__ import annotations

import numpy as np

from danet_runtime.bundle.golden import golden_frame
from danet_runtime.bundle.reader import Bundle
from danet_runtime.errors import BackendError
from danet_runtime.tensorrt.build.library import TensorRTLibrary
from danet_runtime.tensorrt.engine_executor import open_engine


def golden_agreement(bundle: Bundle, plan: bytes, library: TensorRTLibrary) -> float:
    """Share of the golden frame's labels that an engine gives on this machine's GPU.

    Raises:
        BackendError: The engine does not load or run.
        BundleError: The golden frame is not what was written.
        MissingDependencyError: OpenCV or cuda-python is not installed.
    """
    frame, expected = golden_frame(bundle)
    labels = np.empty((1, *expected.shape), np.uint8)
    executor = open_engine(bundle, plan, library, "the engine just built", depth=1)
    try:
        executor.collect(executor.submit(frame[None], labels))
    finally:
        executor.close()
    return float(np.mean(labels[0] == expected))


def require_agreement(agreement: float, required: float, kept: str) -> None:
    """Refuse an engine that misses the golden frame.

    Args:
        agreement: Share of equal labels.
        required: What the bundle asks of this precision.
        kept: What becomes of the engine that was there, for the message.

    Raises:
        BackendError: It is less than required.
    """
    if agreement < required:
        raise BackendError(
            f"the engine just built gives {agreement:.2%} of the golden frame's labels, the bundle asks for "
            f"{required:.2%}; it is not kept, {kept}; try another --attention, or calibrate again"
        )
