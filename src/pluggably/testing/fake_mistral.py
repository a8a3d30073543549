"""A fake of Mistral's chat completions and embeddings, that says what a model's name tells it (see `fake_vendor`).

What is not documented is refused, in Mistral's form and with its words: unknown fields, the user after a tool, ids of
calls that are not nine letters and digits, a last word of the assistant's that is no prefix, more than 512 texts, any
effort but two. A tool that is no function is Mistral's own: it is called, and the answer is several messages. What
surprises: a model that thinks says so in a chunk `thinking`, so its content is a list, and streamed calls come whole.

Source: docs.mistral.ai/api/endpoint/chat, …/endpoint/embeddings and …/capabilities/reasoning (2026-11); the types of
mistralai 3.7.0; the orders of roles as mistral-common checks them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
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

_MAX_TEXTS = 512
_MAX_TOKENS = 16_384
_CODES: dict[tuple[str | int, ...], tuple[str, str | None]] = {
    ("model",): ("invalid_model", "1500"),
    ("reasoning_effort",): ("invalid_request_invalid_args", "3051"),
}
_EFFORTS = ("none", "high")
_CHAT_FIELDS = """
    model messages temperature top_p max_tokens stream stop random_seed metadata response_format tools tool_choice
    presence_penalty frequency_penalty min_tokens repetition_penalty top_k logprobs top_logprobs prompt_logprobs
    top_prompt_logprobs n prediction parallel_tool_calls reasoning_effort prompt_mode guardrails prompt_cache_key
    service_tier safe_prompt
"""
_EMBED_FIELDS = "model input metadata output_dimension output_dtype encoding_format"
_MESSAGE_FIELDS = {
    "system": "role content",
    "user": "role content",
    "assistant": "role content tool_calls prefix",
    "tool": "role content tool_call_id name",
}
_CHUNKS = """
    text image_url document_url reference file thinking input_audio resource resource_link tool_file tool_reference
