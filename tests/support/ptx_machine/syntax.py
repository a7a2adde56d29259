"""PTX as LLVM and Triton write it: one entry, typed operands, inline assembly with scopes of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from ptx_machine.faults import UnsupportedPtxError

_ENTRY = re.compile(r"\.entry\s+([\w$]+)\s*\(([^)]*)\)([^{]*)\{")
_OPERATION = re.compile(r"(?:@(!?)(%?[\w$]+)\s+)?([a-z][\w.:]*)\s*(.*)", re.S)
_LABEL = re.compile(r"([\w$]+)\s*:(?!:)")
_NUMBER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|\d+)U?")
_REAL = re.compile(r"0([fF])([0-9a-fA-F]{8})|0([dD])([0-9a-fA-F]{16})")
_DECLARED = re.compile(r"(%?[\w$]+)(?:<(\d+)>)?")
_NOTHING: Final = (".pragma", ".loc", ".file", "griddepcontrol", "prefetch")
WIDTHS: Final = {"pred": 1, **{f"{kind}{width}": width for kind in "busf" for width in (8, 16, 32, 64)}}
"""Bits of a register by the type of its declaration."""


@dataclass(frozen=True)
class Register:
    """A register: its place in the register file of a thread, and its width in bits (1: predicate)."""

    index: int
    width: int


@dataclass(frozen=True)
class Immediate:
    """A number, as it was written; a real is held as its bits."""

    value: int


@dataclass(frozen=True)
class Special:
    """A special register such as ``tid.x``, or ``shared_base``, where dynamic shared memory begins."""

    name: str


@dataclass(frozen=True)
class Address:
    """The sum of a register (or the base of shared memory, or a parameter's name) and an offset in bytes."""

    base: Register | Special | str
    offset: int


@dataclass(frozen=True)
class Label:
    """The target of a branch."""

    name: str


Scalar = Register | Immediate | Special
Operand = Scalar | Address | Label | tuple["Operand | None", ...]
"""A tuple is a vector in braces, or ``a|b``; ``None`` stands for ``_``."""


@dataclass(frozen=True)
class Instruction:
    """One instruction; ``parts``: its name taken apart at the dots, ``guard``: the predicate it hangs on."""

    parts: tuple[str, ...]
    operands: tuple[Operand, ...]
    guard: Register | None
    negated: bool
    line: int
    text: str

    @property
    def name(self) -> str:
        """The name without its modifiers."""
        return self.parts[0]


@dataclass
class Kernel:
    """One entry of a module.

    Attributes:
        name: Name of the entry.
        target: Architecture, as ``sm_90a``.
        parameters: Names of the parameters, all of which are pointers.
        threads: ``.reqntid``, or ``None``.
        most_registers: ``.maxnreg``, or ``None``.
        widths: Width of each register of the file.
        instructions: The instructions in their order.
        labels: Index of the instruction behind each label.
    """

    name: str
    target: str
    parameters: tuple[str, ...]
    threads: int | None
    most_registers: int | None
    widths: list[int] = field(default_factory=list)
    instructions: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)


def parse(ptx: str) -> Kernel:
    """Parse the one kernel of a module.

    Raises:
        UnsupportedPtxError: Something is not of the subset.
    """
    text = re.sub(r"//[^\n]*", "", ptx)
    entry, target = _ENTRY.search(text), re.search(r"^\s*\.target\s+(\w+)", text, re.M)
    if entry is None or target is None:
        raise UnsupportedPtxError("no .entry, or no .target")
    parameters = []
    for line in filter(None, map(str.strip, entry[2].split(","))):
        if not re.match(r"\.param\s+\.[bu]64\b", line):
            raise UnsupportedPtxError(f"a parameter that is no pointer: {line}")
        parameters.append(line.split()[-1])
    threads, registers = re.search(r"\.reqntid\s+(\d+)", entry[3]), re.search(r"\.maxnreg\s+(\d+)", entry[3])
    kernel = Kernel(
        name=entry[1],
        target=target[1],
        parameters=tuple(parameters),
        threads=int(threads[1]) if threads else None,
        most_registers=int(registers[1]) if registers else None,
    )
    _Body(kernel, text, entry.end()).read()
    return kernel


