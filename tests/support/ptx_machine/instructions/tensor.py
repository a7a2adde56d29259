"""``tcgen05``: tensor memory, and the products that one thread begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from ptx_machine.arithmetic import Array
from ptx_machine.faults import Fault
from ptx_machine.instructions.synchronisation import mbarrier_at
from ptx_machine.memory.tensor_memory import Product, TensorForm
from ptx_machine.program import Event, Pause, Places, Step, address_of, wait_step
from ptx_machine.syntax import Address, Immediate, Instruction, Operand
from ptx_machine.warp import Warp


def use_tensor_memory(ins: Instruction, places: Places) -> Step:
    """``tcgen05``: tensor memory and the products that use it."""
    rule = _TENSOR_RULES[ins.parts[1]]
    return rule(ins, places)


def _expect_group(ins: Instruction) -> None:
    if "cta_group::1" not in ins.parts:
        raise ValueError(ins.text)


def _allocate(ins: Instruction, places: Places) -> Step:
    _expect_group(ins)
    address, count, line = address_of(ins, places, 0), ins.operands[1], ins.line
    if not isinstance(count, Immediate) or ins.parts[-2:] != ("shared", "b32"):
        raise ValueError(ins.text)

    def run(warp: Warp, mask: Array | None) -> Event:
        if mask is not None:
            raise Fault("divergence", f"line {line}: some lanes allocate alone")
        start = warp.block.tensor.allocate(count.value, line)
        warp.shared.store(address(warp)[:1], np.array([[start]], np.uint32), warp.actor(None, line))
        return Pause()

    return run


def _deallocate(ins: Instruction, places: Places) -> Step:
    _expect_group(ins)
    place, count, line = places.of(ins.operands[0], 32), ins.operands[1], ins.line
    if not isinstance(count, Immediate):
        raise ValueError(ins.text)

    def run(warp: Warp, _mask: Array | None) -> None:
        warp.block.tensor.free(warp.uniform(warp.registers[place], line, "address"), count.value, line)

    return run


def _relinquish(ins: Instruction, _places: Places) -> Step:
    _expect_group(ins)
    return lambda warp, _mask: warp.block.tensor.relinquish()


def _shape(ins: Instruction, count: int) -> bool:
    """Return whether a load or store takes 16 lanes twice; its shape must say ``count`` registers."""
    if ins.parts[2:4] != ("sync", "aligned") or ins.parts[5:] != (f"x{count}", "b32"):
        raise ValueError(ins.text)
    return {"32x32b": False, "16x32bx2": True}[ins.parts[4]]


def _load_tensor(ins: Instruction, places: Places) -> Step:
    targets, _, *split = ins.operands
    registers, address, line = places.many(targets, 32), address_of(ins, places, 1), ins.line
    apart = _apart(split, halves=_shape(ins, len(registers)))

    def run(warp: Warp, _mask: Array | None) -> None:
        warp.block.tensor.load(warp, registers, address(warp), apart, line)

    return run


def _store_tensor(ins: Instruction, places: Places) -> Step:
    _, *split, sources = ins.operands
    registers, address, line = places.many(sources, 32), address_of(ins, places, 0), ins.line
    apart = _apart(split, halves=_shape(ins, len(registers)))

    def run(warp: Warp, _mask: Array | None) -> None:
        values = np.stack([warp.registers[place] for place in registers])
        warp.block.tensor.store(warp, values, address(warp), apart, line)

    return run


def _apart(split: Sequence[Operand], *, halves: bool) -> int | None:
    """Return how many columns the two halves are apart."""
    values = [each.value for each in split if isinstance(each, Immediate)]
    if len(values) != len(split) or len(values) != halves:
        raise ValueError(split)
    return values[0] if halves else None


def _multiply_tensor(ins: Instruction, places: Places) -> Step:
    if ins.parts[2:] != ("cta_group::1", "kind::f16"):
        raise ValueError(ins.text)
    target, line = address_of(ins, places, 0), ins.line
    in_tensor = isinstance(ins.operands[1], Address)
    left = address_of(ins, places, 1) if in_tensor else None
    left_place = -1 if in_tensor else places.of(ins.operands[1], 64)
    right, form, keep = (places.of(ins.operands[i], width) for i, width in ((2, 64), (3, 32), (4, 1)))

    def run(warp: Warp, mask: Array | None) -> None:
        lane, registers = _one_lane(mask, line), warp.registers
        a = registers[left_place] if left is None else left(warp)
        operands = int(target(warp)[lane]), int(a[lane]), int(registers[right][lane])
        described = TensorForm.read(int(registers[form][lane]), line)
        product = Product(
            described, *operands, in_tensor=in_tensor, keep=bool(registers[keep][lane]), line=line
        )
        warp.block.tensor.multiply(warp, product)

    return run


def _commit_tensor(ins: Instruction, places: Places) -> Step:
    if ins.parts[2:] != ("cta_group::1", "mbarrier::arrive::one", "shared::cluster", "b64"):
        raise ValueError(ins.text)
    address, line = address_of(ins, places, 0), ins.line

    def run(warp: Warp, mask: Array | None) -> Event:
        _one_lane(mask, line)
        warp.block.tensor.commit(warp, mbarrier_at(warp, address(warp), mask, line), line)
        return Pause()

    return run


def _one_lane(mask: Array | None, line: int) -> int:
    """Return the one lane that is active."""
    if mask is None or int(mask.sum()) != 1:
        raise Fault("divergence", f"line {line}: more than one thread begins it")
    return int(np.flatnonzero(mask)[0])


_TENSOR_RULES: Final[dict[str, Callable[[Instruction, Places], Step]]] = {
    "alloc": _allocate,
    "dealloc": _deallocate,
    "relinquish_alloc_permit": _relinquish,
    "ld": _load_tensor,
    "st": _store_tensor,
    "wait::ld": lambda _ins, _places: wait_step(lambda warp: warp.block.tensor.wait_loads(warp)),
    "wait::st": lambda _ins, _places: wait_step(lambda warp: warp.block.tensor.wait_stores(warp)),
    "mma": _multiply_tensor,
    "commit": _commit_tensor,
}
