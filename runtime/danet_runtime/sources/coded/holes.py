"""Holes of zeros in H.264 and H.265, as a lost block of a disk leaves them: decoders take them for pictures.

Three zeros in a row stand in no unit, only between units (ITU-T H.264 and H.265, 7.4.1). FFmpeg decodes them,
mostly without an error: a key frame with such a hole was wrong, with all that was built on it.
"""

from __future__ import annotations

from danet_runtime.sources.coded.pictures import units_of

_ZEROS = b"\0\0\0"


def has_hole(data: bytes, parameters: bytes) -> bool:
    """Whether a packet has zeros where none may be.

    Args:
        data: The packet; of other codecs than H.264 and H.265, nothing.
        parameters: Of the stream, by which it is known how its units are told apart.
    """
    if _ZEROS not in data:
        return False
    is_byte_stream = parameters[:1] != b"\1"
    return any(_ZEROS in unit.rstrip(b"\0") for unit in units_of(data, is_byte_stream))
