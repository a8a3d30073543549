"""The Responses API of the fake OpenAI: the same answers as its Chat Completions, in the other wire's form.

`fake_openai` is the server and decides what a model says and what breaks; here a request of this wire is read as the
chat request that it amounts to, and what is said is told as items, plain and streamed. What surprises: the deltas are
those of Chat Completions, so a test may compare the two wires word by word. A reasoning item that is handed back must
have its encrypted content, because nothing is stored; and a function's result needs its call.

Source: developers.openai.com/api/reference/resources/responses, "Create a model response", "The response object" and
"Streaming events" (2026-11); the types of the openai package 3.54.0.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

Json = dict[str, Any]

FIELDS = """
    access_programs background background_options context_management conversation image include input instructions
    max_output_tokens max_tool_calls metadata model moderation parallel_tool_calls previous_response_id prompt
    prompt_cache_key prompt_cache_options prompt_cache_retention reasoning safety_identifier service_tier store stream
    stream_options temperature text tool_choice tools top_logprobs top_p truncation user
"""
_ROLES = frozenset(("user", "assistant", "system", "developer"))
_SAID = frozenset(("output_text", "refusal"))
_ASKED = {"input_text": "text", "input_image": "detail", "input_file": "type"}
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


# --- what is asked ----------------------------------------------------------------------------------------


def wrong_shape(body: Json) -> str | None:
    """The name of the first part of a request that does not have the documented form."""
    given = body.get("input")
    if not isinstance(given, str | list):
        return "input"
    calls: set[str] = set()
    for index, item in enumerate(given if isinstance(given, list) else ()):
        wrong = _wrong_item(item, calls, stored=body.get("store") is not False)
        if wrong is not None:
            return f"input[{index}].{wrong}"
    for index, tool in enumerate(body.get("tools") or ()):
        if tool.get("type") == "function" and not {"name", "parameters", "strict"} <= tool.keys():
            return f"tools[{index}]"
    wanted = (body.get("text") or {}).get("format") or {}
    if wanted.get("type") == "json_schema" and not {"name", "schema"} <= wanted.keys():
        return "text.format"
    return None


def _wrong_item(item: Any, calls: set[str], *, stored: bool) -> str | None:
    if not isinstance(item, dict):
        return "type"
    kind = item.get("type", "message")
    if kind == "function_call":
        calls.add(item.get("call_id", ""))
        return next((name for name in ("call_id", "name", "arguments") if not isinstance(item.get(name), str)), None)
    if kind == "function_call_output":
        return None if item.get("call_id") in calls and "output" in item else "call_id"
    if kind == "reasoning":
        return None if stored or item.get("encrypted_content") else "encrypted_content"
    if kind != "message":
        return None
    if item.get("role") not in _ROLES:
        return "role"
    parts = item.get("content")
    for part in parts if isinstance(parts, list) else ():
        known = part.get("type") in _SAID if item["role"] == "assistant" else _ASKED.get(part.get("type")) in part
        if not known:
            return "content"
    return None if isinstance(parts, str | list) else "content"


def as_chat(body: Json) -> Json:
    """The chat request that says the same, as far as an answer of the fake depends on it."""
    given = body["input"]
    chat: Json = {"model": body["model"], "messages": []}
    for item in [{"role": "user", "content": given}] if isinstance(given, str) else given:
        if item.get("type") == "function_call_output":
            chat["messages"].append({"role": "tool", "content": item["output"]})
        elif "role" in item:
            chat["messages"].append({"role": item["role"], "content": item["content"]})
    chat["tools"] = [{"function": tool} for tool in body.get("tools") or () if tool.get("type") == "function"]
    choice = body.get("tool_choice")
    chat["tool_choice"] = {"function": choice} if isinstance(choice, dict) else choice
    wanted = (body.get("text") or {}).get("format") or {}
    if wanted.get("type") == "json_schema":
        chat["response_format"] = {"json_schema": wanted}
    for theirs, ours in (("parallel_tool_calls", "parallel_tool_calls"), ("max_output_tokens", "max_tokens")):
        if theirs in body:
            chat[ours] = body[theirs]
    return chat


# --- what is said -----------------------------------------------------------------------------------------


class ResponseForms:
    """One answer in the two forms of the wire. `deltas` are those of a chat answer; `logprobs_of` gives the log
    probabilities of one of them, as Chat Completions has them."""

    def __init__(
        self,
        body: Json,
        deltas: Sequence[Json],
        finish_reason: str,
        usage: Json | None,
        logprobs_of: Callable[..., Any],
    ) -> None:
        self._body = body
        self._deltas = deltas
        self._finish_reason = finish_reason
        self._usage = _usage(usage) if usage is not None else None
        self._logprobs_of = logprobs_of
        asked = {name: value for name, value in body.items() if name != "stream"}
        self._seed = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        self._sent = 0

    def plain(self) -> Json:
        items = [self._item(index, deltas) for index, deltas in enumerate(self._runs())]
        reason = _INCOMPLETE.get(self._finish_reason)
        return self._response(items, "incomplete" if reason else "completed")

    def streamed(self, error_after: int | None, error: Json) -> Iterator[tuple[str, Json]]:
        """The names of the events and what they say. With `error_after`, an error follows that many deltas."""
        for name in ("response.created", "response.in_progress"):
            yield self._event(name, response=self._response([], "in_progress"))
        told = 0
        for index, deltas in enumerate(self._runs()):
            item = self._item(index, deltas)
            yield self._event("response.output_item.added", output_index=index, item=_begun(item))
            for event in self._told(index, item, deltas):
                if event[0].endswith(".delta"):
                    if told == error_after:
                        yield self._event("error", **error)
                        return
                    told += 1
                yield event
            yield self._event("response.output_item.done", output_index=index, item=item)
        whole = self.plain()
        yield self._event(f"response.{whole['status']}", response=whole)

    def _told(self, index: int, item: Json, deltas: Sequence[Json]) -> Iterator[tuple[str, Json]]:
        """The events between the beginning and the end of an item."""
        at = {"item_id": item["id"], "output_index": index}
        kind, pieces = _kind_of(deltas[0]), [_piece_of(delta) for delta in deltas]
        if kind == "tool_calls":
            for piece in pieces[1:]:
                yield self._event("response.function_call_arguments.delta", **at, delta=piece)
            yield self._event("response.function_call_arguments.done", **at, arguments=item["arguments"])
            return
        if kind == "reasoning_content":
            part: Json = item["summary"][0]
            name, at = "response.reasoning_summary_text", {**at, "summary_index": 0}
            opened, closed = "response.reasoning_summary_part.added", "response.reasoning_summary_part.done"
        else:
            part = item["content"][0]
            name, at = ("response.refusal" if kind == "refusal" else "response.output_text"), {**at, "content_index": 0}
            opened, closed = "response.content_part.added", "response.content_part.done"
        value = "refusal" if kind == "refusal" else "text"
        yield self._event(opened, **at, part={**part, value: ""})
        for piece, delta in zip(pieces, deltas, strict=True):
            more = {"logprobs": self._scores(delta)} if kind == "content" else {}
            yield self._event(f"{name}.delta", **at, delta=piece, **more)
        yield self._event(
            f"{name}.done", **at, **{value: part[value]}, **({"logprobs": []} if kind == "content" else {})
        )
        yield self._event(closed, **at, part=part)

    def _runs(self) -> list[list[Json]]:
        """The deltas of each item."""
        runs: list[list[Json]] = []
        for delta in self._deltas:
            kind = _kind_of(delta)
            is_new_call = kind == "tool_calls" and "id" in delta["tool_calls"][0]
            if not runs or is_new_call or _kind_of(runs[-1][0]) != kind:
                runs.append([])
            runs[-1].append(delta)
        return runs

    def _item(self, index: int, deltas: Sequence[Json]) -> Json:
        kind, text = _kind_of(deltas[0]), "".join(map(_piece_of, deltas))
        name = f"{self._seed[:40]}{index:02}"
        if kind == "tool_calls":
            call = deltas[0]["tool_calls"][0]
            given = {"call_id": call["id"], "name": call["function"]["name"], "arguments": text}
            return {"id": f"fc_{name}", "type": "function_call", "status": "completed", **given}
        if kind == "reasoning_content":
            summary = [{"type": "summary_text", "text": text}]
            return {"id": f"rs_{name}", "type": "reasoning", "summary": summary, "encrypted_content": f"gAAAA{name}"}
        part: Json = {"type": "refusal", "refusal": text}
        if kind == "content":
            scores = [score for delta in deltas for score in self._scores(delta)]
            part = {"type": "output_text", "text": text, "annotations": [], "logprobs": scores}
        return {"id": f"msg_{name}", "type": "message", "status": "completed", "role": "assistant", "content": [part]}

    def _scores(self, delta: Json) -> list[Json]:
        if "message.output_text.logprobs" not in (self._body.get("include") or ()):
            return []
        scores: list[Json] = self._logprobs_of(delta, self._body.get("top_logprobs") or 0)["content"]
        return scores

    def _event(self, name: str, **fields: Any) -> tuple[str, Json]:
        self._sent += 1
        return name, {"type": name, **fields, "sequence_number": self._sent - 1}

    def _response(self, output: Sequence[Json], status: str) -> Json:
        body = self._body
        reason = _INCOMPLETE.get(self._finish_reason) if status == "incomplete" else None
        return {
            "id": f"resp_{self._seed[:48]}",
            "object": "response",
            "created_at": int(time.time()),
            "status": status,
            "error": None,
            "incomplete_details": {"reason": reason} if reason else None,
            "instructions": body.get("instructions"),
            "max_output_tokens": body.get("max_output_tokens"),
            "model": body["model"],
            "output": output,
            "parallel_tool_calls": body.get("parallel_tool_calls", True),
            "previous_response_id": None,
            "reasoning": body.get("reasoning") or {"effort": None, "summary": None},
            "store": body.get("store", True),
            "temperature": body.get("temperature", 1.0),
            "text": body.get("text") or {"format": {"type": "text"}},
            "tool_choice": body.get("tool_choice", "auto"),
            "tools": body.get("tools") or [],
            "top_p": body.get("top_p", 1.0),
            "truncation": "disabled",
            "usage": self._usage if status != "in_progress" else None,
            "metadata": body.get("metadata") or {},
        }


def _kind_of(delta: Json) -> str:
    return next(name for name in ("content", "reasoning_content", "refusal", "tool_calls") if name in delta)


def _piece_of(delta: Json) -> str:
    kind = _kind_of(delta)
    piece: str = delta[kind][0]["function"]["arguments"] if kind == "tool_calls" else delta[kind]
    return piece


def _begun(item: Json) -> Json:
    """An item as it stands when it begins."""
    empty = {"arguments": "", "content": [], "summary": [], "status": "in_progress"}
    return {key: empty.get(key, value) for key, value in item.items()}


def _usage(chat: Json) -> Json:
    asked, said = chat["prompt_tokens_details"], chat["completion_tokens_details"]
    return {
        "input_tokens": chat["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": asked["cached_tokens"], "cache_write_tokens": 0},
        "output_tokens": chat["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": said["reasoning_tokens"]},
        "total_tokens": chat["total_tokens"],
    }
