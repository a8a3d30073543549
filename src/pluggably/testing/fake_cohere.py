"""A fake of Cohere's API v2, Chat and Embed, that says what the name of the model tells it (see `fake_vendor`).

What is not documented is refused: unknown fields, content in another form, text beside calls, the result of a tool
without its call, more than 96 texts. What surprises: a model thinks in a `tool_plan` before calls, and in a block
`thinking` elsewhere, and a token is a word; the tokens that are billed are those, and 500 more were read.

Source: docs.cohere.com/reference/chat, …/reference/embed and …/docs/tool-use-streaming (2026-11); the types of the
cohere package 7.3.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from pluggably.testing.fake_vendor import (
    FakeVendor,
    Json,
    Refused,
    Said,
    paced,
    refuse_broken,
    refuse_unknown,
    said_by,
    sse,
)

_CHAT_FIELDS = """
    model messages tools strict_tools documents citation_options response_format safety_mode max_tokens stop_sequences
    temperature seed frequency_penalty presence_penalty k p logprobs tool_choice thinking priority stream
"""
_EMBED_FIELDS = "model texts images inputs input_type max_tokens output_dimension embedding_types truncate priority"
_MESSAGE_FIELDS = {
    "system": "role content",
    "user": "role content",
    "assistant": "role content tool_calls tool_plan citations",
    "tool": "role content tool_call_id",
}
_BLOCKS = {
    "system": ("text",),
    "user": ("text", "image_url"),
    "assistant": ("text", "thinking"),
    "tool": ("text", "document"),
}
_MAX_TEXTS = 96


class FakeCohere(FakeVendor):
    def post(self, path: str, body: Json) -> Json | Iterator[bytes]:
        if path == "/v2/embed":
            return _embedded(body)
        if path != "/v2/chat":
            raise Refused(404, "page not found")
        refuse_unknown(body, _CHAT_FIELDS)
        schema = (body.get("response_format") or {}).get("json_schema")
        if schema is not None and (schema.get("type") != "object" or not schema.get("required")):
            raise Refused(400, "invalid request: response_format validation: invalid 'json_schema' provided")
        asked = _read(body.get("messages"))
        tools = [tool["function"]["name"] for tool in body.get("tools") or ()]
        if body.get("tool_choice") == "NONE" or body["messages"][-1]["role"] == "tool":
            tools = []
        said = said_by(body["model"], asked, tools, body.get("max_tokens"), "call_")
        return _streamed(said, asked) if body.get("stream") else _whole(said, asked)

    def listed(self, path: str) -> Json:
        if path.partition("?")[0] != "/v1/models":
            return super().listed(path)
        chat = {"name": "echo", "endpoints": ["chat"], "context_length": 1000.0, "features": ["tools"]}
        return {"models": [chat, {"name": "embed-4", "endpoints": ["embed"], "context_length": 512.0}]}

    def error(self, refused: Refused) -> Json:
        return {"id": "3c1b", "message": refused.message}


def _read(messages: Any) -> str:
    """The last text. Raises: Refused for what has another form."""
    if not isinstance(messages, list) or not messages:
        raise Refused(400, "invalid request: messages must not be empty")
    calls: set[str] = set()
    for message in messages:
        role, content = message.get("role"), message.get("content")
        if role not in _BLOCKS:
            raise Refused(422, "invalid request: all elements in messages must have a role")
        refuse_unknown(message, _MESSAGE_FIELDS[role])
        if not content and not message.get("tool_calls"):
            raise Refused(400, "message must not be empty in a turn")
        if message.get("tool_calls") and _has_text(content):
            raise Refused(400, "text content is not allowed when tool_calls are provided.")
        for block in content if isinstance(content, list) else ():
            if block.get("type") not in _BLOCKS[role] or block["type"] not in block:
                raise Refused(422, f"invalid request: a block of the role {role}")
            if block["type"] == "document" and not isinstance(block["document"].get("data"), dict):
                raise Refused(422, "invalid request: a document needs its data")
        calls.update(call["id"] for call in message.get("tool_calls") or ())
        if role == "tool" and message.get("tool_call_id") not in calls:
            raise Refused(400, "invalid request: tool_call_id of no tool call")
    content = messages[-1].get("content")
    if isinstance(content, list):
        texts = [block.get("text") or str(block.get("document", {}).get("data", "")) for block in content]
        return " ".join(texts)
    return content or ""


def _has_text(content: Any) -> bool:
    return any(block.get("type") == "text" for block in content) if isinstance(content, list) else bool(content)


def _whole(said: Said, asked: str) -> Json:
    message: Json = {"role": "assistant"}
    if said.calls:
        message["tool_plan"] = "".join(said.thoughts)
        message["tool_calls"] = [_call(*call) for call in said.calls]
    else:
        thoughts = "".join(said.thoughts)
        thinking = [{"type": "thinking", "thinking": thoughts}] if thoughts else []
        message["content"] = [*thinking, {"type": "text", "text": "".join(said.words)}]
    return {
        "id": "c14c80c3",
        "finish_reason": "ERROR" if said.fails else _reason(said),
        "message": message,
        "usage": _usage(said, asked),
    }


def _streamed(said: Said, asked: str) -> Iterator[bytes]:
    empty: Json = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    yield _event("message-start", id="29f14a5a", delta={"message": empty})
    if said.calls:
        for piece in said.thoughts:
            yield _event("tool-plan-delta", delta={"message": {"tool_plan": piece}})
        for index, (id_, name, arguments) in enumerate(said.calls):
            yield _event("tool-call-start", index=index, delta={"message": {"tool_calls": _call(id_, name, "")}})
            for piece in (arguments[:5], arguments[5:]):
                delta = {"message": {"tool_calls": {"function": {"arguments": piece}}}}
                yield _event("tool-call-delta", index=index, delta=delta)
            yield _event("tool-call-end", index=index)
    else:
        blocks = [("thinking", said.thoughts)] if said.thoughts else []
        for index, (kind, pieces) in enumerate([*blocks, ("text", said.words)]):
            started = {"message": {"content": {"type": kind, kind: ""}}}
            yield _event("content-start", index=index, delta=started)
            told = (_event("content-delta", index=index, delta={"message": {"content": {kind: p}}}) for p in pieces)
            yield from paced(told, said.pause_s)
            yield _event("content-end", index=index)
    if said.is_cut:
        return
    end: Json = {"finish_reason": _reason(said), "usage": _usage(said, asked)}
    if said.fails:
        end = {"finish_reason": "ERROR", "error": said.fails}
    yield _event("message-end", delta=end)


def _event(kind: str, **fields: Any) -> bytes:
    return sse({"type": kind, **fields}, kind)


def _call(id_: str, name: str, arguments: str) -> Json:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def _reason(said: Said) -> str:
    return "TOOL_CALL" if said.calls else "MAX_TOKENS" if said.is_cut_short else "COMPLETE"


def _usage(said: Said, asked: str) -> Json:
    billed = {"input_tokens": float(len(asked.split())), "output_tokens": float(len(said.words) + len(said.thoughts))}
    return {"billed_units": billed, "tokens": {**billed, "input_tokens": billed["input_tokens"] + 500}}


def _embedded(body: Json) -> Json:
    refuse_unknown(body, _EMBED_FIELDS)
    texts = body.get("texts") or []
    if body.get("input_type") not in ("search_document", "search_query", "classification", "clustering"):
        raise Refused(400, "invalid request: valid input_type must be provided with the provided model")
    if len(texts) > _MAX_TEXTS:
        raise Refused(400, f"invalid request: total number of texts must be at most 96 - received {len(texts)}")
    refuse_broken(texts)
    size = body.get("output_dimension") or 4
    vectors = [[byte / 256 for byte in hashlib.sha256(text.encode()).digest()[:size]] for text in texts]
    meta = {"api_version": {"version": "2"}, "billed_units": {"input_tokens": float(len(texts))}}
    return {"id": "da6e", "response_type": "embeddings_by_type", "embeddings": {"float": vectors}, "meta": meta}
