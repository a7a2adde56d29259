"""Loads, stores and asynchronous copies."""

from __future__ import annotations

from typing import Final

import numpy as np

from ptx_machine.arithmetic import UNSIGNED, Array
from ptx_machine.instructions.synchronisation import mbarrier_at
from ptx_machine.program import Event, Pause, Places, Step, address_of, filled, wait_step, write_register
from ptx_machine.syntax import Address, Immediate, Instruction, Register
from ptx_machine.warp import Warp

_BITS: Final = {f"{kind}{width}": width for kind in "busf" for width in (8, 16, 32, 64)}


def _vector(ins: Instruction, which: int) -> tuple[tuple[Register | Immediate, ...], int]:
    """Return a load's or store's elements and their bits; the name must say as many."""
    operand = ins.operands[which]
    parts = operand if isinstance(operand, tuple) else (operand,)
    elements = tuple(part for part in parts if isinstance(part, Register | Immediate))
    if (
        (f"v{len(parts)}" in ins.parts) != (len(parts) > 1)
        or len(elements) != len(parts)
        or len(ins.parts) > 4
    ):
        raise ValueError(ins.text)
    return elements, _BITS[ins.parts[-1]]


def load(ins: Instruction, places: Places) -> Step:
    """``ld``, of parameters too."""
    space = ins.parts[1]
    if space == "param":
        return _load_parameter(ins)
    if space not in ("global", "shared"):
        raise ValueError(space)
    elements, bits = _vector(ins, 0)
    targets = [(each.index, each.width) for each in elements if isinstance(each, Register)]
    if any(width < bits or (width > bits and ins.parts[-1][0] == "s") for _, width in targets):
        raise ValueError("a register that does not fit")
    address, form, line = address_of(ins, places, 1), (bits // 8, len(targets)), ins.line

    def run(warp: Warp, mask: Array | None) -> None:
        values = warp.load(space, address(warp), form, mask, line)
        for (index, width), value in zip(targets, values, strict=True):
            write_register(warp.registers, index, width, value.astype(UNSIGNED[width], copy=False), mask)

    return run


def _load_parameter(ins: Instruction) -> Step:
    target, source = ins.operands
    if not (isinstance(target, Register) and isinstance(source, Address) and isinstance(source.base, str)):
        raise ValueError(ins.text)
    if target.width != 64 or source.offset or ins.guard:
        raise ValueError(ins.text)
    index, name = target.index, source.base

    def run(warp: Warp, _mask: Array | None) -> None:
        warp.registers[index] = filled(warp.block.arguments[name], 64)

    return run


def store(ins: Instruction, places: Places) -> Step:
    """``st``."""
    space = ins.parts[1]
    if space not in ("global", "shared"):
        raise ValueError(space)
    elements, bits = _vector(ins, 1)
    sources = [places.of(each, each.width if isinstance(each, Register) else bits) for each in elements]
    address, kind, line = address_of(ins, places, 0), UNSIGNED[bits], ins.line

    def run(warp: Warp, mask: Array | None) -> None:
        values = np.stack([warp.registers[place] for place in sources]).astype(kind, copy=False)
        warp.store(space, address(warp), values, mask, line)

    return run


def copy_async(ins: Instruction, places: Places) -> Step:
    """``cp.async`` with its groups and arrivals."""
    action, line = ins.parts[2], ins.line
    if action == "commit_group":
        return lambda warp, _mask: warp.copies.commit()
    if action in ("wait_group", "wait_all"):
        allowed = ins.operands[0] if ins.operands else None
        return wait_step(
            lambda warp: (
                warp.copies.wait(allowed.value) if isinstance(allowed, Immediate) else warp.copies.wait_all()
            )
        )
    if ins.parts[2:4] == ("mbarrier", "arrive"):
        if ins.parts[4:] not in (("noinc", "shared", "b64"), ("shared", "b64")):
            raise ValueError(ins.text)
        counted, mbarrier = "noinc" in ins.parts, address_of(ins, places, 0)

        def arrive(warp: Warp, mask: Array | None) -> Event:
            warp.copies.arrive(mbarrier_at(warp, mbarrier(warp), mask, line), mask, line, counted=counted)
            return Pause()

        return arrive
    if ins.parts[1:] not in (("async", "cg", "shared", "global"), ("async", "ca", "shared", "global")):
        raise ValueError(ins.text)
    size = ins.operands[2]
    if not isinstance(size, Immediate):
        raise ValueError(ins.text)
    used = places.of(ins.operands[3] if len(ins.operands) > 3 else size, 32)
    to, source, bytes_ = address_of(ins, places, 0), address_of(ins, places, 1), size.value

    def run(warp: Warp, mask: Array | None) -> None:
        warp.copies.issue(to(warp), source(warp), (bytes_, warp.registers[used]), mask, line)

    return run
