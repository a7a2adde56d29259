"""What every backend offers: one engine of one bundle, fed with bytes, giving bytes."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]


@runtime_checkable
class Backend(Protocol):
    """One loaded model.

    Attributes:
        name: ``onnxruntime``, ``tensorrt``, ...
    """

    name: str

    def infer(self, frame: UInt8Array, labels: UInt8Array) -> None:
        """Segment one frame.

        Args:
            frame: (1, H, W, 3) BGR, C-contiguous, of the bundle's frame size; only read, during the call.
            labels: (1, H, W), C-contiguous, owned by the caller; overwritten.

        Raises:
            BackendError: The model failed.
        """

    def describe(self) -> dict[str, Any]:
        """What was loaded and how it runs (library version, precision, threads), for reports."""

    def close(self) -> None:
        """Release the model; harmless when called twice."""
