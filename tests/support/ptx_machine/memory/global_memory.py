"""Global memory: buffers with unmapped space between them."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ptx_machine.arithmetic import UNSIGNED, Array
from ptx_machine.faults import Fault

BASE: Final = 0x7F00_0000_0000
_GUARD: Final = 8192
_GRANULE: Final = 2  # bytes that one entry of the records stands for


@dataclass(frozen=True)
class Buffer:
    """One allocation: its name, its address and its size in bytes, and whether a kernel may write it."""

    name: str
    address: int
    size: int
    writable: bool


class GlobalMemory:
    """Buffers at addresses that are multiples of 16 bytes and of nothing more.

    It knows of every two bytes how often they were written, by the kernel or from outside; reading what
    nobody wrote is a fault. New bytes are all 0xFF, which is NaN in every floating-point type.
    """

    def __init__(self) -> None:
        self.bytes: npt.NDArray[np.uint8] = np.zeros(0, np.uint8)
        self.words: dict[int, Array] = {}
        self._writes: npt.NDArray[np.uint16] = np.zeros(0, np.uint16)
        self._filled: npt.NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._buffers: list[Buffer] = []
        self._addresses: list[int] = []

    def allocate(self, name: str, size: int, *, writable: bool = True) -> Buffer:
        """Return a new buffer of ``size`` bytes that nobody has written."""
        offset = self.bytes.size + _GUARD + 16
        whole = (offset + size + _GUARD + 255) // 256 * 256
        self.bytes = np.concatenate([self.bytes, np.full(whole - self.bytes.size, 0xFF, np.uint8)])
        self.words = {width // 8: self.bytes.view(kind) for width, kind in UNSIGNED.items()}
        self._writes = np.concatenate(
            [self._writes, np.zeros(whole // _GRANULE - self._writes.size, np.uint16)]
        )
        self._filled = np.concatenate(
            [self._filled, np.zeros(whole // _GRANULE - self._filled.size, np.bool_)]
        )
        buffer = Buffer(name, BASE + offset, size, writable)
        self._buffers.append(buffer)
        self._addresses.append(buffer.address)
        return buffer

    def put(self, name: str, values: Array, *, writable: bool = False) -> Buffer:
        """Return a new buffer that holds an array's bytes."""
        data = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        buffer = self.allocate(name, data.size, writable=writable)
        self.fill(buffer, data)
        return buffer

    def fill(self, buffer: Buffer, data: npt.NDArray[np.uint8]) -> None:
        """Write a buffer's first bytes from outside, as a copy from the host does."""
        start = buffer.address - BASE
        self.bytes[start : start + data.size] = data
        self._filled[start // _GRANULE : -(-(start + data.size) // _GRANULE)] = True

    def read(self, buffer: Buffer) -> npt.NDArray[np.uint8]:
        """Return a copy of a buffer's bytes."""
        start = buffer.address - BASE
        return self.bytes[start : start + buffer.size].copy()

    def writes(self, buffer: Buffer) -> npt.NDArray[np.uint16]:
        """Return how often the kernel wrote every two bytes of a buffer."""
        start = buffer.address - BASE
        return self._writes[start // _GRANULE : (start + buffer.size) // _GRANULE].copy()

    def find(self, address: int) -> Buffer | None:
        """Return the buffer that holds an address."""
        index = bisect_right(self._addresses, address) - 1
        buffer = self._buffers[index] if index >= 0 else None
        return buffer if buffer is not None and address < buffer.address + buffer.size else None

    def load(self, addresses: Array, width: int, count: int, where: str) -> Array:
        """Return (count, lanes) values of ``width`` bytes, ``count`` in a row at each address."""
        at = self._checked(addresses, width * count, where, write=False)
        granules = self._granules(at, width * count)
        if not self._filled[granules].all():
            raise Fault("global-uninitialised", f"{where}: reads bytes that nobody has written")
        values: Array = self.words[width][np.arange(count)[:, None] + at // width]
        return values

    def store(self, addresses: Array, values: Array, where: str) -> None:
        """Write (count, lanes) values, ``count`` in a row at each address."""
        width, count = values.dtype.itemsize, len(values)
        at = self._checked(addresses, width * count, where, write=True)
        granules = self._granules(at, width * count)
        np.add.at(self._writes, granules, 1)
        self._filled[granules] = True
        index = np.arange(count)[:, None] + at // width
        words = self.words[width]
        words[index] = values
        if (words[index] != values).any():
            raise Fault("global-race", f"{where}: lanes of one warp write different values to one place")

    def copy(self, addresses: Array, size: int, where: str) -> npt.NDArray[np.uint8]:
        """Return (lanes, size) bytes."""
        at = self._checked(addresses, size, where, write=False)
        if not self._filled[self._granules(at, size)].all():
            raise Fault("global-uninitialised", f"{where}: copies bytes that nobody has written")
        rows: npt.NDArray[np.uint8] = self.bytes[at[:, None] + np.arange(size)]
        return rows

    @staticmethod
    def _granules(at: Array, size: int) -> Array:
        granules: Array = (at // _GRANULE)[:, None] + np.arange(max(1, size // _GRANULE))
        return granules

    def _checked(self, addresses: Array, size: int, where: str, *, write: bool) -> Array:
        low, high = int(addresses.min()), int(addresses.max())
        buffer = self.find(low)
        if buffer is None or high + size > buffer.address + buffer.size:  # more than one buffer, or none
            for address in np.unique(addresses).tolist():
                self._check(int(address), size, where, write=write)
        elif write and not buffer.writable:
            raise Fault("write-to-input", f"{where}: {buffer.name} is an input")
        if (addresses & np.uint64(size - 1)).any():
            raise Fault(
                "misaligned-global", f"{where}: {size} bytes at an address that is no multiple of them"
            )
        return (addresses - np.uint64(BASE)).astype(np.int64)

    def _check(self, address: int, size: int, where: str, *, write: bool) -> None:
        buffer = self.find(address)
        if buffer is None or address + size > buffer.address + buffer.size:
            index = bisect_right(self._addresses, address) - 1
            near = self._buffers[max(index, 0)]
            raise Fault(
                "global-out-of-bounds",
                f"{where}: {size} bytes at {address - near.address} of {near.name}, which has {near.size}",
            )
        if write and not buffer.writable:
            raise Fault("write-to-input", f"{where}: {buffer.name} is an input")
