"""PTX as text: what Triton leaves behind in it goes, and what ptxas says of the rest is read."""

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

_STRING = re.compile(
    r"^\.global \.align 1 \.b8 (?P<name>[A-Za-z_$][\w$]*)\[\d+\] = \{[\d, ]*\};\n", re.MULTILINE
)

SCRATCH_PARAMETERS = 2
"""Pointers that Triton appends to every kernel: global_scratch and profile_scratch."""


class PtxError(ExportError):
    """PTX that is not of the form this package knows how to treat."""


@dataclass(frozen=True)
class Resources:
    """What ptxas reports of one kernel.

    Attributes:
        registers: A thread.
        spill_bytes: Stored to and loaded from local memory by a thread, added up.
    """

    registers: int
    spill_bytes: int


def entry_name(ptx: str) -> str:
    """Name of the one kernel in a PTX module.

    Raises:
        PtxError: There is none, or more than one.
    """
    return _entry(ptx)["name"]


def parameter_names(ptx: str) -> list[str]:
    """Names of the kernel's parameters, all of them pointers to global memory.

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


def drop_scratch_parameters(ptx: str, pointers: int) -> str:
    """Remove the two scratch pointers that follow a kernel's own ones.

    Args:
        ptx: As Triton writes it.
        pointers: How many parameters the kernel has by itself.

    Raises:
        PtxError: The parameters are not these and the two scratch pointers, or a scratch pointer is used.
    """
    names = parameter_names(ptx)
    if len(names) != pointers + SCRATCH_PARAMETERS:
        raise PtxError(
            f"expected {pointers} pointers and {SCRATCH_PARAMETERS} scratch pointers as kernel parameters, "
            f"got {len(names)}: {', '.join(names)}; this Triton release is not known, use 3.4 to 3.9"
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


def drop_unread_strings(ptx: str) -> str:
    """Remove the constant byte arrays that nothing in a module reads.

    Triton's mathematical library is asked about denormal numbers by the name "__CUDA_FTZ"; the name stays
    behind in global memory when the answer has been compiled in.

    Args:
        ptx: One module; a variable that another module could read (``.visible``) is left alone.
    """

    def kept(match: re.Match[str]) -> str:
        name = re.escape(match["name"])
        uses = len(re.findall(rf"(?<![\w$]){name}(?![\w$])", ptx))
        return "" if uses == 1 else match.group()

    return _STRING.sub(kept, ptx)


def ptx_version(ptx: str) -> str:
    """The version a PTX module asks for, as ``8.5``."""
    return _only(_VERSION, ptx, "version")


def ptx_target(ptx: str) -> str:
    """The architecture a PTX module is for, as ``sm_87``; ``sm_90a`` where it uses what only that one has."""
    return _only(_TARGET, ptx, "target")


def read_resources(report: str) -> Resources:
    """Read what ``ptxas -v`` printed.

    Raises:
        PtxError: It holds no such figures.
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
