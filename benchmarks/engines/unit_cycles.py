"""How long each unit of a multiprocessor is busy with one iteration of a kernel's loop, in cycles.

A model of throughput alone: every unit is taken to work without a pause, beside the others. So its bound is
one that no launch can exceed; latencies, waits and the memory behind the L1 cache only take from it. Tensor
memory of sm_100 and sm_110, which has a port of its own, is not in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from benchmarks.engines.machine_code import Instruction

SCHEDULERS: Final = 4
"""Schedulers of a multiprocessor, each with one instruction a cycle."""

MUFU_LANES: Final = 16
"""Exponentials, reciprocals and the like a cycle (CUDA C++ Programming Guide, arithmetic instructions)."""

SHARED_BYTES: Final = 128
"""Bytes that shared memory and the L1 cache move a cycle; a shuffle takes as long as 128 bytes."""

_LANES: Final = 32
_ELEMENT: Final = 2  # bytes of FP16 and BF16
_STEP: Final = 16  # elements that a matrix instruction sums over
_MMA_16816: Final = 16 * 8 * 16
_FLOATS: Final = frozenset(("FFMA", "FMUL", "FADD", "FFMA2", "FMUL2", "FADD2", "FHADD"))


@dataclass(frozen=True)
class Multiprocessor:
    """A multiprocessor of one architecture.

    Attributes:
        tensor: Multiply-adds a cycle of its matrix units, dense, FP16 with FP32 sums.
        floats: FP32 multiply-adds a cycle.
        shared_kib: Shared memory for all blocks, in KiB.
        threads: Most resident threads.
    """

    tensor: int
    floats: int
    shared_kib: int
    threads: int

    def blocks(self, registers: int, shared_memory: int, threads: int) -> int:
        """How many blocks are resident at once; 0 where not even one is.

        Registers are given out by 256 a warp; from sm_80 on each block has 1 KiB of shared memory more, here
        charged everywhere (CUDA C++ Programming Guide, compute capabilities).
        """
        warps = -(-threads // _LANES)
        a_warp = -(-registers * _LANES // 256) * 256
        return min(
            65536 // (a_warp * warps),
            self.shared_kib * 1024 // (shared_memory + 1024),
            self.threads // threads,
        )


# Multiply-adds: peaks of NVIDIA's architecture whitepapers over multiprocessors and clock, as PEAKS in
# benchmarks/engines/roofline.py says. sm_86, sm_89 and sm_120 are those of professional cards; GeForce sums
# to FP32 at half the rate, which only makes the matrix units the busier one. The rest: CUDA C++ Programming
# Guide, tables of compute capabilities and of arithmetic instructions.
MULTIPROCESSORS: Final[Mapping[str, Multiprocessor]] = {
    "sm_75": Multiprocessor(tensor=512, floats=64, shared_kib=64, threads=1024),
    "sm_80": Multiprocessor(tensor=1024, floats=64, shared_kib=164, threads=2048),
    "sm_86": Multiprocessor(tensor=512, floats=128, shared_kib=100, threads=1536),
    "sm_87": Multiprocessor(tensor=1024, floats=128, shared_kib=164, threads=1536),
    "sm_89": Multiprocessor(tensor=512, floats=128, shared_kib=100, threads=1536),
    "sm_90": Multiprocessor(tensor=2048, floats=128, shared_kib=228, threads=2048),
    "sm_100": Multiprocessor(tensor=4096, floats=128, shared_kib=228, threads=2048),
    "sm_110": Multiprocessor(tensor=4096, floats=128, shared_kib=228, threads=1536),
    "sm_120": Multiprocessor(tensor=512, floats=128, shared_kib=100, threads=1536),
}
"""By architecture."""


@dataclass(frozen=True)
class Work:
    """The work of one iteration.

    Attributes:
        needed: Multiply-adds that the operator asks for.
        done: Multiply-adds of the products as they are tiled; more where a product is repeated or padded.
        queries: Rows of the left operands.
        fetched: Elements of the right operands.
        steps: Matrix instructions of a block of ``tcgen05``, each over 16 elements.
    """

    needed: int
    done: int
    queries: int
    fetched: int
    steps: int

    def times(self, count: int) -> Work:
        """The work of several iterations, which an assembler unrolled into one."""
        needed, done, fetched, steps = (
            count * each for each in (self.needed, self.done, self.fetched, self.steps)
        )
        return Work(needed, done, self.queries, fetched, steps)


def multiply_adds(instructions: Iterable[Instruction], warps: int, work: Work) -> int:
    """Multiply-adds of a block in a loop's body: of the matrix units, of the FP32 units where it has none."""
    matrix = floats = 0
    for each in instructions:
        if each.family == "HMMA":
            matrix += _MMA_16816 * warps // (1 if ".16816" in each.operation else 2)
        elif each.family == "HGMMA":
            rows, columns, steps = _extents(each)
            matrix += rows * columns * steps * warps // 4
        elif each.family == "UTCHMMA":
            matrix += work.done // work.steps
        elif each.family == "FFMA":
            floats += _LANES * warps
    return int(matrix or floats)


