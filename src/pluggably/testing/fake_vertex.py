"""A fake Vertex AI: Gemini, Claude and embeddings there, the lists of its models, and Google's token endpoint.

Gemini's answers are those of `fake_gemini` and Claude's those of `fake_anthropic`, by the name of the model and with
`claude-` before it; what is theirs alone is the address. `text-embedding-…` and `gemini-embedding-001` make embeddings
by `predict`, other `gemini-embedding-…` by `embedContent`.

    with running_fake_vertex() as fake:
        ...                                   # point the preset `vertex` at fake.place, an account at fake.token_url

What surprises: it is as strict as Google. A call without the token that it gave is refused, as are a text for Claude
with a `model` or without the version, a URL for Gemini without its type, and two texts at once for a model that takes
one. A text of more than 2,048 words is too long.

Source: docs.cloud.google.com/vertex-ai/generative-ai/docs/embeddings/get-text-embeddings and …/docs/partner-models/
claude/use-claude; google/cloud/aiplatform/v1beta1/model_garden_service.proto in github.com/googleapis/googleapis
(2026-11).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

from aiohttp import web

from pluggably.testing import fake_gemini
from pluggably.testing import fake_openai as base
from pluggably.testing.fake_anthropic import FakeAnthropic
from pluggably.testing.fake_openai import Json, RecordedRequest

TOKEN = "ya29.given"
VERSION = "vertex-2023-10-16"
MOST_TOKENS = 2048
_PLACE = "/v1/projects/acme/locations/europe-west4"
_MODEL = re.compile(rf"{_PLACE}/publishers/(google|anthropic)/models/([a-z0-9@.-]+):(\w+)")
_LISTS = {
    "/v1beta1/publishers/google/models": (
        {"name": "publishers/google/models/gemini-2.5-flash", "versionId": "default", "launchStage": "GA"},
        {"name": "publishers/google/models/text-embedding-005", "versionId": "default", "launchStage": "GA"},
        {"name": "publishers/google/models/gemma3", "versionId": "gemma-3-1b-it", "supportedActions": {"deploy": {}}},
    ),
    "/v1beta1/publishers/anthropic/models": (
        {"name": "publishers/anthropic/models/claude-opus-4-6", "versionId": "default", "launchStage": "GA"},
        {"name": "publishers/anthropic/models/claude-haiku-4-5", "versionId": "20251001", "launchStage": "GA"},
    ),
}


class FakeVertex(FakeAnthropic):
    """The server's state, which tests read."""

    def __init__(self) -> None:
        super().__init__()
        # What was shown for a token.
        self.assertions: list[str] = []

    @property
    def origin(self) -> str:
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def place(self) -> str:
        return self.origin + _PLACE

    @property
    def token_url(self) -> str:
        return f"{self.origin}/token"

    async def _respond(self, request: web.Request, seen: RecordedRequest) -> web.StreamResponse:
        if seen.path == "/token":
            return self._give_token(await request.text())
        if seen.headers.get("authorization") != f"Bearer {TOKEN}":
            return fake_gemini.refused(401)
        if seen.method == "GET" and seen.path in _LISTS:
            return _page(_LISTS[seen.path], request.query.get("pageToken"))
        found = _MODEL.fullmatch(seen.path)
        if found is None or seen.method != "POST":
            return fake_gemini.refused(404)
        publisher, model, operation = found.groups()
        if publisher == "anthropic":
            return await self._claude(request, seen, model, operation)
        if "embedding" in model:
            return _embedded(seen.body, model, operation)
        if operation not in ("generateContent", "streamGenerateContent"):
            return fake_gemini.refused(400, "Precondition check failed.")
        if any("mimeType" not in part.get("fileData", {"mimeType": ""}) for part in _parts(seen.body)):
            return fake_gemini.refused(400, "Unable to submit request because it has an empty mimeType in fileData.")
        return await fake_gemini.answered(request, seen, model, operation)

    def _give_token(self, body: str) -> web.Response:
        form = {name: value for name, (value,) in parse_qs(body).items()}
        if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return web.json_response({"error": "unsupported_grant_type"}, status=400)
        self.assertions.append(form["assertion"])
        return web.json_response({"access_token": TOKEN, "expires_in": 3599, "token_type": "Bearer"})

    async def _claude(
        self, request: web.Request, seen: RecordedRequest, model: str, operation: str
    ) -> web.StreamResponse:
        body: Json = dict(seen.body)
        streams = {"rawPredict": False, "streamRawPredict": True}.get(operation)
        if (
            body.pop("anthropic_version", None) != VERSION
            or "model" in body
            or body.get("stream", False) is not streams
        ):
            return fake_gemini.refused(400, "Request contains an invalid argument.")
        # As it would stand at Anthropic; what happens to it is told of the request itself.
        asked = replace(seen, body={**body, "model": model.removeprefix("claude-")})
        try:
            return await self._message(request, asked)
        finally:
            seen.events_sent = asked.events_sent


def _parts(body: Json) -> Iterator[Json]:
    for content in body.get("contents", ()):
        yield from content.get("parts", ())


def _page(entries: tuple[Json, ...], token: str | None) -> web.Response:
    """One entry a page."""
    at = int(token or 0)
    more = {"nextPageToken": str(at + 1)} if at + 1 < len(entries) else {}
    return web.json_response({"publisherModels": [entries[at]], **more})


def _embedded(body: Json, model: str, operation: str) -> web.Response:
    if re.match(r"gemini-embedding-(?!001)", model):
        if operation != "embedContent" or body.keys() - {"content", "embedContentConfig"}:
            return fake_gemini.refused(400, "Precondition check failed.")
        wanted = body.get("embedContentConfig", {})
        text = "".join(part["text"] for part in body["content"]["parts"])
        count = len(text.split())
        vector = {"values": _vector(text, wanted)}
        return web.json_response({"embedding": vector, "usageMetadata": {"promptTokenCount": count}})
    most = 1 if model == "gemini-embedding-001" else 250
    if operation != "predict" or body.keys() - {"instances", "parameters"} or len(body["instances"]) > most:
        return fake_gemini.refused(400, "Precondition check failed.")
    wanted = body.get("parameters", {})
    predictions = []
    for instance in body["instances"]:
        count = len(instance["content"].split())
        if count > MOST_TOKENS and wanted.get("autoTruncate", True) is False:
            told = f"the input token count is {count} but model {model} supports up to {MOST_TOKENS}."
            return fake_gemini.refused(400, f"Unable to submit request because {told}")
        statistics = {"truncated": count > MOST_TOKENS, "token_count": min(count, MOST_TOKENS)}
        predictions.append({"embeddings": {"values": _vector(instance["content"], wanted), "statistics": statistics}})
    return web.json_response({"predictions": predictions})


def _vector(text: str, wanted: Json) -> list[float]:
    digest = hashlib.sha256(text.encode()).digest()
    return [digest[place % 32] / 256 for place in range(wanted.get("outputDimensionality") or 4)]


@contextmanager
def running_fake_vertex() -> Iterator[FakeVertex]:
    """Serves from a thread of its own, on a free port, until the block ends."""
    fake = FakeVertex()
    with base.running(fake):
        yield fake
