"""The machine that an engine is built on or runs on, as far as an engine depends on it."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import Final

from pydantic import Field

from danet_runtime.bundle.manifest import Schema
from danet_runtime.errors import BackendError, MissingDependencyError
from danet_runtime.machine import jetson_release
from danet_runtime.tensorrt.cuda.driver import cuda_driver
from danet_runtime.tensorrt.kernels.ptx import dotted

_DRIVER_VERSION: Final = Path("/sys/module/nvidia/version")
_DRIVER_TEXT: Final = Path("/proc/driver/nvidia/version")

Arch = str
"""A GPU's architecture, as ``sm_87``."""


class Gpu(Schema):
    """A GPU; two of one architecture may still differ in what the builder chooses for them."""

    name: str
    arch: Arch = Field(pattern=r"^sm_[0-9]{2,3}$")
    multiprocessors: int = Field(ge=0)

    def __str__(self) -> str:
        return f"{self.name} ({self.arch}, {self.multiprocessors} multiprocessors)"


class Device(Schema):
    """A GPU with its driver and what is around them."""

    gpu: Gpu
    cuda_driver: str = Field(
        pattern=r"^[0-9]+\.[0-9]+$", description="the newest CUDA release that the driver implements"
    )
    driver: str | None = Field(description="the driver's own version, where the system tells it")
    platform: str = Field(description="as linux-aarch64")
    jetson: str | None = Field(description="model and L4T release of a Jetson")


def this_platform() -> str:
    """Operating system and processor, as ``linux-x86_64``."""
    return f"{platform.system().lower()}-{platform.machine().lower()}"


def this_device() -> Device:
    """This machine with its first visible GPU.

    Raises:
        MissingDependencyError: cuda-python is not installed.
        BackendError: There is no driver, or no GPU.
    """
    driver = cuda_driver()
    return Device(
        gpu=Gpu(name=driver.name(0), arch=driver.architecture(0), multiprocessors=driver.multiprocessors(0)),
        cuda_driver=dotted(driver.cuda_release()),
        driver=_driver_version(),
        platform=this_platform(),
        jetson=jetson_release(),
    )


def device_if_any() -> Device | None:
    """This machine with its GPU; ``None`` where there is none, or nothing to reach it with."""
    try:
        return this_device()
    except (BackendError, MissingDependencyError):
        return None


def _driver_version() -> str | None:
    for file in (_DRIVER_VERSION, _DRIVER_TEXT):
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if match := re.search(r"\b\d{3}\.\d+(\.\d+)?\b", text):
            return match.group()
    return None
