"""The instructions that compute registers from registers, each as a function of arrays of bits.

The text is untrusted: a form that is not written down here is refused, never guessed.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from ptx_machine.arithmetic import (
    DECODE,
    ENCODE,
    SIGNED,
    UNSIGNED,
    Array,
    bit_field,
    exp2,
    fma,
    permute_bytes,
)
from ptx_machine.faults import UnsupportedPtxError
from ptx_machine.syntax import Immediate, Instruction, Operand, Register

Function = Callable[..., Any]


@dataclass(frozen=True)
class Pure:
    """An instruction without side effects.

    Attributes:
        targets: Registers that it writes.
        sources: Operands that it reads, each with its width in bits.
        compute: From the sources' bits to the target's, or to a sequence where there are several targets.
    """

    targets: tuple[Register, ...]
    sources: tuple[tuple[Operand, int], ...]
    compute: Function


_ROUNDINGS: Final = {"rn", "full", "ftz", "approx"}
_BITS: Final = {
    **{f"{kind}{width}": width for kind in "busf" for width in (8, 16, 32, 64)},
    **{"f16": 16, "bf16": 16, "f16x2": 32, "bf16x2": 32, "f32x2": 64, "pred": 1},
}
_REAL: Final[dict[str, Function]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "min": np.fmin,
    "max": np.fmax,
}
_INTEGER: Final[dict[str, Function]] = {
    "add": operator.add,
    "sub": operator.sub,
    "min": np.minimum,
    "max": np.maximum,
}
_LOGIC: Final[dict[str, Function]] = {"and": operator.and_, "or": operator.or_, "xor": operator.xor}
_COMPARE: Final[dict[str, Function]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "lo": operator.lt,
    "ls": operator.le,
    "hi": operator.gt,
    "hs": operator.ge,
}
_OPPOSITE: Final = {"equ": "ne", "neu": "eq", "ltu": "ge", "leu": "gt", "gtu": "le", "geu": "lt"}


def pure(ins: Instruction) -> Pure | None:
    """Return an instruction's function, or ``None`` where it is none of this kind.

    Raises:
        UnsupportedPtxError: It is of this kind, but of an unknown form.
    """
    rule = _RULES.get(ins.name)
    if rule is None:
        return None
    try:
        return rule(ins)
    except (KeyError, IndexError, ValueError) as error:
        raise UnsupportedPtxError(f"line {ins.line}: {ins.text}") from error


def _targets(operand: Operand) -> tuple[Register, ...]:
    found = operand if isinstance(operand, tuple) else (operand,)
    if not all(isinstance(each, Register) for each in found):
        raise ValueError(operand)
    return tuple(each for each in found if isinstance(each, Register))


def _make(ins: Instruction, widths: Sequence[int], out: int, compute: Function) -> Pure:
    """Make a function of all operands behind the first, of these widths."""
    target, *sources = ins.operands
    (register,) = _targets(target)
    if register.width != out or len(sources) != len(widths):
        raise ValueError(ins.text)
    return Pure((register,), tuple(zip(sources, widths, strict=True)), compute)


def _viewed(compute: Function, kind: str) -> Function:
    """Let a function of values of a type take and return bits."""
    view, bits = _view(kind), UNSIGNED[_BITS[kind]]

    def on_bits(*sources: Array) -> Array:
        result: Array = compute(*(source.view(view) for source in sources))
        return result.view(bits)

    return on_bits


def _view(kind: str) -> Any:
    if kind in ("f32", "f32x2"):
        return np.float32
    return (SIGNED if kind[0] == "s" else UNSIGNED)[_BITS[kind]]


def _expect(modifiers: Sequence[str], allowed: set[str]) -> None:
    if not set(modifiers) <= allowed:
        raise ValueError(modifiers)


def _arithmetic(ins: Instruction) -> Pure:
    *modifiers, kind = ins.parts[1:]
    width = _BITS[kind]
    if kind in ("f16", "bf16") and modifiers == ["rn", "f32"] and ins.name in ("add", "sub"):
        return _mixed(ins, kind)
    if kind.startswith("f32"):
        _expect(modifiers, _ROUNDINGS)
        compute = _viewed(_REAL[ins.name], kind)
        if ins.name in ("min", "max") and len(ins.operands) == 4:  # of three, from sm_100 on
            return _make(ins, (width,) * 3, width, lambda a, b, c: compute(compute(a, b), c))
        return _make(ins, (width, width), width, compute)
    _expect(modifiers, set())
    return _make(ins, (width, width), width, _viewed(_INTEGER[ins.name], kind))


def _mixed(ins: Instruction, kind: str) -> Pure:
    """``add.rn.f32.f16``: the first operand has 16 bits, the second and the result are FP32."""
    compute = _REAL[ins.name]

    def mixed(a: Array, b: Array) -> Array:
        result: Array = compute(DECODE[kind](a), b.view(np.float32))
        return result.view(np.uint32)

    return _make(ins, (16, 32), 32, mixed)


def _product(ins: Instruction) -> Pure:
    """``mul`` and ``mad``."""
    *modifiers, kind = ins.parts[1:]
    if kind.startswith("f32"):
        return _arithmetic(ins)
    (mode,) = modifiers
    width = _BITS[kind]
    out = 2 * width if mode == "wide" else width
    times = _integer_product(mode, kind)
    if ins.name == "mul":
        return _make(ins, (width, width), out, times)

    def add(a: Array, b: Array, c: Array) -> Array:
        return times(a, b) + c

    return _make(ins, (width, width, out), out, add)


def _integer_product(mode: str, kind: str) -> Callable[[Array, Array], Array]:
    """Return the low half, the high half, or the whole of a product."""
    width = _BITS[kind]
    table = SIGNED if kind[0] == "s" else UNSIGNED
    if mode == "lo":
        return operator.mul
    narrow, wide = table[width], table[2 * width]

    def whole(a: Array, b: Array) -> Array:
        product: Array = a.view(narrow).astype(wide) * b.view(narrow).astype(wide)
        return product

    if mode == "wide":
        return lambda a, b: whole(a, b).view(UNSIGNED[2 * width])
    if mode == "hi":
        return lambda a, b: (whole(a, b) >> wide(width)).astype(narrow).view(UNSIGNED[width])
    raise ValueError(mode)


def _fused(ins: Instruction) -> Pure:
    *modifiers, kind = ins.parts[1:]
    _expect(modifiers, {"rn"})
    width = {"f32": 32, "f32x2": 64}[kind]

    def both(a: Array, b: Array, c: Array) -> Array:
        return fma(a.view(np.uint32), b.view(np.uint32), c.view(np.uint32)).view(UNSIGNED[width])

    return _make(ins, (width,) * 3, width, both)


def _negative(ins: Instruction) -> Pure:
    (kind,) = ins.parts[1:]
    return _make(ins, (_BITS[kind],), _BITS[kind], _viewed(np.negative, kind))


def _logic(ins: Instruction) -> Pure:
    (kind,) = ins.parts[1:]
    return _make(ins, (_BITS[kind],) * 2, _BITS[kind], _LOGIC[ins.name])


def _not(ins: Instruction) -> Pure:
    (kind,) = ins.parts[1:]
    return _make(ins, (_BITS[kind],), _BITS[kind], np.invert)


def _shift(ins: Instruction) -> Pure:
    (kind,) = ins.parts[1:]
    width = _BITS[kind]
    view, bits = _view(kind), UNSIGNED[width]
    left, signed = ins.name == "shl", kind[0] == "s"

    def shift(value: Array, amount: Array) -> Array:
        """Amounts beyond the width shift everything out."""
        by = np.minimum(amount, np.uint32(width - 1)).astype(view)
        moved: Array = value.view(view) << by if left else value.view(view) >> by
        if signed and not left:
            return moved.view(bits)
        kept: Array = np.where(amount < np.uint32(width), moved.view(bits), np.zeros_like(value))
        return kept

    return _make(ins, (width, 32), width, shift)


def _field(ins: Instruction) -> Pure:
    (kind,) = ins.parts[1:]
    *_, start, length = ins.operands
    assert isinstance(start, Immediate)
    assert isinstance(length, Immediate)
    compute = partial(bit_field, start=start.value, length=length.value, signed=kind[0] == "s")
    return Pure(_targets(ins.operands[0]), ((ins.operands[1], _BITS[kind]),), compute)


def _permute(ins: Instruction) -> Pure:
    target, a, b, selector = ins.operands
    if ins.parts != ("prmt", "b32") or not isinstance(selector, Immediate):
        raise ValueError(ins.text)
    return Pure(_targets(target), ((a, 32), (b, 32)), partial(permute_bytes, selector=selector.value))


def _select(ins: Instruction) -> Pure:
    (kind,) = ins.parts[1:]
    width = _BITS[kind]
    bits = UNSIGNED[width]
    return _make(
        ins, (width, width, 1), width, lambda a, b, which: np.where(which, a.view(bits), b.view(bits))
    )


def _compare(ins: Instruction) -> Pure:
    relation, kind = ins.parts[1:]
    width, view = _BITS[kind], _view(kind)
    if relation in _OPPOSITE:  # true where either is NaN
        compare = _COMPARE[_OPPOSITE[relation]]
        return _make(ins, (width, width), 1, lambda a, b: ~compare(a.view(view), b.view(view)))
    compare = _COMPARE[relation]
    return _make(ins, (width, width), 1, lambda a, b: compare(a.view(view), b.view(view)))


def _count_bits(ins: Instruction) -> Pure:
    width = {"b32": 32, "b64": 64}[ins.parts[-1]]
    return _make(ins, (width,), 32, lambda value: np.bitwise_count(value).astype(np.uint32))


def _power(ins: Instruction) -> Pure:
    if ins.parts != ("ex2", "approx", "ftz", "f32"):
        raise ValueError(ins.text)
    return _make(ins, (32,), 32, exp2)


def _convert(ins: Instruction) -> Pure:
    *modifiers, to, source = ins.parts[1:]
    width = _BITS[source]
    if to in ("f16x2", "bf16x2") and source == "f32" and modifiers == ["rn"]:
        encode = ENCODE[to.removesuffix("x2")]

        def pack(high: Array, low: Array) -> Array:
            upper, lower = (encode(each.view(np.float32)).astype(np.uint32) for each in (high, low))
            return upper << np.uint32(16) | lower

        return _make(ins, (32, 32), 32, pack)
    if source in DECODE and to == "f32" and not modifiers:
        return _make(ins, (16,), 32, lambda value: DECODE[source](value).view(np.uint32))
    if to in ENCODE and modifiers == ["rn"]:
        return _make(
            ins, (width,), 16, lambda value: ENCODE[to](value.view(_view(source)).astype(np.float32))
        )
    if to == "f32" and source[0] in "su" and modifiers == ["rn"]:
        return _make(
            ins, (width,), 32, lambda value: value.view(_view(source)).astype(np.float32).view(np.uint32)
        )
    if to[0] in "su" and source[0] in "su" and not modifiers:
        return _between_integers(ins, to, source)
    raise ValueError(ins.text)


def _between_integers(ins: Instruction, to: str, source: str) -> Pure:
    """Extend, by the source's sign, or cut off; a register may be wider than the type that is read of it."""
    target, value = ins.operands
    width = value.width if isinstance(value, Register) else _BITS[source]
    low, extended = UNSIGNED[_BITS[source]], SIGNED if source[0] == "s" else UNSIGNED

    def convert(bits: Array) -> Array:
        taken = bits.astype(low).view(extended[_BITS[source]])
        return taken.astype(extended[_BITS[to]]).view(UNSIGNED[_BITS[to]])

    return Pure(_targets(target), ((value, width),), convert)


