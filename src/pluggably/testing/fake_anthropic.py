"""A fake Anthropic: the Messages API, with the answers and the faults of the fake OpenAI.

`fake_openai` is the server and decides, by the name of the model, what is said and what breaks; here a request is read
as the chat request that it amounts to, and what is said is told as content blocks, plain and streamed. So a test may
compare the two wires word by word.

    with running_fake_anthropic(key="sk-ant-test") as fake:
        ...                                   # point a provider at fake.base_url

What surprises: it is strict, since Anthropic is. It wants `max_tokens` and the header `anthropic-version`, refuses
empty text and what it does not know, wants the result of each call in the message that follows and a system message
between the user and the assistant, and takes thinking back only with the very signature that it gave. A refusal is a
reason to stop, with an explanation and without a block.

Source: platform.claude.com/docs/en/api/messages/create, …/api/errors and …/build-with-claude/streaming (2026-11); the
types of the anthropic package 2.12.0.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from aiohttp import web

from pluggably.testing import fake_openai as base
from pluggably.testing.fake_openai import FakeOpenAI, Json, Numbers, RecordedRequest, Reply

_FIELDS = """
    cache_control container diagnostics inference_geo max_tokens messages metadata model output_config service_tier
    speed stop_sequences stream system temperature thinking tool_choice tools top_k top_p
