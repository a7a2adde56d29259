"""Engine files and their manifests, outside the bundle, in a folder owned by the user.

    NAME-HASH.engine      the plan as the builder gave it; trtexec loads it
    NAME-HASH.rtx-cache   what TensorRT for RTX compiled of it on this machine, where it was run
    NAME.engine.json      what it is, with the plan's name and hash
    locks/, timings/      of the builders

Engines are code that no key vouches for: the folder and its files are trusted because nobody else can write
to them (:mod:`danet_runtime.tensorrt.store.folder`).

A plan's name holds its own hash and the manifest is written last, by one rename: a reader sees the old engine
or the new one, and a plan that no manifest names is what a build left that was cut short.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

from danet_runtime.bundle.manifest import Precision
from danet_runtime.errors import BackendError
from danet_runtime.files.atomic import replacing, sha256_of
from danet_runtime.tensorrt.build.builder import BuiltEngine
from danet_runtime.tensorrt.build.library import Flavour, rtx_cuda_release
from danet_runtime.tensorrt.cuda.device import Device, this_platform
from danet_runtime.tensorrt.plugins.lowering import ATTENTIONS
from danet_runtime.tensorrt.store.folder import keep_own, read_own_file, require_own_folder
from danet_runtime.tensorrt.store.manifest import (
    MANIFEST_SUFFIX,
    AheadOfTime,
    EngineManifest,
    EngineRequest,
    read_engine_manifest,
)
from danet_runtime.tensorrt.store.runtime_cache import RUNTIME_CACHE_SUFFIX

_ATTEMPTS: Final = 3

_LOG = logging.getLogger(__name__)


class StoredEngine:
    """An engine of the store whose plan has been compared with its manifest.

    Attributes:
        path: The plan.
        manifest: Description of the engine.
        plan: Content of the engine file, the very bytes that were compared.
    """

    def __init__(self, path: Path, manifest: EngineManifest, plan: bytes) -> None:
        self.path = path
        self.manifest = manifest
        self.plan = plan


def default_engine_folder() -> Path:
    """``danet/engines`` in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "danet" / "engines"


def manifest_path(folder: Path, request: EngineRequest) -> Path:
    """Return where the manifest of a requested engine is stored; it is there once the engine was built."""
    return folder / f"{request.stem}{MANIFEST_SUFFIX}"


def read_engine(path: Path) -> StoredEngine:
    """Read an engine and compare it with its manifest.

    Args:
        path: The manifest, or the plan beside it.

    Raises:
        BackendError: There is no manifest, it is of another version, the plan is not the one it names, or
            others can write to any of it.
    """
    manifest_file = manifest_beside(path)
    require_own_folder(manifest_file.parent)
    for _ in range(_ATTEMPTS):
        manifest = read_engine_manifest(manifest_file)
        plan_file = manifest_file.parent / manifest.file
        # Gone: a build that ended between the two reads may have put another plan into its place.
        with contextlib.suppress(FileNotFoundError):
            return StoredEngine(plan_file, manifest, _read_plan(plan_file, manifest))
    raise BackendError(f"{manifest_file} names the plan {manifest.file}, which is gone")


def find_engine(folder: Path, request: EngineRequest, *, warn: bool = True) -> StoredEngine | None:
    """The engine that was built for exactly this request, if it is there, whole, and of this user alone.

    Args:
        folder: Folder of the engines.
        request: Request for the engine.
        warn: Say in the log why one that is there is not taken.
    """
    file = manifest_path(folder, request)
    try:
        engine = read_engine(file)
    except BackendError as error:
        if warn and os.path.lexists(file):
            _LOG.warning("%s. It is not reused.", error)
        return None
    differing = [
        name
        for name in EngineRequest.model_fields
        if getattr(engine.manifest, name) != getattr(request, name)
    ]
    return None if differing else engine


def manifests_of(
    folder: Path, bundle_sha256: str, precision: Precision, library: Flavour
) -> list[tuple[Path, EngineManifest]]:
    """Manifests of one bundle's engines, those that cannot be read left out, in the order of preference.

    First those whose attention comes first in :data:`~danet_runtime.tensorrt.plugins.lowering.ATTENTIONS`, so
    that one built for comparison is not taken for the product; among these, what was asked for last: the time
    of the manifest's file, which a build sets, and one that finds its engine built sets anew.

    Raises:
        BackendError: Others can write to the folder.
    """
    require_own_folder(folder)
    found = []
    for path in folder.glob(f"danet-{bundle_sha256[:12]}-{precision}-*{MANIFEST_SUFFIX}"):
        try:
            manifest = read_engine_manifest(path)
        except BackendError:
            continue
        if (manifest.bundle_sha256, manifest.precision, manifest.library) == (
            bundle_sha256,
            precision,
            library,
        ):
            found.append((path, manifest))
    found.sort(key=lambda entry: (_asked_ns(entry[0]), entry[1].built, entry[0].name), reverse=True)
    return sorted(found, key=lambda entry: ATTENTIONS.index(entry[1].attention))


