"""Branches, returns and shuffles."""

from __future__ import annotations

import numpy as np

from ptx_machine.arithmetic import Array
from ptx_machine.faults import Fault
from ptx_machine.program import Places, Step
from ptx_machine.syntax import Immediate, Instruction, Label, Register
from ptx_machine.warp import LANES, THREADS, Warp

_ALL_LANES = Immediate(-1)


def branch(ins: Instruction, places: Places) -> Step:
    """``bra``, which all lanes take, or none."""
    (label,) = ins.operands
    if not isinstance(label, Label):
        raise ValueError(ins.text)
    return _go_to(places.kernel.labels[label.name], ins.line)


def return_(ins: Instruction, places: Places) -> Step:
    """``ret``."""
    return _go_to(len(places.kernel.instructions), ins.line)


def _go_to(place: int, line: int) -> Step:
    """Return a step that goes on at an instruction, with all lanes."""

    def run(_warp: Warp, mask: Array | None) -> int:
        if mask is not None:
            raise Fault(
                "divergence", f"line {line}: some lanes go on alone, which the machine does not follow"
            )
        return place

    return run


def shuffle(ins: Instruction, places: Places) -> Step:
    """``shfl.sync`` among all lanes."""
    target, source, lane, *rest = ins.operands
    if (
        ins.guard
        or rest != [Immediate(31), _ALL_LANES]
        or not isinstance(target, Register)
        or target.width != 32
    ):
        raise ValueError(ins.text)
    value, by = places.of(source, 32), places.of(lane, 32)
    butterfly = {"bfly": True, "idx": False}[ins.parts[2]]

    def run(warp: Warp, _mask: Array | None) -> None:
        number = warp.registers[by]
        index = LANES ^ number if butterfly else number & np.uint32(THREADS - 1)
        warp.registers[target.index] = warp.registers[value][index]

    return run
