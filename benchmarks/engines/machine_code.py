"""Machine code of one kernel: assembled from PTX, taken apart, its loops, and what stands in them.

Triton's wheel brings what is needed: ``ptxas``, ``ptxas-blackwell`` for sm_100 and later, and ``nvdisasm``.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from danet_export.kernels.ptx import Resources, ptx_target, read_resources
from danet_runtime.errors import BackendError, MissingDependencyError

_INSTRUCTION = re.compile(
    r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@(?P<guard>!?U?P\w+)\s+)?(?P<operation>[A-Z][\w.]*)\s*(?P<arguments>[^;]*);"
)
_LABEL = re.compile(r"^\s*(\.L\w+):")
_TARGET = re.compile(r"(\.L\w+)")
_RELEASE = re.compile(r"V(\d+\.\d+\.\d+)")

MATRIX = ("HMMA", "HGMMA", "UTCHMMA")
"""Families of instructions of the matrix units, by generation."""


@dataclass(frozen=True)
class Instruction:
    """One machine instruction: its name with all modifiers, its operands, and whether it never runs."""

    operation: str
    arguments: tuple[str, ...]
    idle: bool = False

    @property
    def family(self) -> str:
        """The name without modifiers, such as ``LDSM``."""
        return self.operation.split(".")[0]


@dataclass(frozen=True)
class Code:
    """A kernel's instructions in their order, and its loops: first and last instruction of each."""

    instructions: tuple[Instruction, ...]
    loops: tuple[tuple[int, int], ...]

    def body(self, loop: tuple[int, int]) -> tuple[Instruction, ...]:
        """The instructions of a loop."""
        return self.instructions[loop[0] : loop[1] + 1]

    def innermost(self, families: Sequence[str], without: Sequence[str] = ()) -> tuple[Instruction, ...]:
        """The shortest loop that holds one of these families and none of the others; empty if none does.

        A wait that the assembler moved behind the code jumps back into it, which looks like a loop around
        all between; the true one is shorter.
        """
        bodies = [self.body(loop) for loop in self.loops]
        fitting = [
            body
            for body in bodies
            if any(each.family in families for each in body)
            and not any(each.family in without for each in body)
        ]
        return min(fitting, key=len, default=())


@dataclass(frozen=True)
class Assembled:
    """The outcome of an assembler: registers and spills as it reports them, and the code."""

    resources: Resources
    code: Code


def triton_tool(name: str) -> Path:
    """A tool of the CUDA toolkit that Triton's wheel brings, or that ``TRITON_NVDISASM_PATH`` and so on name.

    Raises:
        MissingDependencyError: It is not there.
    """
    from triton import knobs

    found: object = getattr(knobs.nvidia, name, None)
    path = Path(getattr(found, "path", "") or "")
    if not path.is_file():
        raise MissingDependencyError(
            name, "benchmarks.engines.kernel_bounds", "it comes with Triton's wheel: pip install -e ./export"
        )
    return path


def own_assembler(ptx: str) -> Path:
    """Triton's assembler for a module's target."""
    return triton_tool("ptxas_blackwell" if _number(ptx) >= 100 else "ptxas")


def release(tool: Path) -> str:
    """The release of a tool, as 12.8.93."""
    printed = subprocess.run([str(tool), "--version"], capture_output=True, text=True, check=True).stdout
    match = _RELEASE.search(printed)
    if match is None:
        raise BackendError(f"expected a release from {tool.name} --version (got {printed[:80]!r})")
    return match[1]


def assemble(ptx: str, assembler: Path | None = None) -> Assembled:
    """Assemble PTX and take the result apart.

    Args:
        ptx: Text of one kernel.
        assembler: The ptxas; Triton's own where none is given.

    Raises:
        BackendError: An assembler or the disassembler refuses it.
    """
    with tempfile.TemporaryDirectory(prefix="danet-code-") as folder:
        source, binary = Path(folder) / "kernel.ptx", Path(folder) / "kernel.cubin"
        source.write_text(ptx, encoding="ascii")
        named = f"--gpu-name={ptx_target(ptx)}"
        report = _run([str(assembler or own_assembler(ptx)), "-v", named, str(source), "-o", str(binary)])
        listing = _run([str(triton_tool("nvdisasm")), "-c", str(binary)])
    return Assembled(read_resources(report.stderr), parse(listing.stdout))


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BackendError(
            f"{Path(command[0]).name} ended with {done.returncode}: {done.stderr.strip()[:300]}"
        )
    return done


def parse(listing: str) -> Code:
    """Read what ``nvdisasm -c`` writes; a loop is a branch to what stands before it."""
    instructions: list[Instruction] = []
    labels: dict[str, int] = {}
    loops = []
    for line in listing.splitlines():
        if label := _LABEL.match(line):
            labels[label[1]] = len(instructions)
            continue
        match = _INSTRUCTION.match(line)
        if match is None:
            continue
        arguments = tuple(part.strip() for part in match["arguments"].split(",") if part.strip())
        target = _TARGET.search(match["arguments"]) if match["operation"].startswith("BRA") else None
        if target and target[1] in labels:
            loops.append((labels[target[1]], len(instructions)))
        instructions.append(Instruction(match["operation"], arguments, match["guard"] in ("!PT", "!UPT")))
    return Code(tuple(instructions), tuple(loops))


def count(instructions: Iterable[Instruction]) -> Counter[str]:
    """How often each family occurs."""
    return Counter(each.family for each in instructions)


def _number(ptx: str) -> int:
    return int(ptx_target(ptx).removeprefix("sm_").rstrip("af"))
