"""Names and words of others, shown so that a terminal or a log takes none of them for an order.

The names of files, classes and cameras, the words of manifests, flight recordings and child processes may
hold anything: escape sequences that retitle, recolor or erase, line ends that forge another line, marks that
turn the direction of writing, and the stand-ins for bytes that are no text. All these are shown by their
numbers.
"""

from __future__ import annotations

import logging
import re
from typing import Final

_BYTES_FROM: Final = 0xDC80  # where Python keeps a byte of a file name that is no UTF-8
_BYTES_TO: Final = 0xDCFF

# What this program and its libraries send to a terminal by themselves: colors, and moves of progress bars.
_SEQUENCE: Final = r"\x1b\[(?:[0-9;]*m|\?25[hl]|[0-9]*[ABGHJK])"
_OWN_SEQUENCE: Final = rf"{_SEQUENCE}|\r(?={_SEQUENCE}|\n)"
_STREAMED: Final = {
    True: re.compile(rf"({_OWN_SEQUENCE}|\n)|[^ -~]"),
    False: re.compile(r"(\n)|[^ -~]"),
}


def visible(text: str) -> str:
    r"""The text with every character that cannot be seen by its number, as ``\x1b``, ``\n`` or ``\u202e``.

    Kept is what Unicode calls printable, of any script; a byte of a name that is no text becomes ``\xff``.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _number(letter) for letter in text)


def visible_stream(text: str, *, has_colors: bool) -> str:
    """Return text that is safe for a terminal or file: it keeps line breaks and, if asked, rich's sequences.

    The last line of defence, for what did not pass through :func:`visible`.
    """

    def shown(match: re.Match[str]) -> str:
        return match[0] if match[1] else visible(match[0])

    return text if text.isprintable() else _STREAMED[has_colors].sub(shown, text)


class VisibleFormatter(logging.Formatter):
    """Formats a record of the log as one line, whatever its message holds; a traceback has its own lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - as logging calls it
        """The line."""
        return visible(super().formatMessage(record))


def _number(letter: str) -> str:
    code = ord(letter)
    if _BYTES_FROM <= code <= _BYTES_TO:
        return f"\\x{code - _BYTES_FROM + 0x80:02x}"
    return letter.encode("unicode_escape").decode("ascii")
