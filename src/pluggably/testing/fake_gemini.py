"""An HTTP server that speaks the Gemini API's generateContent, its stream and its embeddings, and breaks on demand.

Here lives a fake vendor for tests, in the manner of `fake_openai`: the *name* of the model says what to answer and what
to break.

    with running_fake_gemini(key="test") as fake:
        ...                                   # point a provider at fake.base_url
        fake.requests[-1].body                # what arrived, and whether the client stayed to the end

Numbers in a name may be left out.

    echo                    the text of the last content
    say-<n>                 n tokens: `w0 w1 w2 …` (3)
    slow-<ms>-<n>           like `say`, with a pause before each token (20, 5)
    tools, tools-parallel   one or two calls of the functions declared; the first is signed. Once the user's last turn
                            has a function's response, a text that quotes it
    reasoning               a summary of thoughts where it is asked for, and a text whose end is signed
    json                    an object that obeys `responseJsonSchema`
    length, filtered        a text with that reason to finish
    blocked                 a prompt that is blocked
    embed-<n>               vectors of n numbers (8), for 100 texts a call at most; a text `status-<code>` has its call
                            refused as below, a text `stall` never gets an answer
    status-<code>           Google's error body for 400, 401, 403, 404, 429, 500, 503 or 504 (500)
    error-in-200-<k>        an `error` after k pieces of a stream (2), or in place of an answer
    error-bare-200-<k>      the same without `data:`, over many lines, as Google's front ends write it
    error-list-200-<k>      the same in a list
    error-whole             an `error` as JSON with a status of 200, where a stream was asked for
    no-stream               a stream's pieces as a list, as without `alt=sse`
    ends-<k>, stall-<k>     the stream ends, or falls silent, after k pieces (2)

What will surprise you: a field that the API does not know, a turn without parts, results that do not match their calls
in number and name, or that stand beside anything else, what a result may not hold, a turn of the model at the end, and
in what a model said a call whose signature is missing, are a 400, so that a codec which invents or loses things is
caught. In this it is as strict as the newest models, and as Vertex AI.

Sources, as read in November 2026: ai.google.dev/api/generate-content, …/api/embeddings, …/gemini-api/docs/
thought-signatures, …/docs/latest-model and …/docs/generate-content/api-errors; the types of google-genai 3.4.0.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from pluggably.testing.fake_openai import RecordedRequest, example_of, running

Json = dict[str, Any]

_FIELDS = {
    "generateContent": "contents systemInstruction tools toolConfig generationConfig safetySettings cachedContent "
    "serviceTier labels store continuationToken",
    "embedContent": "model content taskType title outputDimensionality",
    "batchEmbedContents": "requests",
}
_FIELDS["streamGenerateContent"] = _FIELDS["generateContent"]
_PART = {"text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode", "codeExecutionResult"}
# What a function's response may hold.
_RESULT_TYPES = ("image/png", "image/jpeg", "image/webp", "application/pdf", "text/plain")
_MODELS_TURN = "Requests ending with a model turn are not supported."
_STATUSES = {
    400: ("INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", "API_KEY_INVALID"),
    401: ("UNAUTHENTICATED", "Request had invalid authentication credentials.", None),
    403: ("PERMISSION_DENIED", "Your API key was reported as leaked. Please use another API key.", None),
    404: ("NOT_FOUND", "models/nothing is not found for API version v1beta.", None),
    429: ("RESOURCE_EXHAUSTED", "You exceeded your current quota. Please retry in 2s.", None),
    500: ("INTERNAL", "An internal error has occurred.", None),
    503: ("UNAVAILABLE", "The model is overloaded. Please try again later.", None),
    504: ("DEADLINE_EXCEEDED", "The request timed out. Please try again.", None),
}
# The models whose stream breaks after some pieces.
_BREAKS = ("ends", "stall", "error-in", "error-bare", "error-list")
# Of the bytes of a signature nothing is known.
SIGNATURE = base64.b64encode(b"a signature of the fake").decode()


class FakeGemini:
    """The server's state, which tests read; `running_fake_gemini` starts it."""

    base_path = "/v1beta"

    def __init__(self, key: str | None) -> None:
        self._key = key
        self.requests: list[RecordedRequest] = []
        self.base_url = ""

    def application(self) -> web.Application:
        application = web.Application(client_max_size=64 << 20)
        application.router.add_route("*", "/{tail:.*}", self._handle)
        return application

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        seen = RecordedRequest(request.method, request.path_qs, headers, json.loads(raw) if raw else None)
        self.requests.append(seen)
        try:
            return await self._respond(request, seen)
        except (asyncio.CancelledError, ConnectionError) as error:
            seen.disconnected = True
            raise asyncio.CancelledError from error
        finally:
            seen.finished.set()

    async def _respond(self, request: web.Request, seen: RecordedRequest) -> web.StreamResponse:
        if self._key is not None and seen.headers.get("x-goog-api-key") != self._key:
            return refused(400)
        if (request.method, request.path) == ("GET", "/v1beta/models"):
            methods = ["generateContent", "countTokens"]
            return web.json_response({"models": [{"name": "models/echo", "supportedGenerationMethods": methods}]})
        found = re.fullmatch(r"/v1beta/(?:models|tunedModels)/([a-z-]+?)((?:-\d+)*):(\w+)", request.path)
        if found is None or found[3] not in _FIELDS:
            return refused(404)
        return await answered(request, seen, found[1] + found[2], found[3])


