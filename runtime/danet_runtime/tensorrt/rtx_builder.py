"""Building engines with TensorRT for RTX, ahead of time: it needs neither a GPU nor a driver.

TensorRT for RTX has no plugins; it builds the function bodies of the custom nodes. What it builds holds
kernels for every target asked for, and is loaded on a machine with such a GPU.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from danet_runtime.dependencies import TENSORRT_RTX, require
from danet_runtime.errors import BackendError, UsageError
from danet_runtime.tensorrt.library import Serves

SERVES: Final = Serves("tensorrt-rtx", since=(1, 7))

_ACTIVATION_MEMORY = re.compile(r"Total Activation Memory: (\d+) bytes")
_WEIGHTS_MEMORY = re.compile(r"Total Weights Memory: (\d+) bytes")

Progress = Callable[[str, int, int], None]
"""Called with the name of a build phase, the step it is at, and its number of steps."""


@dataclass(frozen=True)
class BuiltEngine:
    """A serialised engine and what the builder said of it.

    Attributes:
        plan: The serialised engine.
        activation_memory_bytes: Device memory for activations, beside inputs and outputs.
        weights_memory_bytes: Device memory for weights.
        layers: Layers of the network as it was parsed.
        build_seconds: Time in the builder.
        library_version: Of TensorRT for RTX.
    """

    plan: bytes
    activation_memory_bytes: int
    weights_memory_bytes: int
    layers: int
    build_seconds: float
    library_version: str


def known_targets() -> list[str]:
    """The GPU architectures that the installed TensorRT for RTX builds for, as ``sm_89``.

    Raises:
        MissingDependencyError: It is not installed.
    """
    trt = require(TENSORRT_RTX)
    return [f"sm_{name[2:]}" for name in sorted(trt.ComputeCapability.__members__) if name.startswith("SM")]


def build_engine(model: bytes, targets: Sequence[str], progress: Progress | None = None) -> BuiltEngine:
    """Build one engine.

    Args:
        model: An ONNX file with standard operators, or custom ones with function bodies.
        targets: GPU architectures, as ``sm_89``; at least one.
        progress: Is told how far the builder is.

    Raises:
        MissingDependencyError: TensorRT for RTX is not installed.
        UsageError: An architecture that it does not know.
        BackendError: The model cannot be parsed or built; the message holds what the library said.
    """
    trt = require(TENSORRT_RTX)
    capabilities = _capabilities(trt, targets)
    log = _make_log(trt)
    builder = trt.Builder(log)
    network = builder.create_network(0)  # strongly typed; TensorRT for RTX knows nothing else
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model):
        problems = [str(parser.get_error(index)) for index in range(parser.num_errors)]
        raise BackendError(f"TensorRT for RTX {trt.__version__} cannot parse the model: {_first(problems)}")
    config = builder.create_builder_config()
    config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        config.set_compute_capability(capability, index)
    monitor = _make_monitor(trt, progress) if progress else None
    if monitor is not None:
        config.progress_monitor = monitor
    started = time.perf_counter()
    plan = builder.build_serialized_network(network, config)
    seconds = time.perf_counter() - started
    if plan is None:
        raise BackendError(f"TensorRT for RTX {trt.__version__} cannot build the model: {_first(log.errors)}")
    return BuiltEngine(
        plan=bytes(plan),
        activation_memory_bytes=_figure(_ACTIVATION_MEMORY, log.messages),
        weights_memory_bytes=_figure(_WEIGHTS_MEMORY, log.messages),
        layers=network.num_layers,
        build_seconds=seconds,
        library_version=trt.__version__,
    )


def _capabilities(trt: ModuleType, targets: Sequence[str]) -> list[Any]:
    known = known_targets()
    for target in targets:
        if target not in known:
            raise UsageError(
                f"TensorRT for RTX {trt.__version__} builds for {', '.join(known)} (got {target!r}); "
                "other GPUs, Jetson among them, take TensorRT on the device itself"
            )
    return [
        trt.ComputeCapability.__members__["SM" + target.removeprefix("sm_")]
        for target in dict.fromkeys(targets)
    ]


def _figure(pattern: re.Pattern[str], messages: Sequence[str]) -> int:
    # One plan holds the same figures for each target; the largest is what a device must have.
    figures = [int(match.group(1)) for message in messages if (match := pattern.search(message))]
    if not figures:
        raise BackendError(
            f"the builder's log holds no line like {pattern.pattern!r}; this version logs otherwise"
        )
    return max(figures)


def _first(problems: Sequence[str]) -> str:
    return "; ".join(problems[:3]) if problems else "it gave no reason"


def _make_log(trt: ModuleType) -> Any:  # noqa: ANN401 - a subclass of a class known at run time
    class Log(trt.ILogger):  # type: ignore[misc, name-defined]
        """Keeps what the library says: figures are read from it, and errors shown with a failure."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.messages: list[str] = []
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:  # noqa: ANN401
            if severity <= trt.ILogger.Severity.ERROR:
                self.errors.append(message)
            elif severity == trt.ILogger.Severity.INFO:
                self.messages.append(message)

    return Log()


def _make_monitor(trt: ModuleType, progress: Progress) -> Any:  # noqa: ANN401
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        """Passes the builder's phases on."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps
            progress(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            progress(phase_name, step + 1, self._steps.get(phase_name, step + 1))
            return True

        def phase_finish(self, phase_name: str) -> None:
            steps = self._steps.pop(phase_name, 1)
            progress(phase_name, steps, steps)

    return Monitor()
