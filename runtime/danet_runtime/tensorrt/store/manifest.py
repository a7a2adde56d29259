"""Description of an engine: a request before it is built, and a manifest beside its file afterwards.

The request holds everything that decides what comes out of the builder. Its hash is the engine's key, so a
changed model, precision, lowering, GPU, library or option asks for another engine.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, ValidationError

from danet_runtime.bundle.manifest import KernelVariant, Precision, Schema, Sha256, Share
from danet_runtime.errors import BackendError
from danet_runtime.files.atomic import sha256_of
from danet_runtime.files.limited import require_plain_json
from danet_runtime.tensorrt.build.builder import BuilderOptions
from danet_runtime.tensorrt.build.library import Flavour
from danet_runtime.tensorrt.cuda.device import Device, Gpu
from danet_runtime.tensorrt.plugins.lowering import Attention
from danet_runtime.tensorrt.store.folder import read_own_file

ENGINE_SCHEMA_VERSION: Final = 3
MANIFEST_SUFFIX: Final = ".engine.json"
_MANIFEST_LIMIT_BYTES: Final = 1 << 20


class EngineRequest(Schema):
    """Request for an engine: everything that decides what the builder makes."""

    bundle_sha256: Sha256
    model_sha256: Sha256 = Field(description="of the variant's file in the bundle")
    parsed_sha256: Sha256 = Field(description="of the file as it is parsed, after the lowering")
    precision: Precision
    conv_mac_share_int8: Share | None = Field(
        description="of the variant, as the bundle tells: the share of convolution MACs on INT8"
    )
    attention: Attention
    kernel_variant: KernelVariant | None = Field(description="of the plugins, if any")
    library: Flavour
    library_version: str
    targets: tuple[str, ...] = Field(min_length=1, description="GPU architectures, sorted")
    gpu: Gpu | None = Field(description="that it is tuned for; null where it is built ahead of time")
    platform: str = Field(description="as linux-aarch64")
    options: BuilderOptions
    danet: str = Field(description="version of danet-runtime, whose plugins go into the engine")

    @property
    def key(self) -> str:
        """A hash over all fields."""
        fields = {name: getattr(self, name) for name in EngineRequest.model_fields}
        asked = EngineRequest.model_construct(**fields).model_dump(mode="json")
        return sha256_of(json.dumps(asked, sort_keys=True, separators=(",", ":")).encode())

    @property
    def stem(self) -> str:
        """Name of the engine's files without their endings: what it is in words, then the key's beginning."""
        parts = ("danet", self.bundle_sha256[:12], self.precision, self.attention)
        release = f"{self.library}_{self.library_version}"
        return "-".join([*parts, release, *self.targets, self.key[:12]])


class AheadOfTime(Schema):
    """Facts about an engine that was built for GPUs other than those of the machine that built it."""

    targets: tuple[str, ...] = Field(min_length=1, description="GPU architectures that it holds kernels for")
    builder_cuda: str | None = Field(
        description="CUDA release of the builder, as far as its package tells; not of a driver"
    )
    builder_platform: str = Field(description="of the machine that built it, as linux-x86_64")


class EngineManifest(EngineRequest):
    """Description of an engine file, kept in the manifest beside it."""

    kind: Literal["danet-engine"] = "danet-engine"
    schema_version: Literal[3] = ENGINE_SCHEMA_VERSION
    engine_key: Sha256
    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*\.engine$", description="beside this manifest")
    engine_sha256: Sha256
    engine_bytes: int = Field(ge=1)
    activation_memory_bytes: int | None
    weights_memory_bytes: int | None
    layers: int
    convolutions: int | None = Field(
        description="of the engine itself; null where it is not INT8, or the builder does not tell"
    )
    int8_convolutions: int | None = Field(description="those of them that read INT8")
    build_seconds: float
    passed_over: tuple[str, ...] = Field(
        default=(), description="forms of the attention that failed before this one, each with the reason"
    )
    golden_agreement: Share | None = Field(
        description="share of the golden frame's labels that it gave; null where it has not been run"
    )
    built: str = Field(description="UTC, ISO 8601")
    device: Device | None = Field(
        description="that it was built on and is tuned or was tried for; null where it was not built on one"
    )
    ahead_of_time: AheadOfTime | None = Field(
        description="for GPUs that the builder does not see; null where it is built for the device's own"
    )


def read_engine_manifest(path: Path) -> EngineManifest:
    """Read an engine's manifest.

    Raises:
        BackendError: It is missing, no manifest, of another version, contradicts itself, or others can write
            to it.
    """
    try:
        text = read_own_file(path, limit_bytes=_MANIFEST_LIMIT_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise BackendError(f"expected the engine's manifest {path}, there is none") from None
    if len(text) > _MANIFEST_LIMIT_BYTES:
        raise BackendError(f"{path} is larger than {_MANIFEST_LIMIT_BYTES} bytes; this is no manifest")
    _check_version(path, text)
    try:
        manifest = EngineManifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise BackendError(
            f"{path} is no manifest of an engine: {where}: {first['msg']} ({error.error_count()} in all)"
        ) from error
    if manifest.engine_key != manifest.key:
        raise BackendError(f"{path} has been changed: its fields do not give its key")
    return manifest


def _check_version(path: Path, text: bytes) -> None:
    try:
        require_plain_json(text)
        content = json.loads(text)
    except ValueError as error:
        raise BackendError(f"{path} is no manifest of an engine: {error}") from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != ENGINE_SCHEMA_VERSION:
        raise BackendError(
            f"{path}: expected schema_version {ENGINE_SCHEMA_VERSION}, got {version!r}: "
            "another version of danet wrote it"
        )
