"""Engine files and their manifests, outside the bundle, in a folder owned by the user."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field

from danet_runtime.bundle.manifest import Precision, Schema, Sha256
from danet_runtime.files import replacing, sha256_of
from danet_runtime.tensorrt.builder import BuiltEngine
from danet_runtime.tensorrt.kernels import KernelVariant
from danet_runtime.tensorrt.lowering import Attention


class EngineManifest(Schema):
    """What an engine file is, written beside it as ``NAME.engine.json``."""

    kind: Literal["danet-engine"] = "danet-engine"
    schema_version: Literal[1] = 1
    engine_sha256: Sha256
    engine_bytes: int
    bundle_sha256: Sha256
    model_sha256: Sha256
    precision: Precision
    attention: Attention
    library: Literal["tensorrt", "tensorrt-rtx"]
    library_version: str
    targets: tuple[str, ...]
    kernel_variant: Literal["tuned", "small"] | None = Field(
        default=None, description="of the plugins, if any"
    )
    activation_memory_bytes: int | None
    weights_memory_bytes: int | None
    layers: int
    build_seconds: float


def default_engine_folder() -> Path:
    """``danet/engines`` in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "danet" / "engines"


def store_engine(
    folder: Path,
    built: BuiltEngine,
    *,
    bundle_sha256: str,
    model_sha256: str,
    precision: Precision,
    attention: Attention,
    library: Literal["tensorrt", "tensorrt-rtx"],
    targets: tuple[str, ...],
    kernel_variant: KernelVariant | None = None,
) -> tuple[Path, EngineManifest]:
    """Write an engine and its manifest.

    The manifest comes last and holds the engine's hash, so an engine whose writing was cut short never passes
    for a whole one.

    Returns:
        The engine's path, and its manifest.
    """
    form = attention if kernel_variant in (None, "tuned") else f"{attention}_{kernel_variant}"
    release = f"{library}_{built.library_version}"
    name = "-".join(["danet", bundle_sha256[:12], precision, form, release, *sorted(targets)])
    path = folder / f"{name}.engine"
    manifest = EngineManifest(
        engine_sha256=sha256_of(built.plan),
        engine_bytes=len(built.plan),
        bundle_sha256=bundle_sha256,
        model_sha256=model_sha256,
        precision=precision,
        attention=attention,
        library=library,
        library_version=built.library_version,
        targets=targets,
        kernel_variant=kernel_variant,
        activation_memory_bytes=built.activation_memory_bytes,
        weights_memory_bytes=built.weights_memory_bytes,
        layers=built.layers,
        build_seconds=round(built.build_seconds, 3),
    )
    with replacing(path) as partial:
        partial.write_bytes(built.plan)
    with replacing(path.with_suffix(".engine.json")) as partial:
        partial.write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return path, manifest
