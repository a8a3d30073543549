"""An HTTP server that speaks OpenAI's Chat Completions, Responses and Embeddings, and breaks in every known way.

Here lives a fake vendor for tests: of this project, and of whoever writes a plugin for it. It is no model:
the *name* of the requested model says what to answer and what to break, so that a test needs no second way
to talk to the server. What does not live here: anything that the gateway imports.

    with running_fake_openai(key="sk-test") as fake:
        ...                                   # point a provider at fake.base_url
        fake.requests[-1].body                # what arrived, and whether the client stayed to the end

or `python -m pluggably.testing.fake_openai --port 9000`. Every model answers plain and streamed, on
`/v1/chat/completions` and on `/v1/responses` (whose form is in `fake_openai_responses`); the faults work on
`/v1/embeddings` as well. The words are the same in all forms, because the plain answer is folded from the
streamed deltas. Numbers in a name may be left out from the right.

Answers

    echo                                  the text of the last user message
    say-<n>                               n tokens: `w0 w1 w2 …` (3)
    slow-<ms>-<n>                         like `say`, with a pause before each of the n tokens (20, 5);
                                          plain: the same time in all
    slow-headers-<ms>                     like `say-3`, but the status line comes late (200)
    tools                                 one call of the first tool offered (or of `get_weather`), its
                                          arguments obeying the tool's schema, in pieces; once the last
                                          message is a tool's result, a text that quotes it
    tools-parallel                        two calls at once (one where `parallel_tool_calls` is false)
    reasoning                             `reasoning_content` before the text, as llama.cpp and DeepSeek
                                          send it, and `reasoning_tokens`
    refusal                               a refusal in place of content
    json                                  an object that obeys `response_format`
    logprobs                              like `say-3` with log probabilities (which every model gives when
                                          asked)
    length, content-filter                a text with that finish reason
    cached                                1,200 prompt tokens, 1,024 of them from the cache
    n-usage-none                          no usage, asked for or not
    utf8                                  text of two-, three- and four-byte characters, cut inside
                                          characters by TCP writes
    giant                                 one event of 4 MiB
    embed-<n>, text-embedding-3-small,    unit vectors of n (1,536) numbers made from the text's hash
    text-embedding-3-large

Errors

    status-<code>                         OpenAI's error body for 400, 401, 402, 403, 404, 408, 409, 413,
                                          422, 429, 500, 502, 503, 504 (500)
    status-429-after-<s>,                 a rate limit that says when, in each of the three forms (1, 1,
    status-429-date-<s>,                  500)
    status-429-ms-<ms>
    status-429-quota, status-429-credits, 429s of another meaning: no quota, no credit, too steep a rise
    status-429-slow-down
    flaky-<n>-<code>                      the first n requests for this very name fail with the status (1,
                                          503), the later ones answer like `echo`
    context-length                        400 `context_length_exceeded`
    html-error-<code>                     a proxy's HTML page (502)
    garbage                               200, and not JSON; streamed: one event that is not JSON
    error-in-200-<k>                      200 with an `error` object; streamed: that object as an event
                                          after k tokens (2), then the end

Faults of the connection; an *event* is one `data:`, the opening role event and `[DONE]` included

    truncate-<k>                          closes after k events (2), without `[DONE]` or the end of the
                                          chunked body; plain: after half of the body
    ends-<k>                              the same, but the HTTP body ends in good order: nothing but the
                                          missing finish shows it
    reset-<k>                             TCP RST after k events (0: before any byte); plain: 0 likewise,
                                          else after half of the body
    stall-<k>                             k events (0), then silence until the client leaves; plain: 0 is
                                          silence from the start, else half of the body
    no-done                               a finish reason, but no `[DONE]` (which `/v1/responses` never sends)
    drip                                  every byte in a write of its own
    many-in-one                           all events in one write
    crlf                                  CRLF line ends, comments, `event:`, `id:` and `retry:` lines,
                                          `data:` without a space
    gzip                                  a compressed body, whatever the client accepts
    wrong-type                            JSON where a stream was asked for, a stream where JSON was

What will surprise you: an unknown model is a 404, as at OpenAI. An unknown *field*, a part of a message or a
tool in another form than the documented one, and a tool's result without its call are a 400, so that a codec
which invents things is caught (`strict=False` or `--lenient` accepts unknown fields: servers that are only
shaped like OpenAI do). `stop`, `max_tokens`, `max_completion_tokens`, `n` and `tool_choice` are honoured. A
token is a word.

Sources, as read in November 2026: developers.openai.com/api/reference/resources/chat, "Create chat
completion" and "Streaming events"; …/resources/embeddings; developers.openai.com/docs/guides/error-codes
and …/guides/rate-limits; the types of the openai package 3.54.0, which OpenAI generates from its OpenAPI
document. Other sources stand where they are used.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gzip
import hashlib
import itertools
import json
import math
import random
import re
import socket
import struct
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import Any, Literal, NoReturn, Protocol

from aiohttp import web

from pluggably.testing import fake_openai_responses as responses

Json = dict[str, Any]
Numbers = tuple[int, ...]

# The body parameters of "Create chat completion" and "Create embeddings" (see Sources above).
_CHAT_FIELDS = """
    audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens
    messages metadata modalities model moderation n parallel_tool_calls prediction presence_penalty
    prompt_cache_key prompt_cache_options prompt_cache_retention reasoning_effort response_format
    safety_identifier seed service_tier stop store stream stream_options temperature tool_choice tools
    top_logprobs top_p user verbosity web_search_options
