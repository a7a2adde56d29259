"""Source URIs: what they name, and how they are shown without the credentials in them."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from danet_runtime.errors import UsageError

HIDDEN: Final = "***"
"""The text that replaces a credential."""

_IS_URI = re.compile(r"(?:[A-Za-z][A-Za-z0-9_-]*=)?(?!gst:)[A-Za-z][A-Za-z0-9+.-]*:/")

# A password may hold anything, unencoded ones also what ends it for a parser of URIs: all up to the last "@"
# belongs to it. Without a colon it is a user's name where no path has begun, else a path with an "@" in it.
_USERINFO = re.compile(
    r"(?P<scheme>\b[a-zA-Z][a-zA-Z0-9+.-]*:/{1,2})"
    r"(?:\*\*\*@(?!\S*@)|(?P<userinfo>[^/?#@\s'\"]+(?=@[^@]*$)|[^@:/?#\s'\"]+(?=@)|.*?:.*)@)",
    re.DOTALL,
)

_NAME = (
    r"(?:[\w.-]*(?:password|passwd|passphrase|passcode|secret|token|signature|credentials?|authorization)"
    r"|(?:[\w.-]*[_.-])?(?:pass|pwd|pw|psk|pin|key|api-?key|auth|sig|sid|session|jwt|bearer|user|usr|username"
    r"|login|account|user-?id|proxy-id|cookies?|extra-headers))"
)
_QUOTED = r"\"(?:\\.|[^\"\\])*(?:\"|$)|'[^']*(?:'|$)"
_START = r"(?<![A-Za-z0-9_.-])"
_TYPE = r"(?:\([a-zA-Z]+\)\s*)?"
_SECRET_IN_WORDS = re.compile(
    rf"(?:(?<=')(?P<single>{_NAME})\s*=\s*{_TYPE}(?P<in_single>[^']+)"
    rf"|(?<=\")(?P<double>{_NAME})\s*=\s*{_TYPE}(?P<in_double>(?:\\.|[^\"\\])+)"
    rf"|{_START}(?P<name>{_NAME})\s*=\s*{_TYPE}(?P<value>(?:{_QUOTED}|\\.|[^\s'\"])+)"
    r"|\b(?P<header>authorization|cookie):\s*(?P<content>[^'\"]+))",
    re.IGNORECASE | re.DOTALL,
)
_SECRET_IN_URI = re.compile(
    rf"(?:(?<=[?&;#])|{_START})(?P<name>{_NAME})=(?P<value>.+)", re.IGNORECASE | re.DOTALL
)
_VALUES: Final = ("in_single", "in_double", "value", "content")


def redacted(text: str) -> str:
    """The same text without credentials.

    Whatever stands before an ``@`` as user and password, and the values of names such as ``password``,
    ``token``, ``user-pw`` and ``passphrase`` in queries and pipelines, become ``***``. Where it is not clear
    how far a password goes, too much is hidden rather than too little: in a query all that follows the first
    such name.
    """
    shown, end = "", 0
    for begin, stop in _hidden_in(text):
        if begin >= end:
            shown += text[end:begin] + HIDDEN
        end = max(end, stop)
    return shown + text[end:]


def secrets_of(uri: str) -> tuple[str, ...]:
    """Return a URI's secrets, longest first, as they are written and as programs may repeat them."""
    found: list[str] = []
    for begin, stop in _hidden_in(uri):
        value = uri[begin:stop]
        found += [value, _bare(value), *value.split(":", 1)]
        if _IS_URI.match(uri):  # in a query the value and all that follows it
            found += [piece for part in value.split("&") for piece in (part, part.partition("=")[2])]
    forms = {form for one in found for form in (one, unquote(one), quote(one), quote(one, safe=""))}
    return tuple(sorted({form for form in forms if len(form) > 1 and form != HIDDEN}, key=len, reverse=True))


class Redaction:
    """Takes the credentials of one URI, and any others, out of what programs say about it.

    Args:
        uri: URI that a user gave; its credentials are known, however they are repeated.

    Attributes:
        shown: The URI without credentials.
    """

    def __init__(self, uri: str) -> None:
        self.shown = redacted(uri)
        self._uri = uri
        self._secrets = secrets_of(uri)

    def __call__(self, text: str) -> str:
        """The same text without credentials."""
        text = text.replace(self._uri, self.shown)
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return redacted(text)


def check_address(uri: str, *, needs_port: bool = False) -> None:
    """Check that a URI names a host, and that every program will read the same one in it.

    Args:
        uri: ``scheme://...``.
        needs_port: Whether there must be a port.

    Raises:
        UsageError: It does not, or holds characters that must be encoded.
    """
    scheme, shown = uri.partition(":")[0], redacted(uri)
    if '"' in uri or "\\" in uri or any(character.isspace() for character in uri):
        raise UsageError(
            f"{shown!r}: a URI has no quotes, backslashes or spaces; encode them as %22, %5C and %20"
        )
    host, has_port, is_readable = _host_of(uri)
    if not is_readable:
        raise UsageError(
            f"{shown!r} cannot be read as {scheme}://USER:PASSWORD@HOST:PORT/PATH (or its port is out of "
            "range, 0 to 65535); in user and password encode @ as %40, : as %3A, / as %2F, ? as %3F, "
            "# as %23, [ as %5B and ] as %5D"
        )
    if not host or (needs_port and not has_port):
        form = f"{scheme}://HOST:PORT" if needs_port else f"{scheme}://HOST/PATH"
        raise UsageError(f"{shown!r}: expected {form} with the name of a host")


def _host_of(uri: str) -> tuple[str | None, bool, bool]:
    """The host, whether there is a port, and whether all who read it find these; errors repeat passwords."""
    try:
        parts = urlsplit(uri)
        return parts.hostname, parts.port is not None, parts.netloc.count("@") <= 1
    except ValueError:
        return None, False, False


def _hidden_in(text: str) -> list[tuple[int, int]]:
    """From where to where credentials stand, by their beginning; they may overlap."""
    spans = [match.span("userinfo") for match in _USERINFO.finditer(text) if match["userinfo"]]
    if _IS_URI.match(text):
        spans += [match.span("value") for match in _SECRET_IN_URI.finditer(text)]
    else:
        found = _SECRET_IN_WORDS.finditer(text)
        spans += [match.span(name) for match in found for name in _VALUES if match[name]]
    return sorted(spans)


def _bare(value: str) -> str:
    """A value without the quotes and escapes of a pipeline."""
    return re.sub(r"\\(.)|[\"']", lambda match: match[1] or "", value, flags=re.DOTALL)
