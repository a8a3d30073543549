"""Answers on OpenAI's wire, as far as we read them: the chunks of a stream, whole completions, and embeddings.

Only what is needed is typed, and so only that is decoded: a field that is not here costs its skipping. Every field has
a default, since servers "shaped like OpenAI" leave out what they do not know, and unknown ones are ignored.

Source: developers.openai.com/api/reference/resources/chat, "The chat completion object", "Streaming events", and
…/resources/embeddings, "The embedding object" (2026-11); the types of the openai package 3.54.0. Where a field is some
other vendor's, its page stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal

import msgspec
from msgspec import Struct

from pluggably.domain.generation import (
    AlternativeToken,
    Breakdown,
    Event,
    FinishReason,
    GenerationWarning,
    JsonObject,
    TokenLogprob,
    UsageReported,
    Warned,
)
from pluggably.wire.embedding_calls import floats_of
from pluggably.wire.faults import shown

# OpenAI gives -9999.0 for a token that was not among the likeliest; JSON has no minus infinity, and llama.cpp writes
# null for it.
_HARDLY_EVER = -9999.0

FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    # Seen at servers that pass on the words of the engine behind them.
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "refusal": "content_filter",
    # Z.ai: docs.z.ai/api-reference/llm, "Chat Completion" (2026-11)
    "sensitive": "content_filter",
    "model_context_window_exceeded": "length",
}

# Reasons that say that the answer is none: OpenRouter's, beside an error that it may have left out; SGLang's and vLLM's
# for a request that they gave up; Z.ai's; DeepSeek's "the request is interrupted due to insufficient resource of the
# inference system" (api-docs.deepseek.com/api/create-chat-completion, 2026-11).
BROKEN_OFF = frozenset({"error", "abort", "network_error", "insufficient_system_resource"})
# Google's reason, before the one of its own wire, for a call of a tool that its model made and that cannot be read:
# `function_call_filter: MALFORMED_FUNCTION_CALL`. No page of theirs has it; many who ask Gemini on this wire do.
_CALL_FILTER = "function_call_filter"


def is_broken_off(reason: str | None) -> bool:
    return reason is not None and (reason.lower() in BROKEN_OFF or reason.startswith(_CALL_FILTER))


def ended(reason: str | None, backend: str) -> tuple[FinishReason, list[Event]]:
    """How an answer ended, and the warning for a reason that nobody documented: as on the other wires, who did not stop
    for a known reason did not stop by itself."""
    if reason is None:
        return "stop", []
    known = FINISH_REASONS.get(reason) or FINISH_REASONS.get(reason.lower())
    if known is not None:
        return known, []
    detail = f"{backend} ended its answer for a reason that is not known ({shown(reason, 60)}), so it may be cut"
    return "length", [Warned(GenerationWarning(code="finish_reason_unknown", detail=detail))]


class FunctionPiece(Struct, gc=False):
    name: str | None = None
    arguments: str | JsonObject | None = None


class CallPiece(Struct, gc=False):
    """A tool call, or a piece of one. OpenAI counts them by `index` and names them by `id` in the first piece only."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: FunctionPiece | None = None
    # A call of one of the vendor's own kinds of tools, with free text in place of arguments (…/resources/chat,
    # "ChatCompletionMessageCustomToolCall", 2026-11).
    custom: JsonObject | None = None
    # Google's: ai.google.dev/gemini-api/docs/thought-signatures, "OpenAI compatibility" (2026-11)
    extra_content: JsonObject | None = None


class Delta(Struct, gc=False):
    """What one choice says: a whole message, or a piece of it."""

    # A list of parts at Databricks, and at servers that pass on the answers of Mistral's models.
    content: str | list[JsonObject] | None = None
    tool_calls: list[CallPiece] | None = None
    # llama.cpp's server (tools/server/README.md, "Reasoning support"), DeepSeek, vLLM
    reasoning_content: str | None = None
    # Groq and Ollama, and OpenRouter with its blocks: console.groq.com/docs/reasoning,
    # openrouter.ai/docs/use-cases/reasoning-tokens
    reasoning: str | None = None
    reasoning_details: list[JsonObject] | None = None
    refusal: str | None = None
    annotations: list[JsonObject] | None = None
    function_call: FunctionPiece | None = None
    audio: JsonObject | None = None
    images: list[JsonObject] | None = None  # at OpenRouter, of models that draw
    extra_content: JsonObject | None = None


