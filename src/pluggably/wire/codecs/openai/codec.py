"""OpenAI's wire: Chat Completions and Embeddings, plain and streamed, as OpenAI and a hundred others speak it.

Here is the life of one attempt: its call, and its answer as events. The bodies are built in `request`, the answers
typed in `reply`, errors read in `faults`, and how vendors differ is data, in `options`.

What surprises: a whole answer is taken as one delta, so that there is one reading of both forms. A stream is good only
with a finish reason *and* its documented end mark, `data: [DONE]`: what stands between them (usage, late parts of an
item) would be lost without a word otherwise, and a proxy that lost its own backend may well end its stream in good
order. A wire that documents no such mark says so in its options.

Source: developers.openai.com/api/reference/resources/chat, "Create chat completion" and "Streaming events" (2026-11).
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from pluggably.domain.generation import (
    Completed,
    Event,
    GenerationRequest,
    JsonObject,
    ProviderItem,
    ProviderState,
    Reasoning,
    UsageReported,
)
from pluggably.errors import BackendError, BackendInvalidResponse, PluggablyError
from pluggably.wire.codec import NOTHING, Address, Frame, HttpCall, HttpReply, Step, json_call
from pluggably.wire.codecs.openai.calls import OpenCalls
from pluggably.wire.codecs.openai.faults import failed, fault_in_answer, fault_of_reply
from pluggably.wire.codecs.openai.options import OpenAIOptions
from pluggably.wire.codecs.openai.reply import (
    CallPiece,
    Delta,
    Scores,
    ThinkTags,
    TokenCounts,
    decode_chunk,
    decode_completion,
    decode_embeddings,
    ended,
    is_broken_off,
    scores_of,
)
from pluggably.wire.codecs.openai.request import chat_body, embeddings_body
from pluggably.wire.embedding_calls import EmbeddingCalls
from pluggably.wire.faults import asked, shown
from pluggably.wire.items import OutputItems, ignored_tool_choice, settled_reason

_LEGACY_CALL = -1  # the deprecated `function_call`, of which there is one at most


class OpenAICodec:
    """One attempt on OpenAI's wire."""

    Options: ClassVar[type[Struct]] = OpenAIOptions

    def __init__(self, options: OpenAIOptions) -> None:
        self._options = options
        self._items = OutputItems()
        self._calls = OpenCalls(self._items)
        self._late_details: list[JsonObject] = []
        self._extras: JsonObject = {}
        self._sound: list[str] = []
        self._finish_reason: str | None = None
        self._usage: UsageReported | None = None
        self._completed = False
        self._think_tags = ThinkTags() if options.think_tags else None
        self._search_results: list[JsonObject] = []

    # ── the call ────────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, request: GenerationRequest, address: Address) -> Step:
        self._request = request
        if request.modality == "embedding":
            encoding = self._options.embedding_encoding
            body = embeddings_body(request, address.model, address.backend, self._options.lacks, encoding=encoding)
            path, stream = "embeddings", False
        else:
            body = chat_body(request, address.model, address.backend, address.stream, self._options)
            path, stream = "chat/completions", address.stream
        self._asked = asked(request, address, body.origins, self._options.error_codes)
        url = f"{address.base_url}/{path}"
        if request.modality == "embedding":
            return Step(body.omissions.warned, self._begin_embeddings(url, body.value))
        call = json_call(url, body.value, stream=stream)
        return Step(body.omissions.warned, call)

    # ── the answer, whole ───────────────────────────────────────────────────────────────────────────────────────────

    def receive(self, reply: HttpReply) -> Step:
        if self._request.modality == "embedding":
            return self._receive_embeddings(reply.body)
        if reply.body[:1] == b"[":  # an error of Google's, in the list that its stream would be
            raise self._fault_told(msgspec.json.decode(reply.body)[0])
        completion = decode_completion(reply.body)
        usage = self._count(completion.usage)
        if completion.error is not None:
            return failed(usage, self._fault_told(msgspec.json.decode(reply.body)))
        choice = next((choice for choice in completion.choices or () if choice.index == 0), None)
        if choice is not None and choice.error is not None:
            return failed(usage, self._fault_told({"error": choice.error}))
        if choice is None or choice.message is None:
            raise BackendInvalidResponse(f"{self._asked.backend} sent an answer without a message.")
        self._search_results = completion.search_results or []
        # A whole answer is complete by its form, so a missing reason is no sign of a cut.
        self._finish_reason = choice.finish_reason or "stop"
        if is_broken_off(self._finish_reason):
            return failed(usage, self._broken_off())
        return Step([*self._take(choice.message, choice.logprobs, whole=True), *usage, *self._end()])

    def _begin_embeddings(self, url: str, value: JsonObject, texts_field: str = "input") -> HttpCall:
        self._embeddings = EmbeddingCalls(
            self._request.texts,
            lambda texts: json_call(url, {**value, texts_field: texts}),
            self._asked.backend,
            texts_per_call=self._options.texts_per_call,
            tokens_per_call=self._options.tokens_per_call,
            tokens_per_text=self._options.tokens_per_text,
        )
        return self._embeddings.next()

    def _receive_embeddings(self, body: bytes) -> Step:
        answer = decode_embeddings(body)
        if answer.error is not None:
            raise self._fault_told(msgspec.json.decode(body))
        usage = answer.usage.reported(cost_in_usd=self._options.cost_in_usd) if answer.usage is not None else None
        step = self._embeddings.received(answer.in_order(), usage)
        if step.next is not None:
            self._asked = msgspec.structs.replace(self._asked, origins=self._embeddings.under_way)
        return step

    # ── the answer, streamed ────────────────────────────────────────────────────────────────────────────────────────

    def feed(self, frame: Frame) -> Step:
        data = frame.data
        if data == b"[DONE]":
            return self._done()
        if self._completed or not data or (frame.kind and frame.kind != "error" and data[:1] != b"{"):
            return NOTHING  # a keep-alive; events have no names on this wire, so one that has may be somebody's ping
        chunk = decode_chunk(data)
        if chunk.error is not None or frame.kind == "error":
            return failed(self._count(chunk.usage), self._fault_told(msgspec.json.decode(data)))
        events: list[Event] = []
        counts, error = chunk.usage, None
        for choice in chunk.choices or ():
            if choice.index:
                continue  # of several choices the first one is the answer; `n` is no parameter of ours
            if choice.delta is not None:
                more = self._take(choice.delta, choice.logprobs)
                events = events + more if events else more
            elif choice.message is not None and self._items.is_empty:  # the whole answer, in the other form
                events += self._take(choice.message, choice.logprobs, whole=True)
            if choice.finish_reason:  # "" is null at some servers
                self._finish_reason = choice.finish_reason
            counts, error = counts or choice.usage, choice.error
        if chunk.search_results is not None:
            self._search_results = chunk.search_results
        if chunk.x_groq is not None:
            counts, error = counts or chunk.x_groq.usage, error or chunk.x_groq.error
        if counts is not None:
            events += self._count(counts)
        if error is not None:
            return failed(events, self._fault_told({"error": error}))
        return Step(events) if events else NOTHING

    def finish(self) -> Step:
        if self._completed:
            return NOTHING
        if self._options.done_mark or self._finish_reason is None:
            raise BackendInvalidResponse(f"{self._asked.backend} ended its stream before the answer was complete.")
        return Step(self._end())

    def fault(self, reply: HttpReply) -> PluggablyError:
        return fault_of_reply(reply, self._asked)

    def _fault_told(self, said: JsonObject) -> PluggablyError:
        """The error that stands where an answer should."""
        return fault_in_answer(said.get("error") or said, self._asked)

    def _done(self) -> Step:
        if self._completed:
            return NOTHING
        if self._finish_reason is None:
            raise BackendInvalidResponse(f"{self._asked.backend} ended its stream without a finish reason.")
        return Step(self._end())

    def _broken_off(self) -> PluggablyError:
        return BackendError(
            f"{self._asked.backend} broke off its answer with an error.", backend_code=shown(self._finish_reason, 100)
        )

    def _end(self) -> list[Event]:
        """The last events of a good answer. Raises: BackendError where the vendor says that it is none."""
        if is_broken_off(self._finish_reason):
            raise self._broken_off()
        has_calls = self._items.has_tool_calls
        events = self._last_prose()
        events += self._items.close()
        if self._late_details:
            state = ProviderState(self._asked.backend, self._late_details)
            events += self._items.whole(Reasoning(provider_state=state))
        if self._sound:
            self._extras["audio"]["data"] = _sound_of(self._sound)
        if self._calls.custom:
            self._extras["tool_calls"] = list(self._calls.custom.values())
        if self._extras:
            events += self._items.whole(ProviderItem(self._asked.backend, self._extras))
        told, warned = ended(self._finish_reason, self._asked.backend)
        events += warned
        reason = settled_reason(told, has_calls=has_calls)
        if reason == "stop":
            events += ignored_tool_choice(self._request, self._asked.backend)
        self._completed = True
        events.append(Completed(reason))
        return events

    def _last_prose(self) -> list[Event]:
        """What of the text is only known when the answer ends."""
        events: list[Event] = []
        if self._think_tags is not None:
            thought, text = self._think_tags.rest()
            events += self._items.reasoning(thought) if thought else ()
            events += self._items.text(text) if text else ()
        if self._search_results:
            events += self._items.text("")
            self._items.attached.setdefault("annotations", []).extend(
                {"type": "url_citation", "url_citation": result} for result in self._search_results
            )
        return events

    # ── pieces ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _take(self, delta: Delta, scores: Scores | None, *, whole: bool = False) -> list[Event]:
        """The events of a message, `whole` or a piece of one. The order is that in which models speak."""
        items = self._items
        thought = delta.reasoning_content or delta.reasoning
        content = delta.content
        parts: list[JsonObject] | None = None
        if isinstance(content, list):
            parts, content = content, None
        if self._think_tags is not None and content:
            tagged, content = self._think_tags.split(content)
            thought = tagged or thought
        if content and not thought and scores is None and delta.tool_calls is None and _is_plain(delta):
            return items.text(content)
        events: list[Event] = []
        if delta.reasoning_details:
            events += self._take_details(delta.reasoning_details, thought, whole)
        elif thought:
            events += items.reasoning(thought)
        if parts:
            events += self._take_parts(parts)
        if content or (scores is not None and scores.content):
            events += items.text(content or "", scores_of(scores, self._request.text.logprobs))
        if delta.annotations:
            events += items.text("")
            items.attached.setdefault("annotations", []).extend(delta.annotations)
        if delta.refusal:
            events += items.refusal(delta.refusal)
        for place, piece in enumerate(delta.tool_calls or ()):
            if piece.custom is not None:
                self._calls.take_custom(piece)
                continue
            if place == 0 and delta.extra_content and piece.extra_content is None:
                piece.extra_content = delta.extra_content
            events += self._calls.take(piece, self._asked.backend)
        if delta.function_call is not None:
            legacy = CallPiece(index=_LEGACY_CALL, function=delta.function_call)
            events += self._calls.take(legacy, self._asked.backend)
        self._keep(delta, whole)
        return events

    def _keep(self, delta: Delta, whole: bool) -> None:
        """What has no form of ours, kept for the end."""
        if delta.audio is not None:
            self._take_audio(delta.audio, whole)
        if delta.images:
            self._extras["images"] = [*self._extras.get("images", ()), *delta.images]

    def _take_parts(self, parts: list[JsonObject]) -> list[Event]:
        """The content where it is a list: texts and thoughts; whatever else is kept beside the text, as an annotation.

        Source: docs.databricks.com/aws/en/machine-learning/model-serving/query-reason-models, for thoughts with a
        `summary`; docs.mistral.ai/capabilities/reasoning, for those with `thinking` (2026-11)."""
        events: list[Event] = []
        for part in parts:
            kind = part.get("type")
            if kind in ("text", "output_text"):
                events += self._items.text(_text_in(part.get("text")))
            elif kind in ("thinking", "reasoning"):
                said = next((part[key] for key in ("thinking", "summary", "text", "reasoning") if part.get(key)), "")
                events += self._items.reasoning(_text_in(said))
            else:
                events += self._items.text("")
                self._items.attached.setdefault("annotations", []).append(part)
        return events

    def _take_audio(self, audio: JsonObject, whole: bool) -> None:
        """Spoken audio. Of a stream each piece of `data` is base64 by itself."""
        if whole:
            self._extras["audio"] = audio
            return
        data = audio.get("data")
        if isinstance(data, str):
            self._sound.append(data)
        self._extras["audio"] = _joined(self._extras.get("audio"), audio)

    def _take_details(self, details: list[JsonObject], thought: str | None, whole: bool) -> list[Event]:
        """OpenRouter's reasoning blocks, which are to be handed back as they came, beside their text."""
        text = thought or "".join(str(block.get("text") or block.get("summary") or "") for block in details)
        items = self._items
        if not text and not items.is_open(Reasoning) and not items.is_empty:
            # They belong to what is being said, such as the signature of a tool call; an item of reasoning in the
            # midst of it would split it.
            _add_blocks(self._late_details, details, whole)
            return []
        events = items.reasoning(text)
        state = items.attached.setdefault("provider_state", ProviderState(self._asked.backend, []))
        _add_blocks(state.data, details, whole)
        return events

    def _count(self, counts: TokenCounts | None) -> list[Event]:
        """Some servers repeat the usage with every chunk; it is told when it changes."""
        usage = counts.reported(cost_in_usd=self._options.cost_in_usd) if counts is not None else None
        if usage is None or usage == self._usage:
            return []
        self._usage = usage
        return [usage]


