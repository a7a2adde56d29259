"""Check that an engine can run here, before it is deserialised; its errors say what to do."""

from __future__ import annotations

import contextlib
import logging
import shlex
from dataclasses import dataclass
from pathlib import Path

from danet_runtime.bundle.manifest import Precision
from danet_runtime.errors import BackendError
from danet_runtime.tensorrt.build.library import Flavour, TensorRTLibrary
from danet_runtime.tensorrt.build.rtx_builder import plan_fault
from danet_runtime.tensorrt.cuda.device import Device
from danet_runtime.tensorrt.store.manifest import EngineManifest, read_engine_manifest
from danet_runtime.tensorrt.store.store import StoredEngine, manifest_beside, manifests_of, read_engine

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """The engine that is to run, and where engines are kept; it knows the command that builds it.

    Attributes:
        bundle: Path of the bundle.
        bundle_sha256: Hash of its manifest.
        precision: Variant of the bundle to run.
        library: TensorRT, or TensorRT for RTX.
        folder: Folder of the engines.
        default_folder: Whether ``folder`` is the default folder of `danet build`.
    """

    bundle: Path
    bundle_sha256: str
    precision: Precision
    library: Flavour
    folder: Path
    default_folder: bool = True

    def build_command(self, device: Device, manifest: EngineManifest | None = None) -> str:
        """The command that builds it for a device, in the form of an engine that is there already."""
        words = ["danet", "build", str(self.bundle), "--backend", f"{self.library}:{self.precision}"]
        if self.library == "tensorrt-rtx":
            there = manifest.targets if manifest is not None else ()
            for target in there if device.gpu.arch in there else (device.gpu.arch,):
                words += ["--target", target]
        if manifest is not None:
            # A plugin's kernels are for one architecture: elsewhere the form is chosen anew.
            if manifest.attention != "plugin" or manifest.targets == (device.gpu.arch,):
                words += ["--attention", manifest.attention]
            if manifest.kernel_variant == "small" and "plugin" in words:
                words += ["--kernels", "small"]
            if manifest.options.workspace_mib is not None:
                words += ["--workspace-mib", str(manifest.options.workspace_mib)]
            if manifest.options.optimization_level is not None:
                words += ["--optimization-level", str(manifest.options.optimization_level)]
        if not self.default_folder:
            words += ["--engine-dir", str(self.folder)]
        return shlex.join(words)


def mismatches(manifest: EngineManifest, library: TensorRTLibrary, device: Device) -> list[str]:
    """Return the reasons why an engine cannot run with this library on this device; empty if it can."""
    found = []
    if manifest.library != library.flavour:
        found.append(f"it is for {manifest.library}, this is {library.title}")
    elif manifest.library_version != library.module.__version__:
        found.append(
            f"it was built with {manifest.library} {manifest.library_version}, "
            f"this is {library.module.__version__}"
        )
    if manifest.platform != device.platform:
        found.append(f"it is for {manifest.platform}, this is {device.platform}")
    if device.gpu.arch not in manifest.targets:
        found.append(f"it is for {', '.join(manifest.targets)}, this GPU is {device.gpu}")
    elif manifest.gpu is not None and manifest.gpu != device.gpu:
        found.append(
            f"it is tuned for {manifest.gpu}, this GPU is {device.gpu}{_power_mode(manifest, device)}"
        )
    # A newer driver runs what an older one did; an older one need not know what the builder used.
    if manifest.device is not None and _older(device.cuda_driver, manifest.device.cuda_driver):
        found.append(
            f"it was built under a driver of CUDA {manifest.device.cuda_driver}, this one is of CUDA "
            f"{device.cuda_driver}, which is older"
        )
    return found


def _power_mode(manifest: EngineManifest, device: Device) -> str:
    there, here = manifest.gpu, device.gpu
    if there is None or (there.name, there.arch) != (here.name, here.arch):
        return ""
    return (
        " (a Jetson's power mode, `nvpmodel`, switches multiprocessors off: build one engine in each mode "
        "that you use, they are kept side by side)"
    )


def load_engine(path: Path, wanted: Wanted, library: TensorRTLibrary, device: Device) -> StoredEngine:
    """Read an engine and make sure that it may be deserialised here: engines are native code.

    Args:
        path: The plan, or its manifest.
        wanted: The engine that is expected.
        library: Library that will deserialise it.
        device: GPU that will run it.

    Raises:
        BackendError: It is not whole, of another bundle, or for another machine; the message holds the
            command that builds the right one.
    """
    try:
        engine = read_engine(path)
    except BackendError as error:
        form: EngineManifest | None = None
        with contextlib.suppress(
            BackendError
        ):  # where the plan alone is damaged, its manifest tells the form
            form = read_engine_manifest(manifest_beside(path))
        raise BackendError(f"{error}; build it again: `{wanted.build_command(device, form)}`") from error
    manifest = engine.manifest
    found = mismatches(manifest, library, device)
    if not found and (fault := plan_fault(library, engine.plan)):
        found.append(fault)
    if manifest.bundle_sha256 != wanted.bundle_sha256:
        found.insert(0, f"it was built from another bundle than {wanted.bundle}")
    if manifest.precision != wanted.precision:
        found.insert(0, f"it is {manifest.precision}, not {wanted.precision}")
    if found:
        raise BackendError(
            f"{engine.path} does not run here: {'; '.join(found)}; "
            f"build it for this machine: `{wanted.build_command(device, manifest)}`"
        )
    return engine


def choose_engine(wanted: Wanted, library: TensorRTLibrary, device: Device) -> StoredEngine:
    """The first engine of a bundle that runs here, as :func:`manifests_of` orders them.

    A damaged one is passed over with a warning in the log, where another runs.

    Raises:
        BackendError: There is none; the message says what is there instead, and the command that builds one.
    """
    engine, damaged = find_engine_here(wanted, library, device)
    if engine is not None:
        for error in damaged:
            _LOG.warning("%s. Passed over for %s.", error, engine.path.name)
        return engine
    if damaged:
        raise damaged[0]
    stored = _stored(wanted)
    if stored:
        return load_engine(stored[0][0], wanted, library, device)  # raises with what differs
    raise BackendError(
        f"{wanted.folder} holds no {wanted.library} engine of {wanted.bundle} in {wanted.precision}; "
        f"build one: `{wanted.build_command(device)}`, or let `danet run` do it with --build"
    )


def find_engine_here(
    wanted: Wanted, library: TensorRTLibrary, device: Device
) -> tuple[StoredEngine | None, list[BackendError]]:
    """Like :func:`choose_engine`, but return the engine, if any, and the errors of those tried before it.

    Only engines for this machine count; those for another are not among the damaged.
    """
    damaged: list[BackendError] = []
    for path, manifest in _stored(wanted):
        if mismatches(manifest, library, device):
            continue
        try:
            return load_engine(path, wanted, library, device), damaged
        except BackendError as error:
            damaged.append(error)
    return None, damaged


def _stored(wanted: Wanted) -> list[tuple[Path, EngineManifest]]:
    return manifests_of(wanted.folder, wanted.bundle_sha256, wanted.precision, wanted.library)


def _older(release: str, than: str) -> bool:
    return tuple(map(int, release.split("."))) < tuple(map(int, than.split(".")))
