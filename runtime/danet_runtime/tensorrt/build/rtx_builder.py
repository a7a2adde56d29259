"""Building engines with TensorRT for RTX, ahead of time: it needs neither a GPU nor a driver.

TensorRT for RTX has no plugins; it builds the function bodies of the custom nodes. What it builds holds
kernels for every target asked for, and is loaded on a machine with such a GPU. Whether bytes are a plan at
all it tells without one too; TensorRT's bindings have no such question, and an engine of theirs is held to
its manifest alone until it is deserialised.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from danet_runtime.dependencies import TENSORRT_RTX, require
from danet_runtime.errors import UsageError
from danet_runtime.tensorrt.build.builder import (
    BuilderOptions,
    BuiltEngine,
    NetworkSetup,
    Progress,
    build_plan,
)
from danet_runtime.tensorrt.build.library import OLDEST_RTX, Serves, TensorRTLibrary, library_of
from danet_runtime.tensorrt.build.log import make_log

SERVES: Final = Serves("tensorrt-rtx", since=OLDEST_RTX)


def known_targets() -> list[str]:
    """The GPU architectures that the installed TensorRT for RTX builds for, as ``sm_89``.

    Raises:
        MissingDependencyError: It is not installed.
    """
    trt = require(TENSORRT_RTX)
    return [f"sm_{name[2:]}" for name in sorted(trt.ComputeCapability.__members__) if name.startswith("SM")]


def target_setter(targets: Sequence[str]) -> Callable[[Any], None]:
    """Return a function that sets the target architectures on a builder's configuration.

    It also asks for engines that take all memory from their user, without which TensorRT for RTX cannot be
    captured in a CUDA graph (release notes of 1.2); the flag is off by default.

    Raises:
        MissingDependencyError: TensorRT for RTX is not installed.
        UsageError: No architecture, or one that it does not know.
    """
    trt = require(TENSORRT_RTX)
    known = known_targets()
    unknown = [target for target in targets if target not in known]
    if unknown or not targets:
        raise UsageError(
            f"TensorRT for RTX {trt.__version__} builds for {', '.join(known)} "
            f"(got {', '.join(map(repr, unknown)) or 'none'}); "
            "other GPUs, Jetson among them, take TensorRT on the device itself"
        )
    names = ["SM" + target.removeprefix("sm_") for target in dict.fromkeys(targets)]

    def configure(config: Any) -> None:  # noqa: ANN401 - a class known at run time
        config.num_compute_capabilities = len(names)
        for index, name in enumerate(names):
            config.set_compute_capability(trt.ComputeCapability.__members__[name], index)
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)

    return configure


def build_engine(
    model: bytes,
    targets: Sequence[str],
    progress: Progress | None = None,
    options: BuilderOptions | None = None,
) -> BuiltEngine:
    """Build one engine.

    Args:
        model: An ONNX file with standard operators, or custom ones with function bodies.
        targets: GPU architectures, as ``sm_89``; at least one.
        progress: Receives the progress of the builder.
        options: Limits and effort of the builder; its defaults where they are not given.

    Raises:
        MissingDependencyError: TensorRT for RTX is not installed.
        UsageError: No architecture, or one that it does not know.
        BackendError: The model cannot be parsed or built; the message holds what the library said.
    """
    configure = target_setter(targets)
    # No flags: networks of TensorRT for RTX are always strongly typed.
    library = library_of(require(TENSORRT_RTX))
    return build_plan(library, model, NetworkSetup(configure=configure), progress, options=options)


def plan_fault(library: TensorRTLibrary, plan: bytes) -> str | None:
    """Return why bytes are no plan for this library; ``None`` if they are one, or if it cannot tell."""
    if not SERVES.includes(library.version) or library.flavour != SERVES.flavour:
        return None
    trt = library.module
    runtime = trt.Runtime(make_log(trt))
    # The verdict itself is of this machine, on which an engine for another need not be valid.
    _verdict, found = runtime.get_engine_validity(plan)
    if int(found) & int(trt.EngineInvalidityDiagnostics.MALFORMED_ENGINE):
        return f"its {len(plan)} bytes are no plan of {library.title}"
    return None
