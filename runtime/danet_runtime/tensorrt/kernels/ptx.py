"""Header of a PTX file, and the newest PTX version that a driver reads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from danet_runtime.errors import BackendError, BundleError

_VERSION = re.compile(r"^\s*\.version\s+(\d+)\.(\d+)\s*$", re.MULTILINE)
_TARGET = re.compile(r"^\s*\.target\s+(sm_\d+[a-z]?)\b", re.MULTILINE)
_ENTRY = re.compile(r"\.entry\s+([A-Za-z_$%][\w$]*)\s*\(([^)]*)\)")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)

# CUDA Toolkit documentation, PTX ISA, release history: the newest PTX of each CUDA release's driver.
_NEWEST_PTX: Final = (
    ((11, 8), (7, 8)),
    ((12, 0), (8, 0)),
    ((12, 1), (8, 1)),
    ((12, 2), (8, 2)),
    ((12, 3), (8, 3)),
    ((12, 4), (8, 4)),
    ((12, 5), (8, 5)),
    ((12, 7), (8, 6)),
    ((12, 8), (8, 7)),
    ((12, 9), (8, 8)),
    ((13, 0), (9, 0)),
    ((13, 1), (9, 1)),
    ((13, 2), (9, 2)),
    ((13, 3), (9, 3)),
    ((13, 4), (9, 4)),
)

Release = tuple[int, int]


@dataclass(frozen=True)
class Entry:
    """A kernel of a PTX file: its name and number of parameters, of which ``pointers`` are 64 bits wide."""

    name: str
    parameters: int
    pointers: int


@dataclass(frozen=True)
class PtxHeader:
    """Header of a PTX file.

    Attributes:
        version: Version of the PTX language.
        target: Architecture, for example ``sm_87``.
        entries: Kernels in the file.
    """

    version: Release
    target: str
    entries: tuple[Entry, ...]


def read_header(ptx: bytes, origin: str) -> PtxHeader:
    """Read the directives that decide whether a driver takes the file.

    Args:
        ptx: The file, as UTF-8 text, with or without a NUL at its end.
        origin: Name of the file in errors.

    Raises:
        BundleError: It is no text, or lacks ``.version``, ``.target`` or ``.entry``.
    """
    try:
        text = _COMMENT.sub("", ptx.rstrip(b"\x00").decode())
    except UnicodeDecodeError as error:
        raise BundleError(
            f"{origin}: expected PTX, which is text, got binary data; export it again"
        ) from error
    version, target = _VERSION.search(text), _TARGET.search(text)
    entries = tuple(
        Entry(name, parameters.count(".param"), len(re.findall(r"\.param\s+\.[bu]64\b", parameters)))
        for name, parameters in _ENTRY.findall(text)
    )
    absent = [
        directive
        for directive, found in ((".version", version), (".target", target), (".entry", entries))
        if not found
    ]
    if version is None or target is None or not entries:
        raise BundleError(
            f"{origin}: expected PTX with .version, .target and .entry, found no {', '.join(absent)}; "
            "export the bundle again"
        )
    return PtxHeader((int(version[1]), int(version[2])), target[1], entries)


def newest_ptx(driver_cuda: Release) -> Release:
    """The newest PTX that the driver of a CUDA release reads.

    A driver newer than this table reads at least the table's newest.

    Raises:
        BackendError: The driver is older than CUDA 11.8.
    """
    read = [ptx for cuda, ptx in _NEWEST_PTX if cuda <= driver_cuda]
    if not read:
        raise BackendError(
            f"expected a driver of CUDA 11.8 or later, got CUDA {dotted(driver_cuda)}; update the driver"
        )
    return read[-1]


def oldest_cuda(ptx: Release) -> Release | None:
    """The first CUDA release whose driver reads a PTX version; ``None`` where the table ends before it."""
    return next((cuda for cuda, newest in _NEWEST_PTX if newest >= ptx), None)


def dotted(release: Release) -> str:
    """``(8, 5)`` as ``8.5``."""
    return f"{release[0]}.{release[1]}"
