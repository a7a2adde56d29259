"""Source URIs: what they name, and how they are shown without the credentials in them."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

from danet_runtime.errors import UsageError

NETWORK_SCHEMES = ("rtsp", "rtsps", "http", "https")

_USERINFO = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)[^/@\s'\"]+@")
_SECRET = re.compile(
    r"(?P<name>(?:pass(?:word|wd)?|pwd|token|secret|key|auth|user-pw|user-id|access_token|sig(?:nature)?)=)"
    r"(?:\"[^\"]*\"|'[^']*'|[^&\s!'\"]+)",
    re.IGNORECASE,
)


def redacted(text: str) -> str:
    """The same text without credentials.

    User names and passwords before an ``@``, and values such as ``password=`` and ``token=`` of queries and
    pipelines become ``***``.
    """
    text = _USERINFO.sub(r"\g<scheme>***@", text)
    return _SECRET.sub(r"\g<name>***", text)


def secrets_of(uri: str) -> tuple[str, ...]:
    """What must not be shown of a URI, to be taken out of what a child process says as well."""
    parts = urlsplit(uri) if "://" in uri else None
    found = []
    if parts is not None:
        userinfo = parts.netloc.rpartition("@")[0]
        found += [userinfo, *userinfo.split(":", 1)]
    found += [match.group(0).partition("=")[2].strip("'\"") for match in _SECRET.finditer(uri)]
    return tuple(sorted({secret for secret in found if len(secret) > 1}, key=len, reverse=True))


def options_of(uri: str, known: tuple[str, ...]) -> dict[str, str]:
    """The options behind the ``?`` of a URI such as ``synthetic:?size=720x1280&fps=30``.

    Raises:
        UsageError: One of them is not known, or given twice.
    """
    query = uri.partition("?")[2]
    pairs = parse_qsl(query, keep_blank_values=True)
    options = dict(pairs)
    unknown = set(options) - set(known)
    if unknown or len(options) != len(pairs):
        raise UsageError(
            f"{redacted(uri)!r}: expected options of {', '.join(known)}, each once "
            f"(got {', '.join(key for key, _ in pairs)})"
        )
    return options
