"""From an ONNX file to a serialised engine, with TensorRT or TensorRT for RTX: parse, configure, build.

What the two and their releases do not share is handed in: the flags that the network is created with, and
what is to be set on the configuration.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Annotated, Any, Final, Protocol

from pydantic import Field

from danet_runtime.bundle.manifest import Schema
from danet_runtime.errors import BackendError
from danet_runtime.tensorrt.build.interruption import HeldSignals, held_signals
from danet_runtime.tensorrt.build.layers import Convolutions, count_convolutions
from danet_runtime.tensorrt.build.library import BOTH, OPTIMIZATION_LEVELS, TensorRTLibrary
from danet_runtime.tensorrt.build.log import first_of, make_log, make_recorder, parser_problems

SERVES: Final = BOTH

_ACTIVATION_MEMORY = re.compile(r"Total Activation Memory: (\d+)")
_WEIGHTS_MEMORY = re.compile(r"Total Weights Memory: (\d+)")

_NO_FP32_GEMM: Final = "FP32 GEMM is not supported"  # TensorRT for RTX for sm_75, of the channel attention

Progress = Callable[[str, int, int], None]
"""Called with the name of a build phase, the step it is at, and its number of steps."""


class BuilderOptions(Schema):
    """Options of the builder; ``None`` leaves the library's own default."""

    workspace_mib: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="most scratch memory that a layer may take on the device, in MiB"
    )
    optimization_level: Annotated[int, Field(ge=OPTIMIZATION_LEVELS[0], le=OPTIMIZATION_LEVELS[1])] | None = (
        Field(default=None, description="0 builds fastest, 5 searches longest")
    )


class Timings(Protocol):
    """Timings of kernels that one build leaves for the next."""

    def attach(self, config: Any) -> None:  # noqa: ANN401 - an IBuilderConfig
        """Give a configuration what earlier builds measured."""

    def keep(self, config: Any) -> None:  # noqa: ANN401 - an IBuilderConfig
        """Save what a build with this configuration added."""


@dataclass(frozen=True)
class BuiltEngine:
    """A serialised engine and the builder's figures about it.

    Attributes:
        plan: The serialised engine.
        activation_memory_bytes: Device memory for activations, beside inputs and outputs; ``None`` where the
            builder's log does not tell.
        weights_memory_bytes: Device memory for weights, likewise.
        layers: Layers of the network as it was parsed.
        build_seconds: Time in the builder.
        library_version: Version of TensorRT, or of TensorRT for RTX.
        convolutions: Convolutions of the finished engine; ``None`` where they were not asked for, or the
            builder does not list them.
        passed_over: Forms of the attention that failed before, each with the reason.
    """

    plan: bytes
    activation_memory_bytes: int | None
    weights_memory_bytes: int | None
    layers: int
    build_seconds: float
    library_version: str
    convolutions: Convolutions | None = None
    passed_over: tuple[str, ...] = ()


@dataclass(frozen=True)
class NetworkSetup:
    """How the network is created and configured for the GPUs that an engine is built for.

    Attributes:
        flags: Flags that the network is created with.
        configure: Sets what the target needs on the builder's configuration, beyond its defaults.
        failures: Reasons for refusals, added by plugins; shown when the library returns nothing.
        workspace_bytes: Most scratch memory of a layer where the options do not limit it; ``None``: no limit.
        full_fp32: Keep products of FP32 in FP32. By default TensorRT rounds their factors to TF32, which has
            the ten bits of FP16.
    """

    flags: int = 0
    configure: Callable[[Any], None] | None = None
    failures: Sequence[str] = ()
    workspace_bytes: int | None = None
    full_fp32: bool = False

    def with_limits(self, options: BuilderOptions) -> NetworkSetup:
        """The same, with the limit of the options where they set one."""
        if options.workspace_mib is None:
            return self
        return replace(self, workspace_bytes=options.workspace_mib << 20)


def build_plan(
    library: TensorRTLibrary,
    model: bytes,
    setup: NetworkSetup,
    progress: Progress | None = None,
    *,
    options: BuilderOptions | None = None,
    timings: Timings | None = None,
    list_layers: bool = False,
) -> BuiltEngine:
    """Build one engine.

    Args:
        library: TensorRT, or TensorRT for RTX.
        model: An ONNX file.
        setup: How its network is created and configured.
        progress: Receives the progress of the builder.
        options: Limits and effort of the builder; its defaults where they are not given.
        timings: Layer timings of earlier builds, which are read and added to.
        list_layers: Ask for the layers of the finished engine, so that its convolutions are counted.

    Raises:
        BackendError: The model cannot be parsed or built; the message holds what the library said.
    """
    with held_signals() as held:
        monitor = _make_monitor(library.module, progress or _tell_nobody, held)
        options = options or BuilderOptions()
        setup = setup.with_limits(options)
        return _build(library, model, setup, monitor, options, timings, list_layers)


