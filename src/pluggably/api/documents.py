"""Serves the reference of this API: the OpenAPI document and the page made from it.

Both are made at the first request for them, not at start-up, and then kept. What surprises: a `Documents` is one of
the handlers that the route table lists, so it exists before the table does, and is told of it by `describe`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import msgspec
from starlette.responses import Response

from pluggably.api.gate import Answer, Route
from pluggably.api.http import HttpRequest


class Rendered(msgspec.Struct, frozen=True):
    """A document as it is sent, with what a client needs to tell whether its copy is still the same."""

    body: bytes
    headers: Mapping[str, str]


class Documents:
    """The handlers of `/openapi.json` and `/docs`. `version` is the gateway's own."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._routes: Sequence[Route] = ()
        self._openapi: Rendered | None = None
        self._page: Rendered | None = None

    def describe(self, routes: Sequence[Route]) -> None:
        """Sets the route table that the documents are about."""
        self._routes = routes
        self._openapi = self._page = None

    async def openapi(self, http: HttpRequest) -> Answer:
        if self._openapi is None:
            from pluggably.api.openapi import openapi_document

            document = openapi_document(self._routes, self._version)
            self._openapi = _rendered(msgspec.json.encode(document), "application/json", {})
        return _answer(self._openapi, http)

    async def page(self, http: HttpRequest) -> Answer:
        if self._page is None:
            from pluggably.api.docs_page import CONTENT_SECURITY_POLICY, docs_page
            from pluggably.api.openapi import openapi_document

            page = docs_page(openapi_document(self._routes, self._version))
            headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY, "Referrer-Policy": "no-referrer"}
            self._page = _rendered(page.encode(), "text/html; charset=utf-8", headers)
        return _answer(self._page, http)


def _rendered(body: bytes, media_type: str, headers: Mapping[str, str]) -> Rendered:
    tag = hashlib.sha256(body).hexdigest()[:32]
    # Another version may answer under this address tomorrow: a copy may be kept, but is asked about each time.
    common = {"Content-Type": media_type, "ETag": f'"{tag}"', "Cache-Control": "no-cache"}
    return Rendered(body, {**common, "X-Content-Type-Options": "nosniff", **headers})


def _answer(rendered: Rendered, http: HttpRequest) -> Answer:
    held = [tag.strip().removeprefix("W/") for tag in http.header(b"if-none-match").split(",")]
    if rendered.headers["ETag"] in held or "*" in held:
        kept = {name: value for name, value in rendered.headers.items() if name != "Content-Type"}
        return Response(status_code=304, headers=kept)
    return Response(rendered.body, headers=dict(rendered.headers))
