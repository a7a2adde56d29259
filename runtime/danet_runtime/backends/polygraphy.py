"""A second opinion for comparisons: the file as it stands, through Polygraphy's runner for ONNX Runtime.

ONNX Runtime fuses and rewrites a graph before it runs it; between Q/DQ it then computes in integers. Here all
rewriting is off: each node runs as it is written, Q/DQ as what ONNX defines them to be. So where this and the
``onnxruntime`` backend differ, it is the rewriting, and not the file: on ten frames of the demo, INT8 gave
the same label to 98.7 % of the pixels, FP32 and FP16 to all. It is no backend of a stream.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, ClassVar

import numpy as np

from danet_runtime.backends.statement import BackendStatement, BackendWanted
from danet_runtime.bundle.manifest import Precision
from danet_runtime.bundle.reader import Bundle
from danet_runtime.dependencies import ONNXRUNTIME, POLYGRAPHY, require
from danet_runtime.errors import BackendError
from danet_runtime.frames.arrays import UInt8Array, check_buffer, check_buffers
from danet_runtime.machine import package_version


class PolygraphyBackend:
    """One variant of a bundle in Polygraphy's ``OnnxrtRunner``, with all optimisations of the graph off.

    Args:
        bundle: The model file is verified against its hash before it is parsed.
        precision: Variant of the bundle to run.

    Raises:
        UsageError: The bundle does not hold the variant.
        IntegrityError: The model file is not the one that was written.
        BackendError: The file is refused.
        MissingDependencyError: Polygraphy or ONNX Runtime is not installed.
    """

    name = "polygraphy"
    statement: ClassVar = BackendStatement(
        name=name,
        form=name,
        help="ONNX Runtime with each node as it is written",
        needs=((POLYGRAPHY,), (ONNXRUNTIME,)),
        is_for_comparison=True,
    )

    @classmethod
    def opened(cls, bundle: Bundle, precision: Precision, wanted: BackendWanted) -> PolygraphyBackend:
        """See :class:`danet_runtime.backends.statement.RegisteredBackend`."""
        return cls(bundle, precision)

    def __init__(self, bundle: Bundle, precision: Precision) -> None:
        variant = bundle.variant(precision)
        self._ort = require(ONNXRUNTIME, POLYGRAPHY.purpose)
        runners = require(POLYGRAPHY)
        self._version = package_version("polygraphy")
        self._precision = precision
        self._origin = f"{bundle.path / variant.file.path}"
        height, width = bundle.manifest.frame.size_hw
        self._frame_shape = (1, *bundle.manifest.frame.shape)
        self._labels_shape = (1, height, width)
        self._running = threading.Lock()
        model = bundle.read(variant.file)
        off = self._ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._runner: Any = runners.OnnxrtRunner(
            runners.SessionFromOnnx(model, providers=["CPUExecutionProvider"], graph_optimization_level=off)
        )
        try:
            with _quiet():
                self._runner.activate()
        except Exception as error:
            self._runner = None
            raise BackendError(
                f"Polygraphy {self._version} with ONNX Runtime {self._ort.__version__} cannot load "
                f"{self._origin}: {error}; export the bundle again"
            ) from error

    def infer(self, frame: UInt8Array, labels: UInt8Array) -> None:
        """Segment one frame; see :class:`danet_runtime.backends.base.Backend`.

        Raises:
            BackendError: The model failed, its output is not the manifest's, a buffer does not fit, or the
                backend is closed.
        """
        check_buffers(frame, self._frame_shape, labels, self._labels_shape)
        try:
            with self._running, _quiet():
                if self._runner is None:
                    raise BackendError("the backend is closed; open another")
                # The runner's own memory, written again by the next call.
                given = self._runner.infer({"frame": frame})["labels"]
                check_buffer("the file's labels", given, self._labels_shape)
                np.copyto(labels, given)
        except BackendError:
            raise
        except Exception as error:
            raise BackendError(f"Polygraphy failed in {self._origin}: {error}") from error

    def describe(self) -> dict[str, Any]:
        """Name, versions, precision, and that no optimisation of the graph is on."""
        return {
            "name": self.name,
            "version": self._version,
            "onnxruntime": self._ort.__version__,
            "precision": self._precision,
            "graph_optimizations": "none",
        }

    def close(self) -> None:
        """Release the model; harmless when called twice."""
        if self._runner is not None:
            with _quiet():
                self._runner.deactivate()
        self._runner = None


@contextmanager
def _quiet() -> Iterator[None]:
    """Polygraphy prints what it does on standard output, which is the report's."""
    from polygraphy.logger import G_LOGGER

    with G_LOGGER.verbosity(G_LOGGER.CRITICAL), redirect_stdout(io.StringIO()):
        yield
