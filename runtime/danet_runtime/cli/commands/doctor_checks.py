"""Checks of `danet doctor`: which parts of the runtime work on this machine, and what is missing."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any

import pynvml

from danet_runtime.backends.registry import backends
from danet_runtime.dependencies import (
    ONNXRUNTIME,
    OPENCV,
    OPTIONAL_PACKAGES,
    Need,
    Needs,
    OptionalPackage,
    has_program,
    require,
)
from danet_runtime.errors import MissingDependencyError
from danet_runtime.machine import describe_machine, package_version
from danet_runtime.sinks import SINKS
from danet_runtime.sources import SOURCES

_OPENCV_FEATURES = ("FFMPEG", "GStreamer", "v4l/v4l2")


@dataclass(frozen=True)
class Package:
    """An optional package on this machine.

    Attributes:
        name: Name that people use for it.
        version: Version of the package; ``None`` if it cannot be used.
        detail: Details about it, or advice what to install.
    """

    name: str
    version: str | None
    detail: str


@dataclass(frozen=True)
class Diagnosis:
    """Findings of `danet doctor` about this machine.

    Attributes:
        danet: Version of this package.
        machine: CPU, memory, platform and versions (:func:`danet_runtime.machine.describe_machine`).
        gpus: One entry a GPU: name, driver, memory, compute capability, as far as they can be found out.
        gpu_detail: The tool that found the GPUs, or the reason why none was found.
        packages: The optional packages.
        backends: For each backend, whether it can be used, and why not.
        sources: For each kind of source, whether what it needs is installed, and what to install.
        sinks: The same for each kind of sink.
    """

    danet: str
    machine: dict[str, Any]
    gpus: list[dict[str, str]]
    gpu_detail: str
    packages: list[Package]
    backends: dict[str, str]
    sources: dict[str, str]
    sinks: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def diagnose() -> Diagnosis:
    """Look at this machine; imports every optional package that is there, and fails for none that is not."""
    packages = {package.module: _probe(package) for package in OPTIONAL_PACKAGES}
    gpus, gpu_detail = find_gpus()

    def lack_of(need: Need) -> str | None:
        if isinstance(need, OptionalPackage):
            found = packages.get(need.module) or _probe(need)
            return found.detail if found.version is None else None
        return None if has_program(need) else f"missing: {need.install}"

    def verdict(needs: Needs, good: str, *, takes_gpu: bool = False) -> str:
        for group in needs:
            lacks = [lack_of(need) for need in group]
            if None not in lacks:
                return f"not usable: {lacks[0]}"
        return f"not usable: it takes a GPU, {gpu_detail}" if takes_gpu and not gpus else good

    stated = [kind.statement for kind in backends().values()]
    return Diagnosis(
        danet=package_version("danet-runtime") or "unknown",
        machine=describe_machine(),
        gpus=gpus,
        gpu_detail=gpu_detail,
        packages=list(packages.values()),
        backends={one.name: verdict(one.needs, "usable", takes_gpu=one.takes_gpu) for one in stated},
        sources={kind.statement.name: verdict(kind.statement.needs, "installed") for kind in SOURCES},
        sinks={kind.statement.name: verdict(kind.statement.needs, "installed") for kind in SINKS},
    )


def find_gpus() -> tuple[list[dict[str, str]], str]:
    """NVIDIA GPUs as the driver's management library tells of them, and how they were found, or why not."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return [], f"none found ({error}; install NVIDIA's driver, or check that its kernel module is loaded)"
    gpus, lost = [], []
    try:
        for index in range(pynvml.nvmlDeviceGetCount()):
            try:
                gpus.append(_facts(pynvml.nvmlDeviceGetHandleByIndex(index)))
            except pynvml.NVMLError as error:
                lost.append(f"GPU {index}: {error}")
    except pynvml.NVMLError as error:
        lost.append(str(error))
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()
    return gpus, "; ".join(["NVML", *lost]) if gpus else f"none found ({'; '.join(lost) or 'NVML counts 0'})"


def _facts(gpu: object) -> dict[str, str]:
    """Facts about a GPU, named as in ``nvidia-smi --query-gpu``; a Jetson's driver reports no memory."""
    readers: dict[str, Callable[[], str]] = {
        "driver_version": pynvml.nvmlSystemGetDriverVersion,
        "memory.total": lambda: f"{pynvml.nvmlDeviceGetMemoryInfo(gpu).total >> 20} MiB",
        "compute_cap": lambda: "{}.{}".format(*pynvml.nvmlDeviceGetCudaComputeCapability(gpu)),
    }
    found = {"name": str(pynvml.nvmlDeviceGetName(gpu))}
    for name, read in readers.items():
        with contextlib.suppress(pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
            found[name] = read()
    return found


def _probe(package: OptionalPackage) -> Package:
    try:
        module = require(package)
    except MissingDependencyError as error:
        reason = (
            "missing" if isinstance(error.__cause__, ModuleNotFoundError) else f"broken ({error.__cause__})"
        )
        return Package(package.title, None, f"{reason}: {package.install}")
    except Exception as error:  # noqa: BLE001 - a package that raises on import is a finding, not a failure of ours
        return Package(package.title, None, f"broken ({type(error).__name__}: {error}): {package.install}")
    return Package(package.title, _version(package.module), _details(package, module))


def _version(module: str) -> str:
    """Version of an imported module; of a package's part, such as ``cuda.bindings.driver``, its package's."""
    while module:
        if (found := getattr(sys.modules.get(module), "__version__", None)) is not None:
            return str(found)
        module = module.rpartition(".")[0]
    return "unknown"


def _details(package: OptionalPackage, module: ModuleType) -> str:
    if package is ONNXRUNTIME:
        return ", ".join(module.get_available_providers())
    if package is OPENCV:
        features = dict.fromkeys(_OPENCV_FEATURES, "NO")
        for line in module.getBuildInformation().splitlines():
            key, _, value = line.strip().partition(":")
            if key in features:
                features[key] = value.split()[0] if value.strip() else "NO"
        return ", ".join(f"{key} {value.lower()}" for key, value in features.items())
    return package.purpose