def _build(
    library: TensorRTLibrary,
    model: bytes,
    setup: NetworkSetup,
    monitor: Any,  # noqa: ANN401 - an IProgressMonitor
    options: BuilderOptions,
    timings: Timings | None,
    list_layers: bool,
) -> BuiltEngine:
    trt = library.module
    log = make_log(trt)
    recorder = make_recorder(trt)
    builder = trt.Builder(log)
    network = builder.create_network(setup.flags)
    # Only now: TensorRT for RTX 1.7.1 crashes when it frees a network that was created with a recorder from
    # Python, or was given one.
    builder.error_recorder = recorder
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model):
        problems = [*setup.failures, *parser_problems(parser), *recorder.errors]
        raise BackendError(f"{library.title} cannot parse the model: {first_of(problems)}")
    config = builder.create_builder_config()
    if setup.configure is not None:
        setup.configure(config)
    if setup.full_fp32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if setup.workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, setup.workspace_bytes)
    _apply(library, config, options)
    if list_layers:
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if timings is not None:
        timings.attach(config)
    config.progress_monitor = monitor
    started = time.perf_counter()
    plan = builder.build_serialized_network(network, config)
    seconds = time.perf_counter() - started
    if monitor.interruption is not None:
        raise monitor.interruption
    if plan is None:
        problems = [*setup.failures, *recorder.errors, *log.errors]
        advice = _advice(library, options, setup, problems)
        raise BackendError(f"{library.title} cannot build the model: {first_of(problems)}{advice}")
    if timings is not None:
        timings.keep(config)
    return BuiltEngine(
        plan=bytes(plan),
        activation_memory_bytes=_figure(_ACTIVATION_MEMORY, log.messages),
        weights_memory_bytes=_figure(_WEIGHTS_MEMORY, log.messages),
        layers=network.num_layers,
        build_seconds=seconds,
        library_version=trt.__version__,
        convolutions=count_convolutions(log.layers) if list_layers else None,
    )


def _apply(library: TensorRTLibrary, config: Any, options: BuilderOptions) -> None:  # noqa: ANN401
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
        taken = config.builder_optimization_level  # a level that is refused is refused silently
        if taken != options.optimization_level:
            raise BackendError(
                f"{library.title} did not take optimization level {options.optimization_level}, it stays at "
                f"{taken}; give another --optimization-level, or leave it out"
            )


def _advice(
    library: TensorRTLibrary, options: BuilderOptions, setup: NetworkSetup, problems: Sequence[str]
) -> str:
    if library.flavour == "tensorrt-rtx" and any(_NO_FP32_GEMM in problem for problem in problems):
        return "; for sm_75 build with TensorRT on the device (`danet build --backend tensorrt`)"
    if options.workspace_mib is not None:
        return f"; if that is memory, give more than --workspace-mib {options.workspace_mib}, or leave it out"
    if setup.workspace_bytes is not None:
        return (
            f"; if that is memory: a layer may take {setup.workspace_bytes >> 20} MiB, half of what is free, "
            "on a GPU that shares the host's memory; end other programs, or give --workspace-mib"
        )
    return ""


def _figure(pattern: re.Pattern[str], messages: Sequence[str]) -> int | None:
    # A plan for several targets tells the figure once for each; a device must have the largest.
    return max(
        (int(match.group(1)) for message in messages if (match := pattern.search(message))), default=None
    )


def _tell_nobody(_phase: str, _step: int, _steps: int) -> None:
    """The progress of a build that nobody watches."""


def _make_monitor(trt: ModuleType, progress: Progress, held: HeldSignals) -> Any:  # noqa: ANN401
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        """Passes the builder's phases on.

        An exception must not pass through TensorRT: it is kept, and ends the build, as a held signal does.
        """

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}
            self.interruption: BaseException | None = None

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps
            self._tell(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._tell(phase_name, step + 1, self._steps.get(phase_name, step + 1))
            return self.interruption is None and not held

        def phase_finish(self, phase_name: str) -> None:
            steps = self._steps.pop(phase_name, 1)
            self._tell(phase_name, steps, steps)

        def _tell(self, phase_name: str, step: int, steps: int) -> None:
            try:
                progress(phase_name, step, steps)
            except BaseException as interruption:  # noqa: BLE001 - raised again when the builder returns
                self.interruption = interruption

    return Monitor()
