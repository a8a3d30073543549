"""Amazon Bedrock's wire: Converse and ConverseStream for text, InvokeModel for embeddings.

Here is the life of one attempt. Bodies are built in `request` and `messages`, errors read in `faults`; the binary
frames of a stream are cut in `wire.framing`, and calls are signed by the provider.

What surprises: a stream tells of `messageStop` and then, as its last event, of `metadata` with the usage; only with
both it is complete. A block of reasoning is handed back as it came, with its signature, so its pieces are put together
again here; one without a signature is never handed back.

Source: docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, …_ConverseStream.html and
…_InvokeModel.html (2026-11); the shapes of botocore 1.44.5.
"""

from __future__ import annotations

import binascii
from typing import Any, ClassVar

import msgspec
from msgspec import UNSET, Struct

from pluggably.domain.generation import (
    Breakdown,
    Completed,
    Event,
    FinishReason,
    GenerationRequest,
    JsonObject,
    ProviderItem,
    ProviderState,
    Reasoning,
    Text,
    UsageReported,
)
from pluggably.errors import BackendError, BackendInvalidResponse, PluggablyError
from pluggably.wire.codec import JSON_HEADERS, NOTHING, Address, Frame, HttpCall, HttpReply, Named, Step, json_body
from pluggably.wire.codecs.bedrock.faults import fault_in_answer, fault_of_frame, fault_of_reply
from pluggably.wire.codecs.bedrock.messages import MAKER, is_signed
from pluggably.wire.codecs.bedrock.options import BedrockOptions
from pluggably.wire.codecs.bedrock.request import converse_body, embedding_form, quoted_model
from pluggably.wire.embedding_calls import EmbeddingCalls
from pluggably.wire.faults import asked
from pluggably.wire.items import OutputItems, ignored_tool_choice, settled_reason

STREAM_HEADERS = {"Content-Type": "application/json", "Accept": "application/vnd.amazon.eventstream"}

# `stopReason`; what is not here is a stop.
FINISH_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
# What a block of the vendor's own begins with, and is handed back with.
_STARTS = {
    "toolUse": ("toolUseId", "name", "type"),
    "toolResult": ("toolUseId", "type", "status"),
    "image": ("format",),
}
MALFORMED = {"malformed_model_output", "malformed_tool_use"}


class CacheDetail(Struct, rename="camel", gc=False):
    ttl: str = ""
    input_tokens: int = 0


