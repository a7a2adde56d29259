"""The embedded default backend: ONNX Runtime on the CPU, from any bundle, on any machine."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

import numpy as np

from danet_runtime.backends.onnxruntime_session import PROVIDERS, open_session
from danet_runtime.backends.statement import BackendStatement, BackendWanted
from danet_runtime.bundle.manifest import Precision
from danet_runtime.bundle.reader import Bundle
from danet_runtime.dependencies import ONNXRUNTIME, require
from danet_runtime.errors import BackendError, UsageError
from danet_runtime.frames.arrays import UInt8Array, check_buffers


class OnnxRuntimeBackend:
    """One variant of a bundle in ONNX Runtime.

    Output is written straight into the caller's buffer. Calls from several threads wait for each other: they
    share one binding. ONNX Runtime computes an fp16 variant in FP32 on
    most CPUs: its labels say nothing about the range of FP16.

    Args:
        bundle: The model file is verified against its hash before it is parsed.
        precision: Variant of the bundle to run.
        threads: Threads of one inference; by default one a physical core.

    Raises:
        UsageError: The bundle does not hold the variant, or ``threads`` is below 1.
        IntegrityError: The model file is not the one that was written.
        BackendError: ONNX Runtime refuses the file, or its inputs and outputs are not the manifest's.
        MissingDependencyError: ONNX Runtime is not installed.
    """

    name = "onnxruntime"
    statement: ClassVar = BackendStatement(
        name=name, form=name, help="on the CPU", needs=((ONNXRUNTIME,),), takes_threads=True
    )

    @classmethod
    def opened(cls, bundle: Bundle, precision: Precision, wanted: BackendWanted) -> OnnxRuntimeBackend:
        """See :class:`danet_runtime.backends.statement.RegisteredBackend`."""
        return cls(bundle, precision, wanted.threads)

    def __init__(self, bundle: Bundle, precision: Precision, threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise UsageError(f"threads must be at least 1 (got {threads})")
        variant = bundle.variant(precision)
        self._ort = require(ONNXRUNTIME)
        self._precision = precision
        self._threads = threads
        self._origin = f"{bundle.path / variant.file.path}"
        height, width = bundle.manifest.frame.size_hw
        self._frame_shape = (1, *bundle.manifest.frame.shape)
        self._labels_shape = (1, height, width)

        model = bundle.read(variant.file)
        try:
            self._session: Any = open_session(model, threads=threads)
        except Exception as error:
            raise BackendError(
                f"ONNX Runtime {self._ort.__version__} cannot load {self._origin}: {error}"
            ) from error
        self._check_signature()
        self._binding: Any = self._session.io_binding()
        self._running = threading.Lock()

    def _check_signature(self) -> None:
        expected = {
            "inputs": [("frame", "tensor(uint8)", list(self._frame_shape))],
            "outputs": [("labels", "tensor(uint8)", list(self._labels_shape))],
        }
        found = {
            "inputs": [(node.name, node.type, list(node.shape)) for node in self._session.get_inputs()],
            "outputs": [(node.name, node.type, list(node.shape)) for node in self._session.get_outputs()],
        }
        for side, nodes in expected.items():
            if found[side] != nodes:
                raise BackendError(
                    f"{self._origin}: the manifest promises the {side} {nodes}, the file has {found[side]}; "
                    "export the bundle again"
                )

    def infer(self, frame: UInt8Array, labels: UInt8Array) -> None:
        """Segment one frame; see :class:`danet_runtime.backends.base.Backend`.

        Raises:
            BackendError: The model failed, a buffer does not fit, or the backend is closed.
        """
        check_buffers(frame, self._frame_shape, labels, self._labels_shape)
        try:
            with self._running:
                session, binding = self._session, self._binding
                if session is None:
                    raise BackendError("the backend is closed; open another")
                binding.bind_cpu_input("frame", frame)
                binding.bind_output("labels", "cpu", 0, np.uint8, labels.shape, labels.ctypes.data)
                session.run_with_iobinding(binding)
        except BackendError:
            raise
        except Exception as error:
            raise BackendError(f"ONNX Runtime failed in {self._origin}: {error}") from error

    def describe(self) -> dict[str, Any]:
        """Name, library version, precision, providers and threads (0: ONNX Runtime's own choice)."""
        return {
            "name": self.name,
            "version": self._ort.__version__,
            "precision": self._precision,
            "providers": list(PROVIDERS),
            "threads": self._threads or 0,
        }

    def close(self) -> None:
        """Release the model; harmless when called twice."""
        self._binding = None
        self._session = None
