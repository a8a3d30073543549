"""A fake of Hugging Face's router: chat completions, and feature extraction by HF Inference (see `fake_vendor`).

Behind a model's name a colon may say who serves it, as at the router. What is not documented is refused, and so are
more than 32 texts at once. What surprises: errors are texts, with an `error_type` where its own servers speak,
but a model that nobody serves is told in OpenAI's form, with a status of 400; in feature extraction it is a bare 404.
The model `token-vectors` has no pooling, so it answers with a vector for each word.

Source: huggingface.co/docs/inference-providers/tasks/chat-completion and …/tasks/feature-extraction, the API
description of text-embeddings-inference, and the types of huggingface_hub 2.4.0 (2026-11).
"""

from __future__ import annotations

import hashlib
import re
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
    model messages frequency_penalty logit_bias logprobs max_tokens n presence_penalty response_format seed stop stream
    stream_options temperature tool_choice tool_prompt tools top_logprobs top_p
"""
_EXTRACTION_FIELDS = "inputs normalize prompt_name truncate truncation_direction"
_EXTRACTION_PATH = re.compile(r"/hf-inference/models/(.+)/pipeline/feature-extraction")
_MAX_TEXTS = 32


class FakeHuggingFace(FakeVendor):
    def post(self, path: str, body: Json) -> Json | list[Any] | Iterator[bytes]:
        extraction = _EXTRACTION_PATH.fullmatch(path)
        if extraction is not None:
            return _extracted(extraction.group(1), body)
        if path != "/v1/chat/completions":
            raise Refused(404, "Not Found")
        refuse_unknown(body, _CHAT_FIELDS)
        asked = _last_text(body.get("messages"))
        tools = [tool["function"]["name"] for tool in body.get("tools") or ()]
        if body.get("tool_choice") == "none" or body["messages"][-1]["role"] == "tool":
            tools = []
        try:
            said = said_by(body["model"].partition(":")[0], asked, tools, body.get("max_tokens"), "call_")
        except Refused as refused:
            raise Refused(400 if refused.where else refused.status, refused.message, refused.where) from None
        return _streamed(body, said, asked) if body.get("stream") else _whole(body["model"], said, asked)

    def listed(self, path: str) -> Json:
        if path != "/v1/models":
            return super().listed(path)
        card = {"object": "model", "created": 1793000000, "owned_by": "fake"}
        providers = [{"provider": "hf-inference", "status": "live", "context_length": 1000, "supports_tools": True}]
        return {"object": "list", "data": [{"id": name, **card, "providers": providers} for name in ("echo", "tools")]}

    def error(self, refused: Refused) -> Json:
        if refused.status == 401:
            return {"error": "Invalid username or password."}
        if refused.status == 503:
            return {"error": "Model is currently loading", "estimated_time": 0.1}
        if "batch" in refused.where:
            return {"error": refused.message, "error_type": "Validation"}
        if refused.where == ("model",):
            said = "The requested model is not supported by any provider you have enabled."
            unsupported = {"type": "invalid_request_error", "param": "model", "code": "model_not_supported"}
            return {"error": {"message": said, **unsupported}}
        return {"error": refused.message}


def _last_text(messages: Any) -> str:
    """Raises: Refused for what is no conversation, or a result of a call that nobody made."""
    if not isinstance(messages, list) or not messages:
        raise Refused(422, "messages: field required")
    calls: set[str] = set()
    for message in messages:
        if message.get("role") not in ("system", "user", "assistant", "tool"):
            raise Refused(422, "messages: unknown role")
        calls.update(call["id"] for call in message.get("tool_calls") or ())
        if message["role"] == "tool" and message.get("tool_call_id") not in calls:
            raise Refused(422, "messages: a result without its call")
    content = messages[-1].get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


def _whole(model: str, said: Said, asked: str) -> Json:
    message: Json = {"role": "assistant", "content": "".join(said.words)}
    if said.thoughts:
        message["reasoning_content"] = "".join(said.thoughts)
    if said.calls:
        message["tool_calls"] = _calls(said)
    choice = {"index": 0, "message": message, "finish_reason": _reason(said), "logprobs": None}
    return {**_head(model, "chat.completion"), "choices": [choice], "usage": _usage(said, asked)}


def _streamed(body: Json, said: Said, asked: str) -> Iterator[bytes]:
    def chunk(choices: list[Json], **more: Any) -> bytes:
        return sse({**_head(body["model"], "chat.completion.chunk"), "choices": choices, **more})

    def piece(delta: Json, reason: str | None = None) -> bytes:
        return chunk([{"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": reason}])

    for thought in said.thoughts:
        yield piece({"reasoning_content": thought})
    told = (piece({"content": word}) for word in said.words)
    for count, each in enumerate(paced(told, said.pause_s)):
        yield each
        if said.fails and not count:
            yield sse({"error": said.fails, "error_type": "generation"})
            return
    for index, call in enumerate(_calls(said)):
        yield piece({"tool_calls": [{"index": index, **call}]})
    if said.is_cut:
        return
    yield piece({}, _reason(said))
    if (body.get("stream_options") or {}).get("include_usage"):
        yield chunk([], usage=_usage(said, asked))
    yield sse("[DONE]")


def _head(model: str, kind: str) -> Json:
    return {"id": "o1", "object": kind, "created": 1793000000, "model": model, "system_fingerprint": "fake"}


def _calls(said: Said) -> list[Json]:
    return [
        {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}
        for id_, name, arguments in said.calls
    ]


def _reason(said: Said) -> str:
    return "tool_calls" if said.calls else "length" if said.is_cut_short else "stop"


def _usage(said: Said, asked: str) -> Json:
    counts = {"prompt_tokens": len(asked.split()), "completion_tokens": len(said.words) + len(said.thoughts)}
    return {**counts, "total_tokens": sum(counts.values())}


def _extracted(model: str, body: Json) -> list[Any]:
    refuse_unknown(body, _EXTRACTION_FIELDS)
    texts = [body["inputs"]] if isinstance(body["inputs"], str) else body["inputs"]
    if len(texts) > _MAX_TEXTS:
        raise Refused(413, f"batch size {len(texts)} > maximum allowed batch size {_MAX_TEXTS}", ("batch",))
    if model == "token-vectors":
        return [[_vector(word) for word in text.split()] for text in texts]
    if not model.startswith("embed"):
        raise Refused(404, "Not Found")
    refuse_broken(texts)
    return [_vector(text) for text in texts]


def _vector(text: str) -> list[float]:
    return [byte / 256 for byte in hashlib.sha256(text.encode()).digest()[:4]]