"""
_EMBEDDING_FIELDS = "dimensions encoding_format input model user"
_ROLES = frozenset(("developer", "system", "user", "assistant", "tool", "function"))
# The types of content parts; each part has its value under the name of its type.
_PARTS = frozenset(("text", "image_url", "input_audio", "file", "refusal"))


# --- what is recorded -------------------------------------------------------------------------------------


@dataclass
class RecordedRequest:
    """One request as it arrived. What stands below `body` changes until `finished` is set."""

    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    body: Any  # parsed JSON; None when there was none
    events_sent: int = 0
    disconnected: bool = False  # the client left before the answer was complete
    finished: threading.Event = field(default_factory=threading.Event)
    cut: bool = False  # this server broke the connection, as the model's name asked


# --- what a model says ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What a chat model says, as the deltas of a stream; the plain form is folded from them."""

    deltas: Sequence[Json]
    finish_reason: str = "stop"
    has_logprobs: bool = False
    has_usage: bool = True
    prompt_tokens: int | None = None  # None: count the words
    cached_tokens: int = 0
    error_after: int | None = None  # streamed: this many deltas, then an error event


@dataclass(frozen=True)
class Reply:
    """A whole HTTP answer."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Delivery:
    """How the bytes of an answer travel, whatever they say."""

    header_delay_s: float = 0.0
    token_delay_s: float = 0.0
    cut: Literal["close", "end", "reset", "stall"] | None = None
    cut_after: int = 0
    writes: Literal["event", "all", "byte", "inside_characters"] = "event"
    is_crlf: bool = False
    is_gzip: bool = False
    has_done: bool = True
    is_swapped: bool = False  # a stream for a plain request and the other way round


def _encode(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _number(numbers: Numbers, position: int, default: int) -> int:
    return numbers[position] if position < len(numbers) else default


def _text_of(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(part.get("text", "") for part in parts if isinstance(part, dict))


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+|\s+", text)


def _pieces(text: str, length: int = 7) -> list[str]:
    return [text[start : start + length] for start in range(0, len(text), length)]


def _text_deltas(text: str, body: Json, split: Callable[[str], list[str]] = _words) -> list[Json]:
    stops = body.get("stop") or []
    for stop in [stops] if isinstance(stops, str) else stops:
        text = text.split(stop)[0]
    return [{"content": piece} for piece in split(text)]


def _say(count: int, body: Json) -> list[Json]:
    return _text_deltas(" ".join(f"w{index}" for index in range(count)), body)


def _echo(body: Json) -> Answer:
    asked = [message for message in body["messages"] if message.get("role") == "user"]
    return Answer(_text_deltas(_text_of(asked[-1].get("content")) if asked else "", body))


def _call_tools(count: int, body: Json) -> Answer:
    last = body["messages"][-1]
    if last.get("role") == "tool":
        return Answer(_text_deltas(f"The tool said: {_text_of(last.get('content'))}", body))
    choice = body.get("tool_choice")
    if choice == "none":
        return Answer(_text_deltas("No tool was called.", body))
    tools = [tool["function"] for tool in body.get("tools") or [] if "function" in tool]
    if isinstance(choice, dict):
        tools = [tool for tool in tools if tool["name"] == choice.get("function", {}).get("name")]
    tools = tools or [{"name": "get_weather"}]
    if body.get("parallel_tool_calls") is False:
        count = 1
    deltas: list[Json] = []
    for index in range(count):
        tool = tools[index % len(tools)]
        schema = tool.get("parameters") or {"properties": {"city": {"const": ("Rome", "Paris")[index % 2]}}}
        arguments = json.dumps(example_of(schema), ensure_ascii=False, separators=(",", ":"))
        call_id = "call_" + hashlib.sha256(f"{index}{tool['name']}".encode()).hexdigest()[:24]
        # Id, type and name stand only in a call's first delta; the later ones carry its index and more of the
        # arguments.
        head = {"id": call_id, "type": "function", "function": {"name": tool["name"], "arguments": ""}}
        deltas.append({"tool_calls": [{"index": index, **head}]})
        deltas += [{"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in _pieces(arguments)]
    return Answer(deltas, "tool_calls")


def _reasoning(body: Json) -> Answer:
    # Source: api-docs.deepseek.com/guides/thinking_mode (November 2026): `reasoning_content` beside
    # `content`, before it.
    thoughts = [{"reasoning_content": piece} for piece in _words("The user asks. I think. I know.")]
    return Answer(thoughts + _text_deltas("The answer is 42.", body))


def _json_object(body: Json) -> Answer:
    wanted = body.get("response_format") or {}
    value = example_of(wanted["json_schema"].get("schema", {})) if "json_schema" in wanted else {"answer": 42}
    return Answer(_text_deltas(json.dumps(value, ensure_ascii=False), body, _pieces))


_ANSWERS: dict[str, Callable[[Numbers, Json], Answer]] = {
    "echo": lambda _, body: _echo(body),
    "say": lambda numbers, body: Answer(_say(_number(numbers, 0, 3), body)),
    "slow": lambda numbers, body: Answer(_say(_number(numbers, 1, 5), body)),
    "tools": lambda _, body: _call_tools(1, body),
    "tools-parallel": lambda _, body: _call_tools(2, body),
    "reasoning": lambda _, body: _reasoning(body),
    "refusal": lambda _, body: Answer([{"refusal": word} for word in _words("I cannot help with that.")]),
    "json": lambda _, body: _json_object(body),
    "logprobs": lambda _, body: Answer(_say(3, body), has_logprobs=True),
    "length": lambda _, body: Answer(_say(3, body), "length"),
    "content-filter": lambda _, body: Answer(_say(2, body), "content_filter"),
    "cached": lambda _, body: Answer(_say(3, body), prompt_tokens=1200, cached_tokens=1024),
    "n-usage-none": lambda _, body: Answer(_say(3, body), has_usage=False),
    "utf8": lambda _, body: Answer(_text_deltas("Grüße aus Köln, 你好 世界, привет, 🌍🚀 fin.", body)),
    "giant": lambda _, body: Answer(_text_deltas("x" * (4 << 20), body)),
    "error-in-200": lambda numbers, body: Answer(_say(5, body), error_after=_number(numbers, 0, 2)),
    # The faults of the connection need more events to say than they let through.
    "truncate": lambda numbers, body: Answer(_say(_number(numbers, 0, 2) + 3, body)),
    "ends": lambda numbers, body: Answer(_say(_number(numbers, 0, 2) + 3, body)),
    "reset": lambda numbers, body: Answer(_say(_number(numbers, 0, 0) + 3, body)),
    "stall": lambda numbers, body: Answer(_say(_number(numbers, 0, 0) + 3, body)),
    "many-in-one": lambda _, body: Answer(_say(20, body)),
}


def _answer_of(name: str, numbers: Numbers, body: Json) -> Answer:
    if name in _ANSWERS:
        return _ANSWERS[name](numbers, body)
    return _echo(body) if name == "flaky" else Answer(_say(3, body))


_DELIVERIES: dict[str, Callable[[Numbers], Delivery]] = {
    "slow": lambda numbers: Delivery(token_delay_s=_number(numbers, 0, 20) / 1000),
    "slow-headers": lambda numbers: Delivery(header_delay_s=_number(numbers, 0, 200) / 1000),
    "utf8": lambda _: Delivery(writes="inside_characters"),
    "truncate": lambda numbers: Delivery(cut="close", cut_after=_number(numbers, 0, 2)),
    "ends": lambda numbers: Delivery(cut="end", cut_after=_number(numbers, 0, 2)),
    "reset": lambda numbers: Delivery(cut="reset", cut_after=_number(numbers, 0, 0)),
    "stall": lambda numbers: Delivery(cut="stall", cut_after=_number(numbers, 0, 0)),
    "no-done": lambda _: Delivery(has_done=False),
    "drip": lambda _: Delivery(writes="byte"),
    "many-in-one": lambda _: Delivery(writes="all"),
    "crlf": lambda _: Delivery(is_crlf=True),
    "gzip": lambda _: Delivery(is_gzip=True),
    "wrong-type": lambda _: Delivery(is_swapped=True),
}


def _delivery_of(name: str, numbers: Numbers) -> Delivery:
    return _DELIVERIES[name](numbers) if name in _DELIVERIES else Delivery()


_EMBEDDERS = {"embed": 1536, "text-embedding-3-small": 1536, "text-embedding-3-large": 3072}


# --- errors -----------------------------------------------------------------------------------------------


def _error(message: str, kind: str, param: str | None = None, code: str | None = None) -> Json:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _refuse(status: int, message: str, kind: str, param: str | None = None, code: str | None = None) -> Reply:
    return Reply(_encode(_error(message, kind, param, code)), status)


_BAD = "invalid_request_error"
_RATE_LIMITED = (
    "Rate limit reached for the model in organization org-fake on requests per min (RPM): Limit 3, Used 3, "
    "Requested 1. Please try again in 1s."
)
_WRONG_COUNTRY = "Country, region, or territory not supported"
_NO_QUOTA = "You exceeded your current quota, please check your plan and billing details."
_SERVER_ERROR = "The server had an error while processing your request. Sorry about that!"

# Types and codes: developers.openai.com/docs/guides/error-codes for 400, 401, 403, 404, 429, 500 and 503, and
# learn.microsoft.com/en-us/microsoft-cloud/dev/dev-proxy/how-to/test-openai-rate-limit-handling for the 429s
# (both November 2026). OpenAI documents no 402 (the text is that of
# api-docs.deepseek.com/quick_start/error_codes) and names 409 and 422 only as errors of its SDK; 408, 413,
# 502 and 504 come from what stands in front of an API, and have the API's form here.
_STATUSES: dict[int, Reply] = {
    status: _refuse(status, message, kind, None, code)
    for status, kind, code, message in (
        (400, _BAD, "unsupported_value", "Unsupported value: 'temperature' does not support 9."),
        (401, _BAD, "invalid_api_key", "Incorrect API key provided: sk-f***fake."),
        (402, "unknown_error", _BAD, "Insufficient Balance"),
        (403, "request_forbidden", "unsupported_country_region_territory", _WRONG_COUNTRY),
        (404, _BAD, "model_not_found", "The model does not exist or you do not have access to it."),
        (408, "timeout", "request_timeout", "The request timed out."),
        (409, _BAD, "conflict", "The resource was updated by another request."),
        (413, _BAD, "request_too_large", "The request is too large."),
        (422, _BAD, "unprocessable_entity", "The request could not be processed."),
        (429, "requests", "rate_limit_exceeded", _RATE_LIMITED),
        (500, "server_error", "server_error", _SERVER_ERROR),
        (502, "server_error", "bad_gateway", "Bad gateway."),
        (503, "service_unavailable_error", "server_is_overloaded", "The model is overloaded."),
        (504, "server_error", "gateway_timeout", "Gateway timeout."),
    )
}


def _rate_limited(name: str, value: str) -> Reply:
    return replace(_STATUSES[429], headers={name: value})


def _status(code: int) -> Reply:
    return _STATUSES.get(code) or replace(_STATUSES[500], status=code)


def _html(status: int) -> Reply:
    page = f"<html>\r\n<head><title>{status} Error</title></head>\r\n<body><h1>Error</h1></body>\r\n</html>\r\n"
    return Reply(page.encode(), status, "text/html")


_REPLIES: dict[str, Callable[[Numbers], Reply]] = {
    "status": lambda numbers: _status(_number(numbers, 0, 500)),
    # Source: RFC 9110 §10.2.3 for the first two; retry-after-ms is read by OpenAI's own SDK (openai 3.54.0,
    # _base_client.py).
    "status-429-after": lambda numbers: _rate_limited("retry-after", str(_number(numbers, 0, 1))),
    "status-429-date": lambda numbers: _rate_limited(
        "retry-after", formatdate(time.time() + _number(numbers, 0, 1), usegmt=True)
    ),
    "status-429-ms": lambda numbers: _rate_limited("retry-after-ms", str(_number(numbers, 0, 500))),
    "status-429-quota": lambda _: _refuse(429, _NO_QUOTA, "insufficient_quota", None, "insufficient_quota"),
    "status-429-credits": lambda _: _refuse(429, _NO_QUOTA, "insufficient_quota", None, "credit_balance_exhausted"),
    "status-429-slow-down": lambda _: _refuse(429, "Slow down.", "rate_limit_error", None, "slow_down"),
    "context-length": lambda _: _refuse(
        400,
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 8227 tokens. "
        "Please reduce the length of the messages.",
        _BAD,
        "messages",
        "context_length_exceeded",
    ),
    "html-error": lambda numbers: _html(_number(numbers, 0, 502)),
}

# The longest first, so that `status-429-after-2` is not `status` with something odd behind it.
_NAMES = sorted({*_ANSWERS, *_DELIVERIES, *_REPLIES, *_EMBEDDERS, "flaky", "garbage"}, key=len, reverse=True)


def parse_model(model: str) -> tuple[str, Numbers] | None:
    """`slow-20-5` → `("slow", (20, 5))`; None for a name that this server does not have."""
    for name in _NAMES:
        rest = model[len(name) :]
        if model.startswith(name) and re.fullmatch(r"(-\d{1,9})*", rest, re.ASCII):
            return name, tuple(int(number) for number in rest.split("-")[1:])
    return None


# --- from an answer to bytes ------------------------------------------------------------------------------


def example_of(schema: Json, root: Json | None = None) -> Any:
    """A small value that obeys a JSON Schema of the kind that structured outputs accept."""
    root = schema if root is None else root
    if "$ref" in schema:
        target: Any = root
        for step in schema["$ref"].removeprefix("#").strip("/").split("/"):
            target = target[step] if step else target
        return example_of(target, root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return example_of(schema[choice][0], root)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    return _example_of_type(kind[0] if isinstance(kind, list) else kind, schema, root)


def _example_of_type(kind: str, schema: Json, root: Json) -> Any:
    if kind == "object":
        return {name: example_of(part, root) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [example_of(schema.get("items", {}), root) for _ in range(schema.get("minItems", 1))]
    if kind in ("integer", "number"):
        low = schema.get("minimum", schema.get("exclusiveMinimum", 41) + 1)
        return min(max(low, 42), schema.get("maximum", max(low, 42)))
    if kind == "string":
        formats = {"date": "2026-11-22", "date-time": "2026-11-22T10:00:00Z", "email": "a@example.com"}
        text = formats.get(schema.get("format", ""), "text")
        return text.ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength")]
    return {"boolean": True, "null": None}.get(kind)


def _logprobs_of(delta: Json, top: int) -> Json | None:
    token = delta.get("content")
    if token is None:
        return None
    likely = [
        {"token": f"alt{rank}", "logprob": -2.0 - rank, "bytes": list(f"alt{rank}".encode())} for rank in range(1, top)
    ]
    first = {"token": token, "logprob": -0.25, "bytes": list(token.encode())}
    return {"content": [{**first, "top_logprobs": [first, *likely] if top else []}], "refusal": None}


class _Completion:
    """One answer in the two forms of the wire."""

    def __init__(self, answer: Answer, body: Json) -> None:
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        if limit and len(answer.deltas) > limit:
            answer = replace(answer, deltas=answer.deltas[:limit], finish_reason="length")
        self.answer = answer
        self.body = body
        self.choices = int(body.get("n") or 1)
        self.with_logprobs = answer.has_logprobs or bool(body.get("logprobs"))
        seed = hashlib.sha256(_encode(body)).hexdigest()
        self.head = {
            "id": f"chatcmpl-{seed[:29]}",
            "created": int(time.time()),
            "model": body["model"],
            "service_tier": "default",
            "system_fingerprint": f"fp_{seed[:10]}",
        }

    def usage(self) -> Json:
        asked = sum(len(_words(_text_of(message.get("content")))) for message in self.body["messages"])
        prompt = asked if self.answer.prompt_tokens is None else self.answer.prompt_tokens
        completion = len(self.answer.deltas) * self.choices
        thoughts = sum("reasoning_content" in delta for delta in self.answer.deltas) * self.choices
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": self.answer.cached_tokens, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": thoughts,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }

    def plain(self) -> Json:
        message: Json = {"role": "assistant", "content": None, "refusal": None, "annotations": []}
        calls: list[Json] = []
        logprobs: list[Json] = []
        for delta in self.answer.deltas:
            for name in ("content", "refusal", "reasoning_content"):
                if name in delta:
                    message[name] = (message.get(name) or "") + delta[name]
            for part in delta.get("tool_calls", ()):
                if "id" in part:
                    calls.append({"id": part["id"], "type": "function", "function": dict(part["function"])})
                else:
                    calls[part["index"]]["function"]["arguments"] += part["function"]["arguments"]
            if self.with_logprobs and "content" in delta:
                logprobs += (_logprobs_of(delta, self.body.get("top_logprobs") or 0) or {})["content"]
        if calls:
            message["tool_calls"] = calls
        elif not self.answer.deltas:
            message["content"] = ""
        choice = {
            "message": message,
            "logprobs": {"content": logprobs, "refusal": None} if self.with_logprobs else None,
            "finish_reason": self.answer.finish_reason,
        }
        choices = [{"index": index, **choice} for index in range(self.choices)]
        whole = {**self.head, "object": "chat.completion", "choices": choices}
        return {**whole, "usage": self.usage()} if self.answer.has_usage else whole

    def chunk(self, choices: list[Json]) -> bytes:
        chunk: Json = {**self.head, "object": "chat.completion.chunk", "choices": choices}
        options = self.body.get("stream_options") or {}
        # "All other chunks will also include a `usage` field, but with a null value."
        if options.get("include_usage") and self.answer.has_usage:
            chunk["usage"] = None if choices else self.usage()
        # "These obfuscation fields are included by default."
        if choices and options.get("include_obfuscation") is not False:
            chunk["obfuscation"] = "x" * (1 + len(str(choices)) % 9)
        return _encode(chunk)

    def _delta_chunk(self, index: int, delta: Json, finish_reason: str | None = None) -> bytes:
        logprobs = _logprobs_of(delta, self.body.get("top_logprobs") or 0) if self.with_logprobs else None
        return self.chunk([{"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}])

    def streamed(self) -> Iterator[bytes]:
        """The data of the events, without `[DONE]`."""
        everyone = range(self.choices)
        has_calls = any("tool_calls" in delta for delta in self.answer.deltas)
        opening = {"role": "assistant", "content": None if has_calls else "", "refusal": None}
        for index in everyone:
            yield self.chunk([{"index": index, "delta": opening, "logprobs": None, "finish_reason": None}])
        for position, delta in enumerate(self.answer.deltas):
            if position == self.answer.error_after:
                # Source: github.com/sashabaranov/go-openai/issues/69: what OpenAI sent in the middle of a
                # stream.
                yield _encode(_error(_SERVER_ERROR, "server_error"))
                return
            for index in everyone:
                yield self._delta_chunk(index, delta)
        for index in everyone:
            yield self._delta_chunk(index, {}, self.answer.finish_reason)
        if (self.body.get("stream_options") or {}).get("include_usage") and self.answer.has_usage:
            yield self.chunk([])


def embed(text: str, dimensions: int) -> list[float]:
    """The same unit vector for the same text, everywhere."""
    source = random.Random(hashlib.sha256(text.encode()).digest())
    vector = [source.gauss(0, 1) for _ in range(dimensions)]
    length = math.sqrt(math.fsum(number * number for number in vector))
    return [number / length for number in vector]


# developers.openai.com/api/reference/resources/embeddings/methods/create, `input` (2026-11).
MOST_TEXTS = 2048
# Those of text-embedding-3-large; whoever asks for billions must not fill the memory of a test.
MOST_DIMENSIONS = 3072


def _embeddings(body: Json, dimensions: int) -> Json:
    given = body["input"]
    # A string, a list of them, one list of token ids, or a list of such lists.
    inputs = given if isinstance(given, list) and given and isinstance(given[0], str | list) else [given]
    texts = [item if isinstance(item, str) else json.dumps(item) for item in inputs]
    data = []
    for index, text in enumerate(texts):
        vector: object = embed(text, body.get("dimensions") or dimensions)
        if body.get("encoding_format") == "base64":
            assert isinstance(vector, list)
            vector = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    tokens = sum(len(_words(text)) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": body["model"], "usage": usage}


def _frame(data: bytes, position: int, is_crlf: bool, name: str) -> bytes:
    if not is_crlf:
        return (f"event: {name}\n".encode() if name else b"") + b"data: " + data + b"\n\n"
    # Source: the WHATWG HTML standard, "Server-sent events": comments, any line end, and the space after the
    # colon is optional.
    head = f": comment {position}\r\nevent: {name or 'message'}\r\nid: {position}\r\nretry: 3000\r\ndata:".encode()
    return head + data + b"\r\n\r\n"


def _slices(data: bytes, writes: str) -> list[bytes]:
    """The TCP writes of one piece of an answer."""
    if writes == "byte":
        return [data[position : position + 1] for position in range(len(data))]
    if writes == "inside_characters":
        starts = [position + 1 for position, byte in enumerate(data) if byte >= 0xC0]
        edges = [0, *starts, len(data)]
        return [data[start:end] for start, end in itertools.pairwise(edges)]
    return [data]


# --- the server -------------------------------------------------------------------------------------------


class Fake(Protocol):
    """What can be served: an application, and under which path its vendor has its API."""

    base_url: str
    base_path: str

    def application(self) -> web.Application: ...


class FakeOpenAI:
    """The server's state; `requests` is safe to read from another thread."""

    base_path = "/v1"

    def __init__(self, key: str | None = None, strict: bool = True) -> None:
        self.base_url = ""
        self.requests: list[RecordedRequest] = []
        self._key = key
        self._is_strict = strict
        self._asked: Counter[str] = Counter()

    def application(self) -> web.Application:
        application = web.Application(client_max_size=256 << 20)
        application.router.add_route("*", "/{path:.*}", self._handle)
        return application

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = None
        headers = {name.lower(): value for name, value in request.headers.items()}
        seen = RecordedRequest(request.method, request.path, headers, body)
        self.requests.append(seen)
        try:
            return await self._respond(request, seen)
        except (asyncio.CancelledError, ConnectionError) as error:
            # aiohttp cancels the handler when the connection is gone, unless a write notices it first.
            seen.disconnected = not seen.cut
            raise asyncio.CancelledError from error
        finally:
            seen.finished.set()

    async def _respond(self, request: web.Request, seen: RecordedRequest) -> web.StreamResponse:
        refusal = self._check_key(seen)
        if refusal is None and (seen.method, seen.path) == ("POST", "/v1/chat/completions"):
            refusal = self._check_body(seen.body, _CHAT_FIELDS, "messages", _wrong_shape)
            if refusal is None:
                return await self._chat(request, seen)
        elif refusal is None and (seen.method, seen.path) == ("POST", "/v1/responses"):
            refusal = self._check_body(seen.body, responses.FIELDS, "input", responses.wrong_shape)
            if refusal is None:
                return await self._response(request, seen)
        elif refusal is None and (seen.method, seen.path) == ("POST", "/v1/embeddings"):
            refusal = self._check_body(seen.body, _EMBEDDING_FIELDS, "input", _wrong_shape)
            if refusal is None:
                return await self._embed(request, seen)
        elif refusal is None:
            refusal = _list_models(seen)
        assert refusal is not None
        return await self._send_plain(request, seen, refusal, Delivery())

    def _check_key(self, seen: RecordedRequest) -> Reply | None:
        given = seen.headers.get("authorization", "").removeprefix("Bearer ").strip()
        if self._key is None or given == self._key:
            return None
        if not given:
            return _refuse(401, "You didn't provide an API key.", _BAD)
        return _refuse(401, f"Incorrect API key provided: {given[:4]}***.", _BAD, None, "invalid_api_key")

    def _check_body(
        self, body: Any, known: str, required: str, wrong_shape: Callable[[Json], str | None]
    ) -> Reply | None:
        if not isinstance(body, dict):
            return _refuse(400, "We could not parse the JSON body of your request.", _BAD)
        for name in ("model", required):
            if not body.get(name):
                return _refuse(400, f"Missing required parameter: '{name}'.", _BAD, name, "missing_required_parameter")
        unknown = sorted(body.keys() - set(known.split()))
        if unknown and self._is_strict:
            return _refuse(400, f"Unknown parameter: '{unknown[0]}'.", _BAD, unknown[0], "unknown_parameter")
        if body.get("stream_options") and not body.get("stream"):
            text = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
            return _refuse(400, text, _BAD, "stream_options")
        wrong = "model" if not isinstance(body["model"], str) else wrong_shape(body)
        return _refuse(400, f"Invalid value: '{wrong}'.", _BAD, wrong, "invalid_value") if wrong else None

    def _refusal_of(self, body: Json, name: str, numbers: Numbers) -> Reply | None:
        """The answers that are the same for every endpoint."""
        if name in _REPLIES:
            return _REPLIES[name](numbers)
        self._asked[body["model"]] += 1
        if name == "flaky" and self._asked[body["model"]] <= _number(numbers, 0, 1):
            return _status(_number(numbers, 1, 503))
        if name == "garbage" and not body.get("stream"):
            return Reply(b"\x00this is {not JSON")
        if name == "error-in-200" and not body.get("stream"):
            return Reply(_encode(_error(_SERVER_ERROR, "server_error")))
        return None

    async def _chat(self, request: web.Request, seen: RecordedRequest) -> web.StreamResponse:
        body: Json = seen.body
        found = parse_model(body["model"])
        if found is None or found[0] in _EMBEDDERS:
            return await self._send_plain(request, seen, _unknown_model(body["model"]), Delivery())
        name, numbers = found
        how = _delivery_of(name, numbers)
        reply = self._refusal_of(body, name, numbers)
        if reply is not None:
            return await self._send_plain(request, seen, reply, how)
        answer = _answer_of(name, numbers, body)
        completion = _Completion(answer, body)
        if bool(body.get("stream")) is how.is_swapped:
            how = replace(how, header_delay_s=how.header_delay_s + how.token_delay_s * len(answer.deltas))
            return await self._send_plain(request, seen, Reply(_encode(completion.plain())), how)
        events = [b"{not JSON"] if name == "garbage" else list(completion.streamed())
        if how.has_done and answer.error_after is None:
            events.append(b"[DONE]")
        return await self._send_stream(request, seen, events, how, range(1, len(answer.deltas) + 1))

    async def _response(self, request: web.Request, seen: RecordedRequest) -> web.StreamResponse:
        body: Json = seen.body
        found = parse_model(body["model"])
        if found is None or found[0] in _EMBEDDERS:
            return await self._send_plain(request, seen, _unknown_model(body["model"]), Delivery())
        name, numbers = found
        how = _delivery_of(name, numbers)
        reply = self._refusal_of(body, name, numbers)
        if reply is not None:
            return await self._send_plain(request, seen, reply, how)
        chat = responses.as_chat(body)
        completion = _Completion(_answer_of(name, numbers, chat), chat)
        answer = completion.answer
        usage = completion.usage() if answer.has_usage else None
        forms = responses.ResponseForms(body, answer.deltas, answer.finish_reason, usage, _logprobs_of)
        if bool(body.get("stream")) is how.is_swapped:
            how = replace(how, header_delay_s=how.header_delay_s + how.token_delay_s * len(answer.deltas))
            return await self._send_plain(request, seen, Reply(_encode(forms.plain())), how)
        told = [("", b"{not JSON")]
        if name != "garbage":
            error = _error(_SERVER_ERROR, "server_error")
            told = [(kind, _encode(event)) for kind, event in forms.streamed(answer.error_after, error)]
        names, events = [kind for kind, _ in told], [event for _, event in told]
        slow = {position for position, kind in enumerate(names) if kind.endswith(".delta")}
        return await self._send_stream(request, seen, events, how, slow, names)

    async def _embed(self, request: web.Request, seen: RecordedRequest) -> web.StreamResponse:
        body: Json = seen.body
        found = parse_model(body["model"])
        # The faults apply here too; the chat models do not.
        if found is None or (found[0] in _ANSWERS and found[0] not in {*_DELIVERIES, "error-in-200"}):
            return await self._send_plain(request, seen, _unknown_model(body["model"]), Delivery())
        name, numbers = found
        reply = self._refusal_of(body, name, numbers)
        if reply is None and isinstance(body["input"], list) and len(body["input"]) > MOST_TEXTS:
            message = f"Invalid 'input': array too long. Expected an array with maximum length {MOST_TEXTS}."
            reply = _refuse(400, message, "invalid_request_error", "input", "array_above_max_length")
        if reply is None and (body.get("dimensions") or 0) > MOST_DIMENSIONS:
            message = f"Invalid value for 'dimensions' = {body['dimensions']}. Must be at most {MOST_DIMENSIONS}."
            reply = _refuse(400, message, "invalid_request_error", "dimensions")
        if reply is None:
            dimensions = _number(numbers, 0, 1536) if name == "embed" else _EMBEDDERS.get(name, 8)
            reply = Reply(_encode(_embeddings(body, dimensions)))
        return await self._send_plain(request, seen, reply, _delivery_of(name, numbers))

    async def _send_plain(
        self, request: web.Request, seen: RecordedRequest, reply: Reply, how: Delivery
    ) -> web.StreamResponse:
        body = gzip.compress(reply.body) if how.is_gzip else reply.body
        await asyncio.sleep(how.header_delay_s)
        if how.cut in ("reset", "stall") and how.cut_after == 0:
            await _cut(request, seen, how.cut)
        response = web.StreamResponse(
            status=reply.status, headers={**_headers(reply.content_type, how), **reply.headers}
        )
        sent = body[: len(body) // 2] if how.cut else body
        response.content_length = len(sent) if how.cut == "end" else len(body)
        await response.prepare(request)
        await _write(response, sent, how)
        if how.cut and how.cut != "end":
            await _cut(request, seen, how.cut)
        await response.write_eof()
        return response

    async def _send_stream(
        self,
        request: web.Request,
        seen: RecordedRequest,
        events: list[bytes],
        how: Delivery,
        slow: Container[int],
        names: Sequence[str] = (),
    ) -> web.StreamResponse:
        """`slow` are the positions of the events that a pause of `how` stands before."""
        await asyncio.sleep(how.header_delay_s)
        if how.cut == "reset" and how.cut_after == 0:
            await _cut(request, seen, how.cut)
        response = web.StreamResponse(headers=_headers("text/event-stream; charset=utf-8", how))
        await response.prepare(request)
        squeezer = zlib.compressobj(wbits=31) if how.is_gzip else None
        frames = [
            _frame(data, position, how.is_crlf, names[position] if names else "")
            for position, data in enumerate(events)
        ]
        if how.writes == "all":
            await response.write(b"".join(frames))
            seen.events_sent = len(frames)
            frames = []
        for position, frame in enumerate(frames):
            if how.cut and position == how.cut_after:
                break
            if position in slow:
                await asyncio.sleep(how.token_delay_s)
            data = squeezer.compress(frame) + squeezer.flush(zlib.Z_SYNC_FLUSH) if squeezer else frame
            await _write(response, data, how)
            seen.events_sent += 1
        if how.cut and how.cut != "end":
            await _cut(request, seen, how.cut)
        if squeezer:
            await response.write(squeezer.flush())
        await response.write_eof()
        return response


def _wrong_shape(body: Json) -> str | None:
    """The name of the first part of a chat request that does not have the documented form."""
    calls: set[str] = set()
    messages = body.get("messages", [])
    for index, message in enumerate(messages if isinstance(messages, list) else [None]):
        at = f"messages[{index}]"
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            return f"{at}.role"
        for part in message["content"] if isinstance(message.get("content"), list) else ():
            if not isinstance(part, dict) or part.get("type") not in _PARTS or part["type"] not in part:
                return f"{at}.content"
        calls.update(call["id"] for call in message.get("tool_calls") or ())
        # "messages with role 'tool' must be a response to a preceding message with 'tool_calls'"
        if message["role"] == "tool" and message.get("tool_call_id") not in calls:
            return f"{at}.tool_call_id"
    for index, tool in enumerate(body.get("tools") or ()):
        if tool.get("type") not in ("function", "custom") or "name" not in tool.get(tool["type"], {}):
            return f"tools[{index}]"
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema" and "name" not in wanted.get("json_schema", {}):
        return "response_format.json_schema.name"
    return None


def _headers(content_type: str, how: Delivery) -> dict[str, str]:
    # Source: the API reference's "Debugging requests", and the rate limits guide's table of headers.
    headers = {
        "content-type": content_type,
        "openai-version": "2020-10-01",
        "openai-processing-ms": "1",
        "x-request-id": f"req_{random.getrandbits(128):032x}",
        "x-ratelimit-limit-requests": "5000",
        "x-ratelimit-remaining-requests": "4999",
        "x-ratelimit-reset-requests": "12ms",
    }
    return {**headers, "content-encoding": "gzip"} if how.is_gzip else headers


async def _write(response: web.StreamResponse, data: bytes, how: Delivery) -> None:
    pause_s = 0.002 if how.writes == "inside_characters" else 0
    for piece in _slices(data, how.writes):
        await response.write(piece)
        if how.writes != "event":
            await asyncio.sleep(pause_s)  # lets the bytes leave before the next ones join them


async def _cut(request: web.Request, seen: RecordedRequest, how: str) -> NoReturn:
    """Breaks the connection, or just falls silent. In the end aiohttp cancels the handler that waits here."""
    transport = request.transport
    if transport is not None and how != "stall":
        seen.cut = True
        if how == "reset":
            await asyncio.sleep(0.02)  # an RST may overtake what the client has not read yet
            connection: socket.socket = transport.get_extra_info("socket")
            # SO_LINGER with a timeout of zero makes close() send RST in place of FIN; see socket(7).
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        else:
            transport.close()
    await asyncio.Event().wait()
    raise AssertionError


def _unknown_model(model: object) -> Reply:
    return _refuse(
        404,
        f"The model `{model}` does not exist or you do not have access to it.",
        _BAD,
        None,
        "model_not_found",
    )


def _list_models(seen: RecordedRequest) -> Reply:
    """`GET /v1/models` and `/v1/models/{id}`, and what OpenAI answers to any other path."""
    parts = seen.path.strip("/").split("/", 2)
    if seen.method != "GET" or parts[:2] != ["v1", "models"]:
        return _refuse(404, f"Invalid URL ({seen.method} {seen.path})", _BAD)
    named = [{"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "fake"} for name in sorted(_NAMES)]
    if len(parts) == 2:
        return Reply(_encode({"object": "list", "data": named}))
    if parse_model(parts[2]) is None:
        return _unknown_model(parts[2])
    return Reply(_encode({**named[0], "id": parts[2]}))


async def _serve(fake: Fake, host: str, port: int, started: Callable[[], None], stop: asyncio.Event) -> None:
    runner = web.AppRunner(fake.application(), handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        fake.base_url = f"http://{host}:{runner.addresses[0][1]}{fake.base_path}"
        started()
        await stop.wait()
    finally:
        await runner.cleanup()


@contextmanager
def running_fake_openai(
    key: str | None = None, *, host: str = "127.0.0.1", port: int = 0, strict: bool = True
) -> Iterator[FakeOpenAI]:
    """Serves from a thread of its own, on a free port unless told one, until the block ends.

    Raises: OSError if the port is taken.
    """
    fake = FakeOpenAI(key, strict)
    with running(fake, host, port):
        yield fake


@contextmanager
def running(fake: Fake, host: str = "127.0.0.1", port: int = 0) -> Iterator[None]:
    """The same for a fake that is there, of whichever vendor. Raises: OSError if the port is taken."""
    ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def main() -> None:
        stop = asyncio.Event()
        try:
            await _serve(fake, host, port, lambda: ready.set_result((asyncio.get_running_loop(), stop)), stop)
        except OSError as error:
            ready.set_exception(error)

    thread = threading.Thread(target=lambda: asyncio.run(main()), name="fake-vendor", daemon=True)
    thread.start()
    loop, stop = ready.result(timeout=10)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=10)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m pluggably.testing.fake_openai", description="A fake OpenAI for tests."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--key", help="the API key to ask for; without it every key will do")
    parser.add_argument("--lenient", action="store_true", help="accept fields that OpenAI does not know")
    options = parser.parse_args(arguments)
    fake = FakeOpenAI(options.key, strict=not options.lenient)

    def announce() -> None:
        sys.stdout.write(f"{fake.base_url}\n")
        sys.stdout.flush()

    async def serve() -> None:
        await _serve(fake, options.host, options.port, announce, asyncio.Event())

    try:
        asyncio.run(serve())
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
