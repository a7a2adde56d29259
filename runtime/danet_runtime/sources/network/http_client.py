"""A client for http:// and https:// cameras: one host, no other protocol, credentials for nobody else.

Python's own client, with only those of its handlers that are wanted here: its usual opener also opens
``file:`` and ``ftp:``, and follows a camera's answer to any host. Credentials are given where the camera
asks for them, basic or digest.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import urllib.error
import urllib.request
from collections import deque
from typing import IO, Any, Final
from urllib.parse import urlsplit

from danet_runtime.clock import now_ns
from danet_runtime.sources.network.arrival import Arrival, ArrivalReader
from danet_runtime.sources.network.http_address import HttpAddress

_AGENT: Final = "danet"
_KEPT_READS: Final = 256
_PEEKED: Final = 8


class HttpClient:
    """Opens what a camera's address names, and what the camera names within the same hosts.

    Args:
        address: Address of the camera.
    """

    def __init__(self, address: HttpAddress) -> None:
        self._address = address
        passwords = _Passwords(address)
        context = ssl.create_default_context()
        if not address.verifies:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            _Http(),
            _Https(context=context),
            _Redirect(address),
            urllib.request.HTTPCookieProcessor(),
            urllib.request.HTTPBasicAuthHandler(passwords),
            urllib.request.HTTPDigestAuthHandler(passwords),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
        ):
            self._opener.add_handler(handler)
        self._opener.addheaders = [("User-Agent", _AGENT), ("Accept", "*/*")]

    def open(self, url: str | None = None, headers: dict[str, str] | None = None) -> HttpBody:
        """Ask for a URL.

        Args:
            url: The URL; by default the camera's.
            headers: Further headers of the request, by name.

        Returns:
            The body, once its headers have come; the caller closes it.

        Raises:
            SourceError: It would be of another host or protocol.
            OSError: It cannot be had; HTTP's own errors are among these.
        """
        url = self._address.url if url is None else url
        self._address.check(url)
        try:
            request = urllib.request.Request(url, headers=headers or {})  # noqa: S310 - checked above
            return HttpBody(self._opener.open(request))
        except urllib.error.HTTPError:
            raise
        except urllib.error.URLError as error:  # which wraps what failed, in words for programmers
            raise error.reason if isinstance(error.reason, OSError) else OSError(error.reason) from error
        except (http.client.HTTPException, ValueError) as error:
            raise OSError(f"no answer of HTTP: {type(error).__name__} {error}") from error


class HttpBody:
    """A body that is being received; what FFmpeg takes as a file.

    Attributes:
        name: The URL that it came from in the end.
        content_type: Content type in lower case, without its parameters.
    """

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response
        self.name = response.geturl()
        self.content_type = response.headers.get_content_type() if "Content-Type" in response.headers else ""
        self._reader: ArrivalReader | None = getattr(response, "reader", None)
        self._read = 0
        self._most: int | None = None
        self._arrivals: deque[tuple[int, Arrival]] = deque(maxlen=_KEPT_READS)

    @property
    def arrival(self) -> Arrival:
        """When what was read last came."""
        return Arrival(now_ns()) if self._reader is None else self._reader.arrival

    def arrival_of(self, position: int | None) -> Arrival:
        """When the byte at a position came; where that is not known any more, or never was, the last one."""
        if position is not None:
            for end, arrival in self._arrivals:
                if position < end:
                    return arrival
        return self.arrival

    def begins_with(self, mark: bytes) -> bool:
        """Whether its first bytes, but for blank lines, are these; waits for some, and reads none.

        Raises:
            OSError: The connection broke.
        """
        try:
            return self._response.peek(_PEEKED).lstrip().startswith(mark)
        except http.client.HTTPException as error:
            raise OSError(f"the body breaks off: {type(error).__name__} {error}") from error

    def limit(self, most: int) -> None:
        """Read no more than ``most`` bytes of it: what goes beyond is an error."""
        self._most = most

    def read(self, most: int) -> bytes:
        """Return the bytes that have come, at most ``most``; wait for the first; empty at the end.

        Raises:
            OSError: The connection broke.
        """
        try:
            data = self._response.read1(most)
        except (http.client.HTTPException, ValueError) as error:
            raise OSError(f"the body breaks off: {type(error).__name__} {error}") from error
        self._read += len(data)
        if self._most is not None and self._read > self._most:
            raise OSError(f"the camera sends a playlist of more than {self._most} bytes; no more are read")
        self._arrivals.append((self._read, self.arrival))
        return data

    def close(self) -> None:
        """Give the connection up; harmless when called twice."""
        self._response.close()


class _Response(http.client.HTTPResponse):
    """Reads through an :class:`ArrivalReader`."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(sock, *args, **kwargs)
        self._original: IO[bytes] = self.fp  # keeps the socket open
        self.reader = ArrivalReader(sock)
        self.fp = io.BufferedReader(self.reader)

    def close(self) -> None:
        super().close()
        self._original.close()


class _Connection(http.client.HTTPConnection):
    response_class = _Response


class _SecureConnection(http.client.HTTPSConnection):
    response_class = _Response


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._own_context = context

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, req, context=self._own_context)


class _Redirect(urllib.request.HTTPRedirectHandler):
    def __init__(self, address: HttpAddress) -> None:
        self._address = address

    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302  # Python 3.10 does not know it

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:  # noqa: ANN401
        self._address.check(newurl)
        fp.close()  # else all of its body would be read, of whatever size
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Passwords(urllib.request.HTTPPasswordMgr):
    """The camera's credentials, for its own host alone, whatever realm it names."""

    def __init__(self, address: HttpAddress) -> None:
        super().__init__()
        self._address = address

    def find_user_password(self, realm: str, authuri: str) -> tuple[str | None, str | None]:
        host = (urlsplit(authuri if "://" in authuri else f"//{authuri}").hostname or "").lower()
        if self._address.user is None or host != self._address.hosts[0]:
            return None, None
        return self._address.user, self._address.password