"""
# What each block must have.
_BLOCKS = {
    "text": "text",
    "image": "source",
    "document": "source",
    "thinking": "signature",
    "redacted_thinking": "data",
    "tool_use": "input",
    "tool_result": "tool_use_id",
    "search_result": "source",
    "server_tool_use": "input",
    "web_search_tool_result": "content",
}
_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_ERRORS = {
    400: ("invalid_request_error", "temperature: Input should be less than or equal to 1"),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "There's an issue with your billing or payment information."),
    403: ("permission_error", "Your API key does not have permission to use the specified resource."),
    404: ("not_found_error", "model: this one"),
    409: ("conflict_error", "The request conflicts with the current state of a resource."),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "This request would exceed your organization's rate limit."),
    500: ("api_error", "Internal server error"),
    504: ("timeout_error", "The request timed out while processing."),
    529: ("overloaded_error", "Overloaded"),
}
_REQUEST_ID = "req_011CSHoEeqs5C35K2UUqR7Fy"


def _error(kind: str, message: str) -> Json:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": _REQUEST_ID}


def _refuse(status: int, message: str | None = None, **headers: str) -> Reply:
    kind, usual = _ERRORS.get(status, _ERRORS[500])
    body = json.dumps(_error(kind, message or usual)).encode()
    return Reply(body, status, headers={"request-id": _REQUEST_ID, **headers})


def signature_of(thinking: str) -> str:
    """What the fake signs a thought with."""
    return hashlib.sha256(thinking.encode()).hexdigest()


# --- what is asked ----------------------------------------------------------------------------------------


def wrong_shape(body: Json) -> str | None:
    """What the first part is called that does not have the documented form."""
    calls: set[str] = set()
    if not body.get("tools") and any(
        isinstance(block, dict) and block.get("type") in ("tool_use", "tool_result")
        for message in body["messages"]
        for block in message["content"]
    ):
        return "tools"
    for index, message in enumerate(body["messages"]):
        at = f"messages.{index}"
        if message.get("role") not in ("user", "assistant", "system") or (index == 0 and message["role"] != "user"):
            return f"{at}.role"
        if message.keys() - {"role", "content"}:
            return at
        content = message.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not blocks:
            return f"{at}.content"
        if message["role"] == "system" and _is_misplaced(body["messages"][index - 1 : index + 2]):
            return f"{at}.role"
        results = {block.get("tool_use_id") for block in blocks if block.get("type") == "tool_result"}
        if results != calls:
            return f"{at}.content"
        calls = {block["id"] for block in blocks if block.get("type") == "tool_use"}
        for place, block in enumerate(blocks):
            if _is_wrong(block):
                return f"{at}.content.{place}"
    for index, tool in enumerate(body.get("tools") or ()):
        if not tool.get("name") or ("type" not in tool and tool.get("input_schema", {}).get("type") != "object"):
            return f"tools.{index}"
    return None


def _is_misplaced(around: Sequence[Json]) -> bool:
    """Whether a system message stands elsewhere than behind the user, or the result of a tool of the vendor's, and
    before the assistant or the end."""
    before = around[0]
    ends = before["content"][-1] if isinstance(before["content"], list) else {}
    is_behind = before["role"] == "user" or ends.get("type", "").endswith("_tool_result")
    return not is_behind or any(after["role"] != "assistant" for after in around[2:])


def _is_wrong(block: Json) -> bool:
    kind = block.get("type", "")
    if _BLOCKS.get(kind, "") not in block:
        return True
    if kind == "text":
        return not block["text"].strip()
    if kind == "thinking":
        return bool(block["signature"] != signature_of(block["thinking"]))
    if kind == "tool_result":
        return bool(block.get("is_error")) and not block.get("content")
    return kind == "tool_use" and not isinstance(block["input"], dict)


def as_chat(body: Json) -> Json:
    """The chat request that says the same, as far as an answer of the fake depends on it."""
    chat: Json = {"model": body["model"], "messages": [], "max_tokens": body["max_tokens"]}
    for message in body["messages"]:
        content = message["content"]
        for block in content if isinstance(content, list) else ():
            if block["type"] == "tool_result":
                chat["messages"].append({"role": "tool", "content": block.get("content")})
        if isinstance(content, str) or any(block["type"] != "tool_result" for block in content):
            chat["messages"].append({"role": message["role"], "content": content})
    chat["tools"] = [
        {"function": {"name": tool["name"], "parameters": tool["input_schema"]}}
        for tool in body.get("tools") or ()
        if "input_schema" in tool
    ]
    choice = body.get("tool_choice") or {"type": "auto"}
    chat["tool_choice"] = {"function": choice} if choice["type"] == "tool" else choice["type"]
    if choice.get("disable_parallel_tool_use"):
        chat["parallel_tool_calls"] = False
    wanted = (body.get("output_config") or {}).get("format")
    if wanted:
        chat["response_format"] = {"json_schema": wanted}
    if body.get("stop_sequences"):
        chat["stop"] = body["stop_sequences"]
    return chat


# --- what is said -----------------------------------------------------------------------------------------


class MessageForms:
    """One answer in the two forms of the wire. `deltas` are those of a chat answer."""

    def __init__(self, body: Json, deltas: Sequence[Json], finish_reason: str, usage: Json) -> None:
        self._body = body
        refused = [delta["refusal"] for delta in deltas if "refusal" in delta]
        self._deltas = [delta for delta in deltas if "refusal" not in delta]
        self._stop_reason = "refusal" if refused else _STOP_REASONS[finish_reason]
        explanation = "".join(refused) or None
        self._stop_details = (
            {"type": "refusal", "category": None, "explanation": explanation}
            if self._stop_reason == "refusal"
            else None
        )
        self._usage = _usage(usage)

    def plain(self) -> Json:
        message = self._message()
        return {
            **message,
            "content": [_whole(run) for run in self._runs()],
            "stop_reason": self._stop_reason,
            "stop_details": self._stop_details,
            "usage": self._usage,
        }

    def streamed(self, error_after: int | None) -> Iterator[Json]:
        """The events. With `error_after`, an error follows that many deltas."""
        yield {"type": "message_start", "message": self._message()}
        told = 0
        for index, run in enumerate(self._runs()):
            yield {"type": "content_block_start", "index": index, "content_block": _begun(_whole(run))}
            if index == 0:
                yield {"type": "ping"}
            for delta in _pieces(run):
                if told == error_after:
                    yield _error("overloaded_error", "Overloaded")
                    return
                told += 1
                yield {"type": "content_block_delta", "index": index, "delta": delta}
            yield {"type": "content_block_stop", "index": index}
        ended = {"stop_reason": self._stop_reason, "stop_sequence": None, "stop_details": self._stop_details}
        counts = {name: self._usage[name] for name in ("output_tokens", "output_tokens_details")}
        yield {"type": "message_delta", "delta": ended, "usage": counts}
        yield {"type": "message_stop"}

    def _message(self) -> Json:
        seed = hashlib.sha256(json.dumps(self._body, sort_keys=True).encode()).hexdigest()
        return {
            "id": f"msg_{seed[:24]}",
            "type": "message",
            "role": "assistant",
            "model": self._body["model"],
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "usage": {**self._usage, "output_tokens": 1, "output_tokens_details": None},
        }

    def _runs(self) -> list[list[Json]]:
        """The deltas of each block."""
        runs: list[list[Json]] = []
        for delta in self._deltas:
            is_new_call = "tool_calls" in delta and "id" in delta["tool_calls"][0]
            if not runs or is_new_call or runs[-1][0].keys() != delta.keys():
                runs.append([])
            runs[-1].append(delta)
        return runs


def _whole(run: Sequence[Json]) -> Json:
    text = "".join(map(_text_of, run))
    if "content" in run[0]:
        return {"type": "text", "text": text, "citations": None}
    if "reasoning_content" in run[0]:
        return {"type": "thinking", "thinking": text, "signature": signature_of(text)}
    call = run[0]["tool_calls"][0]
    # The limit of tokens may have cut it.
    given = json.loads(text) if text.endswith("}") else {}
    return {"type": "tool_use", "id": call["id"], "name": call["function"]["name"], "input": given}


def _begun(block: Json) -> Json:
    """A block as it stands when it begins."""
    empty: Json = {"text": "", "thinking": "", "signature": "", "input": {}}
    return {name: empty.get(name, value) for name, value in block.items()}


def _pieces(run: Sequence[Json]) -> Iterator[Json]:
    if "content" in run[0]:
        yield from ({"type": "text_delta", "text": _text_of(delta)} for delta in run)
    elif "reasoning_content" in run[0]:
        yield from ({"type": "thinking_delta", "thinking": _text_of(delta)} for delta in run)
        yield {"type": "signature_delta", "signature": _whole(run)["signature"]}
    else:
        yield from ({"type": "input_json_delta", "partial_json": _text_of(delta)} for delta in run)


def _text_of(delta: Json) -> str:
    text: str = next(iter(delta.values())) if "tool_calls" not in delta else _arguments_of(delta)
    return text


def _arguments_of(delta: Json) -> str:
    arguments: str = delta["tool_calls"][0]["function"]["arguments"]
    return arguments


def _usage(chat: Json) -> Json:
    cached = chat["prompt_tokens_details"]["cached_tokens"]
    return {
        "input_tokens": chat["prompt_tokens"] - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": chat["completion_tokens"],
        "output_tokens_details": {"thinking_tokens": chat["completion_tokens_details"]["reasoning_tokens"]},
    }


# --- the server -------------------------------------------------------------------------------------------

_REPLIES: dict[str, Callable[[Numbers], Reply]] = {
    "status": lambda numbers: _refuse(numbers[0] if numbers else 500),
    "status-429-after": lambda numbers: _refuse(429, None, **{"retry-after": str(numbers[0] if numbers else 1)}),
    "status-429-quota": lambda _: _refuse(400, "Your credit balance is too low to access the Anthropic API."),
    "context-length": lambda _: _refuse(400, "prompt is too long: 208310 tokens > 200000 maximum"),
}


class FakeAnthropic(FakeOpenAI):
    """The fake's server, with another path, another key header and other errors."""

    async def _respond(self, request: web.Request, seen: RecordedRequest) -> web.StreamResponse:
        given = seen.headers.get("x-api-key") or seen.headers.get("authorization", "").removeprefix("Bearer ")
        if self._key is not None and given != self._key:
            return await self._send_plain(request, seen, _refuse(401), base.Delivery())
        if (seen.method, seen.path) == ("GET", "/v1/models"):
            return await self._send_plain(request, seen, _list(), base.Delivery())
        refusal = _refuse(404, "Not found")
        if (seen.method, seen.path) == ("POST", "/v1/messages"):
            wrong = _wrong(seen)
            if wrong is None:
                return await self._message(request, seen)
            refusal = _refuse(400, wrong)
        return await self._send_plain(request, seen, refusal, base.Delivery())

    async def _message(self, request: web.Request, seen: RecordedRequest) -> web.StreamResponse:
        body: Json = seen.body
        found = base.parse_model(body["model"])
        if found is None or found[0] in base._EMBEDDERS:
            return await self._send_plain(request, seen, _refuse(404, f"model: {body['model']}"), base.Delivery())
        name, numbers = found
        how = base._delivery_of(name, numbers)
        if name in _REPLIES:
            return await self._send_plain(request, seen, _REPLIES[name](numbers), how)
        if name == "error-in-200" and not body.get("stream"):
            told = Reply(json.dumps(_error("overloaded_error", "Overloaded")).encode())
            return await self._send_plain(request, seen, told, how)
        refusal = self._refusal_of(body, name, numbers)
        if refusal is not None:
            return await self._send_plain(request, seen, refusal, how)
        completion = base._Completion(base._answer_of(name, numbers, as_chat(body)), as_chat(body))
        answer = completion.answer
        forms = MessageForms(body, answer.deltas, answer.finish_reason, completion.usage())
        if bool(body.get("stream")) is how.is_swapped:
            how = replace(how, header_delay_s=how.header_delay_s + how.token_delay_s * len(answer.deltas))
            return await self._send_plain(request, seen, Reply(json.dumps(forms.plain()).encode()), how)
        events = list(forms.streamed(answer.error_after))
        names = [event["type"] for event in events]
        slow = {position for position, kind in enumerate(names) if kind == "content_block_delta"}
        encoded = [b"{not JSON"] if name == "garbage" else [json.dumps(event).encode() for event in events]
        return await self._send_stream(request, seen, encoded, how, slow, names)