def _is_plain(delta: Delta) -> bool:
    """Whether there is nothing rare in a delta."""
    return (
        delta.reasoning_details is None
        and delta.refusal is None
        and not delta.annotations
        and delta.function_call is None
        and delta.audio is None
        and delta.images is None
    )


def _add_blocks(blocks: list[JsonObject], pieces: list[JsonObject], whole: bool) -> None:
    """Adds OpenRouter's reasoning blocks: as they stand where they came whole; of a stream the pieces of one joined."""
    for piece in pieces:
        if not whole and blocks and _goes_on(blocks[-1], piece):
            blocks[-1] = _joined(blocks[-1], piece)
        else:
            blocks.append(piece)


def _goes_on(block: JsonObject, piece: JsonObject) -> bool:
    """Whether a piece belongs to the block before it. Only texts come in pieces: of two encrypted blocks each is whole,
    whatever index they have. A signature ends its block."""
    if piece.get("type") not in ("reasoning.text", "reasoning.summary"):
        return False
    if any(block.get(key) != piece.get(key) for key in ("type", "index")):
        return False
    if block.get("id") and piece.get("id") and block["id"] != piece["id"]:
        return False
    return not (block.get("signature") and (piece.get("text") or piece.get("summary")))


def _joined(whole: JsonObject | None, piece: JsonObject) -> JsonObject:
    """One object from its streamed pieces: texts grow, other values are replaced by those that come later."""
    joined = dict(whole or {})
    for key, value in piece.items():
        if key in ("text", "summary", "transcript") and isinstance(value, str):
            joined[key] = (joined.get(key) or "") + value
        elif value is not None:
            joined[key] = value
    return joined


def _sound_of(pieces: list[str]) -> str:
    """The base64 of all bytes; of one text that was cut anywhere, that text."""
    try:
        return base64.b64encode(b"".join(map(base64.b64decode, pieces))).decode()
    except binascii.Error:
        return "".join(pieces)


def _text_in(said: Any) -> str:
    """A text, or those of a list of parts."""
    if isinstance(said, list):
        return "".join(_text_in(part.get("text")) for part in said)
    return msgspec.convert(said or "", str)