class _Body:
    """Reads statements; names belong to the innermost scope that declares them."""

    def __init__(self, kernel: Kernel, text: str, start: int) -> None:
        self.kernel, self.text, self.at = kernel, text, start
        self.scopes: list[dict[str, Register]] = [{}]
        self.serial = [0]  # of the open scopes, for labels
        self.opened = 0
        self.branches: list[tuple[int, tuple[int, ...]]] = []

    def read(self) -> None:
        while self.scopes:
            self._skip_space()
            character = self.text[self.at : self.at + 1]
            if character == "":
                raise UnsupportedPtxError("the body does not end")
            if character in "{}":
                self.at += 1
                self._scope(opens=character == "{")
            elif label := _LABEL.match(self.text, self.at):
                self.at = label.end()
                self.kernel.labels[self._scoped(label[1], tuple(self.serial))] = len(self.kernel.instructions)
            else:
                end = self.text.index(";", self.at)
                self._statement(self.text[self.at : end].strip(), self.text.count("\n", 0, self.at) + 1)
                self.at = end + 1
        self._resolve()

    def _skip_space(self) -> None:
        while self.text[self.at : self.at + 1].isspace():
            self.at += 1

    def _scope(self, *, opens: bool) -> None:
        if opens:
            self.opened += 1
            self.scopes.append({})
            self.serial.append(self.opened)
        else:
            self.scopes.pop()
            self.serial.pop()

    @staticmethod
    def _scoped(name: str, scopes: tuple[int, ...]) -> str:
        return name if scopes == (0,) else f"{name}@{scopes[-1]}"

    def _resolve(self) -> None:
        """Let branches inside a scope mean its own labels first."""
        for index, scopes in self.branches:
            old = self.kernel.instructions[index]
            (label,) = old.operands
            assert isinstance(label, Label)
            names = [self._scoped(label.name, scopes[: depth + 1]) for depth in reversed(range(len(scopes)))]
            found = next((name for name in names if name in self.kernel.labels), None)
            if found is None:
                raise UnsupportedPtxError(f"line {old.line}: no label {label.name}")
            self.kernel.instructions[index] = Instruction(
                old.parts, (Label(found),), old.guard, old.negated, old.line, old.text
            )

    def _statement(self, statement: str, line: int) -> None:
        if not statement or statement.startswith(_NOTHING):
            return
        if statement.startswith(".reg"):
            self._declare(statement, line)
            return
        match = _OPERATION.fullmatch(statement)
        if match is None:
            raise UnsupportedPtxError(f"line {line}: {statement!r}")
        negated, guard, operation, rest = match.groups()
        parts = tuple(part for part in operation.replace("::cta", "").split(".") if part)
        if parts[0] == "bra":
            self.branches.append((len(self.kernel.instructions), tuple(self.serial)))
        self.kernel.instructions.append(
            Instruction(
                parts=parts,
                operands=tuple(self._operand(text, line) for text in _split(rest)),
                guard=None if guard is None else self._register(guard, line),
                negated=negated == "!",
                line=line,
                text=" ".join(statement.split()),
            )
        )

    def _declare(self, statement: str, line: int) -> None:
        _, kind, names = statement.split(None, 2)
        width = WIDTHS.get(kind.lstrip("."))
        if width is None:
            raise UnsupportedPtxError(f"line {line}: {statement!r}")
        for name in names.split(","):
            declared = _DECLARED.fullmatch(name.strip())
            if declared is None:
                raise UnsupportedPtxError(f"line {line}: {statement!r}")
            stem, count = declared[1], declared[2]
            for each in [stem] if count is None else [f"{stem}{i}" for i in range(int(count))]:
                self.scopes[-1][each] = Register(len(self.kernel.widths), width)
                self.kernel.widths.append(width)

    def _register(self, name: str, line: int) -> Register:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        raise UnsupportedPtxError(f"line {line}: no register {name}")

    def _operand(self, text: str, line: int) -> Operand:
        if text.startswith("{"):
            return tuple(self._operand_or_none(part, line) for part in _split(text[1:-1]))
        if text.startswith("["):
            return self._address(text[1:-1].strip(), line)
        if "|" in text:
            return tuple(self._operand_or_none(part.strip(), line) for part in text.split("|"))
        if _NUMBER.fullmatch(text):
            return Immediate(int(text.rstrip("U"), 0))
        if real := _REAL.fullmatch(text):
            return Immediate(int(real[2] or real[4], 16))
        if text in ("true", "false"):
            return Immediate(int(text == "true"))
        if text == "global_smem":
            return Special("shared_base")
        for scope in reversed(self.scopes):
            if text in scope:
                return scope[text]
        if text.startswith("%"):
            return Special(text[1:])
        return Label(text)

    def _operand_or_none(self, text: str, line: int) -> Operand | None:
        return None if text == "_" else self._operand(text, line)

    def _address(self, text: str, line: int) -> Address:
        match = re.fullmatch(r"(%?[\w$]+)\s*(?:\+\s*([-\w]+))?", text)
        if match is None:
            raise UnsupportedPtxError(f"line {line}: address {text!r}")
        offset = int(match[2], 0) if match[2] else 0
        if match[1] in self.kernel.parameters:
            return Address(match[1], offset)
        base = self._operand(match[1], line)
        if not isinstance(base, Register | Special):
            raise UnsupportedPtxError(f"line {line}: address {text!r}")
        return Address(base, offset)


def _split(text: str) -> list[str]:
    """Split at the commas that no brace or bracket holds."""
    parts, depth, start = [], 0, 0
    for index, character in enumerate(text):
        depth += (character in "{[") - (character in "}]")
        if character == "," and depth == 0:
            parts.append(text[start:index].strip())
            start = index + 1
    parts.append(text[start:].strip())
    return [part for part in parts if part]