def _wrong(seen: RecordedRequest) -> str | None:
    """What is wrong with a request, as Anthropic says it."""
    body = seen.body
    if "anthropic-version" not in seen.headers:
        return "anthropic-version: header is required"
    if not isinstance(body, dict):
        return "The request body is not valid JSON"
    for name in ("model", "max_tokens", "messages"):
        if not body.get(name):
            return f"{name}: Field required"
    unknown = sorted(body.keys() - set(_FIELDS.split()))
    if unknown:
        return f"{unknown[0]}: Extra inputs are not permitted"
    wrong = wrong_shape(body)
    return f"{wrong}: Input is not valid" if wrong else None


def _list() -> Reply:
    entries = [
        {"type": "model", "id": name, "display_name": name, "created_at": "2026-02-19T00:00:00Z", "lifecycle": "active"}
        for name in sorted(base._NAMES)
    ]
    page = {"data": entries, "has_more": False, "first_id": entries[0]["id"], "last_id": entries[-1]["id"]}
    return Reply(json.dumps(page).encode())


@contextmanager
def running_fake_anthropic(key: str | None = None) -> Iterator[FakeAnthropic]:
    """Serves from a thread of its own, on a free port, until the block ends."""
    fake = FakeAnthropic(key)
    with base.running(fake):
        yield fake
