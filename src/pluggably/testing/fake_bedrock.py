"""A fake Amazon Bedrock: Converse, ConverseStream, InvokeModel for embeddings, and the token services beside it.

The model's name says what is answered: `echo` repeats the last text, `say-N` says N words, `slow-N-MS` says N words
with a pause before each, `tools` calls the first tool and then tells its result, `think` reasons first, `error-NAME`
fails with that exception, `breaks-N-NAME` says N words and fails with that exception in the stream, `ends-N` says N
words and ends. `anthropic.claude-` may stand before it: only Claude's reasoning is signed and taken back. Of texts to
embed, a call brings one (`inputText`, Titan's), or up to 96 (`texts`, Cohere's). Behind the same address are the lists
of models and of inference profiles, the token service of AWS (`POST /`, for roles), the portal and the tokens of
Identity Center, the metadata of a machine at Amazon and at Google, and Google's token endpoint, so that one server is
all that a gateway has to reach.

Everything that arrives is recorded as it came, the path not unquoted, so a test can check signatures. The keys that are
given out are numbered and good for `lifetime_s`.

Source: docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, …_ConverseStream.html,
…_ListFoundationModels.html and …_ListInferenceProfiles.html, …/singlesignon/latest/PortalAPIReference/
API_GetRoleCredentials.html and …/OIDCAPIReference/API_CreateToken.html (2026-11).
"""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, unquote

from aiohttp import web

from pluggably.testing.eventstream import message
from pluggably.testing.fake_openai import running

Json = dict[str, Any]

STATUSES = {
    "ValidationException": 400,
    "AccessDeniedException": 403,
    "ResourceNotFoundException": 404,
    "ModelTimeoutException": 408,
    "ModelErrorException": 424,
    "ThrottlingException": 429,
    "ModelNotReadyException": 429,
    "InternalServerException": 500,
    "ServiceUnavailableException": 503,
}
CLAUDE = "anthropic.claude-"
_LLAMA = "meta.llama4-scout-17b-instruct-v1:0"
LISTS: dict[str, Json] = {
    "/foundation-models": {
        "modelSummaries": [
            {
                "modelArn": f"arn:aws:bedrock:eu-west-1::foundation-model/{model}",
                "modelId": model,
                "modelName": name,
                "providerName": name.partition(" ")[0],
                "inputModalities": takes,
                "outputModalities": [makes],
                "responseStreamingSupported": makes == "TEXT",
                "customizationsSupported": [],
                "inferenceTypesSupported": [way],
                "modelLifecycle": {"status": "ACTIVE"},
            }
            for model, name, takes, makes, way in (
                ("amazon.nova-lite-v1:0", "Nova Lite", ["TEXT", "IMAGE"], "TEXT", "ON_DEMAND"),
                ("amazon.titan-embed-text-v2:0", "Titan Text Embeddings", ["TEXT"], "EMBEDDING", "ON_DEMAND"),
                (_LLAMA, "Llama 4 Scout", ["TEXT", "IMAGE"], "TEXT", "INFERENCE_PROFILE"),
            )
        ]
    },
    "/inference-profiles": {
        "inferenceProfileSummaries": [
            {
                "inferenceProfileName": "EU Llama 4 Scout",
                "inferenceProfileArn": f"arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.{_LLAMA}",
                "inferenceProfileId": f"eu.{_LLAMA}",
                "models": [{"modelArn": f"arn:aws:bedrock:eu-west-1::foundation-model/{_LLAMA}"}],
                "status": "ACTIVE",
                "type": "SYSTEM_DEFINED",
            }
        ]
    },
}
METADATA = "/latest/meta-data/iam/security-credentials/"
GOOGLE_METADATA = "/computeMetadata/v1/instance/service-accounts/default/token"


