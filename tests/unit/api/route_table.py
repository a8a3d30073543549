"""The route table with handlers that are never called: what the documents are made from."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from pluggably.api.documents import Documents
from pluggably.api.gate import Route
from pluggably.api.generations import Generations
from pluggably.api.http import HttpRequest
from pluggably.api.openapi import openapi_document
from pluggably.api.resources import Keys, Models, Operations
from pluggably.api.routes import routes

T = TypeVar("T")
VERSION = "1.2.3"


def idle(kind: type[T]) -> T:
    """An object whose methods are there and whose parts are not."""
    return kind.__new__(kind)


def table(documents: Documents | None = None) -> list[Route]:
    return routes(idle(Generations), idle(Models), idle(Keys), idle(Operations), documents or Documents(VERSION))


def document() -> dict[str, Any]:
    return openapi_document(table(), VERSION)


def described_documents() -> Documents:
    documents = Documents(VERSION)
    documents.describe(table(documents))
    return documents


class Asked:
    """A GET, as much of it as the documents look at."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers = {name.replace("_", "-").encode(): value for name, value in headers.items()}

    def header(self, name: bytes) -> str:
        return self._headers.get(name, "")


def request(**headers: str) -> HttpRequest:
    return cast("HttpRequest", Asked(headers))