def note_asked(folder: Path, request: EngineRequest) -> None:
    """Note that the engine of a request was asked for just now; in a folder that is only read, do nothing."""
    now = time.time_ns()
    with contextlib.suppress(OSError):
        os.utime(manifest_path(folder, request), ns=(now, now))


def store_engine(
    folder: Path,
    request: EngineRequest,
    built: BuiltEngine,
    *,
    device: Device | None = None,
    golden_agreement: float | None = None,
) -> StoredEngine:
    """Write an engine and its manifest in place of the one that was there; the caller holds its lock.

    Raises:
        UsageError: The folder cannot be written to.
        OSError: The disk is full, or the like; the engine that was there is still there.
    """
    digest = sha256_of(built.plan)
    manifest = EngineManifest(
        **{name: getattr(request, name) for name in EngineRequest.model_fields},
        engine_key=request.key,
        file=f"{request.stem}-{digest[:12]}.engine",
        engine_sha256=digest,
        engine_bytes=len(built.plan),
        activation_memory_bytes=built.activation_memory_bytes,
        weights_memory_bytes=built.weights_memory_bytes,
        layers=built.layers,
        convolutions=built.convolutions and built.convolutions.total,
        int8_convolutions=built.convolutions and built.convolutions.int8,
        build_seconds=round(built.build_seconds, 3),
        passed_over=built.passed_over,
        golden_agreement=golden_agreement,
        built=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        device=device,
        ahead_of_time=_ahead_of_time(request),
    )
    path = folder / manifest.file
    _write(path, built.plan)
    _write(manifest_path(folder, request), (manifest.model_dump_json(indent=2) + "\n").encode())
    note_asked(folder, request)  # the file system's own clock is coarser, and engines may come close together
    remove_leftovers(folder, request, keep=manifest.file)
    return StoredEngine(path, manifest, built.plan)


def _ahead_of_time(request: EngineRequest) -> AheadOfTime | None:
    if request.gpu is not None:
        return None
    return AheadOfTime(
        targets=request.targets, builder_cuda=rtx_cuda_release(), builder_platform=this_platform()
    )


def remove_leftovers(folder: Path, request: EngineRequest, keep: str | None = None) -> None:
    """Remove what builds of this request left behind; the caller holds its lock.

    Args:
        folder: Folder of the engines.
        request: Request whose leftovers are removed.
        keep: The plan in use; by default what the manifest names, if there is one.
    """
    if keep is None:
        with contextlib.suppress(BackendError):
            keep = read_engine_manifest(manifest_path(folder, request)).file
    kept = keep and (keep, Path(keep).with_suffix(RUNTIME_CACHE_SUFFIX).name)
    for ending in ("-*.engine", f"-*{RUNTIME_CACHE_SUFFIX}"):
        for file in folder.glob(f"{request.stem}{ending}"):
            if not kept or file.name not in kept:
                file.unlink(missing_ok=True)
    for file in folder.glob(f".{request.stem}*.partial.*"):
        file.unlink(missing_ok=True)


def manifest_beside(path: Path) -> Path:
    """The manifest of a plan, NAME.engine.json beside NAME-HASH.engine; a manifest's own path stays."""
    if path.name.endswith(MANIFEST_SUFFIX):
        return path
    return path.with_name(path.name.removesuffix(".engine").rpartition("-")[0] + MANIFEST_SUFFIX)


def _asked_ns(manifest_file: Path) -> int:
    try:
        return manifest_file.stat().st_mtime_ns
    except OSError:
        return 0  # removed since it was read


def _read_plan(path: Path, manifest: EngineManifest) -> bytes:
    plan = read_own_file(path, limit_bytes=manifest.engine_bytes)
    if len(plan) != manifest.engine_bytes:
        got = len(plan) if len(plan) < manifest.engine_bytes else "more"
        raise BackendError(f"{path}: expected {manifest.engine_bytes} bytes, got {got}")
    digest = sha256_of(plan)
    if digest != manifest.engine_sha256:
        raise BackendError(
            f"{path}: expected sha256 {manifest.engine_sha256[:16]}..., got {digest[:16]}...: "
            "this is not the engine that was built"
        )
    return plan


def _write(path: Path, content: bytes) -> None:
    with replacing(path, follow=False) as partial, partial.open("wb") as file:
        keep_own(file.fileno())
        file.write(content)
