"""Motion JPEG over HTTP: the parts of a ``multipart/x-mixed-replace`` body (RFC 2046), within limits.

A part may say its length or not, its boundary may stand in quotes, and cameras disagree on whether the two
dashes before it belong to its name; so it is read from the body's own first line. Nothing is allocated for
what is only announced.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from danet_runtime.sources.network.arrival import Arrival

MOST_PART_BYTES: Final = 32 << 20
"""The most bytes of a picture; those of 8K at the best quality have less."""

MOST_HEADER_BYTES: Final = 16 << 10
"""All header lines of a part, and whatever stands before the first one."""

_MOST_BOUNDARY_BYTES: Final = 256  # RFC 2046 allows 70


class MultipartError(Exception):
    """The body is no such thing, or goes beyond a limit."""


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        data: Its content.
        headers: Headers of the part by name, the names in lower case.
        arrival: When its first byte arrived.
        is_whole: Whether it ended where its length said, or with the next boundary; not with the body.
    """

    data: bytes
    headers: dict[str, str]
    arrival: Arrival
    is_whole: bool


class MultipartParser:
    """Takes a body in pieces of any size, and gives its parts as soon as they are whole.

    A length that is wrong costs the part that it stands in: the next one is looked for by its boundary.
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._boundary = b""
        self._headers: dict[str, str] | None = None
        self._length: int | None = None
        self._arrival: Arrival | None = None
        self._searched = 0

    def feed(self, data: bytes, arrival: Arrival) -> list[Part]:
        """Take what has come.

        Args:
            data: The next bytes of the body.
            arrival: When they came.

        Returns:
            The parts that are whole now.

        Raises:
            MultipartError: There is no boundary, or a part goes beyond a limit.
        """
        self._data += data
        parts = []
        while self._headers is not None or self._read_head():
            if self._arrival is None and self._data:
                self._arrival = arrival
            end = self._end_of_part()
            if end is None:
                break
            parts.append(self._take(end, is_whole=True))
        return parts

    def end(self) -> list[Part]:
        """The part that the body broke off in, if it has begun."""
        return (
            [self._take(len(self._data), is_whole=False)] if self._headers is not None and self._data else []
        )

    def _read_head(self) -> bool:
        """Read up to the end of a part's headers, once all of them are here."""
        if not self._boundary:
            self._boundary = self._first_boundary()
        start = self._data.find(self._boundary) if self._boundary else -1
        if start < 0:
            if self._boundary:  # what stands before it is nothing, however long it is
                del self._data[: max(0, len(self._data) - len(self._boundary))]
            elif len(self._data) > MOST_HEADER_BYTES:
                raise MultipartError(f"expected --BOUNDARY within the first {MOST_HEADER_BYTES} bytes")
            return False
        del self._data[:start]
        marks = ((self._data.find(mark), len(mark)) for mark in (b"\r\n\r\n", b"\n\n"))
        end, mark = min(((at, mark) for at, mark in marks if at >= 0), default=(len(self._data), 0))
        if end > MOST_HEADER_BYTES:
            raise MultipartError(f"a part has headers of more than {MOST_HEADER_BYTES} bytes")
        if not mark:
            return False
        lines = bytes(self._data[:end]).decode("latin-1").splitlines()[1:]
        pairs = (line.partition(":") for line in lines)
        self._headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        length = self._headers.get("content-length", "")
        self._length = int(length[:20]) if length.isascii() and length.isdecimal() else None
        if self._length is not None and self._length > MOST_PART_BYTES:
            raise MultipartError(f"a part announces {length[:20]} bytes; at most {MOST_PART_BYTES} are read")
        del self._data[: end + mark]
        self._searched = 0
        return True

    def _first_boundary(self) -> bytes:
        """The first line that can be one, once it is whole; none yet: empty."""
        for line in self._data[:MOST_HEADER_BYTES].split(b"\n")[:-1]:
            text = bytes(line).rstrip()
            if text.startswith(b"--") and 2 < len(text) <= _MOST_BOUNDARY_BYTES:
                return text
        return b""

    def _end_of_part(self) -> int | None:
        """Where the part ends, once it is whole."""
        if self._length:
            return self._length if len(self._data) >= self._length else None
        mark = b"\n" + self._boundary
        end = self._data.find(mark, self._searched)
        if end >= 0:
            return end
        if len(self._data) > MOST_PART_BYTES:
            raise MultipartError(f"a part has no end within {MOST_PART_BYTES} bytes")
        self._searched = max(0, len(self._data) - len(mark))
        return None

    def _take(self, end: int, *, is_whole: bool) -> Part:
        data = bytes(memoryview(self._data)[:end])
        del self._data[:end]
        part = Part(data, self._headers or {}, self._arrival or Arrival(0, is_exact=False), is_whole)
        self._headers = self._length = self._arrival = None
        return part
