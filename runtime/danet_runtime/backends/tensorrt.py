"""TensorRT and TensorRT for RTX as backends: one class runs the engines of both."""

from __future__ import annotations

from typing import ClassVar

from danet_runtime.backends.base import Backend
from danet_runtime.backends.statement import BackendWanted, EngineStatement
from danet_runtime.bundle.manifest import Precision
from danet_runtime.bundle.reader import Bundle
from danet_runtime.dependencies import CUDA_PYTHON, TENSORRT, TENSORRT_RTX
from danet_runtime.tensorrt.build.library import Flavour


class TensorRT:
    """Opens engines of TensorRT; see :class:`danet_runtime.backends.statement.RegisteredBackend`."""

    statement: ClassVar = EngineStatement(
        name="tensorrt",
        form="tensorrt",
        help="an engine that `danet build` has built here, on the GPU",
        needs=((TENSORRT,), (CUDA_PYTHON,)),
        flavour="tensorrt",
        takes_gpu=True,
        takes_kernels=True,
        precision="fp16",
    )

    @classmethod
    def opened(cls, bundle: Bundle, precision: Precision, wanted: BackendWanted) -> Backend:
        """Open the engine of a variant."""
        return _opened("tensorrt", bundle, precision, wanted)


class TensorRTRtx:
    """Opens engines of TensorRT for RTX; see :class:`danet_runtime.backends.statement.RegisteredBackend`."""

    statement: ClassVar = EngineStatement(
        name="tensorrt-rtx",
        form="tensorrt-rtx",
        help="one of TensorRT for RTX, which may have been built elsewhere",
        needs=((TENSORRT_RTX,), (CUDA_PYTHON,)),
        flavour="tensorrt-rtx",
        takes_gpu=True,
        takes_targets=True,
        precision="fp16",
    )

    @classmethod
    def opened(cls, bundle: Bundle, precision: Precision, wanted: BackendWanted) -> Backend:
        """Open the engine of a variant."""
        return _opened("tensorrt-rtx", bundle, precision, wanted)


def _opened(flavour: Flavour, bundle: Bundle, precision: Precision, wanted: BackendWanted) -> Backend:
    from danet_runtime.tensorrt.backend import TensorRTBackend

    return TensorRTBackend(bundle, precision, flavour, wanted.engine_folder)