class TokenCounts(Struct, rename="camel", gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None
    cache_details: list[CacheDetail] | None = None

    def reported(self) -> UsageReported:
        """Their input tokens are those that have nothing to do with the cache; ours are all of them."""
        read, written = self.cache_read_input_tokens, self.cache_write_input_tokens
        sent = None if self.input_tokens is None else self.input_tokens + (read or 0) + (written or 0)
        breakdown = None
        if written:
            for_1h = sum(detail.input_tokens for detail in self.cache_details or () if detail.ttl == "1h")
            breakdown = Breakdown(cache_write_tokens=written, cache_write_1h_tokens=min(for_1h, written))
        return UsageReported(
            input_tokens=sent, cached_input_tokens=read, output_tokens=self.output_tokens, breakdown=breakdown
        )


class Message(Struct):
    content: list[JsonObject]


class Output(Struct):
    message: Message


class Converse(Struct, rename="camel"):
    output: Output | None = None
    stop_reason: str = ""
    usage: TokenCounts | None = None


class ToolUse(Struct, rename="camel"):
    """A call of one of the client's tools, or the beginning of one."""

    tool_use_id: Named
    name: Named
    input: Any = UNSET


class ToolUsePiece(Struct, gc=False):
    input: str = ""


class Delta(Struct, rename="camel", gc=False):
    text: str | None = None
    tool_use: ToolUsePiece | None = None
    reasoning_content: JsonObject | None = None
    citation: JsonObject | None = None
    tool_result: Any = None
    image: JsonObject | None = None


class StreamEvent(Struct, rename="camel", gc=False):
    """Any event of a stream; its kind is that of the frame."""

    content_block_index: int = 0
    delta: Delta | None = None
    start: JsonObject | None = None
    stop_reason: str | None = None
    usage: TokenCounts | None = None


class TitanEmbedding(Struct, rename="camel"):
    embedding: list[float]
    input_text_token_count: int | None = None


class CohereEmbeddings(Struct):
    embeddings: Any


_decode_converse = msgspec.json.Decoder(Converse).decode
_decode_event = msgspec.json.Decoder(StreamEvent).decode
_decode_titan = msgspec.json.Decoder(TitanEmbedding).decode
_decode_cohere = msgspec.json.Decoder(CohereEmbeddings).decode


class BedrockCodec:
    """One attempt on Bedrock's wire."""

    Options: ClassVar[type[Struct]] = BedrockOptions

    def __init__(self, options: BedrockOptions) -> None:
        self._options = options
        self._items = OutputItems()
        # The pieces of the reasoning that is open, and of the vendor's own block that is.
        self._thought: JsonObject = {}
        self._own_block: JsonObject | None = None
        self._block = -1
        self._started: set[int] = set()
        # The calls of which no argument has come yet.
        self._bare_calls: set[int] = set()
        self._stop_reason: str | None = None
        self._completed = False

    # ── the call ────────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, request: GenerationRequest, address: Address) -> Step:
        self._request = request
        backend, model = address.backend, address.model
        path = f"{address.base_url}/model/{quoted_model(model, backend)}"
        if request.modality == "embedding":
            self._asked = asked(request, address)
            form = embedding_form(request, model, backend)
            self._embeddings = EmbeddingCalls(
                request.texts,
                lambda texts: HttpCall(url=f"{path}/invoke", headers=JSON_HEADERS, body=json_body(form.body(texts))),
                backend,
                texts_per_call=form.texts_per_call,
            )
            return Step((), self._embeddings.next())
        body = converse_body(request, model, backend, self._options)
        self._asked = asked(request, address, body.origins)
        call = HttpCall(
            url=f"{path}/converse-stream" if address.stream else f"{path}/converse",
            headers=STREAM_HEADERS if address.stream else JSON_HEADERS,
            body=json_body(body.value),
            framing="eventstream" if address.stream else None,
        )
        return Step(body.omissions.warned, call)

    def fault(self, reply: HttpReply) -> PluggablyError:
        return fault_of_reply(reply, self._asked)

    # ── the answer, whole ───────────────────────────────────────────────────────────────────────────────────────────

    def receive(self, reply: HttpReply) -> Step:
        if self._request.modality == "embedding":
            return self._receive_embeddings(reply)
        converse = _decode_converse(reply.body)
        if converse.output is None or not converse.stop_reason:
            raise fault_in_answer(reply, self._asked)
        events: list[Event] = []
        for index, block in enumerate(converse.output.message.content):
            events += self._take(index, block)
        if converse.usage is not None:
            events.append(converse.usage.reported())
        self._stop_reason = converse.stop_reason
        return Step(events + self._end())

    def _take(self, index: int, block: JsonObject) -> list[Event]:
        """The events of a whole block."""
        if isinstance(block.get("text"), str):
            return self._items.close_prose() + self._items.text(block["text"]) + self._items.close_prose()
        use = block.get("toolUse")
        if isinstance(use, dict) and use.get("type") is None:
            call = msgspec.convert(use, ToolUse)
            arguments = json_body({} if call.input is UNSET else call.input).decode()
            return self._items.tool_call(index, arguments, id=call.tool_use_id, name=call.name)
        thought = block.get("reasoningContent")
        if isinstance(thought, dict):
            text = thought.get("reasoningText", {}).get("text")
            events = self._items.close_prose() + self._items.reasoning(text) if text else []
            return events + self._signed(thought) + self._items.close_prose()
        cited = block.get("citationsContent")
        if isinstance(cited, dict):
            text = "".join(piece.get("text", "") for piece in cited.get("content", ()))
            events = self._items.close_prose() + self._items.text(text)
            self._items.attached["annotations"] = msgspec.convert(cited.get("citations", []), list[JsonObject])
            return events + self._items.close_prose()
        return self._items.whole(ProviderItem(self._asked.backend, block))

    # ── the answer, streamed ────────────────────────────────────────────────────────────────────────────────────────

    def feed(self, frame: Frame) -> Step:
        kind = frame.kind
        if self._completed:
            return NOTHING
        if kind == "contentBlockDelta":
            event = _decode_event(frame.data)
            if event.delta is None:
                return NOTHING
            return Step(self._delta(event.content_block_index, event.delta))
        if kind.startswith(("exception:", "error:")):
            raise fault_of_frame(kind, frame.data, self._asked)
        if kind == "contentBlockStart":
            event = _decode_event(frame.data)
            return Step(self._start(event.content_block_index, event.start or {}))
        if kind == "contentBlockStop":
            return Step(self._completed_call(_decode_event(frame.data).content_block_index) + self._close_block())
        if kind == "messageStop":
            self._stop_reason = _decode_event(frame.data).stop_reason
            if self._stop_reason is None:
                raise BackendInvalidResponse(f"{self._asked.backend} ended a message without a reason.")
        elif kind == "metadata":
            usage = _decode_event(frame.data).usage
            reported: list[Event] = [usage.reported()] if usage is not None else []
            if self._stop_reason is not None:
                return Step(reported + self._end())
            return Step(reported)
        return NOTHING  # `messageStart`, and whatever is new

    def finish(self) -> Step:
        if not self._completed:
            raise BackendInvalidResponse(f"{self._asked.backend} ended its stream before the answer was complete.")
        return NOTHING

    def _start(self, index: int, start: JsonObject) -> list[Event]:
        events = self._close_block()
        self._block = index
        use = start.get("toolUse")
        if isinstance(use, dict) and use.get("type") is None:
            call = msgspec.convert(use, ToolUse)
            self._started.add(index)
            self._bare_calls.add(index)
            return events + self._items.tool_call(index, "", id=call.tool_use_id, name=call.name)
        if start:
            # A tool that the vendor runs itself, or an image: put together, and handed on when it is whole.
            # A start of another kind says nothing, and what follows it is read as if it had none.
            own_block = {
                kind: {key: start[kind][key] for key in keys if key in start[kind]}
                for kind, keys in _STARTS.items()
                if isinstance(start.get(kind), dict)
            }
            self._own_block = own_block or None
        return events

    def _delta(self, index: int, delta: Delta) -> list[Event]:
        if index == self._block and delta.text is not None and self._own_block is None:  # nearly all of them
            return self._items.text(delta.text)
        events: list[Event] = []
        if index != self._block:  # text and reasoning come without a start
            events += self._close_block()
            self._block = index
        if self._own_block is not None:
            _extend(self._own_block, delta)
        elif delta.text is not None:
            events += self._items.text(delta.text)
        elif delta.tool_use is not None:
            if index not in self._started:
                raise BackendInvalidResponse(f"{self._asked.backend} sent a piece of a tool call that has not begun.")
            if delta.tool_use.input:
                self._bare_calls.discard(index)
            events += self._items.tool_call(index, delta.tool_use.input)
        elif delta.reasoning_content is not None:
            events += self._reasoning(delta.reasoning_content)
        elif delta.citation is not None:
            events += self._items.text("")
            self._items.attached.setdefault("annotations", []).append(delta.citation)
        return events

    def _reasoning(self, piece: JsonObject) -> list[Event]:
        events: list[Event] = []
        if isinstance(piece.get("signature"), str):
            self._thought["signature"] = self._thought.get("signature", "") + piece["signature"]
        if isinstance(piece.get("redactedContent"), str):
            self._thought.setdefault("redactedContent", []).append(piece["redactedContent"])
        text = piece.get("text")
        if isinstance(text, str):
            self._thought["text"] = self._thought.get("text", "") + text
            events += self._items.reasoning(text)
        return events

    def _signed(self, thought: JsonObject) -> list[Event]:
        """Keeps a block of reasoning, beside its text where that is shown, if it can ever be handed back."""
        maker = self._options.profile_for(self._asked.model).reasoning_back
        if maker is None or not is_signed(thought):
            return []
        state = ProviderState(self._asked.backend, thought if maker == "anthropic" else {**thought, MAKER: maker})
        if not self._items.is_open(Reasoning):
            return self._items.whole(Reasoning(provider_state=state))
        self._items.attached["provider_state"] = state
        return []

    def _completed_call(self, index: int) -> list[Event]:
        """A call without arguments comes without any piece, and "" is no JSON."""
        if index not in self._bare_calls:
            return []
        self._bare_calls.discard(index)
        return self._items.tool_call(index, "{}")

    def _close_block(self) -> list[Event]:
        """Completes the block that is open."""
        events: list[Event] = []
        if self._thought:
            thought, self._thought = self._thought, {}
            redacted = thought.pop("redactedContent", None)
            # One key each: the vendor's block is the one or the other.
            data = (
                {"redactedContent": _joined(redacted)}
                if redacted is not None
                else {"reasoningText": {"text": "", **thought}}
            )
            events += self._signed(data)
        block, self._own_block = self._own_block, None
        if block:
            events += self._items.whole(ProviderItem(self._asked.backend, _finished(block)))
        self._block = -1
        if self._items.is_open(Text) or self._items.is_open(Reasoning):
            events += self._items.close_prose()
        return events

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _end(self) -> list[Event]:
        """The last events of a good answer. Raises: BackendError where the vendor says that it is none."""
        backend = self._asked.backend
        if self._stop_reason in MALFORMED:
            raise BackendError(f"{backend} broke off: what {self._asked.model} wrote is malformed.")
        events = [event for index in sorted(self._bare_calls) for event in self._completed_call(index)]
        events += self._close_block()
        has_calls = self._items.has_tool_calls
        events += self._items.close()
        reason = settled_reason(FINISH_REASONS.get(self._stop_reason or "", "stop"), has_calls=has_calls)
        if reason == "stop":
            events += ignored_tool_choice(self._request, backend)
        self._completed = True
        events.append(Completed(reason))
        return events

    # ── embeddings ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _receive_embeddings(self, reply: HttpReply) -> Step:
        if "titan" in self._asked.model:
            titan = _decode_titan(reply.body)
            vectors, tokens = [titan.embedding], titan.input_text_token_count
        else:
            given = _decode_cohere(reply.body).embeddings
            vectors = msgspec.convert(given["float"] if isinstance(given, dict) else given, list[list[float]])
            counted = reply.headers.get("x-amzn-bedrock-input-token-count", "")
            tokens = int(counted) if counted.isdecimal() else None
        return self._embeddings.received(vectors, UsageReported(input_tokens=tokens))


def _joined(pieces: list[str]) -> str:
    """Pieces of bytes as one: each is base64 of its own, so they cannot be put one behind the other."""
    if len(pieces) == 1:
        return pieces[0]
    return binascii.b2a_base64(b"".join(map(binascii.a2b_base64, pieces)), newline=False).decode()


def _extend(block: JsonObject, delta: Delta) -> None:
    """Adds a piece to a block of the vendor's own."""
    if delta.tool_use is not None and "toolUse" in block:
        block["toolUse"]["input"] = block["toolUse"].get("input", "") + delta.tool_use.input
    elif delta.tool_result is not None and "toolResult" in block:
        block["toolResult"].setdefault("content", []).extend(delta.tool_result)
    elif delta.image is not None and "image" in block:
        block["image"].update({key: delta.image[key] for key in ("source", "error") if key in delta.image})


def _finished(block: JsonObject) -> JsonObject:
    """A block of the vendor's own in the form in which a message has it: the input of a call is no text there."""
    use = block.get("toolUse")
    if use is not None:
        use["input"] = msgspec.json.decode(use.get("input") or "{}")
    return block
