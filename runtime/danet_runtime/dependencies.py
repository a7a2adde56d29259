"""Optional packages: loaded on first use, and what to install where one is missing."""

from __future__ import annotations

import importlib
import shutil
from dataclasses import dataclass
from types import ModuleType
from typing import TypeAlias

from danet_runtime.errors import MissingDependencyError

_ON_JETSON = "on a Jetson use JetPack's own"


@dataclass(frozen=True)
class OptionalPackage:
    """One package that some part of the runtime uses when it is there.

    Attributes:
        module: The name to import.
        title: The name that people use.
        purpose: Feature that needs it.
        install: Advice how to install it.
    """

    module: str
    title: str
    purpose: str
    install: str


@dataclass(frozen=True)
class OptionalProgram:
    """One program of the system that some part of the runtime starts when it is there.

    Attributes:
        program: Name of the executable in the search path.
        title: The name that people use.
        purpose: Feature that needs it.
        install: Advice how to install it.
    """

    program: str
    title: str
    purpose: str
    install: str


Need: TypeAlias = OptionalPackage | OptionalProgram

Needs: TypeAlias = tuple[tuple[Need, ...], ...]
"""Requirements as groups: at least one member of each group must be installed."""

OPENCV = OptionalPackage(
    "cv2",
    "OpenCV",
    "reading cameras and pictures, drawing overlays",
    f'pip install "danet-runtime[video]", or {_ON_JETSON} OpenCV',
)
PYAV = OptionalPackage(
    "av",
    "PyAV",
    "reading and writing videos, reading network streams",
    'pip install "danet-runtime[video]", or [recording] beside JetPack\'s OpenCV',
)
ONNXRUNTIME = OptionalPackage(
    "onnxruntime", "ONNX Runtime", "the onnxruntime backend", 'pip install "danet-runtime[onnxruntime]"'
)
TENSORRT = OptionalPackage(
    "tensorrt",
    "TensorRT",
    "building or running an engine on this GPU",
    f"pip install tensorrt, or {_ON_JETSON} TensorRT",
)
TENSORRT_RTX = OptionalPackage(
    "tensorrt_rtx",
    "TensorRT-RTX",
    "building an engine ahead of time (no GPU needed)",
    'pip install "danet-runtime[tensorrt-rtx]"',
)
CUDA_PYTHON = OptionalPackage(
    "cuda.bindings.driver",
    "cuda-python",
    "running engines",
    'pip install "danet-runtime[cuda12]" for CUDA 12 (JetPack 6), "danet-runtime[cuda13]" for CUDA 13',
)
CRYPTOGRAPHY = OptionalPackage(
    "cryptography", "cryptography", "signing and verifying bundles", 'pip install "danet-runtime[signing]"'
)
POLYGRAPHY = OptionalPackage(
    "polygraphy.backend.onnxrt",
    "Polygraphy",
    "the polygraphy backend of danet compare",
    'pip install "danet-runtime[polygraphy]"',
)
GSTREAMER = OptionalProgram(
    "gst-inspect-1.0",
    "GStreamer with gst-inspect-1.0",
    "network cameras, pipelines, sending the overlay",
    "install GStreamer's tools, e.g. apt install gstreamer1.0-tools gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav gstreamer1.0-rtsp",
)
OPTIONAL_PACKAGES = (
    ONNXRUNTIME,
    OPENCV,
    PYAV,
    TENSORRT,
    TENSORRT_RTX,
    CUDA_PYTHON,
    CRYPTOGRAPHY,
    POLYGRAPHY,
)
"""Packages and programs that ``danet doctor`` looks for."""


def require(package: OptionalPackage, purpose: str | None = None) -> ModuleType:
    """Import an optional package.

    Args:
        package: The package to import.
        purpose: Feature that needs it now, for the message; by default the package's usual purpose.

    Raises:
        MissingDependencyError: It is not installed, or cannot be loaded on this machine.
    """
    purpose = purpose or package.purpose
    try:
        return importlib.import_module(package.module)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(package.title, purpose, package.install) from error
    except ImportError as error:
        raise MissingDependencyError(
            package.title, purpose, f"(it is there but does not load: {error}) {package.install}"
        ) from error


def opencv(purpose: str) -> ModuleType:
    """OpenCV's module ``cv2``.

    Raises:
        MissingDependencyError: It is not installed.
    """
    return require(OPENCV, purpose)


def has_program(program: OptionalProgram) -> bool:
    """Whether a program is in the search path."""
    return shutil.which(program.program) is not None


def require_program(program: OptionalProgram, purpose: str | None = None) -> None:
    """Make sure that a program is there.

    Args:
        program: The program to look for.
        purpose: Feature that needs it now, for the message; by default the program's usual purpose.

    Raises:
        MissingDependencyError: It is not installed.
    """
    if not has_program(program):
        raise MissingDependencyError(program.title, purpose or program.purpose, program.install)
