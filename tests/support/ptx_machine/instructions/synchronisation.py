"""Barriers, mbarrier objects, fences, and registers that warps hand over."""

from __future__ import annotations

import numpy as np

from ptx_machine.arithmetic import Array
from ptx_machine.faults import Fault
from ptx_machine.memory.clocks import Mbarrier
from ptx_machine.program import (
    AtBarrier,
    AtPhase,
    Event,
    ForRegisters,
    Pause,
    Places,
    Step,
    address_of,
    filled,
)
from ptx_machine.syntax import Immediate, Instruction, Label, Register
from ptx_machine.warp import LANES, THREADS, Warp

_ALL_LANES = Immediate(-1)
_GIVES_UP = 0.2  # how often try_wait ends its waiting without success, as it may at any time


def mbarrier_at(warp: Warp, address: Array, mask: Array | None, line: int) -> Mbarrier:
    """Return the mbarrier object at the address that all lanes of a mask name."""
    active = address if mask is None else address[mask]
    return warp.shared.mbarrier(warp.uniform(active, line, "mbarrier"), warp.index, f"line {line}")


def mbarrier(ins: Instruction, places: Places) -> Step:
    """``mbarrier``: init, inval, arrive, test_wait and try_wait."""
    form, line = ins.parts[1], ins.line
    if ins.parts[-1] != "b64" or "shared" not in ins.parts:
        raise ValueError(ins.text)
    if form == "init":
        return _init_mbarrier(ins, places)
    if form == "inval":
        address = address_of(ins, places, 0)

        def end(warp: Warp, mask: Array | None) -> None:
            active = address(warp) if mask is None else address(warp)[mask]
            warp.shared.end_mbarrier(int(active[0]), warp.index, f"line {line}")

        return end
    if form == "arrive" and ins.parts[2:] == ("shared", "b64"):
        return _arrive(ins, places)
    if form in ("try_wait", "test_wait") and ins.parts[2:] == ("parity", "shared", "b64") and not ins.guard:
        return _test_phase(ins, places)
    raise ValueError(ins.text)


def _init_mbarrier(ins: Instruction, places: Places) -> Step:
    address, count, line = address_of(ins, places, 0), ins.operands[1], ins.line
    if not isinstance(count, Immediate):
        raise ValueError(ins.text)

    def init(warp: Warp, mask: Array | None) -> Event:
        lanes = LANES if mask is None else LANES[mask]
        if lanes.size > 1:
            raise Fault("mbarrier-race", f"line {line}: {lanes.size} lanes initialise it")
        warp.shared.init_mbarrier(int(address(warp)[lanes[0]]), count.value, warp.actor(lanes, line))
        return Pause()

    return init


def _arrive(ins: Instruction, places: Places) -> Step:
    target, _, *counts = ins.operands
    if target != Label("_") or not all(isinstance(count, Immediate) for count in counts):
        raise ValueError(ins.text)
    count = sum(count.value for count in counts if isinstance(count, Immediate)) or 1
    address, line = address_of(ins, places, 1), ins.line

    def arrive(warp: Warp, mask: Array | None) -> Event:
        lanes = THREADS if mask is None else int(mask.sum())
        found = mbarrier_at(warp, address(warp), mask, line)
        handed = warp.shared.clocks.release(warp.index, whole=lanes == THREADS)
        found.arrive(lanes * count, handed, f"line {line}")
        return Pause()

    return arrive


def _test_phase(ins: Instruction, places: Places) -> Step:
    target, line = ins.operands[0], ins.line
    if not isinstance(target, Register):
        raise ValueError(ins.text)
    address, parity_place, waits = (
        address_of(ins, places, 1),
        places.of(ins.operands[2], 32),
        "try_wait" in ins.parts,
    )

    def test(warp: Warp, _mask: Array | None) -> Event:
        found = mbarrier_at(warp, address(warp), None, line)
        parity = warp.uniform(warp.registers[parity_place], line, "parity") & 1

        def resume() -> None:
            done = found.is_complete(parity)
            if done:
                warp.shared.clocks.acquire(warp.index, found.handed)
            warp.registers[target.index] = filled(done, 1)

        if waits and warp.block.rng.random() > _GIVES_UP:
            return AtPhase(found, parity, resume)
        if waits:
            warp.registers[target.index] = filled(0, 1)
            return Pause()
        resume()
        return Pause()

    return test


def barrier(ins: Instruction, places: Places) -> Step:
    """``bar`` and ``barrier``, of a block, some of its warps, or one warp."""
    if ins.parts[1:] == ("warp", "sync"):
        if ins.operands != (_ALL_LANES,) or ins.guard:
            raise ValueError(ins.text)
        return lambda warp, _mask: warp.shared.clocks.order_lanes(warp.index)
    kinds = [part for part in ins.parts[1:] if part not in ("cta", "aligned")]
    if kinds != ["sync"] or ins.guard or not all(isinstance(each, Immediate) for each in ins.operands):
        raise ValueError(ins.text)
    number, *threads = (each.value for each in ins.operands if isinstance(each, Immediate))
    event = AtBarrier(number, threads[0] if threads else 0)
    return lambda _warp, _mask: event


def fence(ins: Instruction, _places: Places) -> Step:
    """``fence.proxy.async``."""
    if ins.parts != ("fence", "proxy", "async", "shared"):
        raise ValueError(ins.text)
    return lambda warp, _mask: warp.shared.clocks.fence(warp.index)


def elect(ins: Instruction, places: Places) -> Step:
    """``elect.sync``."""
    pair = ins.operands[0]
    if (
        ins.guard
        or ins.parts != ("elect", "sync")
        or ins.operands[1] != _ALL_LANES
        or not isinstance(pair, tuple)
    ):
        raise ValueError(ins.text)
    number, chosen = pair
    if not isinstance(chosen, Register):
        raise ValueError(ins.text)

    def run(warp: Warp, _mask: Array | None) -> None:
        warp.registers[chosen.index] = np.uint32(warp.block.leader) == LANES
        if isinstance(number, Register):
            warp.registers[number.index] = filled(warp.block.leader, 32)

    return run


def resize(ins: Instruction, _places: Places) -> Step:
    """``setmaxnreg``."""
    count = ins.operands[0]
    if ins.guard or ins.parts[2:] != ("sync", "aligned", "u32") or not isinstance(count, Immediate):
        raise ValueError(ins.text)
    grow, line = ins.parts[1] == "inc", ins.line
    return lambda warp, _mask: ForRegisters(warp.resize(count.value, line, grow=grow))