def cycles(
    bodies: Iterable[tuple[Iterable[Instruction], int]], on: Multiprocessor, work: Work
) -> dict[str, float]:
    """Cycles of each unit for one iteration of a block.

    Args:
        bodies: Loops that run beside each other, each with the number of its warps.
        on: The multiprocessor.
        work: The work of an iteration.
    """
    busy = {"tensor": 0.0, "issue": 0.0, "fp32": 0.0, "mufu": 0.0, "shared": 0.0}
    for body, warps in bodies:
        running = [each for each in body if not each.idle]
        matrix = [each for each in running if each.family in ("HMMA", "HGMMA", "UTCHMMA")]
        if matrix:
            busy["tensor"] += multiply_adds(matrix, warps, work) / on.tensor
        busy["issue"] += len(running) * warps / SCHEDULERS
        wide = sum(2 if each.family.endswith("2") else 1 for each in running if each.family in _FLOATS)
        busy["fp32"] += wide * warps * _LANES / on.floats
        busy["mufu"] += sum(each.family == "MUFU" for each in running) * warps * _LANES / MUFU_LANES
        moved = sum(_moved(each) for each in running) * warps + _operands(matrix, warps, work)
        busy["shared"] += moved / SHARED_BYTES
    return busy


def _moved(each: Instruction) -> int:
    """Bytes that an instruction of one warp moves through shared memory or the L1 cache, or their like."""
    if each.family in ("LDSM", "STSM", "MOVM"):
        return SHARED_BYTES * (
            4 if each.operation.endswith(".4") else 2 if each.operation.endswith(".2") else 1
        )
    if each.family in ("LDS", "STS", "LDG", "STG", "LDL", "STL", "LDGSTS"):
        return SHARED_BYTES * (4 if ".128" in each.operation else 2 if ".64" in each.operation else 1)
    return SHARED_BYTES if each.family in ("SHFL", "ATOMS") else 0


def _operands(matrix: Iterable[Instruction], warps: int, work: Work) -> float:
    """Bytes of shared memory that the asynchronous matrix units read by themselves."""
    moved, tensor_memory = 0.0, False
    for each in matrix:
        if each.family == "HGMMA":
            rows, columns, steps = _extents(each)
            left = rows if each.arguments[1].startswith("gdesc") else 0  # else from registers
            moved += (left + columns) * steps * _ELEMENT * warps / 4
        elif each.family == "UTCHMMA":
            tensor_memory = True
            moved += work.queries * _STEP * _ELEMENT * each.arguments[0].startswith("gdesc")
    return moved + work.fetched * _ELEMENT * tensor_memory


def _extents(each: Instruction) -> tuple[int, int, int]:
    """Rows, columns and depth of ``HGMMA.64x128x16.F32``."""
    rows, columns, steps = map(int, each.operation.split(".")[1].split("x"))
    return rows, columns, steps
