"""A fake of Ollama, `/api/chat` and `/api/embed`, that says what the name of the model tells it (see `fake_vendor`).

What is not documented is refused. What surprises: Ollama itself wants no key, this fake does, as the servers do that
stand before one. Calls of tools come whole and without ids, each in a line of its own, and a token is a word.

Source: docs.ollama.com/api/chat, …/api/embed, …/api/tags and …/api/errors (2026-11); the types of ollama 0.6.3.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any

from pluggably.testing.fake_vendor import FakeVendor, Json, Refused, Said, paced, refuse_unknown, said_by

_CHAT_FIELDS = "model messages tools format options stream think keep_alive logprobs top_logprobs"
_EMBED_FIELDS = "model input truncate dimensions keep_alive options"
_MESSAGE_FIELDS = "role content thinking images tool_calls tool_name"
_OPTIONS = """
    seed temperature top_k top_p min_p stop num_ctx num_predict repeat_last_n repeat_penalty presence_penalty
    frequency_penalty
"""
_THINK = (None, False, True, "low", "medium", "high", "max")
_LIMIT_CHARS = 400


class FakeOllama(FakeVendor):
    stream_type = "application/x-ndjson"

    def post(self, path: str, body: Json) -> Json | Iterator[bytes]:
        if path == "/api/embed":
            return _embedded(body)
        if path != "/api/chat":
            raise Refused(404, "404 page not found")
        refuse_unknown(body, _CHAT_FIELDS)
        runtime = body.get("options") or {}
        refuse_unknown(runtime, _OPTIONS)
        if body.get("think") not in _THINK:
            raise Refused(400, "invalid think value (must be high, medium, low, max, true, or false)")
        asked = _read(body.get("messages"))
        tools = [tool["function"]["name"] for tool in body.get("tools") or ()]
        if body["messages"][-1]["role"] == "tool":
            tools = []
        said = said_by(body["model"], asked, tools, runtime.get("num_predict"), "")
        return _streamed(said, asked) if body.get("stream", True) else _whole(said, asked)

    def listed(self, path: str) -> Json:
        if path != "/api/tags":
            return super().listed(path)
        return {"models": [{"name": name, "model": name, "details": {}} for name in ("echo", "embed-4")]}

    def error(self, refused: Refused) -> Json:
        return {"error": refused.message}


def _read(messages: Any) -> str:
    """The last text. Raises: Refused for what has another form."""
    if not isinstance(messages, list) or not messages:
        raise Refused(400, "messages are missing")
    for message in messages:
        refuse_unknown(message, _MESSAGE_FIELDS)
        if message["role"] not in ("system", "user", "assistant", "tool") or not isinstance(message["content"], str):
            raise Refused(400, "json: cannot unmarshal the message")
        for image in message.get("images", ()):
            try:
                base64.b64decode(image, validate=True)
            except binascii.Error:
                raise Refused(400, "illegal base64 data") from None
        for call in message.get("tool_calls", ()):
            if not isinstance(call["function"]["arguments"], dict):
                raise Refused(400, "json: cannot unmarshal the arguments")
    text: str = messages[-1]["content"]
    return text


def _whole(said: Said, asked: str) -> Json:
    if said.fails:
        raise Refused(500, said.fails)
    message: Json = {"role": "assistant", "content": "".join(said.words)}
    if said.thoughts:
        message["thinking"] = "".join(said.thoughts)
    if said.calls:
        message["tool_calls"] = [_call(name, arguments) for _, name, arguments in said.calls]
    return {**_line(message), **_end(said, asked)}


def _streamed(said: Said, asked: str) -> Iterator[bytes]:
    for piece in said.thoughts:
        yield _framed(_line({"role": "assistant", "content": "", "thinking": piece}))
    for _, name, arguments in said.calls:
        yield _framed(_line({"role": "assistant", "content": "", "tool_calls": [_call(name, arguments)]}))
    words = [_framed(_line({"role": "assistant", "content": piece})) for piece in said.words]
    first, rest = words[: 1 if said.fails else len(words)], {"error": said.fails}
    yield from paced(iter(first), said.pause_s)
    if said.fails:
        yield _framed(rest)
    elif not said.is_cut:
        yield _framed({**_line({"role": "assistant", "content": ""}), **_end(said, asked)})


def _call(name: str, arguments: str) -> Json:
    return {"function": {"name": name, "arguments": json.loads(arguments)}}


def _line(message: Json) -> Json:
    return {"model": "fake", "created_at": "2026-11-23T00:00:00.000000Z", "message": message, "done": False}


def _end(said: Said, asked: str) -> Json:
    return {
        "done": True,
        "done_reason": "length" if said.is_cut_short else "stop",
        "total_duration": 5_000_000,
        "load_duration": 1_000_000,
        "prompt_eval_count": len(asked.split()),
        "prompt_eval_duration": 1_000_000,
        "eval_count": len(said.words) + len(said.thoughts),
        "eval_duration": 3_000_000,
    }


def _embedded(body: Json) -> Json:
    refuse_unknown(body, _EMBED_FIELDS)
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    if body.get("truncate", True) is False and any(len(text) > _LIMIT_CHARS for text in texts):
        raise Refused(400, "the input length exceeds the context length")
    size = body.get("dimensions") or 4
    vectors = [[float(sum(map(ord, text)) % (place + 7)) for place in range(size)] for text in texts]
    return {
        "model": body["model"],
        "embeddings": vectors,
        "total_duration": 2_000_000,
        "load_duration": 1_000_000,
        "prompt_eval_count": len(texts),
    }


def _framed(value: Json) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"