class Alternative(Struct, gc=False):
    token: str
    logprob: float | None = None


class TokenScore(Struct, gc=False):
    token: str
    logprob: float | None = None
    top_logprobs: list[Alternative] | None = None


class Scores(Struct, gc=False):
    content: list[TokenScore] | None = None


class ChunkChoice(Struct, gc=False):
    index: int = 0
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None
    logprobs: Scores | None = None
    # OpenRouter's, of the provider that it chose: openrouter.ai/docs/api/reference/overview, "Responses" (2026-11)
    error: Any = None
    # Of a stream of Moonshot's: platform.kimi.ai/docs/guide/utilize-the-streaming-output-feature-of-kimi-api (2026-11)
    usage: TokenCounts | None = None


class PromptDetails(Struct, gc=False):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None


class OutputDetails(Struct, gc=False):
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None


def breakdown_of(prompt: PromptDetails | None, output: OutputDetails | None) -> Breakdown | None:
    written = (prompt.cache_write_tokens or 0) if prompt is not None else 0
    heard = (prompt.audio_tokens or 0) if prompt is not None else 0
    spoken = (output.audio_tokens or 0) if output is not None else 0
    if not (written or heard or spoken):
        return None
    return Breakdown(cache_write_tokens=written, audio_input_tokens=heard, audio_output_tokens=spoken)


def with_reasoning(asked: int | None, said: int | None, thought: int | None, total: int | None) -> int | None:
    """The tokens of an output, with those of its reasoning. xAI, and who serves its models, counts these apart, which
    the total shows: "reasoning token consumption will be counted separately from completion_tokens, but will be counted
    in the total_tokens" (docs.x.ai/docs/key-information/consumption-and-rate-limits, 2026-11)."""
    if asked is None or said is None or not thought or total != asked + said + thought:
        return said
    return said + thought


def dollars(amount: Any) -> str | None:
    """An amount of US dollars as text, without an exponent; None for what is none."""
    if isinstance(amount, bool) or not isinstance(amount, int | float | Decimal):
        return None
    exact = Decimal(str(amount))
    return format(exact, "f") if exact.is_finite() and exact >= 0 else None


# xAI tells what it bills in ticks, of which a dollar has 10,000,000,000: docs.x.ai/developers/cost-tracking (2026-11).
_TICKS_DIGITS = 10


def dollars_of_ticks(ticks: int | None) -> str | None:
    return None if ticks is None else dollars(Decimal(ticks).scaleb(-_TICKS_DIGITS).normalize())


class CostDetails(Struct, gc=False):
    upstream_inference_cost: Any = None


