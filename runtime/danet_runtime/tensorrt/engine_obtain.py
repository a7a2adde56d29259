"""An engine out of the store, or built into it: built once, tried on the golden frame, never half there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from danet_runtime.bundle.golden import GoldenCheck
from danet_runtime.errors import BackendError
from danet_runtime.files.atomic import check_file_target, check_room
from danet_runtime.tensorrt.build.builder import BuiltEngine
from danet_runtime.tensorrt.build.library import TensorRTLibrary
from danet_runtime.tensorrt.build.rtx_builder import plan_fault
from danet_runtime.tensorrt.cuda.device import Device
from danet_runtime.tensorrt.store.check import mismatches
from danet_runtime.tensorrt.store.folder import make_own_folder, require_own_folder
from danet_runtime.tensorrt.store.lock import exclusive
from danet_runtime.tensorrt.store.manifest import EngineRequest
from danet_runtime.tensorrt.store.store import (
    StoredEngine,
    find_engine,
    manifest_path,
    note_asked,
    remove_leftovers,
    store_engine,
)

_LEAST_BYTES: Final = 1 << 16
"""Less than any engine takes."""

_LOG = logging.getLogger(__name__)


Trial = Callable[[bytes], GoldenCheck]
"""Runs a plan on the golden frame."""


@dataclass(frozen=True)
class ThisGpu:
    """This machine's GPU, for an engine that runs on it.

    Attributes:
        device: An engine that is stored already must be for it.
        trial: Test run of a new engine before it is stored.
    """

    device: Device
    trial: Trial


@dataclass(frozen=True)
class Obtained:
    """An engine, and whether it was there already."""

    engine: StoredEngine
    reused: bool


def obtain_engine(
    folder: Path,
    request: EngineRequest,
    library: TensorRTLibrary,
    build: Callable[[], BuiltEngine],
    *,
    here: ThisGpu | None = None,
    rebuild: bool = False,
    on_wait: Callable[[int | None], None] | None = None,
) -> Obtained:
    """Give the engine of a request; build it where it is not there, or does not run on the device any more.

    Where several processes ask for one engine, one builds and the others wait and take what it built. A new
    engine that fails its trial is not stored, and the one that was there stays.

    Args:
        folder: Folder of the engines.
        request: Request for the engine.
        library: Library that builds it.
        build: Builds it.
        here: This machine's GPU, where the engine is for it; elsewhere it is stored untried, and its manifest
            says so.
        rebuild: Build even where it is there; one that another process built while this one waited is taken.
        on_wait: Called before waiting for another process, with its id if that is known.

    Raises:
        BackendError: It cannot be built, or fails its trial; or others can write to the folder.
        UsageError: The folder cannot be written to.
        OSError: The disk is full, as far as possible told before it is built; what was there stays.
    """
    device = here.device if here is not None else None
    require_own_folder(folder)
    before = usable_engine(folder, request, library, device)
    if before is not None and not rebuild:
        note_asked(folder, request)
        return Obtained(before, reused=True)
    check_file_target(manifest_path(folder, request))
    make_own_folder(folder)
    make_own_folder(folder / "locks")
    with exclusive(folder / "locks" / f"{request.key[:32]}.lock", on_wait):
        there = usable_engine(folder, request, library, device, warn=False)
        if there is not None and not (rebuild and _same(there, before)):
            note_asked(folder, request)
            return Obtained(there, reused=True)
        remove_leftovers(folder, request)
        # The old engine stays until the new one is there, and the new one may be smaller.
        check_room(folder / "new", _LEAST_BYTES if there is None else there.manifest.engine_bytes // 2)
        built = build()
        agreement = None if here is None else _try(here.trial, built.plan, there)
        stored = store_engine(folder, request, built, device=device, golden_agreement=agreement)
        return Obtained(stored, reused=False)


def usable_engine(
    folder: Path,
    request: EngineRequest,
    library: TensorRTLibrary,
    device: Device | None,
    *,
    warn: bool = True,
) -> StoredEngine | None:
    """Return the stored engine of a request, if there is one that runs here.

    Args:
        folder: Folder of the engines, which is this user's alone.
        request: Request for the engine.
        library: Library that runs it.
        device: This machine's GPU, where the engine is for it.
        warn: Say in the log why one that is there is not taken.
    """
    engine = find_engine(folder, request, warn=warn)
    if engine is None or (device is not None and mismatches(engine.manifest, library, device)):
        return None
    if fault := plan_fault(library, engine.plan):
        if warn:
            _LOG.warning("%s: %s. It is not reused.", engine.path, fault)
        return None
    return engine


def _same(engine: StoredEngine, other: StoredEngine | None) -> bool:
    return other is not None and engine.manifest == other.manifest


def _try(trial: Trial, plan: bytes, there: StoredEngine | None) -> float:
    kept = "and there was none before" if there is None else f"{there.path.name} stays"
    try:
        check = trial(plan)
    except BackendError as error:
        raise BackendError(
            f"the engine just built does not run on the golden frame; it is not kept, {kept}: {error}"
        ) from error
    if not check.is_passed:
        raise BackendError(
            f"{check.complaint('the engine just built')}. It is not kept, {kept}; try another "
            "--attention, or calibrate again"
        )
    return check.share
