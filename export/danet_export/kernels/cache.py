"""Cache of compiled kernels in the user's cache folder, keyed by everything that decides their code.

They are code that goes into bundles and is signed with them: files that others own or can write are not used.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import asdict
from pathlib import Path

from danet_export.kernels.architectures import Architecture
from danet_export.kernels.compiler import (
    CompiledKernel,
    check_shared_memory,
    compile_kernel,
    compile_options,
    triton_version,
)
from danet_export.kernels.specification import KernelSpec
from danet_runtime.bundle.manifest import KernelDtype
from danet_runtime.errors import BackendError
from danet_runtime.files.atomic import write_json
from danet_runtime.tensorrt.store.folder import make_own_folder, read_own_file, require_own_folder

_FILE_LIMIT_BYTES = 64 << 20

_log = logging.getLogger(__name__)

FORMAT = 3
"""Part of every key; increased when the treatment of the PTX or the content of a file changes."""


def cache_folder() -> Path:
    """Return ``$XDG_CACHE_HOME/danet/kernels``, or the same under ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "danet" / "kernels"


def cache_key(spec: KernelSpec, architecture: Architecture, dtype: KernelDtype) -> str:
    """Return the SHA-256 of the kernel's source, Triton's version, shapes, architecture and options."""
    parts = {
        "format": FORMAT,
        "source": spec.function.cache_key,  # Triton's own hash: of the function and of all that it calls
        "triton": triton_version(),
        "architecture": architecture.name,
        "dtype": dtype,
        "constants": dict(spec.constants),
        "options": compile_options(spec, architecture),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def compile_cached(
    spec: KernelSpec, architecture: Architecture, dtype: KernelDtype, folder: Path | None = None
) -> CompiledKernel:
    """Compile a kernel, or take it from the cache.

    Args:
        spec: The kernel to compile.
        architecture: Architecture of the GPU.
        dtype: Type of the operator's floating-point tensors.
        folder: Folder of the cache; :func:`cache_folder` where it is not given.

    Raises:
        ExportError: The kernel cannot be compiled, or not within the variant's shared memory.
    """
    file = (folder or cache_folder()) / f"{cache_key(spec, architecture, dtype)}.json"
    kept = _read(file)
    if kept is not None:
        check_shared_memory(spec, architecture, kept.shared_memory_bytes)  # the key holds no variant
        return kept
    compiled = compile_kernel(spec, architecture, dtype)
    try:
        make_own_folder(file.parent)
        write_json(file, {**asdict(compiled), "ptx_sha256": _sha256(compiled.ptx)})
        file.chmod(0o644)  # whatever the umask
    except BackendError:
        pass  # reported when it was read
    except OSError as error:
        _log.warning("the compiled kernel is not kept: %s", error)
    return compiled


def _read(file: Path) -> CompiledKernel | None:
    """Return a cached kernel; ``None`` where there is none, or where the file is damaged."""
    try:
        require_own_folder(file.parent)
        values = json.loads(read_own_file(file, limit_bytes=_FILE_LIMIT_BYTES))
        if values.pop("ptx_sha256") != _sha256(values["ptx"]):
            raise ValueError("its hash does not fit its PTX")
        return CompiledKernel(**{**values, "block": tuple(values["block"])})
    except (FileNotFoundError, NotADirectoryError):
        return None
    except BackendError as error:
        _log.info("why the kernel is not taken: %s", error)
        _log.warning(
            "%s is not taken, since others own or can write it or a folder around it; it is compiled again. "
            "`chmod go-w` on them mends that, or remove the folder",
            file,
        )
        return None
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        _log.warning("%s is not a kept kernel (%s); it is compiled again", file, error)
        return None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