@dataclass
class Recorded:
    """One request as it arrived."""

    method: str
    raw_path: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    events_sent: int = 0
    disconnected: bool = False  # the client left before the answer was complete
    finished: threading.Event = field(default_factory=threading.Event)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class FakeBedrock:
    """What arrived, and where it is."""

    base_path = ""

    def __init__(self) -> None:
        self.requests: list[Recorded] = []
        self.refuses: set[str] = set()  # paths that are answered as to an account without the permission
        self.lifetime_s = 3600.0  # of keys and of tokens
        self.given = 0  # how many keys and tokens have been given out
        self.ends: dict[str, float] = {}  # of the keys, by their id; later they are refused
        self.base_url = ""

    def application(self) -> web.Application:
        application = web.Application(client_max_size=64 << 20)
        application.router.add_route("*", "/{path:.*}", self.handle)
        return application

    def asked(self, part: str) -> list[Recorded]:
        """Those whose path has this part."""
        return [request for request in self.requests if part in request.raw_path]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        recorded = Recorded(
            request.method,
            request.raw_path,
            {name.lower(): value for name, value in request.headers.items()},
            await request.read(),
        )
        self.requests.append(recorded)
        try:
            return await self._answer(request, recorded)
        except (asyncio.CancelledError, ConnectionError):
            recorded.disconnected = True
            raise
        finally:
            recorded.finished.set()

    async def _answer(self, request: web.Request, recorded: Recorded) -> web.StreamResponse:
        if request.path in self.refuses:
            return _failure("AccessDeniedException", 403)
        if request.path in LISTS and recorded.headers.get("authorization"):
            return web.json_response(LISTS[request.path])
        steps = request.raw_path.split("/")
        if len(steps) == 4 and steps[1] == "model":
            return await self._model(request, recorded, unquote(steps[2]), steps[3])
        return self._credential(request, recorded)

    def _credential(self, request: web.Request, recorded: Recorded) -> web.StreamResponse:
        ends = datetime.now(UTC) + timedelta(seconds=self.lifetime_s)
        until = ends.strftime("%Y-%m-%dT%H:%M:%SZ")
        self.given += 1
        self.ends[f"ASIAFAKE{self.given}"] = ends.timestamp()
        keys = {"AccessKeyId": f"ASIAFAKE{self.given}", "SecretAccessKey": "fake/secret", "Expiration": until}
        if request.path == "/latest/api/token":
            return web.Response(text="fake-metadata-token")
        if request.path == METADATA:
            return web.Response(text="fake-role")
        if request.path.startswith(METADATA):
            return web.json_response({"Code": "Success", "Token": "fake-session", **keys})
        if request.path == "/federation/credentials":
            if not recorded.headers.get("x-amz-sso_bearer_token", "").startswith("sso-token-"):
                return _failure("UnauthorizedException", 401)
            role: Json = {
                "accessKeyId": keys["AccessKeyId"],
                "secretAccessKey": keys["SecretAccessKey"],
                "sessionToken": "fake-session",
                "expiration": int(ends.timestamp()) * 1000,
            }
            return web.json_response({"roleCredentials": role})
        if request.path == "/token" and request.content_type == "application/json":
            if recorded.json.get("refreshToken") != "sso-refresh":
                return _failure("InvalidGrantException", 400)
            token: Json = {"accessToken": f"sso-token-{self.given}", "expiresIn": int(self.lifetime_s)}
            return web.json_response({"tokenType": "Bearer", "refreshToken": "sso-refresh", **token})
        if request.path in (GOOGLE_METADATA, "/token"):
            return web.json_response({"access_token": "ya29.fake", "expires_in": 3599, "token_type": "Bearer"})
        if request.path == "/" and request.method == "POST":
            fields = "".join(f"<{name}>{value}</{name}>" for name, value in {**keys, "SessionToken": "fake"}.items())
            action = parse_qs(recorded.body.decode())["Action"][0]
            result = f"<{action}Result><Credentials>{fields}</Credentials></{action}Result>"
            return web.Response(
                text=f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">{result}</{action}Response>',
                content_type="text/xml",
            )
        return _failure("UnknownOperationException", 404)

    async def _model(self, request: web.Request, recorded: Recorded, model: str, operation: str) -> web.StreamResponse:
        if not recorded.headers.get("authorization"):
            return _failure("MissingAuthenticationTokenException", 403)
        signer = recorded.headers["authorization"].partition("Credential=")[2].partition("/")[0]
        if time.time() > self.ends.get(signer, math.inf):
            return _failure("ExpiredTokenException", 403)
        kind, *given = model.rpartition("/")[2].removeprefix(CLAUDE).split("-")
        if kind == "error":
            return _failure(given[0], STATUSES.get(given[0], 400))
        if operation == "invoke":
            return _embedded(recorded.json)
        if (why := wrong_shape(recorded.json, model)) is not None:
            return _failure("ValidationException", 400, why)
        blocks, reason = _said(kind, given, recorded.json, is_claude=CLAUDE in model)
        if operation == "converse":
            said: Json = {
                "output": {"message": {"role": "assistant", "content": blocks}},
                "stopReason": reason,
                "usage": _usage(recorded.json, blocks),
                "metrics": {"latencyMs": 1},
            }
            return web.json_response(said)
        stream = web.StreamResponse(headers={"Content-Type": "application/vnd.amazon.eventstream"})
        await stream.prepare(request)
        async for part in _streamed(kind, given, blocks, reason, _usage(recorded.json, blocks)):
            await stream.write(part)
            recorded.events_sent += 1
        return stream


