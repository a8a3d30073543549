"""A request's URL and head, as bytes. What could end a line early and begin another is refused here, for every header
and every part of a URL alike."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import quote, unquote, urlsplit

from pluggably.errors import BackendUnreachable

# RFC 9110, 5.1 and 5.5: a name is a token; a value is anything without control characters, but for tabs.
_HEADER_LINES = re.compile(r"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: [^\x00-\x08\x0a-\x1f\x7f]*\r\n)*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Where a message ends and what becomes of its connection is the client's own business.
_OURS = frozenset(
    {"connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
# Everything that may stand in a path or a query as it is (RFC 3986, 3.3 and 3.4), and escapes that are there already.
_SAFE = "/?:@!$&'()*+,;=-._~%[]"
_ALWAYS_A_BODY = frozenset({"POST", "PUT", "PATCH"})


class Destination:
    """Where a URL leads: whom to connect to, and what a request's head says of it."""

    __slots__ = ("_authorization", "_host_line", "_path", "host", "origin", "port", "tls")

    def __init__(self, url: str) -> None:
        """Raises: BackendUnreachable where the URL is none."""
        try:
            if _CONTROL.search(url):
                raise ValueError("a control character")
            parts = urlsplit(url)
            default = _DEFAULT_PORTS[parts.scheme.lower()]
            name = parts.hostname or ""
            host = name if ":" in name else name.encode("idna").decode()
            port = parts.port or default
            if not host or any(mark in host for mark in ' <>"{}|\\^`%/@'):
                raise ValueError("no host")
        except (KeyError, ValueError) as error:
            problem = "The backend's URL is not valid; see `base_url` in the config."
            raise BackendUnreachable(problem, sent=False) from error
        self.tls = parts.scheme.lower() == "https"
        self.host = host
        self.port = port
        self.origin = (self.tls, host, port)
        shown = f"[{host}]" if ":" in host else host
        self._host_line = f"Host: {shown}\r\n" if port == default else f"Host: {shown}:{port}\r\n"
        query = f"?{parts.query}" if parts.query else ""
        self._path = quote((parts.path or "/") + query, safe=_SAFE)
        self._authorization = ""
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            self._authorization = f"Authorization: Basic {b64encode(pair).decode()}\r\n"

    def head(self, method: str, headers: Mapping[str, str], body_bytes: int, *, keep: bool) -> bytes:
        """The head of a request, to its empty line. Raises: BackendUnreachable for a header that could not be sent as
        it is."""
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        names = {name.lower() for name in headers}
        whole = _HEADER_LINES.fullmatch(lines) and lines.count("\n") == len(headers)
        if not whole or not names.isdisjoint(_OURS) or not _TOKEN.fullmatch(method):
            raise _unfit()
        if self._authorization and "authorization" not in names:
            lines = self._authorization + lines
        if "host" not in names:
            lines = self._host_line + lines
        if "accept-encoding" not in names:
            lines += "Accept-Encoding: gzip, deflate\r\n"
        if body_bytes or method in _ALWAYS_A_BODY:
            lines += f"Content-Length: {body_bytes}\r\n"
        if not keep:
            lines += "Connection: close\r\n"
        try:
            return f"{method} {self._path} HTTP/1.1\r\n{lines}\r\n".encode()
        except UnicodeEncodeError as error:
            raise _unfit() from error


def _unfit() -> BackendUnreachable:
    # Neither the name nor the value is told: it may be a key.
    return BackendUnreachable(
        "A header for this backend cannot be sent: it has a line break or another control character, or sets what the "
        "gateway decides. See `headers` and `api_key` in the config.",
        sent=False,
    )
