"""Engines of TensorRT and TensorRT for RTX, built from the very bundle, on this machine's GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from danet_runtime.bundle.manifest import Precision
from danet_runtime.bundle.reader import Bundle
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.frames.device_arrays import DeviceArray, DeviceLabels
from danet_runtime.tensorrt.build.library import Flavour, load_library
from danet_runtime.tensorrt.cuda.device import this_device
from danet_runtime.tensorrt.engine_executor import open_engine
from danet_runtime.tensorrt.store.check import Wanted, choose_engine
from danet_runtime.tensorrt.store.store import default_engine_folder
from danet_runtime.timing import DeviceTimes


class TensorRTBackend:
    """An engine of a bundle's variant that runs on this machine's GPU; the first in the store's order.

    Built engines are looked for in the engine cache, and checked before they are deserialised; none is built
    here (`danet build` does, and `danet run --build`).

    Args:
        bundle: The engine must have been built from exactly this bundle.
        precision: Variant of the bundle to run.
        flavour: TensorRT, or TensorRT for RTX.
        engine_folder: Folder of the engines; by default the user's cache.
        depth: Most frames that may be in flight: one is uploaded while another is computed.

    Attributes:
        depth: Most frames that may be in flight.

    Raises:
        UsageError: The bundle does not hold the variant.
        MissingDependencyError: TensorRT or cuda-python is not installed.
        BackendError: There is no GPU, no engine, or none that runs here; the message holds the command that
            builds one.
    """

    def __init__(
        self,
        bundle: Bundle,
        precision: Precision,
        flavour: Flavour = "tensorrt",
        engine_folder: Path | None = None,
        *,
        depth: int = 2,
    ) -> None:
        bundle.variant(precision)
        self.name: str = flavour
        library = load_library(flavour)
        device = this_device()
        wanted = Wanted(
            bundle.path,
            bundle.sha256,
            precision,
            flavour,
            engine_folder or default_engine_folder(),
            default_folder=engine_folder is None,
        )
        engine = choose_engine(wanted, library, device)
        self.depth = depth
        self._executor = open_engine(bundle, engine.plan, library, engine.path, depth=depth)
        self._frames = 0
        self._sum_ms = np.zeros(3)  # upload, inference, download
        self._device = device
        self._path = engine.path
        self._manifest = engine.manifest

    def make_labels(self) -> DeviceLabels:
        """Memory on the GPU for the labels of one frame; see ``DeviceBackend``.

        Raises:
            FrameError: The calling thread works in another CUDA context, where they could not be read.
            BackendError: There is not enough memory, or the backend is closed.
            FaultError: The GPU is lost.
        """
        return self._executor.make_labels()

    def infer(self, frame: UInt8Array | DeviceArray, labels: UInt8Array | DeviceArray) -> None:
        """Segment one frame; see :class:`danet_runtime.backends.base.DeviceBackend`.

        Raises:
            BackendError: The GPU or TensorRT failed, a buffer does not fit, or the backend is closed.
        """
        self.collect(self.submit(frame, labels))

    def submit(self, frame: UInt8Array | DeviceArray, labels: UInt8Array | DeviceArray) -> int:
        """Begin with a frame; see :class:`danet_runtime.backends.base.DeviceBackend`.

        Raises:
            FrameError: An array on the GPU does not fit.
            BackendError: The GPU or TensorRT failed, a buffer does not fit, or the backend is closed.
            FaultError: The GPU is lost.
            UsageError: ``depth`` frames are in flight.
        """
        return self._executor.submit(frame, labels)

    def collect(self, ticket: int) -> DeviceTimes:
        """Wait for a frame's labels; see :class:`danet_runtime.backends.base.PipelinedBackend`.

        Raises:
            BackendError: The GPU failed, or the backend is closed.
            FaultError: The GPU is lost.
        """
        times = self._executor.collect(ticket)
        self._frames += 1
        self._sum_ms += times
        return times

    def pin(self, *buffers: UInt8Array) -> None:
        """Lock buffers so that the GPU copies from and to them by itself; see ``PinningBackend``.

        Raises:
            BackendError: The backend is closed.
            FaultError: The GPU is lost.
        """
        self._executor.pin(*buffers)

    def unpin(self, *buffers: UInt8Array) -> None:
        """Unlock buffers; see ``PinningBackend``.

        Raises:
            FaultError: The GPU is lost.
        """
        self._executor.unpin(*buffers)

    def describe(self) -> dict[str, Any]:
        """Name, library version, precision, the engine's file and form, the GPU, and its mean times."""
        manifest = self._manifest
        return {
            "name": self.name,
            "version": manifest.library_version,
            "precision": manifest.precision,
            "attention": manifest.attention,
            "engine": str(self._path),
            "engine_sha256": manifest.engine_sha256,
            "golden_agreement": manifest.golden_agreement,
            "convolutions": manifest.convolutions,
            "int8_convolutions": manifest.int8_convolutions,
            "activation_memory_bytes": manifest.activation_memory_bytes,
            "device": self._device.model_dump(mode="json"),
            "frames_in_flight": self.depth,
            "cuda_graph": self._executor.graph,
            "host_copies": self._executor.host_copies,
            "mean_ms": DeviceTimes(*(self._sum_ms / max(self._frames, 1)).tolist())._asdict(),
        }

    def close(self) -> None:
        """Release the engine and the GPU's memory; harmless when called twice."""
        self._executor.close()