def wrong_shape(body: Json, model: str = CLAUDE) -> str | None:
    """Why a conversation is refused, as far as this one knows."""
    thoughts = [
        block["reasoningContent"]
        for message in body["messages"]
        for block in message["content"]
        if "reasoningContent" in block
    ]
    if any(CLAUDE not in model or not _is_signed(thought) for thought in thoughts):
        return "User messages cannot contain reasoning content. Please remove the reasoning content and try again."
    kinds = {kind for message in body["messages"] for block in message["content"] for kind in block}
    if kinds & {"toolUse", "toolResult"} and not body.get("toolConfig", {}).get("tools"):
        return "The toolConfig field must be defined when using toolUse and toolResult content blocks."
    return None


def _is_signed(thought: Json) -> bool:
    return "redactedContent" in thought or bool(thought.get("reasoningText", {}).get("signature"))


def _failure(name: str, status: int, why: str = "") -> web.Response:
    headers = {"x-amzn-ErrorType": f"{name}:http://internal.amazon.com/coral/com.amazon.bedrock/"}
    return web.json_response({"message": why or f"The fake failed with {name}."}, status=status, headers=headers)


def _embedded(body: Json) -> web.Response:
    """A vector of two numbers for each text, of which the first is its length; a token is a word."""
    if "inputText" in body:
        text = str(body["inputText"])
        return web.json_response({"embedding": [float(len(text)), 0.5], "inputTextTokenCount": len(text.split())})
    texts = body["texts"]
    if len(texts) > 96:
        return _failure("ValidationException", 400)
    tokens = str(sum(len(text.split()) for text in texts))
    vectors = {"float": [[float(len(text)), 0.5] for text in texts]}
    answer = {"id": "1", "response_type": "embeddings_by_type", "embeddings": vectors}
    return web.json_response(answer, headers={"X-Amzn-Bedrock-Input-Token-Count": tokens})


def _said(kind: str, given: list[str], body: Json, *, is_claude: bool) -> tuple[list[Json], str]:
    """The blocks of an answer, and why it stops."""
    last = body["messages"][-1]["content"]
    if kind == "tools":
        results = [block["toolResult"] for block in last if "toolResult" in block]
        if results:
            return [{"text": f"The tool said: {results[0]['content'][0]['text']}"}], "end_turn"
        spec = body["toolConfig"]["tools"][0]["toolSpec"]
        asked = dict.fromkeys(spec["inputSchema"]["json"].get("properties", {}), "Rome")
        return [{"toolUse": {"toolUseId": "tooluse_1", "name": spec["name"], "input": asked}}], "tool_use"
    if kind in ("say", "slow", "breaks", "ends"):
        return [{"text": " ".join(f"w{number}" for number in range(int(given[0])))}], "end_turn"
    text = next((block["text"] for block in reversed(last) if "text" in block), "")
    text_of_thought = {"text": "Hm.", **({"signature": "c2ln"} if is_claude else {})}
    thought = {"reasoningContent": {"reasoningText": text_of_thought}}
    return ([thought] if kind == "think" else []) + [{"text": text}], "end_turn"


def _usage(body: Json, blocks: list[Json]) -> Json:
    sent, said = (len(json.dumps(value).split()) for value in (body["messages"], blocks))
    return {"inputTokens": sent, "outputTokens": said, "totalTokens": sent + said}


async def _streamed(kind: str, given: list[str], blocks: list[Json], reason: str, usage: Json) -> AsyncIterator[bytes]:
    yield message("messageStart", {"role": "assistant"})
    for index, block in enumerate(blocks):
        place = {"contentBlockIndex": index}
        if "toolUse" in block:
            start = {key: block["toolUse"][key] for key in ("toolUseId", "name")}
            yield message("contentBlockStart", {**place, "start": {"toolUse": start}})
        for delta in _deltas(block):
            if kind == "slow":
                await asyncio.sleep(int(given[1]) / 1000)
            yield message("contentBlockDelta", {**place, "delta": delta})
        if kind == "breaks":
            yield message(f"exception:{given[1]}", {"message": f"The fake failed with {given[1]}."})
            return
        if kind == "ends":
            return
        yield message("contentBlockStop", place)
    yield message("messageStop", {"stopReason": reason})
    yield message("metadata", {"usage": usage, "metrics": {"latencyMs": 1}})


def _deltas(block: Json) -> Iterator[Json]:
    if "text" in block:
        words = block["text"].split(" ")
        for number, word in enumerate(words):
            yield {"text": word if number == 0 else f" {word}"}
    elif "toolUse" in block:
        text = json.dumps(block["toolUse"]["input"])
        for place in range(0, len(text), 7):
            yield {"toolUse": {"input": text[place : place + 7]}}
    else:
        for key, value in block["reasoningContent"]["reasoningText"].items():
            yield {"reasoningContent": {key: value}}


@contextmanager
def running_fake_bedrock() -> Iterator[FakeBedrock]:
    """Serves from a thread of its own, on a free port of this machine, until the block ends."""
    fake = FakeBedrock()
    with running(fake):
        yield fake
