"""The fields of a protobuf message, without the protobuf package, which no vehicle needs.

A message is a sequence of fields, each a key (number and wire type) and a value (protobuf.dev, "Encoding").
What parsers may read in two ways is refused here: a key of more than 32 bits, whose upper bits C++ drops
without a word, so that this reader would skip a field that a library reads; groups, which no ONNX file has;
and lengths beyond the message.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from danet_runtime.errors import IntegrityError

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2
FIXED32: Final = 5

_KEY_BYTES: Final = 5
_VALUE_BYTES: Final = 10
_KEY_LIMIT: Final = 1 << 32


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        number: Number of the field in the schema.
        wire_type: ``VARINT``, ``FIXED64``, ``LENGTH`` or ``FIXED32``.
        start: Offset of the field's key, in bytes from the start of the message.
        value_start: Offset of the field's value; where a length precedes it, the offset behind the length.
        end: Offset of the first byte behind the value.
    """

    number: int
    wire_type: int
    start: int
    value_start: int
    end: int


def fields(message: memoryview) -> Iterator[Field]:
    """Each field of a message, in order; what a value means is left to the schema.

    Raises:
        IntegrityError: The message breaks off, or has a key or value that protobuf does not define.
    """
    position = 0
    while position < len(message):
        start = position
        key, position = read_varint(message, position, _KEY_BYTES)
        number, wire_type = key >> 3, key & 7
        value_start = position
        if key >= _KEY_LIMIT:
            raise IntegrityError(f"expected an ONNX model, got a field of no number at byte {start}")
        if wire_type == VARINT:
            _, end = read_varint(message, position)
        elif wire_type == FIXED64:
            end = position + 8
        elif wire_type == FIXED32:
            end = position + 4
        elif wire_type == LENGTH:
            length, value_start = read_varint(message, position)
            end = value_start + length
        else:
            raise IntegrityError(
                f"expected an ONNX model, got a field of wire type {wire_type} at byte {start}"
            )
        if number == 0 or end > len(message):
            raise IntegrityError(
                f"expected an ONNX model, got one that breaks off or is damaged at byte {start}; "
                "copy or export the bundle again"
            )
        yield Field(number, wire_type, start, value_start, end)
        position = end


def read_varint(message: memoryview, position: int, most_bytes: int = _VALUE_BYTES) -> tuple[int, int]:
    """A number in base 128, and where it ends.

    Raises:
        IntegrityError: It breaks off, or is longer than ``most_bytes``.
    """
    value = 0
    for count in range(most_bytes):
        if position >= len(message):
            break
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, position
    raise IntegrityError(f"expected an ONNX model, got an unreadable number at byte {position}")
