"""From a kernel to its program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ptx_machine.arithmetic import Array
from ptx_machine.faults import Fault, UnsupportedPtxError
from ptx_machine.instructions.accesses import copy_async, load, store
from ptx_machine.instructions.control import branch, return_, shuffle
from ptx_machine.instructions.matrices import load_matrix, multiply_matrices, multiply_warpgroup, store_matrix
from ptx_machine.instructions.scalar import Pure, pure
from ptx_machine.instructions.synchronisation import barrier, elect, fence, mbarrier, resize
from ptx_machine.instructions.tensor import use_tensor_memory
from ptx_machine.program import Event, Places, Program, Step, write_register
from ptx_machine.syntax import Instruction, Kernel, Register
from ptx_machine.warp import Warp

Rule = Callable[[Instruction, Places], Step]


def compile_kernel(kernel: Kernel) -> Program:
    """Return the program of a kernel.

    Raises:
        UnsupportedPtxError: An instruction is unknown, or of an unknown form.
    """
    places = Places(kernel)
    held = _products_operands(kernel)
    steps, written = [], set[int]()
    for ins in kernel.instructions:
        try:
            step = _compile(ins, places)
        except (KeyError, ValueError, IndexError) as error:
            raise UnsupportedPtxError(f"line {ins.line}: {ins.text} ({error!r})") from error
        targets = _written(ins)
        written |= targets
        if targets & held and ins.name != "wgmma":
            step = _guarded_targets(step, targets & held, ins.line)
        steps.append(step)
    return Program(kernel, places, steps, written)


def _compile(ins: Instruction, places: Places) -> Step:
    plain = pure(ins)
    if plain is not None:
        return _pure_step(plain, places)
    return _RULES[ins.name](ins, places)


def _written(ins: Instruction) -> set[int]:
    if ins.name in ("st", "bra", "ret", "bar", "barrier", "stmatrix", "fence") or not ins.operands:
        return set()
    if ins.name == "tcgen05" and ins.parts[1] != "ld":
        return set()
    first = ins.operands[0]
    parts = first if isinstance(first, tuple) else (first,)
    return {part.index for part in parts if isinstance(part, Register)}


def _products_operands(kernel: Kernel) -> set[int]:
    """Return the registers from which a wgmma takes A."""
    found = set[int]()
    for ins in kernel.instructions:
        if ins.name == "wgmma" and ins.parts[1] == "mma_async" and isinstance(ins.operands[1], tuple):
            found |= {part.index for part in ins.operands[1] if isinstance(part, Register)}
    return found


def _guarded_targets(step: Step, targets: set[int], line: int) -> Step:
    """Refuse to write a register that a product in flight may still read."""

    def run(warp: Warp, mask: Array | None) -> Event | int | None:
        if any(warp.held[index] > 0 for index in targets):
            raise Fault("register-in-flight", f"line {line}: writes a register that a wgmma in flight reads")
        return step(warp, mask)

    return run


def _pure_step(plain: Pure, places: Places) -> Step:
    sources = [places.of(operand, width) for operand, width in plain.sources]
    compute = plain.compute
    targets = [(register.index, register.width) for register in plain.targets]
    if len(targets) > 1:

        def run_many(warp: Warp, mask: Array | None) -> None:
            registers = warp.registers
            parts = compute(*(registers[place] for place in sources))
            for (index, width), part in zip(targets, parts, strict=True):
                write_register(registers, index, width, part, mask)

        return run_many
    ((target, width),) = targets

    def run(warp: Warp, mask: Array | None) -> None:
        registers = warp.registers
        value = compute(*[registers[place] for place in sources])
        if value.dtype.hasobject:
            raise TypeError("an operand holds no value")
        if mask is None:
            registers[target] = value
        else:
            write_register(registers, target, width, value, mask)

    return run


_RULES: Final[dict[str, Rule]] = {
    "ld": load,
    "st": store,
    "cp": copy_async,
    "mbarrier": mbarrier,
    "bar": barrier,
    "barrier": barrier,
    "fence": fence,
    "elect": elect,
    "setmaxnreg": resize,
    "bra": branch,
    "ret": return_,
    "shfl": shuffle,
    "ldmatrix": load_matrix,
    "stmatrix": store_matrix,
    "mma": multiply_matrices,
    "wgmma": multiply_warpgroup,
    "tcgen05": use_tensor_memory,
}
