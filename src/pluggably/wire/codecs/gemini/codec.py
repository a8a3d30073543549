"""Gemini's wire: generateContent, streamGenerateContent and the embeddings, as the Gemini API and Vertex AI speak it.

Here is the life of one attempt: its call, and its answer as events. Messages are turned in `contents`, bodies and
addresses are built in `request`, answers are typed in `reply`, errors read in `faults`; how services and models differ
is data, in `options`.

What surprises: a piece of a stream has the form of a whole answer, so there is one reading of both. The stream has no
mark at its end. It is good if a reason to finish came, and it is over when the vendor ends it: until then another piece
may bring the usage, or a signature. A signature stands on the very part that must go back with it; how that is kept is
told at `_sign`. And an answer that is too long for one call is continued by another.

Source: ai.google.dev/api/generate-content and …/api/embeddings, …/gemini-api/docs/thought-signatures and
…/docs/function-calling (2026-11); the types of google-genai 3.4.0.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar
from uuid import uuid4

import msgspec
from msgspec import UNSET, Struct

from pluggably.domain.generation import (
    Breakdown,
    Completed,
    Event,
    GenerationRequest,
    JsonObject,
    ProviderItem,
    ProviderState,
    Reasoning,
    Text,
    TokenLogprob,
    UsageReported,
)
from pluggably.errors import (
    BackendAuthenticationFailed,
    BackendError,
    BackendInvalidResponse,
    ContentFiltered,
    InvalidRequest,
    PluggablyError,
)
from pluggably.wire.codec import JSON_HEADERS, NOTHING, Address, Frame, HttpCall, HttpReply, Step, json_body, json_call
from pluggably.wire.codecs.gemini.contents import SIGNED_FROM
from pluggably.wire.codecs.gemini.faults import fault_in_answer, fault_of_reply
from pluggably.wire.codecs.gemini.options import GeminiOptions
from pluggably.wire.codecs.gemini.reply import (
    ACCOUNT_LIMITED,
    BROKEN_OFF,
    CONTINUED,
    FINISH_REASONS,
    SIGNATURE_MISSING,
    AnswerPart,
    Candidate,
    Chunk,
    FunctionCall,
    GrowingArguments,
    TokenCounts,
    both,
    breakdown_of,
    decode_chunk,
    decode_embeddings,
    raw_part,
)
from pluggably.wire.codecs.gemini.request import embedding_form, embeddings_body, resource_of, text_body
from pluggably.wire.embedding_calls import EmbeddingCalls
from pluggably.wire.faults import asked, shown
from pluggably.wire.items import OutputItems, ignored_tool_choice

# `[`, the beginning of a list; a number, since that costs less to compare.
_LIST = 91
# How many calls may continue one answer. Each of them reads the prompt again, and is paid for.
_MOST_CONTINUATIONS = 8


class GeminiCodec:
    """One attempt on Gemini's wire."""

    Options: ClassVar[type[Struct]] = GeminiOptions

    def __init__(self, options: GeminiOptions) -> None:
        self._options = options
        self._items = OutputItems()
        # Whether the end of the open text is signed, so that what follows is another text.
        self._is_signed = False
        # The log probabilities of a piece, until its text is told.
        self._scores: list[TokenLogprob] | None = None
        self._call_count = 0
        self._growing: _GrowingCall | None = None
        self._finish_reason: str | None = None
        self._finish_message = ""
        self._counts: TokenCounts | None = None
        self._breakdown: Breakdown | None = None
        # What the calls before this one used, where an answer takes several.
        self._counts_before: TokenCounts | None = None
        self._breakdown_before: Breakdown | None = None
        self._continuation_token: str | None = None
        self._continuations = 0

    # ── the call ────────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, request: GenerationRequest, address: Address) -> Step:
        self._request = request
        resource = resource_of(address, self._options)
        if request.modality == "embedding":
            return self._begin_embeddings(address, resource)
        stream = address.stream
        body = text_body(request, address, stream, self._options)
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        self._asked = asked(request, address, body.origins)
        self._body = body.value
        self._call = partial(json_call, f"{address.base_url}/{resource}:{method}", stream=stream)
        return Step(body.omissions.warned, self._call(body.value))

    def _begin_embeddings(self, address: Address, resource: str) -> Step:
        form = embedding_form(self._request, address, resource, self._options)
        self._asked = asked(self._request, address)

        def call(texts: list[str]) -> HttpCall:
            """One text is asked for alone, since not every service takes several at once."""
            method = "embedContent" if len(texts) == 1 else "batchEmbedContents"
            url = f"{address.base_url}/{resource}:{method}"
            return HttpCall(url=url, headers=JSON_HEADERS, body=json_body(embeddings_body(form, texts)))

        limit = self._options.texts_per_call
        self._embeddings = EmbeddingCalls(self._request.texts, call, address.backend, texts_per_call=limit)
        return Step((), self._embeddings.next())

    def fault(self, reply: HttpReply) -> PluggablyError:
        return fault_of_reply(reply, self._asked)

    # ── the answer ──────────────────────────────────────────────────────────────────────────────────────────────────

    def receive(self, reply: HttpReply) -> Step:
        if self._request.modality == "embedding":
            return self._receive_embeddings(reply.body)
        body = reply.body
        pieces = [body]
        if body.lstrip()[:1] == b"[":  # a stream's pieces in a list: the form without `alt=sse`
            pieces = [bytes(piece) for piece in msgspec.json.decode(body, type=list[msgspec.Raw])]
        events: list[Event] = []
        for piece in pieces:
            step = self._take(piece)
            events += step.events
            if step.error is not None:
                return Step(events, error=step.error)
        end = self.finish()
        return Step([*events, *end.events], end.next, end.error)

    def feed(self, frame: Frame) -> Step:
        return self._take(frame.data) if frame.data else NOTHING

    def _receive_embeddings(self, body: bytes) -> Step:
        answer = decode_embeddings(body)
        if answer.error is not None:
            raise fault_in_answer(answer.error, self._asked)
        vectors = answer.embeddings or [] if answer.embedding is None else [answer.embedding]
        usage = answer.usage_metadata.reported(None) if answer.usage_metadata is not None else None
        return self._embeddings.received([vector.values for vector in vectors], usage)

    def _take(self, data: bytes) -> Step:
        """What an answer says, or a piece of one."""
        if data[0] == _LIST:  # an error, as a stream without `alt=sse` has it
            return Step(error=fault_in_answer(msgspec.json.decode(data), self._asked))
        chunk = decode_chunk(data)
        if chunk.error is not None:
            return Step(error=fault_in_answer(chunk.error, self._asked))
        events: list[Event] = []
        candidates, counts = chunk.candidates, chunk.usage_metadata
        for candidate in candidates or ():
            if not candidate.index:  # of several the first one is the answer; their count is nothing of ours
                events = self._take_candidate(candidate, data)
                break
        if counts is not None and counts != self._counts:  # it comes with every piece
            if self._counts is None or self._finish_reason is not None:  # the first and the last know
                self._breakdown = breakdown_of(data)
            self._counts = counts
            events.append(self._used())
        if not candidates and (error := self._fault_without_candidates(chunk)) is not None:
            return Step([*events, *self._left_out()], error=error)
        return Step(events) if events else NOTHING

    def _take_candidate(self, candidate: Candidate, data: bytes) -> list[Event]:
        events: list[Event] = []
        if candidate.logprobs_result is not None:
            self._scores = candidate.logprobs_result.logprobs()
        parts = candidate.content.parts if candidate.content is not None else None
        for part in parts or ():
            text = part.text
            if text is not None:
                if part.thought or part.thought_signature is not None:
                    more = self._take_signed(text, part)
                elif text and not self._is_signed and self._scores is None:  # nearly always
                    more = self._items.text(text)
                else:
                    more = self._text(text) if text else []
                events = events + more if events else more
            elif part.function_call is not None:
                events += self._take_call(part.function_call, part.thought_signature)
            else:
                number = next(number for number, each in enumerate(parts or ()) if each is part)
                events += self._take_other(raw_part(data, number))
        if not (candidate.grounding_metadata is candidate.citation_metadata is candidate.url_context_metadata is None):
            for told in candidate.metadata():
                events += self._annotate(told)
        if candidate.finish_reason:
            self._finish_reason = candidate.finish_reason
            self._finish_message = candidate.finish_message or ""
        if candidate.continuation_token:
            self._continuation_token = candidate.continuation_token
        return events

    def _fault_without_candidates(self, chunk: Chunk) -> PluggablyError | None:
        """What is wrong where a piece has no candidates: the prompt was blocked, or it is no piece at all."""
        feedback = chunk.prompt_feedback
        if feedback is not None and feedback.block_reason:
            return ContentFiltered(
                f"{self._asked.backend} blocked the prompt ({shown(feedback.block_reason, 60)}).", pointer="/input"
            )
        if feedback is not None or chunk.usage_metadata is not None:
            return None
        if chunk.message is not None:  # of whatever stands before the API
            return fault_in_answer({"message": chunk.message}, self._asked)
        return BackendInvalidResponse(f"{self._asked.backend} sent an answer without a candidate.")

    # ── what it used ────────────────────────────────────────────────────────────────────────────────────────────────

    def _used(self) -> UsageReported:
        """What all calls for this answer have used so far."""
        counts, before = self._counts or TokenCounts(), self._counts_before
        if before is None:
            return counts.reported(self._breakdown)
        return before.plus(counts).reported(both(self._breakdown_before, self._breakdown))

    def _left_out(self) -> list[Event]:
        """The usage once more, where nothing was said. Zeros are left out on this wire, as protobuf's JSON does it, so
        with the end of an answer that holds nothing, a count that never came is one."""
        counts = self._counts
        if counts is None or counts.prompt_token_count is None or not self._items.is_empty:
            return []
        if counts.candidates_token_count is not None or counts.thoughts_token_count is not None:
            return []
        self._counts = msgspec.structs.replace(counts, candidates_token_count=0)
        return [self._used()]

    # ── parts ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _take_signed(self, text: str, part: AnswerPart) -> list[Event]:
        """A part that is a thought, or signed, or both."""
        signature = part.thought_signature
        if part.thought or signature is None:
            return self._think(text, signature)
        if not text and (self._is_signed or not self._items.is_open(Text)):
            # A signature alone, such as after calls.
            state = ProviderState(self._asked.backend, {"thoughtSignature": signature})
            return self._items.whole(Reasoning(provider_state=state))
        before = self._items.open_length if self._items.is_open(Text) and not self._is_signed else 0
        events = self._text(text)
        self._sign(signature, before)
        return events

    def _text(self, text: str) -> list[Event]:
        """More text, after one that is signed or with what is likely of it."""
        events: list[Event] = []
        if self._is_signed and text:
            events = self._items.close_prose()
        if not self._items.is_open(Text):
            self._is_signed = False
        scores, self._scores = self._scores, None
        more = self._items.text(text, scores)
        return events + more if events else more

    def _sign(self, signature: str, before: int) -> None:
        """Keeps the signature of the open text in that text's own options, from where it goes back. In a stream it most
        often comes with the last piece, after `before` characters that are not signed and stay a part of their own."""
        own: JsonObject = {"thoughtSignature": signature}
        if before:
            own[SIGNED_FROM] = before
        self._items.attached["provider_options"] = {self._asked.backend: own}
        self._is_signed = True

    def _think(self, text: str, signature: str | None) -> list[Event]:
        """Thoughts go back with their mark, and with their signature where they have one, which ends them."""
        events = self._items.reasoning(text)
        state: JsonObject = {"thought": True}
        if signature is not None:
            state["thoughtSignature"] = signature
        self._items.attached["provider_state"] = ProviderState(self._asked.backend, state)
        return events + self._items.close_prose() if signature is not None else events

    def _take_call(self, call: FunctionCall, signature: str | None) -> list[Event]:
        """A call comes whole, or in pieces of which the first has the name, until one says that none follows."""
        growing = self._growing
        if growing is not None and (not call.name or call.name == growing.name) and call.id in (None, growing.id):
            return self._grow(growing, call)
        events = self._stop_growing()
        if not call.name:
            if not call.args and not call.partial_args:
                return events  # the end of a call that has ended
            raise BackendInvalidResponse(f"{self._asked.backend} sent a call of a tool without a name.")
        kept: JsonObject = {}
        if signature is not None:
            kept["thoughtSignature"] = signature
        if call.id:
            kept["functionCall"] = {"id": call.id}
        key = self._call_count
        self._call_count += 1
        grows = call.will_continue or bool(call.partial_args)
        events += self._items.tool_call(
            key,
            "" if grows else json_body(call.args or {}).decode(),
            id=call.id or f"call_{uuid4().hex[:24]}",
            name=call.name,
            provider_options={self._asked.backend: kept} if kept else UNSET,
        )
        if grows:
            self._growing = _GrowingCall(key, call.id, call.name)
            events += self._grow(self._growing, call)
        return events

    def _grow(self, growing: _GrowingCall, call: FunctionCall) -> list[Event]:
        text = "".join(map(growing.arguments.add, call.partial_args))
        events = self._items.tool_call(growing.key, text) if text else []
        return events if call.will_continue else events + self._stop_growing()

    def _stop_growing(self) -> list[Event]:
        growing, self._growing = self._growing, None
        return self._items.tool_call(growing.key, growing.arguments.end()) if growing is not None else []

    def _take_other(self, part: JsonObject) -> list[Event]:
        """What the vendor's own tools did, and what else a model may answer; handed back as it came."""
        if not part:
            return []
        if part.keys() == {"thoughtSignature"}:
            state = ProviderState(self._asked.backend, part)
            return self._items.whole(Reasoning(provider_state=state))
        return self._items.whole(ProviderItem(self._asked.backend, part))

    def _annotate(self, told: JsonObject) -> list[Event]:
        """Sources belong to the text that rests on them."""
        if not self._items.is_open(Text):
            return self._items.whole(ProviderItem(self._asked.backend, told))
        note = {"type": next(iter(told)), **told}
        self._items.attached.setdefault("annotations", []).append(note)
        return []

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def finish(self) -> Step:
        """The last events of a good answer, or the call that continues it; an error for one that has no end, or of
        which the vendor says that it is none."""
        backend, reason = self._asked.backend, self._finish_reason
        if reason is None:
            error = BackendInvalidResponse(f"{backend} ended its stream before the answer was complete.")
            return Step(error=error)
        if reason == CONTINUED and self._continuation_token and self._continuations < _MOST_CONTINUATIONS:
            return Step(self._left_out(), self._continued(self._continuation_token))
        finish = FINISH_REASONS.get(reason)
        if finish is None and (fault := self._fault_for(reason)) is not None:
            return Step(self._left_out(), error=fault)
        has_calls = self._items.has_tool_calls
        events = self._left_out() + self._items.close()
        if finish is None:
            finish = "length"  # it did not stop by itself
        if has_calls and finish == "stop":
            finish = "tool_calls"
        elif finish == "stop":
            events += ignored_tool_choice(self._request, backend)
        events.append(Completed(finish))
        return Step(events)

    def _continued(self, token: str) -> HttpCall:
        """The call that brings what follows, in the items that are still open."""
        self._continuations += 1
        before = self._counts_before
        counts = self._counts or TokenCounts()
        self._counts_before = counts if before is None else before.plus(counts)
        self._breakdown_before = both(self._breakdown_before, self._breakdown)
        self._counts = self._breakdown = None
        self._finish_reason = self._continuation_token = None
        return self._call({**self._body, "continuationToken": token})

    def _fault_for(self, reason: str) -> PluggablyError | None:
        """What a reason means that leaves no answer."""
        backend = self._asked.backend
        more = f": {shown(self._finish_message)}" if self._finish_message else "."
        if reason in BROKEN_OFF:
            return BackendError(f"The model at {backend} {BROKEN_OFF[reason]}{more}", backend_code=reason)
        if reason == ACCOUNT_LIMITED:
            return BackendAuthenticationFailed(
                f"{backend} has limited the gateway's account there. Its operator can look at the account.",
                backend_code=reason,
            )
        if reason == SIGNATURE_MISSING:
            return InvalidRequest(
                f"{backend} misses a signature: hand the items of its answers back as they came.", pointer="/input"
            )
        if self._items.is_empty:
            return BackendError(f"{backend} gave no answer ({shown(reason, 60)}).", backend_code=shown(reason, 60))
        return None


class _GrowingCall:
    """A call whose arguments come in pieces."""

    def __init__(self, key: int, given_id: str | None, name: str) -> None:
        self.key = key
        self.id = given_id
        self.name = name
        self.arguments = GrowingArguments()