"""
_MAY_FOLLOW = {
    "": ("system", "user", "assistant"),
    "system": ("system", "user", "assistant"),
    "user": ("system", "user", "assistant"),
    "assistant": ("assistant", "user", "tool"),
    "tool": ("assistant", "tool"),
}


class FakeMistral(FakeVendor):
    def post(self, path: str, body: Json) -> Json | Iterator[bytes]:
        if path == "/v1/embeddings":
            return _embedded(body)
        if path != "/v1/chat/completions":
            raise Refused(404, "no Route matched with those values")
        refuse_unknown(body, _CHAT_FIELDS)
        effort = body.get("reasoning_effort", "none")
        if effort not in _EFFORTS:
            raise Refused(
                400,
                f"reasoning_effort='{effort}' is not supported for this model. Must be one of {_EFFORTS}",
                ("reasoning_effort",),
            )
        asked = _read(body.get("messages"))
        given = body.get("tools") or ()
        tools = [tool["function"]["name"] for tool in given if tool["type"] == "function"]
        hosted = [tool["type"] for tool in given if tool["type"] != "function"]
        if body.get("tool_choice") == "none" or body["messages"][-1]["role"] == "tool":
            tools = []
        said = said_by(body["model"], asked, tools, body.get("max_tokens"), "fakecall")
        make = _streamed if body.get("stream") else _whole
        return make(body["model"], said, asked, hosted)

    def listed(self, path: str) -> Json:
        if path != "/v1/models":
            return super().listed(path)
        card = {"object": "model", "type": "base", "created": 1793000000, "owned_by": "mistralai"}
        can = {"completion_chat": True, "function_calling": True, "vision": False}
        data = [{"id": name, **card, "capabilities": can, "max_context_length": 1000} for name in ("echo", "embed-4")]
        return {"object": "list", "data": data}

    def error(self, refused: Refused) -> Json:
        if refused.status == 422:
            wrong = {"type": "value_error", "loc": ["body", *refused.where], "msg": refused.message, "input": None}
            return {"detail": [wrong]}
        if refused.status == 401:
            return {"message": "Unauthorized", "request_id": "9b1e"}
        kind, code = _CODES.get(tuple(refused.where), ("error", None))
        return {"object": "error", "message": refused.message, "type": kind, "param": None, "code": code}


def _read(messages: Any) -> str:
    """The last text. Raises: Refused for what has another form, or another order."""
    if not isinstance(messages, list) or not messages:
        raise Refused(422, "List should have at least 1 item", ("messages",))
    calls: set[str] = set()
    before = ""
    for index, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        if role not in _MESSAGE_FIELDS:
            raise Refused(422, "Input tag is no role", ("messages", index, "role"))
        refuse_unknown(message, _MESSAGE_FIELDS[role], ("messages", index))
        if role not in _MAY_FOLLOW[before]:
            raise Refused(400, f"Unexpected role '{role}' after role '{before}'")
        for chunk in content if isinstance(content, list) else ():
            if chunk.get("type") not in _CHUNKS.split():
                raise Refused(422, "Input tag is no chunk", ("messages", index, "content"))
        for call in message.get("tool_calls") or ():
            if not re.fullmatch(r"[a-zA-Z0-9]{9}", call["id"]):
                raise Refused(400, f"Tool call id was {call['id']} but must be a-z, A-Z, 0-9, with a length of 9.")
            calls.add(call["id"])
        if role == "tool" and message.get("tool_call_id") not in calls:
            raise Refused(400, "Unexpected tool call id")
        before = role
    if before == "system" or (before == "assistant" and not messages[-1].get("prefix")):
        raise Refused(400, f"Expected last role User or Tool (or Assistant with prefix True), but got {before}")
    content = messages[-1].get("content")
    if isinstance(content, list):
        return " ".join(chunk["text"] for chunk in content if chunk["type"] == "text")
    return content or ""


def _own_turn(hosted: Sequence[str]) -> list[Json]:
    """What happens before the answer, where Mistral has tools of its own to ask."""
    if not hosted:
        return []
    call = {"id": "hosted000", "type": "function", "function": {"name": hosted[0], "arguments": "{}"}, "index": 0}
    return [
        {"role": "assistant", "content": "", "tool_calls": [call], "index": 0},
        {"role": "tool", "tool_call_id": call["id"], "content": "found", "index": 1},
    ]


def _whole(model: str, said: Said, asked: str, hosted: Sequence[str] = ()) -> Json:
    message: Json = {"role": "assistant", "content": "".join(said.words), "tool_calls": None}
    if said.thoughts:
        thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "".join(said.thoughts)}]}
        words = [{"type": "text", "text": message["content"]}] if said.words else []
        message["content"] = [thinking, *words]
    if said.calls:
        message["tool_calls"] = _calls(said)
    choice: Json = {"index": 0, "message": message, "finish_reason": _reason(said)}
    if turn := _own_turn(hosted):
        choice["messages"] = [*turn, {**choice.pop("message"), "index": len(turn)}]
    return {**_head(model, "chat.completion"), "choices": [choice], "usage": _usage(said, asked)}


def _streamed(model: str, said: Said, asked: str, hosted: Sequence[str] = ()) -> Iterator[bytes]:
    turn = _own_turn(hosted)

    def chunk(delta: Json, reason: str | None = None, **more: Any) -> bytes:
        place = {"index": len(turn)} if turn else {}
        choice = {"index": 0, "delta": {**place, **delta}, "finish_reason": reason}
        return sse({**_head(model, "chat.completion.chunk"), "choices": [choice], **more})

    for message in turn:
        yield chunk(message, "tool_calls" if "tool_calls" in message else None)
    yield chunk({"role": "assistant", "content": ""})
    for piece in said.thoughts:
        yield chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": piece}]}]})
    told = (chunk({"content": piece}) for piece in said.words)
    for count, each in enumerate(paced(told, said.pause_s)):
        yield each
        if said.fails and not count:
            yield sse({"object": "error", "message": said.fails, "type": "internal_server_error", "code": "1000"})
            return
    if said.is_cut:
        return
    last = {"content": "", "tool_calls": _calls(said)} if said.calls else {"content": ""}
    yield chunk(last, _reason(said), usage=_usage(said, asked))
    yield sse("[DONE]")


def _head(model: str, kind: str) -> Json:
    return {"id": "cmpl-e5cc70bb", "object": kind, "created": 1793000000, "model": model}


def _calls(said: Said) -> list[Json]:
    return [
        {"id": id_, "function": {"name": name, "arguments": arguments}, "index": index}
        for index, (id_, name, arguments) in enumerate(said.calls)
    ]


def _reason(said: Said) -> str:
    return "error" if said.fails else "tool_calls" if said.calls else "length" if said.is_cut_short else "stop"


def _usage(said: Said, asked: str) -> Json:
    counts = {"prompt_tokens": len(asked.split()), "completion_tokens": len(said.words) + len(said.thoughts)}
    return {**counts, "total_tokens": sum(counts.values())}


def _embedded(body: Json) -> Json:
    refuse_unknown(body, _EMBED_FIELDS)
    texts = body["input"]
    if len(texts) > _MAX_TEXTS:
        raise Refused(400, "Too many inputs in request, split into more batches.")
    tokens = sum(len(text.encode()) for text in texts)  # the worst that a tokenizer could do
    if tokens > _MAX_TOKENS:
        raise Refused(400, f"Too many tokens in batch. Max is {_MAX_TOKENS} got {tokens}")
    refuse_broken(texts)
    size = body.get("output_dimension") or 4
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": [byte / 256 for byte in hashlib.sha256(text.encode()).digest()[:size]],
        }
        for index, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": len(data), "completion_tokens": 0, "total_tokens": len(data)}
    return {"id": "1", "object": "list", "model": body["model"], "data": data, "usage": usage}
