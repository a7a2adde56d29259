"""Matrix instructions of warps and warpgroups."""

from __future__ import annotations

import re

import numpy as np

from ptx_machine.arithmetic import Array
from ptx_machine.matrices.fragments import load_matrices, multiply, store_matrices
from ptx_machine.matrices.warpgroup import ProductForm
from ptx_machine.program import Places, Step, address_of, wait_step
from ptx_machine.syntax import Immediate, Instruction
from ptx_machine.warp import Warp


def load_matrix(ins: Instruction, places: Places) -> Step:
    """``ldmatrix``."""
    if ins.guard or "m8n8" not in ins.parts or ins.parts[-2:] != ("shared", "b16"):
        raise ValueError(ins.text)
    targets, address = places.many(ins.operands[0], 32), address_of(ins, places, 1)
    transposed, line = "trans" in ins.parts, ins.line

    def run(warp: Warp, _mask: Array | None) -> None:
        values = load_matrices(warp, address(warp), len(targets), line, transposed=transposed)
        for target, value in zip(targets, values, strict=True):
            warp.registers[target] = value

    return run


def store_matrix(ins: Instruction, places: Places) -> Step:
    """``stmatrix``."""
    if ins.guard or "m8n8" not in ins.parts or ins.parts[-2:] != ("shared", "b16"):
        raise ValueError(ins.text)
    address, sources = address_of(ins, places, 0), places.many(ins.operands[1], 32)
    transposed, line = "trans" in ins.parts, ins.line

    def run(warp: Warp, _mask: Array | None) -> None:
        values = np.stack([warp.registers[place] for place in sources])
        store_matrices(warp, address(warp), values, line, transposed=transposed)

    return run


def multiply_matrices(ins: Instruction, places: Places) -> Step:
    """``mma.sync.m16n8k16``."""
    kind = ins.parts[7]
    if ins.guard or ins.parts[1:] != ("sync", "aligned", "m16n8k16", "row", "col", "f32", kind, kind, "f32"):
        raise ValueError(ins.text)
    targets, *operands = (places.many(operand, 32) for operand in ins.operands)

    def run(warp: Warp, _mask: Array | None) -> None:
        a, b, c = (np.stack([warp.registers[place] for place in operand]) for operand in operands)
        for target, value in zip(targets, multiply(a, b, c, kind), strict=True):
            warp.registers[target] = value

    return run


def multiply_warpgroup(ins: Instruction, places: Places) -> Step:
    """``wgmma``: products, and what orders them."""
    if ins.guard:
        raise ValueError(ins.text)
    action = ins.parts[1]
    if action == "fence":
        return _fence_products
    if action == "commit_group":
        return lambda warp, _mask: warp.products.commit()
    if action == "wait_group":
        (allowed,) = ins.operands
        if not isinstance(allowed, Immediate):
            raise ValueError(ins.text)
        return wait_step(lambda warp: warp.products.wait(allowed.value))
    if action != "mma_async" or ins.parts[2:4] != ("sync", "aligned") or ins.parts[5] != "f32":
        raise ValueError(ins.text)
    return _product_of_warpgroup(ins, places)


def _fence_products(warp: Warp, _mask: Array | None) -> None:
    warp.products.fenced = True


def _product_of_warpgroup(ins: Instruction, places: Places) -> Step:
    shape, kind = re.fullmatch(r"m64n(\d+)k16", ins.parts[4]), ins.parts[6]
    targets = places.many(ins.operands[0], 32)
    if shape is None or ins.parts[5:] != ("f32", kind, kind) or len(targets) != int(shape[1]) // 2:
        raise ValueError(ins.text)
    in_registers = isinstance(ins.operands[1], tuple)
    left = places.many(ins.operands[1], 32) if in_registers else (places.of(ins.operands[1], 64),)
    right, keep = places.of(ins.operands[2], 64), places.of(ins.operands[3], 1)
    flags = [flag.value for flag in ins.operands[4:] if isinstance(flag, Immediate)]
    transposed = flags[2:] if not in_registers else [0, *flags[2:]]
    form = ProductForm(
        columns=int(shape[1]),
        kind=kind,
        signs=(flags[0], flags[1]),
        contiguous_k=(not transposed[0], not transposed[1]),
        line=ins.line,
    )

    def run(warp: Warp, _mask: Array | None) -> None:
        registers = warp.registers
        a = left if in_registers else registers[left[0]]
        warp.products.issue(form, targets, a, registers[right], registers[keep])

    return run
