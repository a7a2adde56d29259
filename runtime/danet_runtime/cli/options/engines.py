"""Building an engine with a progress bar, and opening it, for `danet build`, `run` and `profile`."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from danet_runtime.cli.console.printing import progress_console, tell

if TYPE_CHECKING:
    from danet_runtime.bundle import Bundle, Precision
    from danet_runtime.inference.segmenter import Segmenter
    from danet_runtime.tensorrt.build.builder import BuiltEngine
    from danet_runtime.tensorrt.build.library import Flavour
    from danet_runtime.tensorrt.engine_build import BuildPlan, EngineBuild
    from danet_runtime.tensorrt.engine_obtain import Obtained
    from danet_runtime.tensorrt.store.store import StoredEngine


def build_shown(
    plan: BuildPlan, folder: Path | None = None, *, rebuild: bool = False
) -> tuple[EngineBuild, Obtained]:
    """Build an engine or find it built, in the first form that serves; each that fails is told on stderr.

    Args:
        plan: The engine to build, in all its forms.
        folder: Folder of the engines; by default the user's cache.
        rebuild: Build it although it is there.

    Returns:
        The form that serves, and its engine.

    Raises:
        BackendError: It cannot be built, or misses the golden frame; what was there stays.
        Exit: Ctrl-C or SIGTERM ended it; what was there stays.
    """
    from danet_runtime.tensorrt.engine_fallback import obtain_first
    from danet_runtime.tensorrt.engine_obtain import usable_engine
    from danet_runtime.tensorrt.store.folder import require_own_folder
    from danet_runtime.tensorrt.store.store import default_engine_folder

    place = folder or default_engine_folder()
    require_own_folder(place)

    def stored(planned: EngineBuild) -> StoredEngine | None:
        device = planned.device if planned.runs_here else None
        return usable_engine(place, planned.request, planned.library, device, warn=False)

    return obtain_first(
        plan,
        lambda planned: _obtain_shown(planned, place, rebuild=rebuild),
        None if rebuild else stored,
        lambda sentence: tell(f"danet: {sentence}", err=True),
    )


def _obtain_shown(planned: EngineBuild, folder: Path, *, rebuild: bool) -> Obtained:
    """Build one form or find it built, with a progress bar on stderr."""
    import typer

    from danet_runtime.bundle.golden import golden_frame
    from danet_runtime.cli.console.progress import ShownProgress
    from danet_runtime.tensorrt.engine_executor import try_engine
    from danet_runtime.tensorrt.engine_obtain import ThisGpu, obtain_engine

    bundle, request = planned.bundle, planned.request
    here: ThisGpu | None = None
    if planned.device is not None and planned.runs_here:
        here = ThisGpu(
            planned.device, lambda plan: try_engine(bundle, request.precision, plan, planned.library)
        )

    def waiting(process: int | None) -> None:
        who = "another process" if process is None else f"process {process}"
        tell(f"danet: {who} is building this very engine; waiting for it", err=True)

    with ShownProgress(progress_console(), f"{request.library}:{request.precision}") as shown:

        def progress(phase: str, step: int, steps: int) -> None:
            shown(step, steps, phase[:40])

        def build() -> BuiltEngine:
            if here is not None:
                golden_frame(bundle)  # what the trial lacks is told before the long build, not after it
                planned.check_kernels()  # so is a kernel that computes wrongly here
            return planned.build(folder, progress)

        try:
            obtained = obtain_engine(
                folder,
                request,
                planned.library,
                build,
                here=here,
                rebuild=rebuild,
                on_wait=waiting,
            )
        except KeyboardInterrupt:
            tell("danet: interrupted; nothing was kept", err=True)
            raise typer.Exit(1) from None
    return obtained


def tell_what_is_trusted(bundle: Bundle, folder: Path | None) -> None:
    """Say on stderr, once a folder, what a trusted key does not vouch for; nothing where none was asked for.

    Args:
        bundle: The bundle, opened with or without trusted keys.
        folder: Folder of the engines; by default the user's cache.

    Raises:
        BackendError: Others can write to the folder, so it is not to be trusted.
    """
    from danet_runtime.tensorrt.store.folder import require_own_folder
    from danet_runtime.tensorrt.store.store import default_engine_folder

    if bundle.signed_by is not None:
        folder = folder or default_engine_folder()
        require_own_folder(folder)
        _tell_of_folder(folder)


@cache
def _tell_of_folder(folder: Path) -> None:

    tell(
        "danet: --trusted-key vouches for the bundle; engines are made of it on this machine and are not "
        f"signed: those in {folder} are trusted because nobody but you can write there",
        err=True,
    )


def warn_of_doubt(bundle: Bundle, precision: Precision) -> None:
    """One line on stderr where an INT8 variant was never held to its accuracy on labelled frames."""
    variant = bundle.manifest.variants.get(precision)
    if precision != "int8" or variant is None:
        return
    held = variant.quantisation
    doubt = held.gate_doubt if held else "nothing measured its accuracy"
    if doubt is not None:
        tell(
            f"danet: warning: INT8 of {bundle.path} was not gated: {doubt}; "
            "`danet calibrate --labelled` measures it",
            err=True,
        )


def open_segmenter(
    bundle: Bundle | Path,
    precision: Precision | None,
    backend: str,
    *,
    threads: int | None = None,
    engine_folder: Path | None = None,
    build: bool = False,
) -> Segmenter:
    """A segmenter on one of the backends.

    Args:
        bundle: An open bundle, or the path of one.
        precision: Variant of the bundle; by default the one that the backend states, else the most precise.
        backend: Name of the backend.
        threads: CPU threads, for ONNX Runtime alone.
        engine_folder: Folder of the engines, for TensorRT alone.
        build: Build the engine first where none runs here, for TensorRT alone.

    Raises:
        UsageError: An option is not for this backend.
        BackendError: There is no GPU, no engine, or it cannot be built.
    """
    from danet_runtime.backends.registry import engine_backends, find_backend, open_backend
    from danet_runtime.backends.statement import EngineStatement
    from danet_runtime.bundle import Bundle
    from danet_runtime.errors import UsageError
    from danet_runtime.inference.segmenter import Segmenter, most_precise

    stated = find_backend(backend).statement
    if not isinstance(stated, EngineStatement):
        if build or engine_folder is not None:
            raise UsageError(
                f"{backend} takes no engines; leave --build and --engine-dir out, or choose --backend "
                f"{' or '.join(engine_backends())}"
            )
        segmenter = Segmenter(bundle, precision or stated.precision, backend, threads=threads)
        warn_of_doubt(segmenter.bundle, segmenter.precision)
        return segmenter
    opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    chosen = precision or stated.precision or most_precise(opened)
    warn_of_doubt(opened, chosen)
    if build:
        _build_where_none_runs(opened, chosen, stated.flavour, engine_folder)
    tell_what_is_trusted(opened, engine_folder)
    engine = open_backend(opened, chosen, backend, threads=threads, engine_folder=engine_folder)
    return Segmenter(opened, chosen, engine)


def _build_where_none_runs(
    bundle: Bundle, precision: Precision, flavour: Flavour, folder: Path | None
) -> None:
    from danet_runtime.tensorrt.build.library import load_library
    from danet_runtime.tensorrt.cuda.device import this_device
    from danet_runtime.tensorrt.engine_build import plan_build
    from danet_runtime.tensorrt.store.check import Wanted, find_engine_here
    from danet_runtime.tensorrt.store.store import default_engine_folder

    library, device = load_library(flavour), this_device()
    wanted = Wanted(bundle.path, bundle.sha256, precision, flavour, folder or default_engine_folder())
    engine, _damaged = find_engine_here(wanted, library, device)
    if engine is None:
        tell_what_is_trusted(bundle, folder)
        build_shown(plan_build(bundle, precision, flavour), folder)