def _move(ins: Instruction) -> Pure:
    (kind,) = ins.parts[1:]
    target, source = ins.operands
    width = _BITS[kind]
    if isinstance(target, tuple):
        return _unpack(target, source, width)
    if isinstance(source, tuple):
        return _pack(target, source, width)
    bits = np.bool_ if width == 1 else UNSIGNED[width]
    return _make(ins, (width,), width, lambda value: value.view(bits))


def _unpack(targets: tuple[Operand | None, ...], source: Operand, width: int) -> Pure:
    each = width // len(targets)
    places = [place for place, target in enumerate(targets) if target is not None]

    def take_apart(value: Array) -> list[Array] | Array:
        parts = value[:, None].view(UNSIGNED[each])
        found = [np.ascontiguousarray(parts[:, place]) for place in places]
        return found if len(found) > 1 else found[0]

    return Pure(
        _targets(tuple(target for target in targets if target is not None)), ((source, width),), take_apart
    )


def _pack(target: Operand, sources: tuple[Operand | None, ...], width: int) -> Pure:
    each = width // len(sources)

    def join(*parts: Array) -> Array:
        return np.stack([part.view(UNSIGNED[each]) for part in parts], 1).view(UNSIGNED[width])[:, 0]

    known = tuple((source, each) for source in sources if source is not None)
    if len(known) != len(sources):
        raise ValueError(sources)
    return Pure(_targets(target), known, join)


_RULES: Final[dict[str, Callable[[Instruction], Pure]]] = {
    **dict.fromkeys(("add", "sub", "div", "min", "max"), _arithmetic),
    **dict.fromkeys(("mul", "mad"), _product),
    **dict.fromkeys(("and", "or", "xor"), _logic),
    **dict.fromkeys(("shl", "shr"), _shift),
    "fma": _fused,
    "neg": _negative,
    "not": _not,
    "bfe": _field,
    "prmt": _permute,
    "selp": _select,
    "setp": _compare,
    "ex2": _power,
    "popc": _count_bits,
    "cvt": _convert,
    "mov": _move,
}
