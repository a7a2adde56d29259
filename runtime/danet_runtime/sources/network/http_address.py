"""The URI of an http:// or https:// camera: what it names, and who may be asked beside it."""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urldefrag, urlsplit, urlunsplit

from danet_runtime.errors import SourceError, UsageError
from danet_runtime.sources.protocol.uri import check_address, redacted

_ANY: Final = "*"


@dataclass(frozen=True)
class HttpAddress:
    """A camera's URI, taken apart.

    What stands behind ``#`` is never sent: ``#hosts=cdn.local,10.0.0.8`` names further hosts that the camera
    may send on to (``*``: any), ``#verify=yes`` has the certificate checked. Cameras sign their own, so
    without it any is taken: the connection is encrypted, but to whom is not known.

    Attributes:
        url: The URL without credentials and without ``#...``.
        user: Name of the user, decoded, or ``None``.
        password: Password, decoded.
        hosts: Names of the hosts that may be asked, the camera's own first.
        verifies: Whether the certificate is checked.
    """

    url: str
    user: str | None
    password: str
    hosts: tuple[str, ...]
    verifies: bool

    @classmethod
    def of(cls, uri: str) -> HttpAddress:
        """Read a URI.

        Raises:
            UsageError: It makes no sense, or there is something else behind the ``#``.
        """
        check_address(uri)
        plain, fragment = urldefrag(uri)
        options = dict(parse_qsl(fragment, keep_blank_values=True))
        verify = options.pop("verify", "no")
        hosts = [host.strip().lower() for host in options.pop("hosts", "").split(",") if host.strip()]
        if options or verify not in ("yes", "no") or (fragment and "=" not in fragment):
            raise UsageError(
                f"{redacted(uri)!r}: behind the # expected hosts=HOST,HOST or verify=yes, joined by &; "
                "encode a # of the address as %23"
            )
        parts = urlsplit(plain)
        path, query = (quote(part, safe=string.punctuation) for part in (parts.path, parts.query))
        url = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], path, query, ""))
        user = None if parts.username is None else unquote(parts.username)
        own = (parts.hostname or "").lower()
        return cls(url, user, unquote(parts.password or ""), (own, *hosts), verify == "yes")

    def check(self, url: str) -> None:
        """Refuse to ask anybody else.

        Raises:
            SourceError: The URL is of another host or protocol, or gives up the encryption.
        """
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").lower()
        except ValueError as error:
            raise SourceError(f"the camera sends on to what is no address: {error}") from error
        if parts.scheme.startswith("crypto"):
            raise SourceError("the camera sends encrypted segments of HLS, which are not read")
        if parts.scheme not in ("http", "https"):
            raise SourceError(
                f"the camera sends on to {parts.scheme or url}:, which is not read; expected http(s)"
            )
        if self.url.startswith("https:") and parts.scheme == "http":
            raise SourceError("the camera sends on from https to http, which gives up the encryption")
        if host not in self.hosts and _ANY not in self.hosts:
            raise SourceError(
                f"the camera sends on to the host {host!r}, which is not followed; "
                f"where that is right, add #hosts={host} to its address"
            )
