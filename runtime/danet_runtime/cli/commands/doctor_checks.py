"""What this machine can do for a bundle, and what is missing."""

from __future__ import annotations

import ctypes
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any

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

_NVIDIA_SMI_TIMEOUT_S = 10.0
_OPENCV_FEATURES = ("FFMPEG", "GStreamer", "v4l/v4l2")


@dataclass(frozen=True)
class Package:
    """An optional package on this machine.

    Attributes:
        name: What people call it.
        version: Its version, or ``None`` where it cannot be used.
        detail: What is in it, or what to install.
    """

    name: str
    version: str | None
    detail: str


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes:
        danet: Version of this package.
        machine: CPU, memory, platform and versions (:func:`danet_runtime.machine.describe_machine`).
        gpus: One entry a GPU: name, driver, memory, compute capability, as far as they can be found out.
        gpu_detail: How the GPUs were looked for, or why none was found.
        packages: The optional packages.
        backends: For each backend, whether it can be used, and why not.
        sources: For each kind of source, whether what it needs is installed, and what to install.
        sinks: For each kind of sink likewise.
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
            found = packages[need.module]
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
    """NVIDIA GPUs by ``nvidia-smi``, else by the driver's library, and how they were found."""
    if shutil.which("nvidia-smi"):
        fields = ("name", "driver_version", "memory.total", "compute_cap")
        try:
            answer = subprocess.run(
                ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"],
                capture_output=True,
                text=True,
                timeout=_NVIDIA_SMI_TIMEOUT_S,
                check=True,
            ).stdout
        except (OSError, subprocess.SubprocessError) as error:
            return [], f"none found (nvidia-smi failed: {error})"
        rows = [line.split(", ") for line in answer.splitlines() if line.strip()]
        found = [dict(zip(fields, row, strict=False)) for row in rows]
        return found, "nvidia-smi" if found else "none found (nvidia-smi lists none)"
    return _gpus_of_driver()


def _gpus_of_driver() -> tuple[list[dict[str, str]], str]:
    try:
        nvml = ctypes.CDLL("nvml.dll" if platform.system() == "Windows" else "libnvidia-ml.so.1")
    except OSError:
        return [], "none found (neither nvidia-smi nor the driver's libnvidia-ml)"
    if nvml.nvmlInit_v2() != 0:
        return [], "none found (libnvidia-ml does not start; check that the kernel module is loaded)"
    try:
        text = ctypes.create_string_buffer(96)
        driver = text.value.decode() if nvml.nvmlSystemGetDriverVersion(text, 96) == 0 else "unknown"
        count = ctypes.c_uint()
        if nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) != 0:
            return [], "none found (libnvidia-ml does not count them)"
        gpus = []
        for index in range(count.value):
            device = ctypes.c_void_p()
            if nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)) != 0:
                continue
            text = ctypes.create_string_buffer(96)
            name = text.value.decode() if nvml.nvmlDeviceGetName(device, text, 96) == 0 else "unknown"
            gpus.append({"name": name, "driver_version": driver})
        return gpus, "libnvidia-ml"
    finally:
        nvml.nvmlShutdown()


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
    return Package(package.title, str(getattr(module, "__version__", "unknown")), _details(package, module))


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
