"""From an ONNX file to a serialised engine, with TensorRT or TensorRT for RTX: parse, configure, build.

What the two and their releases do not share is handed in: the flags that the network is created with, and
what is to be set on the configuration.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from danet_runtime.errors import BackendError
from danet_runtime.tensorrt.library import OLDEST, Serves, TensorRTLibrary

SERVES: Final = Serves("tensorrt", since=OLDEST)

_ACTIVATION_MEMORY = re.compile(r"Total Activation Memory: (\d+)")
_WEIGHTS_MEMORY = re.compile(r"Total Weights Memory: (\d+)")

Progress = Callable[[str, int, int], None]
"""Called with the name of a build phase, the step it is at, and its number of steps."""


@dataclass(frozen=True)
class BuiltEngine:
    """A serialised engine and what the builder said of it.

    Attributes:
        plan: The serialised engine.
        activation_memory_bytes: Device memory for activations, beside inputs and outputs; ``None`` where the
            builder's log does not tell.
        weights_memory_bytes: Device memory for weights, likewise.
        layers: Layers of the network as it was parsed.
        build_seconds: Time in the builder.
        library_version: Of TensorRT, or of TensorRT for RTX.
    """

    plan: bytes
    activation_memory_bytes: int | None
    weights_memory_bytes: int | None
    layers: int
    build_seconds: float
    library_version: str


def build_plan(
    library: TensorRTLibrary,
    model: bytes,
    network_flags: int,
    configure: Callable[[Any], None] | None = None,
    progress: Progress | None = None,
    failures: Sequence[str] = (),
) -> BuiltEngine:
    """Build one engine.

    Args:
        library: TensorRT, or TensorRT for RTX.
        model: An ONNX file.
        network_flags: What the network is created with.
        configure: Sets what the target needs on the builder's configuration, beyond its defaults.
        progress: Is told how far the builder is.
        failures: Filled by plugins with why they refused; shown when the library returns nothing.

    Raises:
        BackendError: The model cannot be parsed or built; the message holds what the library said.
    """
    trt = library.module
    log = _make_log(trt)
    builder = trt.Builder(log)
    network = builder.create_network(network_flags)
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model):
        problems = [str(parser.get_error(index)) for index in range(parser.num_errors)]
        raise BackendError(f"{library.title} cannot parse the model: {_first([*failures, *problems])}")
    config = builder.create_builder_config()
    if configure is not None:
        configure(config)
    if progress is not None:
        config.progress_monitor = _make_monitor(trt, progress)
    started = time.perf_counter()
    plan = builder.build_serialized_network(network, config)
    seconds = time.perf_counter() - started
    if plan is None:
        raise BackendError(f"{library.title} cannot build the model: {_first([*failures, *log.errors])}")
    return BuiltEngine(
        plan=bytes(plan),
        activation_memory_bytes=_figure(_ACTIVATION_MEMORY, log.messages),
        weights_memory_bytes=_figure(_WEIGHTS_MEMORY, log.messages),
        layers=network.num_layers,
        build_seconds=seconds,
        library_version=trt.__version__,
    )


def _figure(pattern: re.Pattern[str], messages: Sequence[str]) -> int | None:
    # A plan for several targets tells the figure once for each; a device must have the largest.
    return max(
        (int(match.group(1)) for message in messages if (match := pattern.search(message))), default=None
    )


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
