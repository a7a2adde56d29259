"""Rules that the PTX of a bundle must keep, read off its text when a kernel is compiled.

Each stands for a fault that Triton or an assembler of the field had, or that a launch would meet without a
word. The two about order are followed along every path from the entry, through loops and branches:

- Every store to shared memory names its state space whole, ``st.shared::cta``, as Triton 3.8 writes it and
  3.9 does not (:func:`danet_export.kernels.ptx.name_shared_stores`).
- Between the wait for asynchronous copies and a product of the matrix units stands a proxy fence. ``wgmma``
  and ``tcgen05.mma`` read shared memory through the asynchronous proxy, which sees what ``cp.async`` wrote
  behind ``fence.proxy.async`` alone. Triton 3.6.0 and 3.7.0 leave it out.
- Between the wait for a ``wgmma`` and the next store to shared memory stands a barrier: a warp waits for its
  own products, while those of others may still read what it overwrites. Asynchronous copies, which have
  buffers of their own, are free of it.
- Code that hands addresses of shared memory to the matrix units asks for 1024 bytes of alignment and has no
  other shared variable: the swizzle of their descriptors is made of address bits, and what lies before
  dynamic shared memory would move it.
- ``.reqntid`` is the block of the launch; a driver refuses any other.

What is not seen: whether a barrier is one of all the warps that it should be, and what an mbarrier orders.
The tests execute the PTX for that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from danet_export.kernels.ptx import MATRIX_ALIGNMENT, PtxError, reads_shared_matrices

_COMMENT = re.compile(r"//[^\n]*")
_BODY = re.compile(r"\.entry\s+[\w$]+\s*\([^)]*\)[^{]*\{")
_STATEMENT = re.compile(r"\s*(?:(?P<brace>[{}])|(?P<label>[\w$]+)\s*:(?!:)|(?P<text>[^;{}][^;]*);)")
_OPERATION = re.compile(r"(?P<guard>@!?%?[\w$]+\s+)?(?P<name>[a-z][\w.:]*)\s*(?P<rest>.*)", re.DOTALL)
_PLAIN_STORE = re.compile(r"(?<![\w.])st(?:\.\w+)*\.shared(?!::)")
_SHARED_VARIABLE = re.compile(
    r"(?P<extern>\.extern\s+)?(?<![\w:])\.shared\s+(?:\.align\s+(?P<align>\d+)\s+)?\.\w+\s+[\w$]+"
)
_THREADS = re.compile(r"\.reqntid\s+(?P<threads>\d+(?:\s*,\s*\d+)*)")

_COPIED: Final = 1  # copies were waited for, and no proxy fence stands behind
_READ: Final = 2  # products were waited for, and no barrier stands behind


@dataclass(frozen=True)
class _Instruction:
    """One instruction: its line, its name, whether a predicate guards it, and what follows the name."""

    line: int
    name: str
    guarded: bool
    rest: str
    scopes: tuple[int, ...]


@dataclass
class _Code:
    """A kernel's instructions in their order, the places behind its labels, and its tables of branches."""

    instructions: list[_Instruction] = field(default_factory=list)
    labels: dict[tuple[str, int], int] = field(default_factory=dict)
    tables: dict[str, list[str]] = field(default_factory=dict)

    def place(self, label: str, scopes: tuple[int, ...]) -> int:
        """Return the place of a label that the innermost scope knows."""
        for scope in reversed(scopes):
            if (label, scope) in self.labels:
                return self.labels[label, scope]
        raise PtxError(f"expected a label {label} in the PTX, found none")

    def successors(self, index: int) -> Iterator[int]:
        """Yield the places that may be reached next."""
        each = self.instructions[index]
        ends = each.name.split(".")[0] in ("ret", "exit", "trap")
        jumps = each.name.split(".")[0] in ("bra", "brx")
        if jumps:
            target = each.rest.split(",")[-1].strip()
            for label in self.tables.get(target, [target]):
                yield self.place(label, each.scopes)
        if each.guarded or not (ends or jumps):
            yield index + 1


def check_rules(ptx: str, threads: int) -> None:
    """Refuse PTX that breaks a rule.

    Args:
        ptx: Text of one kernel as a bundle would hold it.
        threads: Threads of a block in its launch.

    Raises:
        PtxError: It breaks one or more; the message names each with its line.
    """
    found = violations(ptx, threads)
    if found:
        raise PtxError(f"the PTX breaks {len(found)} rules: {'; '.join(found[:4])}")


def violations(ptx: str, threads: int) -> list[str]:
    """Return what breaks a rule, in the order of the rules, each with its line where it has one."""
    text = _COMMENT.sub("", ptx)
    code = _read(text)
    return [*_plain_stores(text), *_orders(code), *_alignment(text), *_block(text, threads)]


