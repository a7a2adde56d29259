"""Description of the machine, for reports and for `danet doctor`."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_TEGRA_RELEASE = Path("/etc/nv_tegra_release")
_DEVICE_MODEL = Path("/proc/device-tree/model")
_CPU_INFO = Path("/proc/cpuinfo")
_MEMORY_INFO = Path("/proc/meminfo")
_REPORTED = ("danet-runtime", "numpy", "onnxruntime", "opencv-python-headless", "opencv-python", "tensorrt")


def describe_machine() -> dict[str, Any]:
    """CPU, platform and versions, as plain data; what cannot be found out is ``None``."""
    return {
        "cpu": cpu_model(),
        "cpu_count": os.cpu_count(),
        "memory_bytes": memory_bytes(),
        "platform": platform.platform(),
        "arch": platform.machine(),
        "jetson": jetson_release(),
        "python": platform.python_version(),
        "versions": {name: found for name in _REPORTED if (found := package_version(name)) is not None},
    }


def cpu_model() -> str | None:
    """The CPU's name as the kernel gives it; on ARM, where it gives none, the architecture."""
    for line in _read(_CPU_INFO).splitlines():
        key, _, value = line.partition(":")
        if key.strip().lower() in ("model name", "hardware"):
            return value.strip()
    return platform.processor() or platform.machine() or None


def memory_bytes() -> int | None:
    """Installed memory in bytes."""
    return _memory("MemTotal")


def free_memory_bytes() -> int | None:
    """Memory in bytes that programs may still take without swapping, as the kernel estimates it."""
    return _memory("MemAvailable")


def jetson_release() -> str | None:
    """Model and L4T release of a Jetson; ``None`` on any other machine."""
    release = _read(_TEGRA_RELEASE).strip()
    if not release:
        return None
    model = _read(_DEVICE_MODEL).strip("\x00\n ")
    return f"{model}, L4T {release.splitlines()[0].lstrip('# ')}" if model else release.splitlines()[0]


def package_version(name: str) -> str | None:
    """Version of an installed distribution, or ``None``."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _memory(kind: str) -> int | None:
    for line in _read(_MEMORY_INFO).splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) * 1024
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
