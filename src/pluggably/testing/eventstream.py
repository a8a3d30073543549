"""Messages of AWS's binary event stream, as a backend sends them: the other end of `wire.framing.EventStreamFramer`.

Source: https://smithy.io/2.0/aws/amazon-eventstream.html (2026-11).
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import msgspec


def message(kind: str, value: Any) -> bytes:
    """A message with a JSON payload. `kind` is as that of a frame: the type of an event, or `exception:` and a name, or
    `error:` and a code."""
    what, colon, name = kind.partition(":")
    headers = {":message-type": what if colon else "event", ":content-type": "application/json"}
    if what == "error" and colon:
        return encoded({":message-type": "error", ":error-code": name, ":error-message": value["message"]}, b"")
    headers[f":{what}-type" if colon else ":event-type"] = name if colon else kind
    return encoded(headers, msgspec.json.encode(value))


def encoded(headers: dict[str, str], payload: bytes) -> bytes:
    """Any message whose headers are texts."""
    block = b"".join(
        header(name, 7, struct.pack("!H", len(value.encode())) + value.encode()) for name, value in headers.items()
    )
    return with_headers(block, payload)


def header(name: str, kind: int, value: bytes) -> bytes:
    """One header; `kind` is the number of the type of its value."""
    return bytes([len(name.encode())]) + name.encode() + bytes([kind]) + value


def with_headers(block: bytes, payload: bytes) -> bytes:
    """A message with a block of headers that is encoded already, and both checksums."""
    prelude = struct.pack("!II", 16 + len(block) + len(payload), len(block))
    body = prelude + struct.pack("!I", zlib.crc32(prelude)) + block + payload
    return body + struct.pack("!I", zlib.crc32(body))
