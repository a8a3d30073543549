"""How each wire says one and the same answer, whole and streamed: the fakes' own forms, filled with what a test says.

What surprises: an answer is told once, as `Told`; nothing here is taken from a codec. Where a wire has a reason to
stop that its fake never gives, it is put into the fake's form here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pluggably.domain.generation import Event
from pluggably.testing import (
    fake_anthropic,
    fake_bedrock,
    fake_cohere,
    fake_gemini,
    fake_mistral,
    fake_ollama,
    fake_openai,
    fake_openai_responses,
)
from pluggably.testing.fake_vendor import FakeVendor, Refused, Said, sse
from pluggably.wire.codec import HttpReply, Step

Json = dict[str, Any]


@dataclass(frozen=True)
class Told:
    """An answer without a wire: pieces of thoughts and of words, calls (id, name, arguments), and why it ends."""

    thoughts: Sequence[str] = ()
    words: Sequence[str] = ()
    calls: Sequence[tuple[str, str, str]] = ()
    ends: str = "stop"
    refusal: Sequence[str] = ()

    def deltas(self) -> list[Json]:
        """As OpenAI's chunks have it; the fakes of its two wires and of Anthropic's begin with these."""
        deltas: list[Json] = [{"reasoning_content": piece} for piece in self.thoughts]
        deltas += [{"content": piece} for piece in self.words]
        deltas += [{"refusal": piece} for piece in self.refusal]
        for index, (id_, name, arguments) in enumerate(self.calls):
            head = {"id": id_, "type": "function", "function": {"name": name, "arguments": ""}}
            deltas.append({"tool_calls": [{"index": index, **head}]})
            for piece in (arguments[:5], arguments[5:]):
                deltas.append({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
        return deltas

    def said(self) -> Said:
        return Said(words=self.words, thoughts=self.thoughts, calls=self.calls, is_cut_short=self.ends == "length")


# A whole answer as JSON, and the bytes of a stream.
Forms = tuple[Json, bytes]
_BODY: Json = {"model": "m", "messages": [], "stream_options": {"include_usage": True}}


def openai(told: Told) -> Forms:
    completion = fake_openai._Completion(fake_openai.Answer(told.deltas(), told.ends), _BODY)
    plain = completion.plain()
    chunks = [json.loads(data) for data in completion.streamed()]
    if told.thoughts:
        # The blocks of OpenRouter, which are handed back as they came.
        block = {"type": "reasoning.text", "text": "".join(told.thoughts), "signature": "c2ln", "index": 0}
        plain["choices"][0]["message"]["reasoning_details"] = [block]
        last = max(n for n, each in enumerate(chunks) if "reasoning_content" in json.dumps(each))
        chunks[last]["choices"][0]["delta"]["reasoning_details"] = [block]
    return plain, b"".join(sse(each) for each in [*chunks, "[DONE]"])


def openai_responses(told: Told) -> Forms:
    forms = fake_openai_responses.ResponseForms(
        {"model": "m"}, told.deltas(), told.ends, None, lambda *_: {"content": []}
    )
    plain = forms.plain()
    return plain, b"".join(sse(event, name) for name, event in forms.streamed(None, {}))


def anthropic(told: Told) -> Forms:
    usage = fake_openai._Completion(fake_openai.Answer(told.deltas()), _BODY).usage()
    forms = fake_anthropic.MessageForms(_BODY, told.deltas(), told.ends, usage)
    return forms.plain(), b"".join(sse(event, event["type"]) for event in forms.streamed(None))


def gemini(told: Told) -> Forms:
    parts: list[Json] = [{"text": piece, "thought": True} for piece in told.thoughts]
    if parts:
        parts[-1]["thoughtSignature"] = fake_gemini.SIGNATURE
    parts += [{"text": piece} for piece in told.words]
    for id_, name, arguments in told.calls:
        parts.append({"functionCall": {"id": id_, "name": name, "args": json.loads(arguments)}})
    if told.calls:
        parts[-len(told.calls)]["thoughtSignature"] = fake_gemini.SIGNATURE
    parts = parts or [{"text": ""}]
    reason = {"length": "MAX_TOKENS", "content_filter": "SAFETY"}.get(told.ends, "STOP")
    asked: Json = {"contents": [{"parts": [{"text": "Hi"}]}]}
    pieces = [fake_gemini._piece(asked, parts, number, reason) for number in range(len(parts))]
    return fake_gemini._whole(pieces), b"".join(map(fake_gemini._event, pieces))


def cohere(told: Told) -> Forms:
    said = told.said()
    return fake_cohere._whole(said, "Hi"), b"".join(fake_cohere._streamed(said, "Hi"))


def mistral(told: Told) -> Forms:
    said = told.said()
    return fake_mistral._whole("m", said, "Hi"), b"".join(fake_mistral._streamed("m", said, "Hi"))


def ollama(told: Told) -> Forms:
    said = told.said()
    return fake_ollama._whole(said, "Hi"), b"".join(fake_ollama._streamed(said, "Hi"))


def bedrock(told: Told) -> Forms:
    blocks: list[Json] = []
    if told.thoughts:
        thought = {"text": "".join(told.thoughts), "signature": "c2ln"}
        blocks.append({"reasoningContent": {"reasoningText": thought}})
    if told.words:
        blocks.append({"text": "".join(told.words)})
    for id_, name, arguments in told.calls:
        blocks.append({"toolUse": {"toolUseId": id_, "name": name, "input": json.loads(arguments)}})
    reasons = {"length": "max_tokens", "tool_calls": "tool_use", "content_filter": "content_filtered"}
    reason = reasons.get(told.ends, "end_turn")
    usage = {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}

    async def streamed() -> bytes:
        return b"".join([part async for part in fake_bedrock._streamed("echo", [], blocks, reason, usage)])

    message = {"role": "assistant", "content": blocks}
    return {"output": {"message": message}, "stopReason": reason, "usage": usage}, asyncio.run(streamed())


def native(told: Told) -> Forms:
    """As the reference of our own API has it."""
    output: list[Json] = []
    events: list[Json] = []

    def say(item: Json, field: str, pieces: Iterable[str]) -> None:
        index = len(output)
        kind = item["type"]
        empty = {name: value for name, value in {**item, field: ""}.items() if name != "provider_state"}
        events.append({"type": "output.started", "index": index, "item": empty})
        events.extend({"type": "output.delta", "index": index, "item_type": kind, field: piece} for piece in pieces)
        events.append({"type": "output.completed", "index": index, "item": item})
        output.append(item)

    if told.thoughts:
        state = {"provider": "somebody", "data": {"signature": "c2ln"}}
        text = "".join(told.thoughts)
        say({"type": "reasoning", "text": text, "provider_state": state}, "text", told.thoughts)
    if told.words:
        say({"type": "text", "text": "".join(told.words)}, "text", told.words)
    for id_, name, arguments in told.calls:
        call = {"type": "tool_call", "id": id_, "name": name, "arguments": arguments}
        say(call, "arguments", (arguments[:5], arguments[5:]))
    served = {"backend": "there", "model": "m", "location": "remote"}
    generation = {"status": "completed", "served_by": served, "output": output, "finish_reason": told.ends}
    ended = {"type": "generation.completed", "generation": generation}
    started = {"type": "generation.started", "served_by": served}
    return generation, b"".join(sse(event, event["type"]) for event in [started, *events, ended])


WIRES: Mapping[str, Callable[[Told], Forms]] = {
    "anthropic": anthropic,
    "bedrock": bedrock,
    "cohere": cohere,
    "gemini": gemini,
    "huggingface": openai,
    "mistral": mistral,
    "native": native,
    "ollama": ollama,
    "openai": openai,
    "openai_responses": openai_responses,
}
# The preset whose options the codec has, and a model that these name.
VENDORS: Mapping[str, tuple[str, str]] = {
    "anthropic": ("anthropic", "claude-sonnet-4-5"),
    "bedrock": ("bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0"),
    "cohere": ("cohere", "command-a-03-2025"),
    "gemini": ("google", "gemini-3-pro"),
    "huggingface": ("huggingface", "Qwen/Qwen3-32B"),
    "mistral": ("mistral", "mistral-medium-latest"),
    "native": ("pluggably", "anything"),
    "ollama": ("ollama", "qwen3"),
    "openai": ("openrouter", "openai/gpt-5"),
    "openai_responses": ("openai", "gpt-5"),
}


# ── what a wire answers when it fails, and what it takes ────────────────────────────────────────────────────────────


_FAKES: Mapping[str, type[FakeVendor]] = {
    "cohere": fake_cohere.FakeCohere,
    "mistral": fake_mistral.FakeMistral,
    "ollama": fake_ollama.FakeOllama,
}


def events_of(step: Step) -> Sequence[Event]:
    """What a codec made of what came. Raises: the error in which the answer ended, if it did."""
    if step.error is not None:
        raise step.error
    return step.events


def fault(wire: str, status: int) -> HttpReply:
    """What the vendor answers with this status: 401, 404, 429 or 503."""
    headers: dict[str, str] = {}
    if wire in ("huggingface", "openai", "openai_responses"):
        body = fake_openai._STATUSES[status].body
    elif wire == "anthropic":
        body = fake_anthropic._refuse(529 if status == 503 else status).body
        status = 529 if status == 503 else status
    elif wire == "gemini":
        body = json.dumps(fake_gemini._error(status)).encode()
    elif wire == "bedrock":
        name, status = {
            401: ("UnrecognizedClientException", 403),
            404: ("ResourceNotFoundException", 404),
            429: ("ThrottlingException", 429),
            503: ("ServiceUnavailableException", 503),
        }[status]
        headers, body = {"x-amzn-errortype": name}, b'{"message": "It failed."}'
    elif wire == "native":
        codes = {401: "unauthenticated", 404: "model_not_found", 429: "rate_limited", 503: "overloaded"}
        body = json.dumps(
            {"status": status, "code": codes[status], "detail": "It failed.", "retryable": status in (429, 503)}
        ).encode()
    else:
        message, where = ("model 'm' not found", ("model",)) if status == 404 else ("It failed.", ())
        body = json.dumps(_FAKES[wire]("key").error(Refused(status, message, where))).encode()
    return HttpReply(status=status, headers=headers, body=body)


def refused(wire: str, body: Json) -> str | None:
    """Why the vendor would refuse a conversation, as far as its fake knows."""
    try:
        if wire == "cohere":
            fake_cohere._read(body["messages"])
        elif wire == "mistral":
            fake_mistral._read(body["messages"])
        elif wire == "ollama":
            fake_ollama._read(body["messages"])
    except Refused as error:
        return error.message
    if wire == "anthropic":
        return fake_anthropic.wrong_shape(body)
    if wire == "bedrock":
        return fake_bedrock.wrong_shape(body)
    if wire == "gemini":
        return fake_gemini._wrong_shape(body, "generateContent")
    if wire == "openai_responses":
        return fake_openai_responses.wrong_shape(body)
    return fake_openai._wrong_shape(body) if wire in ("huggingface", "openai") else None
