"""PTX as text: remove Triton's leftovers, say what it leaves open, and read the output of ptxas."""

from __future__ import annotations

import re
from dataclasses import dataclass

from danet_export.errors import ExportError

_ENTRY = re.compile(r"\.visible \.entry (?P<name>[A-Za-z_]\w*)\(\n(?P<parameters>[^)]*)\n\)")
_PARAMETER = re.compile(r"\s*\.param \.u64 \.ptr \.global \.align \d+ (?P<name>[A-Za-z_]\w*)")
_VERSION = re.compile(r"^\.version (\d+\.\d)$", re.MULTILINE)
_TARGET = re.compile(r"^\.target (sm_\d+a?)$", re.MULTILINE)
_REGISTERS = re.compile(r"Used (\d+) registers")
_SPILLS = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
_SHARED_STORE = re.compile(
    r"(?<![\w.])(st(?:\.(?:weak|volatile|relaxed|release|cta|gpu|sys))*\.shared)(?=\.)"
)
_DYNAMIC_SHARED = re.compile(r"^(\.extern \.shared \.align )(\d+)(?= )", re.MULTILINE)
_SHARED_MATRICES = re.compile(r"(?<![\w.])(?:wgmma\.mma_async|tcgen05\.mma)\.")

_STRING = re.compile(
    r"^\.global \.align 1 \.b8 (?P<name>[A-Za-z_$][\w$]*)\[\d+\] = \{[\d, ]*\};\n", re.MULTILINE
)

MATRIX_ALIGNMENT = 1024
"""Bytes to whose multiples shared memory must be aligned where ``wgmma`` and ``tcgen05.mma`` read from it.

PTX ISA, matrix descriptors: the pattern of the 128-byte swizzle repeats every 1024 bytes of the address.
"""

SCRATCH_PARAMETERS = 2
"""Pointers that Triton appends to every kernel: global_scratch and profile_scratch."""


class PtxError(ExportError):
    """PTX of an unknown form."""


@dataclass(frozen=True)
class Resources:
    """Resources of one kernel, as ptxas reports them.

    Attributes:
        registers: Registers per thread.
        spill_bytes: Bytes that a thread stores to and loads from local memory, added up.
    """

    registers: int
    spill_bytes: int


def entry_name(ptx: str) -> str:
    """Return the name of the only kernel in a PTX module.

    Raises:
        PtxError: There is none, or more than one.
    """
    return _entry(ptx)["name"]


def parameter_names(ptx: str) -> list[str]:
    """Return the names of the kernel's parameters, all of them pointers to global memory.

    Raises:
        PtxError: A parameter is something else.
    """
    names = []
    for line in _entry(ptx)["parameters"].split(",\n"):
        match = _PARAMETER.fullmatch(line)
        if match is None:
            raise PtxError(f"expected pointers to global memory as kernel parameters (got {line.strip()!r})")
        names.append(match["name"])
    return names


def remove_scratch_parameters(ptx: str, pointers: int) -> str:
    """Remove the two scratch pointers that follow a kernel's own ones.

    Args:
        ptx: PTX as Triton writes it.
        pointers: Number of the kernel's own parameters.

    Raises:
        PtxError: The parameters are not these and the two scratch pointers, or a scratch pointer is used.
    """
    names = parameter_names(ptx)
    if len(names) != pointers + SCRATCH_PARAMETERS:
        raise PtxError(
            f"expected {pointers} pointers and {SCRATCH_PARAMETERS} scratch pointers as kernel parameters, "
            f"got {len(names)}: {', '.join(names)}; this Triton release is not known, use 3.7.1 to 3.9"
        )
    for name in names[pointers:]:
        uses = len(re.findall(rf"\b{re.escape(name)}\b", ptx))
        if uses != 1:
            raise PtxError(
                f"scratch pointer {name} is read {uses - 1} times; expected a kernel without scratch"
            )
    entry = _entry(ptx)
    kept = ",\n".join(entry["parameters"].split(",\n")[:pointers])
    return ptx[: entry.start("parameters")] + kept + ptx[entry.end("parameters") :]


def remove_unread_strings(ptx: str) -> str:
    """Remove the constant byte arrays that nothing in a module reads.

    Triton asks its mathematical library about denormal numbers by the name "__CUDA_FTZ"; the name stays in
    global memory after the answer was compiled in.

    Args:
        ptx: Text of one module; a variable that another module could read (``.visible``) is left alone.
    """

    def kept(match: re.Match[str]) -> str:
        name = re.escape(match["name"])
        uses = len(re.findall(rf"(?<![\w$]){name}(?![\w$])", ptx))
        return "" if uses == 1 else match.group()

    return _STRING.sub(kept, ptx)


def name_shared_stores(ptx: str) -> str:
    """Let every store to shared memory say whose: ``st.shared::cta``, which means the same.

    Triton 3.8 writes its stores so, around assemblers before CUDA 13 that lost or misplaced some (triton#9756
    and #10787); 3.9 does not. ptxas 12.6 to 13.0 make the same machine code of either spelling of the kernels
    here, so that this keeps a known form, and mends no fault that was seen here.

    Args:
        ptx: Text of one module. PTX before 7.8 does not know the spelling, and is left alone.
    """
    known = tuple(map(int, ptx_version(ptx).split("."))) >= (7, 8)
    return _SHARED_STORE.sub(r"\1::cta", ptx) if known else ptx


def reads_shared_matrices(ptx: str) -> bool:
    """Return whether code hands the matrix units addresses of shared memory (``wgmma``, ``tcgen05.mma``)."""
    return _SHARED_MATRICES.search(ptx) is not None


def align_shared_memory(ptx: str) -> str:
    """Ask for the alignment of dynamic shared memory that the matrix units need; Triton asks for 16 bytes.

    Drivers begin it at a multiple of 1024 bytes on these architectures as it is; this makes it a demand.
    """
    if not reads_shared_matrices(ptx):
        return ptx
    return _DYNAMIC_SHARED.sub(lambda match: f"{match[1]}{max(int(match[2]), MATRIX_ALIGNMENT)}", ptx)


def ptx_version(ptx: str) -> str:
    """Return the version of a PTX module, as ``8.5``."""
    return _only(_VERSION, ptx, "version")


def ptx_target(ptx: str) -> str:
    """Return the architecture of a PTX module, as ``sm_87``; ``sm_90a`` where it needs exactly that one."""
    return _only(_TARGET, ptx, "target")


def read_resources(report: str) -> Resources:
    """Read registers and spills from the output of ``ptxas -v``.

    Raises:
        PtxError: The output lacks them.
    """
    registers, spills = _REGISTERS.findall(report), _SPILLS.findall(report)
    if len(registers) != 1 or len(spills) != 1:
        raise PtxError(f"expected the registers and spills of one kernel from ptxas (got {report[:200]!r})")
    return Resources(int(registers[0]), sum(int(part) for part in spills[0]))


def _entry(ptx: str) -> re.Match[str]:
    found = list(_ENTRY.finditer(ptx))
    if len(found) != 1:
        raise PtxError(f"expected one kernel in the PTX, found {len(found)}")
    return found[0]


def _only(pattern: re.Pattern[str], ptx: str, what: str) -> str:
    found = pattern.findall(ptx)
    if len(found) != 1:
        raise PtxError(f"expected one .{what} in the PTX, found {len(found)}")
    return str(found[0])
