"""A kernel as a list of steps over a register file.

Constants and special registers have places in the file as well, behind the registers, so that every operand
is a place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ptx_machine.arithmetic import UNSIGNED, Array
from ptx_machine.faults import Fault, UnsupportedPtxError
from ptx_machine.memory.clocks import Mbarrier
from ptx_machine.syntax import Address, Immediate, Instruction, Kernel, Operand, Register, Special
from ptx_machine.warp import THREADS, Warp

_POISON = 0xDEADBEEF_DEADBEEF


@dataclass(frozen=True)
class Pause:
    """Other warps may run now."""


@dataclass(frozen=True)
class AtBarrier:
    """Waits until ``threads`` (0: all of the block) have reached barrier ``number``."""

    number: int
    threads: int


@dataclass(frozen=True)
class AtPhase:
    """Waits until a phase of an mbarrier is complete, then does ``resume``."""

    mbarrier: Mbarrier
    parity: int
    resume: Callable[[], None]


@dataclass(frozen=True)
class ForRegisters:
    """Waits until so many registers a thread can be had."""

    count: int


Event = Pause | AtBarrier | AtPhase | ForRegisters
Step = Callable[[Warp, "Array | None"], "Event | int | None"]
"""What an instruction does for the lanes of a mask, ``None`` for all; it may say where the warp goes on."""


def filled(value: int, width: int) -> Array:
    """Return a register of one value."""
    if width == 1:
        return np.full(THREADS, bool(value))
    return np.full(THREADS, value & (1 << width) - 1, UNSIGNED[width])


@dataclass
class Places:
    """The register file of a kernel, as it is laid out."""

    kernel: Kernel
    _others: dict[tuple[Immediate | Special, int], int] = field(default_factory=dict)

    def of(self, operand: Operand | None, width: int) -> int:
        """Return the place of an operand that is read with a width."""
        if isinstance(operand, Register):
            if operand.width != width:
                raise ValueError(f"a register of {operand.width} bits where {width} are read")
            return operand.index
        if isinstance(operand, Immediate | Special):
            return self._others.setdefault((operand, width), len(self.kernel.widths) + len(self._others))
        raise ValueError(operand)

    def many(self, operand: Operand | None, width: int) -> tuple[int, ...]:
        """Return the places of a vector, or of one operand."""
        parts = operand if isinstance(operand, tuple) else (operand,)
        return tuple(self.of(part, width) for part in parts)

    def address(self, operand: Operand) -> tuple[int, int, int]:
        """Return the place of an address's base, its width, and the offset."""
        if not isinstance(operand, Address) or isinstance(operand.base, str):
            raise ValueError(operand)
        width = operand.base.width if isinstance(operand.base, Register) else 32
        return self.of(operand.base, width), width, operand.offset

    def initial(self, warp: Warp, untouched: set[int]) -> list[Any]:
        """Return a warp's file before its first instruction; registers that nobody ever writes hold garbage.

        LLVM leaves undefined halves of packed registers so. Others hold nothing yet.
        """
        values: list[Any] = [
            filled(_POISON, width) if index in untouched else None
            for index, width in enumerate(self.kernel.widths)
        ]
        for (operand, width), _ in sorted(self._others.items(), key=lambda item: item[1]):
            if isinstance(operand, Immediate):
                values.append(filled(operand.value, width))
            else:
                values.append(warp.special(operand.name).astype(UNSIGNED[width]))
        return values


@dataclass(frozen=True)
class Compiled:
    """An instruction with its step, and the place of its guard (-1: none)."""

    instruction: Instruction
    step: Step
    guard: int


class Program:
    """A kernel that can be run.

    Attributes:
        seen: For each instruction whether any lane of any warp has executed it.
    """

    def __init__(self, kernel: Kernel, places: Places, steps: list[Step], written: set[int]) -> None:
        self.kernel = kernel
        self._places = places
        self._untouched = set(range(len(kernel.widths))) - written
        self._code = [
            Compiled(ins, step, ins.guard.index if ins.guard else -1)
            for ins, step in zip(kernel.instructions, steps, strict=True)
        ]
        self.seen = bytearray(len(steps))

    def unseen(self) -> list[Instruction]:
        """Return the instructions that no lane has executed so far."""
        return [
            compiled.instruction for compiled, seen in zip(self._code, self.seen, strict=True) if not seen
        ]

    def run(self, warp: Warp) -> Iterator[Event]:
        """Run a warp; yields where it waits, or where others may run."""
        warp.registers = self._places.initial(warp, self._untouched)
        registers, code, at = warp.registers, self._code, 0
        yield Pause()
        while at < len(code):
            compiled = code[at]
            mask = None
            try:
                if compiled.guard >= 0:
                    mask = registers[compiled.guard] ^ compiled.instruction.negated
                    if not mask.any():
                        at += 1
                        continue
                    if mask.all():
                        mask = None
                self.seen[at] = 1
                warp.count += 1
                outcome = compiled.step(warp, mask)
            except (TypeError, AttributeError, UnboundLocalError) as error:
                raise self._fault(compiled.instruction, warp, error) from error
            at += 1
            if outcome is None:
                continue
            if isinstance(outcome, int):
                at = outcome
                continue
            warp.line = compiled.instruction.line
            yield outcome
            if isinstance(outcome, AtPhase):
                outcome.resume()

    def _fault(self, ins: Instruction, warp: Warp, error: Exception) -> Exception:
        """Say what is wrong with the operands; a target may hold nothing yet, so that alone tells less."""
        values = [warp.registers[register.index] for register in _registers_of(ins)]
        if any(value is not None and not isinstance(value, np.ndarray) for value in values):
            return Fault("register-in-flight", f"line {ins.line}: {ins.text}: a product has not ended")
        if any(value is None for value in values):
            return Fault("register-uninitialised", f"line {ins.line}: {ins.text}")
        return UnsupportedPtxError(f"line {ins.line}: {ins.text}: {error}")


def _registers_of(ins: Instruction) -> list[Register]:
    found = [ins.guard] if ins.guard else []
    for operand in ins.operands:
        for part in operand if isinstance(operand, tuple) else (operand,):
            inner = part.base if isinstance(part, Address) else part
            if isinstance(inner, Register):
                found.append(inner)
    return found


def address_of(ins: Instruction, places: Places, which: int) -> Callable[[Warp], Array]:
    """Return what computes an operand's addresses, one a lane."""
    place, width, offset = places.address(ins.operands[which])
    if offset == 0:

        def base(warp: Warp) -> Array:
            address: Array = warp.registers[place]
            return address

        return base
    added = UNSIGNED[width](offset & (1 << width) - 1)

    def moved(warp: Warp) -> Array:
        address: Array = warp.registers[place] + added
        return address

    return moved


def wait_step(wait: Callable[[Warp], None]) -> Step:
    """Return a step that waits, and lets others run."""

    def run(warp: Warp, _mask: Array | None) -> Event:
        wait(warp)
        return Pause()

    return run


def write_register(registers: list[object], index: int, width: int, value: Array, mask: Array | None) -> None:
    """Write a register in the lanes of a mask; the others keep what they hold, or garbage."""
    if mask is None:
        registers[index] = value
        return
    before = registers[index]
    if before is not None and not isinstance(before, np.ndarray):
        raise TypeError("the target is in flight")
    registers[index] = np.where(mask, value, filled(0xDEADBEEF_DEADBEEF, width) if before is None else before)
