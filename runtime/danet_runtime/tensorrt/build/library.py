"""TensorRT as it is installed: its version, and what follows from the version.

TensorRT's releases differ in what they have, and enumerators moved between 10 and 11. So everything that
depends on the release is asked here, and enumerators are named, never written as numbers. A module that uses
the library says with :class:`Serves` which releases it is for; tests hold it to that with the bindings
themselves.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from types import ModuleType
from typing import Final, Literal

from danet_runtime.dependencies import TENSORRT, TENSORRT_RTX, require
from danet_runtime.errors import BackendError

Flavour = Literal["tensorrt", "tensorrt-rtx"]
PluginRoute = Literal["v3", "aot"]

OLDEST: Final = (10, 0)
SHARED_ACTIVATION_MEMORY: Final = (10, 1)
AHEAD_OF_TIME_PLUGINS: Final = (10, 9)
NATIVE_ATTENTION: Final = (10, 14)
FAULTY_PLUGINS: Final = ((10, 14), (10, 15))
"""Releases whose plugins have a fault of TensorRT's own (pytorch/TensorRT, ``_features.py``: off there)."""

ALWAYS_STRONGLY_TYPED: Final = (11, 0)
OLDEST_RTX: Final = (1, 7)
OPTIMIZATION_LEVELS: Final = (0, 5)
"""First and last level of the builder; TensorRT for RTX 1.7 silently lowers a greater one to 5."""


@dataclass(frozen=True)
class Serves:
    """The releases that a module is written for.

    Attributes:
        flavour: TensorRT, or TensorRT for RTX.
        since: The first release.
        before: The first release that is not served any more; ``None`` where there is no such.
    """

    flavour: Flavour
    since: tuple[int, int]
    before: tuple[int, int] | None = None

    def includes(self, version: tuple[int, ...]) -> bool:
        """Whether a release of this flavour is served."""
        return self.since <= version[:2] and (self.before is None or version[:2] < self.before)


SERVES: Final = Serves("tensorrt", since=OLDEST)

BOTH: Final = (Serves("tensorrt", since=OLDEST), Serves("tensorrt-rtx", since=OLDEST_RTX))
"""Versions served by modules that use only what TensorRT and TensorRT for RTX have in common."""


@dataclass(frozen=True)
class TensorRTLibrary:
    """One installed library.

    Attributes:
        module: The Python module.
        flavour: TensorRT, or TensorRT for RTX.
        version: Version of the library as numbers.
    """

    module: ModuleType
    flavour: Flavour
    version: tuple[int, ...]

    @property
    def title(self) -> str:
        """Name and version, for messages."""
        name = "TensorRT" if self.flavour == "tensorrt" else "TensorRT for RTX"
        return f"{name} {'.'.join(map(str, self.version))}"

    @property
    def plugin_route(self) -> PluginRoute:
        """Way of putting a plugin into an engine: ``aot`` embeds the kernel, ``v3`` calls Python at run time.

        Raises:
            BackendError: TensorRT for RTX, which has no plugins, or TensorRT before 10.0.
        """
        if self.flavour == "tensorrt-rtx":
            raise BackendError(
                f"{self.title} has no plugins: its parser aborts the process when it meets a registered one; "
                "build with `--attention native`, or use TensorRT itself for `--attention plugin`"
            )
        if self.version[:2] < OLDEST:
            raise BackendError(
                f"expected TensorRT 10.0 or later for the attention plugins, got {self.title}; "
                "update TensorRT (JetPack 6.1 or later on a Jetson)"
            )
        return "aot" if self.version[:2] >= AHEAD_OF_TIME_PLUGINS else "v3"

    @property
    def has_native_attention(self) -> bool:
        """Whether ONNX's ``Attention`` becomes one fused layer."""
        return self.flavour == "tensorrt-rtx" or self.version[:2] >= NATIVE_ATTENTION

    @property
    def has_faulty_plugins(self) -> bool:
        """Whether this release's plugin interface is known to be broken."""
        return self.flavour == "tensorrt" and self.version[:2] in FAULTY_PLUGINS

    @property
    def shares_activation_memory(self) -> bool:
        """Whether several execution contexts may be given one memory whose size is told, as from 10.1 on."""
        return self.flavour == "tensorrt-rtx" or self.version[:2] >= SHARED_ACTIVATION_MEMORY

    @property
    def compiles_at_start(self) -> bool:
        """Whether kernels are compiled where the engine is opened, and may be kept for the next start."""
        return self.flavour == "tensorrt-rtx"

    @property
    def keeps_timing_cache(self) -> bool:
        """Whether timings of one build serve the next; TensorRT for RTX times nothing, its cache is empty."""
        return self.flavour == "tensorrt"

    @property
    def needs_strongly_typed_flag(self) -> bool:
        """Whether a network is weakly typed unless it is created otherwise; from 11 on none is."""
        return self.flavour == "tensorrt" and self.version[:2] < ALWAYS_STRONGLY_TYPED

    @property
    def network_flags(self) -> int:
        """The flags that create a strongly typed network, without those of plugins."""
        if not self.needs_strongly_typed_flag:
            return 0
        trt = self.module
        return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def parse_version(text: str) -> tuple[int, ...]:
    """``10.13.3.9`` as numbers; what follows them (``.post1``, ``rc2``) is left out.

    Raises:
        BackendError: It does not begin with two numbers.
    """
    match = re.match(r"\d+(\.\d+)+", text)
    if match is None:
        raise BackendError(f"expected a TensorRT version such as 10.13.3, got {text!r}; reinstall TensorRT")
    return tuple(int(part) for part in match.group().split("."))


def library_of(module: ModuleType) -> TensorRTLibrary:
    """Describe an imported ``tensorrt`` or ``tensorrt_rtx``.

    TensorRT for RTX is recognised by its own class ``ComputeCapability`` too, since its module may have been
    imported under the other's name.

    Raises:
        BackendError: The version of the library cannot be read.
    """
    is_rtx = "tensorrt_rtx" in module.__name__ or hasattr(module, "ComputeCapability")
    return TensorRTLibrary(
        module, "tensorrt-rtx" if is_rtx else "tensorrt", parse_version(module.__version__)
    )


def rtx_cuda_release() -> str | None:
    """CUDA release that the installed TensorRT for RTX is made with, e.g. ``13``; ``None`` if unknown.

    Its library tells it nowhere; its packages carry it in their names.
    """
    with contextlib.suppress(PackageNotFoundError):
        for wanted in requires("tensorrt_rtx") or ():
            if match := re.match(r"tensorrt[-_]rtx[-_]cu(\d+)", wanted):
                return match[1]
    return None


def load_library(flavour: Flavour) -> TensorRTLibrary:
    """The installed TensorRT, or TensorRT for RTX.

    Raises:
        MissingDependencyError: It is not installed.
    """
    return library_of(require(TENSORRT if flavour == "tensorrt" else TENSORRT_RTX))