async def answered(request: web.Request, seen: RecordedRequest, model: str, method: str) -> web.StreamResponse:
    """What a model says by one of the API's methods, wherever the model stood in the address."""
    name, *parts = re.split(r"-(?=\d)", model)
    numbers = [int(part) for part in parts if part.isdecimal()]
    if name == "status":
        return refused(numbers[0] if numbers else 500)
    wrong = _wrong_shape(seen.body, method)
    if wrong is not None:
        return refused(400, wrong)
    if method in ("embedContent", "batchEmbedContents"):
        return await _embedded(seen.body, numbers[0] if numbers else 8)
    pieces = _pieces_of(name, numbers, seen.body)
    if pieces is None:
        return refused(404)
    if method == "generateContent":
        await asyncio.sleep(_pause_s(name, numbers) * len(pieces))
        return web.json_response(_error(503) if name.startswith("error-") else _whole(pieces))
    if name == "error-whole":
        return web.json_response([_error(503)])
    if request.query.get("alt") != "sse" or name == "no-stream":
        return web.json_response(pieces)
    return await _streamed(request, seen, pieces, name, numbers)


async def _streamed(
    request: web.Request, seen: RecordedRequest, pieces: list[Json], name: str, numbers: list[int]
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    last = numbers[-1] if numbers else 2
    for number, piece in enumerate(pieces):
        if name in _BREAKS and number == last:
            if name == "stall":
                await asyncio.Event().wait()
            if name == "error-in":
                await response.write(_event(_error(503)))
            elif name.startswith("error-"):
                error = [_error(503)] if name == "error-list" else _error(503)
                await response.write(json.dumps(error, indent=2).replace("\n", "\r\n").encode())
            break
        await asyncio.sleep(_pause_s(name, numbers))
        await response.write(_event(piece))
        seen.events_sent += 1
    await response.write_eof()
    return response


def _event(value: Json) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\r\n\r\n"


def _pause_s(name: str, numbers: list[int]) -> float:
    return (numbers[0] if numbers else 20) / 1000 if name == "slow" else 0.0


# --- what is refused --------------------------------------------------------------------------------------


def _error(status: int, message: str | None = None) -> Json:
    code, text, reason = _STATUSES.get(status, _STATUSES[500])
    error: Json = {"code": status, "message": message or text, "status": code}
    if reason is not None and message is None:
        info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}
        error["details"] = [info]
    if status == 429:
        error["details"] = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2s"}]
    return {"error": error}