def _plain_stores(text: str) -> Iterator[str]:
    for match in _PLAIN_STORE.finditer(text):
        yield f"line {_line(text, match.start())}: {match[0]} does not say ::cta"


def _alignment(text: str) -> Iterator[str]:
    if not reads_shared_matrices(text):
        return
    for match in _SHARED_VARIABLE.finditer(text):
        line = _line(text, match.start())
        if not match["extern"]:
            yield f"line {line}: a static shared variable lies before the dynamic ones of matrix products"
        elif int(match["align"] or 1) % MATRIX_ALIGNMENT:
            yield f"line {line}: shared memory is aligned to {match['align']}, not to {MATRIX_ALIGNMENT}"


def _block(text: str, threads: int) -> Iterator[str]:
    match = _THREADS.search(text)
    asked = 1
    for extent in match["threads"].split(",") if match else ():
        asked *= int(extent)
    if match is None or asked != threads:
        yield f".reqntid is {asked if match else 'absent'}, the block of the launch {threads} threads"


def _orders(code: _Code) -> list[str]:
    """Return the products without a fence and the writes without a barrier before them, on any path."""
    announced = any(each.name.startswith("cp.async.mbarrier.arrive") for each in code.instructions)
    before: Mapping[int, int] = _states(code, announced=announced)
    found = []
    for index, each in enumerate(code.instructions):
        state = before.get(index, 0)
        if state & _COPIED and each.name.startswith(("wgmma.mma_async", "tcgen05.mma")):
            found.append(f"line {each.line}: no fence.proxy.async between cp.async and {each.name}")
        if state & _READ and _writes_shared(each.name):
            found.append(f"line {each.line}: no barrier between a wait for wgmma and {each.name}")
    return found


def _writes_shared(name: str) -> bool:
    return name.startswith("stmatrix.") or (name.startswith("st.") and ".shared" in name)


def _states(code: _Code, *, announced: bool) -> dict[int, int]:
    """Return what may hold before each instruction that can be reached.

    ``announced``: whether mbarriers tell of copies, so that waiting for one may be waiting for copies.
    """
    before = {0: 0}
    pending = [0]
    while pending:
        index = pending.pop()
        if index >= len(code.instructions):
            continue
        after = _after(before[index], code.instructions[index].name, announced=announced)
        for place in code.successors(index):
            known = before.get(place)
            if known is None or after & ~known:
                before[place] = after | (known or 0)
                pending.append(place)
    return before


def _after(state: int, name: str, *, announced: bool) -> int:
    if name.startswith(("cp.async.wait_", "wgmma.wait_group")):
        return state | (_COPIED if name[0] == "c" else _READ)
    if announced and name.startswith(("mbarrier.try_wait", "mbarrier.test_wait")):
        return state | _COPIED
    if name.startswith("fence.proxy.async"):
        return state & ~_COPIED
    if name.startswith(("bar.", "barrier.")) and not name.startswith(("bar.warp", "bar.arrive")):
        return state & ~_READ
    return state


def _read(text: str) -> _Code:
    """Take the body of the only kernel apart; labels belong to the braces around them, as in inline code."""
    body = _BODY.search(text)
    if body is None:
        raise PtxError("expected one kernel in the PTX, found none")
    code = _Code()
    scopes, opened, at, table = [0], 0, body.end(), ""
    line, counted = 1, 0
    while scopes:
        match = _STATEMENT.match(text, at)
        if match is None:
            raise PtxError(f"expected an instruction in line {_line(text, at)} of the PTX")
        start, at = match.start(match.lastgroup or 0), match.end()
        line, counted = line + text.count("\n", counted, start), start
        if match["brace"] == "{":
            opened += 1
            scopes.append(opened)
        elif match["brace"]:
            scopes.pop()
        elif match["label"]:
            table = match["label"]
            code.labels[table, scopes[-1]] = len(code.instructions)
        elif match["text"].startswith(".branchtargets"):
            code.tables[table] = re.findall(r"[\w$]+", match["text"].removeprefix(".branchtargets"))
        elif not match["text"].startswith("."):
            code.instructions.append(_instruction(match["text"], line, tuple(scopes)))
    return code


def _instruction(text: str, line: int, scopes: tuple[int, ...]) -> _Instruction:
    match = _OPERATION.fullmatch(text.strip())
    if match is None:
        raise PtxError(f"expected an instruction in line {line} of the PTX (got {text.strip()[:60]!r})")
    return _Instruction(line, match["name"], match["guard"] is not None, match["rest"].strip(), scopes)


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