class TokenCounts(Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: OutputDetails | None = None
    # DeepSeek has it here: api-docs.deepseek.com/guides/kv_cache
    prompt_cache_hit_tokens: int | None = None
    # Perplexity (perplexityai 0.46.1, usage_info.py); SGLang writes 0 whatever there was.
    reasoning_tokens: int | None = None
    # Moonshot: platform.kimi.ai/docs/api/chat, "Response" (2026-11)
    cached_tokens: int | None = None
    cost_in_usd_ticks: int | None = None
    # OpenRouter's, in dollars: openrouter.ai/docs/use-cases/usage-accounting (2026-11). Others may mean something else
    # by it, so it is read where an option says so. With a key of one's own (`is_byok`) it is OpenRouter's fee alone.
    cost: Any = None
    cost_details: CostDetails | None = None
    is_byok: bool | None = None

    def reported(self, *, cost_in_usd: bool = False) -> UsageReported:
        prompt, output = self.prompt_tokens_details, self.completion_tokens_details
        cached = prompt.cached_tokens if prompt else self.prompt_cache_hit_tokens
        thought = output.reasoning_tokens if output else self.reasoning_tokens or None
        return UsageReported(
            input_tokens=self.prompt_tokens,
            cached_input_tokens=self.cached_tokens if cached is None else cached,
            output_tokens=with_reasoning(self.prompt_tokens, self.completion_tokens, thought, self.total_tokens),
            reasoning_tokens=thought,
            cost_usd=self._cost() if cost_in_usd else dollars_of_ticks(self.cost_in_usd_ticks),
            breakdown=breakdown_of(prompt, output),
        )

    def _cost(self) -> str | None:
        fee = dollars(self.cost)
        if fee is None or not self.is_byok:
            return fee
        paid = dollars(self.cost_details.upstream_inference_cost) if self.cost_details is not None else None
        return None if paid is None else dollars(Decimal(fee) + Decimal(paid))


class GroqExtra(Struct, gc=False):
    """console.groq.com/docs/api-reference: the usage of a stream, where `stream_options` did not ask for it, and "an
    error string indicating why a stream was stopped early" (groq-python, types/chat/chat_completion_chunk.py, 2026-11).
    """

    usage: TokenCounts | None = None
    error: Any = None


class Chunk(Struct, gc=False):
    choices: list[ChunkChoice] | None = None
    usage: TokenCounts | None = None
    error: Any = None
    # Perplexity: docs.perplexity.ai/docs/sonar/features; in a stream more than once, each time all of them.
    search_results: list[JsonObject] | None = None
    x_groq: GroqExtra | None = None


class WholeChoice(Struct):
    index: int = 0
    message: Delta | None = None
    finish_reason: str | None = None
    logprobs: Scores | None = None
    error: Any = None


class Completion(Struct):
    choices: list[WholeChoice] | None = None
    usage: TokenCounts | None = None
    error: Any = None
    search_results: list[JsonObject] | None = None


class Vector(Struct):
    index: int | None = None
    embedding: str | list[float] = []

    def numbers(self) -> list[float]:
        return floats_of(self.embedding) if isinstance(self.embedding, str) else self.embedding


class Embeddings(Struct):
    data: list[Vector] | None = None
    usage: TokenCounts | None = None
    error: Any = None

    def in_order(self) -> list[list[float]]:
        """The vectors by their indices, or as they stand where none has one; none at all where those are not 0, 1, 2
        and so on."""
        vectors = self.data or []
        if any(vector.index is not None for vector in vectors):
            placed = {vector.index: vector for vector in vectors}
            if len(placed) < len(vectors) or any(place not in placed for place in range(len(vectors))):
                return []
            vectors = [placed[place] for place in range(len(vectors))]
        return [vector.numbers() for vector in vectors]


class ThinkTags:
    """Tells the reasoning of an answer from its text, where the answer begins with `<think>` and has `</think>`
    between them. A tag may come in pieces, so what may be the beginning of one is held back until it is known."""

    def __init__(self) -> None:
        self._state: Literal["begin", "thinking", "closed", "text"] = "begin"
        self._held = ""

    def split(self, piece: str) -> tuple[str, str]:
        """The thoughts and the text that are certain with this piece."""
        if self._state == "text":
            return "", piece
        if self._state == "closed":
            return "", self._first_text(piece)
        held = self._held + piece
        if self._state == "begin":
            start = held.lstrip()
            if _OPEN.startswith(start[: len(_OPEN)]) and len(start) < len(_OPEN):
                self._held = held
                return "", ""
            if not start.startswith(_OPEN):
                self._state, self._held = "text", ""
                return "", held
            self._state, held = "thinking", start[len(_OPEN) :]
        thought, closed, text = held.partition(_CLOSE)
        if closed:
            self._state, self._held = "closed", ""
            return thought, self._first_text(text)
        keep = next((n for n in range(len(_CLOSE) - 1, 0, -1) if held.endswith(_CLOSE[:n])), 0)
        self._held = held[len(held) - keep :]
        return held[: len(held) - keep], ""

    def _first_text(self, piece: str) -> str:
        """Without the empty lines after the closing tag."""
        text = piece.lstrip("\n")
        if text:
            self._state = "text"
        return text

    def rest(self) -> tuple[str, str]:
        """What is held back when the answer ends."""
        held, self._held = self._held, ""
        return (held, "") if self._state == "thinking" else ("", held)


_OPEN, _CLOSE = "<think>", "</think>"

decode_chunk = msgspec.json.Decoder(Chunk).decode
decode_completion = msgspec.json.Decoder(Completion).decode
decode_embeddings = msgspec.json.Decoder(Embeddings).decode


def scores_of(scores: Scores | None, most: int | None = None) -> list[TokenLogprob] | None:
    """With at most so many likely tokens in place of each: those that were asked for."""
    return None if scores is None or not scores.content else logprobs_of(scores.content, most)


def logprobs_of(tokens: Sequence[TokenScore], most: int | None = None) -> list[TokenLogprob]:
    return [
        TokenLogprob(
            token.token,
            _HARDLY_EVER if token.logprob is None else token.logprob,
            [
                AlternativeToken(other.token, _HARDLY_EVER if other.logprob is None else other.logprob)
                for other in (token.top_logprobs or ())[:most]
            ],
        )
        for token in tokens
    ]