def refused(status: int, message: str | None = None) -> web.Response:
    return web.json_response(_error(status, message), status=status)


def _wrong_shape(body: Any, method: str) -> str | None:
    """What is wrong with a request, in the API's words."""
    if not isinstance(body, dict):
        return "Invalid JSON payload received."
    unknown = sorted(body.keys() - set(_FIELDS[method].split()))
    if unknown:
        return f'Invalid JSON payload received. Unknown name "{unknown[0]}": Cannot find field.'
    if "contents" not in _FIELDS[method].split():
        return None
    if not body.get("contents"):
        return "* GenerateContentRequest.contents: contents is not specified\n"
    calls: list[str] = []
    for number, content in enumerate(body["contents"]):
        at = f"* GenerateContentRequest.contents[{number}]"
        parts = content.get("parts")
        if not parts or any(len(_PART & part.keys()) != 1 for part in parts):
            return f"{at}.parts: contents.parts must not be empty.\n"
        if content.get("role") not in ("user", "model"):
            return f"{at}.role: Please use a valid role: user, model.\n"
        results = [part["functionResponse"] for part in parts if "functionResponse" in part]
        answered = [result["name"] for result in results]
        if results and len(results) < len(parts):
            return _MODELS_TURN  # so Vertex AI says it, whatever comes last
        for held in (each for result in results for each in result.get("parts", ())):
            held_type = next(iter(held.values())).get("mimeType")
            if held_type not in _RESULT_TYPES:
                return f"The mime_type: {held_type} is not supported in `function_response.parts`."
        if (answered or calls) and answered != calls:
            return (
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn."
            )
        made = [part for part in parts if "functionCall" in part]
        calls = [part["functionCall"]["name"] for part in made]
        if made and not made[0].get("thoughtSignature"):
            return f"{at}.parts: Function call `{calls[0]}` is missing a thought_signature.\n"
    return _MODELS_TURN if body["contents"][-1]["role"] == "model" else None


# --- what is said -----------------------------------------------------------------------------------------


def _pieces_of(name: str, numbers: list[int], body: Json) -> list[Json] | None:
    """The pieces of a stream; None for a model that there is not."""
    last = body["contents"][-1]["parts"]
    reason = {"length": "MAX_TOKENS", "filtered": "SAFETY"}.get(name, "STOP")
    if name == "blocked":
        return [{"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}}]
    if name == "echo":
        parts = _texts("".join(part.get("text", "") for part in last))
    elif name in ("tools", "tools-parallel"):
        parts = _called(2 if name == "tools-parallel" else 1, body, last)
    elif name == "reasoning":
        parts = [*_thoughts(body), *_texts("The answer is 42."), {"text": "", "thoughtSignature": SIGNATURE}]
    elif name == "json":
        schema = body.get("generationConfig", {}).get("responseJsonSchema") or {"properties": {"n": {"const": 42}}}
        parts = _texts(json.dumps(example_of(schema)))
    elif name in ("say", "slow", "length", "filtered", "no-stream", "error-whole", *_BREAKS):
        count = (numbers[-1:] or [3])[0] + (3 if name in _BREAKS else 0)
        parts = _texts(" ".join(f"w{number}" for number in range(count)))
    else:
        return None
    return [_piece(body, parts, number, reason) for number in range(len(parts))]


def _texts(text: str) -> list[Json]:
    return [{"text": word} for word in re.findall(r"\s*\S+", text)] or [{"text": ""}]


def _thoughts(body: Json) -> list[Json]:
    asked = body.get("generationConfig", {}).get("thinkingConfig", {})
    if not _field(asked, "includeThoughts"):
        return []
    return [{**part, "thought": True} for part in _texts("I think. I know.")]


def _field(value: Json, name: str) -> Any:
    """A field by either of the two names that the API takes; Google's SDK sends some by the one and some by the
    other."""
    return value.get(name, value.get(re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", name)))


def _called(count: int, body: Json, last: Sequence[Json]) -> list[Json]:
    turn = list(last)
    for content in reversed(body["contents"][:-1]):  # results, and then something else of the same turn
        if content["role"] != "user":
            break
        turn = [*content["parts"], *turn]
    results = [part["functionResponse"]["response"] for part in turn if "functionResponse" in part]
    if results:
        return _texts("The tool said: " + ", ".join(str(next(iter(result.values()))) for result in results))
    declared = [each for tool in body.get("tools", ()) for each in tool.get("functionDeclarations", ())]
    parts: list[Json] = []
    for number in range(count):
        tool = declared[number % len(declared)] if declared else {"name": "get_weather"}
        schema: Json = _field(tool, "parametersJsonSchema") or {"properties": {"city": {"const": "Rome"}}}
        arguments = example_of(schema)
        call_id = hashlib.sha256(f"{number}{tool['name']}".encode()).hexdigest()[:8]
        parts.append({"functionCall": {"name": tool["name"], "args": arguments, "id": call_id}})
    parts[0]["thoughtSignature"] = SIGNATURE
    return parts


def _piece(body: Json, parts: list[Json], number: int, reason: str) -> Json:
    """The piece that says the part of this number. Zeros are left out, as the API does."""
    candidate: Json = {"content": {"parts": [parts[number]], "role": "model"}, "index": 0}
    if number == len(parts) - 1:
        candidate["finishReason"] = reason
    asked = sum(len(part.get("text", "").split()) for content in body["contents"] for part in content["parts"])
    thought = sum(1 for part in parts[: number + 1] if part.get("thought"))
    counts = {
        "promptTokenCount": asked,
        "candidatesTokenCount": number + 1 - thought,
        "thoughtsTokenCount": thought,
        "totalTokenCount": asked + number + 1,
    }
    return {
        "candidates": [candidate],
        "usageMetadata": {name: count for name, count in counts.items() if count},
        "modelVersion": "fake",
        "responseId": "fake-response",
    }


def _whole(pieces: list[Json]) -> Json:
    """The same as one answer, in which neighbouring texts of a kind are one part."""
    if "candidates" not in pieces[0]:
        return pieces[0]
    parts: list[Json] = []
    for piece in pieces:
        part: Json = dict(piece["candidates"][0]["content"]["parts"][0])
        if parts and "text" in part and "text" in parts[-1] and part.get("thought") == parts[-1].get("thought"):
            parts[-1] = {**parts[-1], **part, "text": parts[-1]["text"] + part["text"]}
        else:
            parts.append(part)
    last: Json = pieces[-1]
    candidate = {**last["candidates"][0], "content": {"parts": parts, "role": "model"}}
    return {**last, "candidates": [candidate]}


async def _embedded(body: Json, size: int) -> web.Response:
    requests = body.get("requests", [body])
    if len(requests) > 100:
        return refused(400, "* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch")
    for text in [each["content"]["parts"][0]["text"] for each in requests]:
        if text == "stall":
            await asyncio.Event().wait()
        if re.fullmatch(r"status-\d{3}", text):
            return refused(int(text[-3:]))
    vectors = [{"values": _vector(each, size)} for each in requests]
    usage = {"promptTokenCount": len(requests)}
    if "requests" not in body:
        return web.json_response({"embedding": vectors[0], "usageMetadata": usage})
    return web.json_response({"embeddings": vectors, "usageMetadata": usage})


def _vector(request: Json, size: int) -> list[float]:
    digest = hashlib.sha256(request["content"]["parts"][0]["text"].encode()).digest()
    return [digest[place % 32] / 256 for place in range(request.get("outputDimensionality") or size)]


@contextmanager
def running_fake_gemini(key: str | None = None) -> Iterator[FakeGemini]:
    """Serves from a thread of its own, on a free port, until the block ends."""
    fake = FakeGemini(key)
    with running(fake):
        yield fake
