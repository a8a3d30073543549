"""Answers on Gemini's wire, as far as we read them: whole ones and the pieces of a stream, which have one form.

Only what is needed is typed, and every field has a default, because zeros and empty values are left out on this wire.
What surprises: thoughts are not counted among the output's tokens, and what the vendor's own tools found is not counted
among the input's, though both are billed so; we add them. And a call's arguments, where they come in pieces, come as
paths with values, which are written as the JSON text that grows.

Source: ai.google.dev/api/generate-content#v1beta.GenerateContentResponse and …/api/embeddings (2026-11); the types of
google-genai 3.4.0, FinishReason and PartialArg among them.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Struct

from pluggably.domain.generation import (
    AlternativeToken,
    Breakdown,
    FinishReason,
    JsonObject,
    TokenLogprob,
    UsageReported,
)
from pluggably.errors import BackendInvalidResponse

FINISH_REASONS: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    # Where it cannot be continued.
    "CONTINUATION": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "ESCALATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
}
# "…reached the per-request token limit, but generation is not yet complete": the same request with the answer's token
# continues it, as google-genai 3.4.0 does (models.py, automatic_continuation).
CONTINUED = "CONTINUATION"
# The model did what it must not, so there is no answer; another try may bring one.
BROKEN_OFF = {
    "MALFORMED_FUNCTION_CALL": "wrote a call of a tool that cannot be read",
    "UNEXPECTED_TOOL_CALL": "called a tool that it was not given",
    "TOO_MANY_TOOL_CALLS": "called its own tools too often, and gave no answer",
    "MALFORMED_RESPONSE": "wrote an answer that cannot be read",
}
# The account, and what was sent.
ACCOUNT_LIMITED = "PUP_LIMITED_DISABLED"
SIGNATURE_MISSING = "MISSING_THOUGHT_SIGNATURE"


class PartialArg(Struct, gc=False):
    jsonPath: str  # noqa: N815  the wire's own names, which cost nothing to decode
    stringValue: str | None = None  # noqa: N815
    numberValue: float | int | None = None  # noqa: N815
    boolValue: bool | None = None  # noqa: N815
    willContinue: bool = False  # noqa: N815


class FunctionCall(Struct, gc=False, rename="camel"):
    id: str | None = None
    name: str | None = None
    args: JsonObject | None = None
    partial_args: list[PartialArg] = []
    will_continue: bool = False


class AnswerPart(Struct, gc=False, rename="camel"):
    """A part of an answer. One that has neither text nor a call is of another kind, and handed on as it came."""

    text: str | None = None
    thought: bool = False
    thought_signature: str | None = None
    function_call: FunctionCall | None = None


class Content(Struct, gc=False):
    parts: list[AnswerPart] | None = None


class Alternative(Struct, gc=False, rename="camel"):
    token: str = ""
    log_probability: float = 0.0


class Alternatives(Struct, gc=False):
    candidates: list[Alternative] = []


class Scores(Struct, gc=False, rename="camel"):
    chosen_candidates: list[Alternative] = []
    top_candidates: list[Alternatives] = []

    def logprobs(self) -> list[TokenLogprob]:
        tops = self.top_candidates
        return [
            TokenLogprob(
                chosen.token,
                chosen.log_probability,
                [AlternativeToken(other.token, other.log_probability) for other in tops[place].candidates]
                if place < len(tops)
                else [],
            )
            for place, chosen in enumerate(self.chosen_candidates)
        ]


class Candidate(Struct, gc=False, rename="camel"):
    index: int = 0
    content: Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    continuation_token: str | None = None
    logprobs_result: Scores | None = None
    grounding_metadata: JsonObject | None = None
    citation_metadata: JsonObject | None = None
    url_context_metadata: JsonObject | None = None

    def metadata(self) -> list[JsonObject]:
        """What is told of the answer beside its parts, each under its own name."""
        told = {
            "groundingMetadata": self.grounding_metadata,
            "citationMetadata": self.citation_metadata,
            "urlContextMetadata": self.url_context_metadata,
        }
        return [{name: value} for name, value in told.items() if value]


class PromptFeedback(Struct, gc=False, rename="camel"):
    block_reason: str | None = None


class TokenCounts(Struct, gc=False, rename="camel"):
    prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None

    def plus(self, other: TokenCounts) -> TokenCounts:
        """The counts of two calls; what neither says stays unsaid."""
        return TokenCounts(*(_sum(getattr(self, name), getattr(other, name)) for name in self.__struct_fields__))

    def reported(self, breakdown: Breakdown | None) -> UsageReported:
        asked, said = self.prompt_token_count, self.candidates_token_count
        found, thought = self.tool_use_prompt_token_count, self.thoughts_token_count
        return UsageReported(
            input_tokens=asked if found is None else (asked or 0) + found,
            cached_input_tokens=self.cached_content_token_count,
            output_tokens=said if thought is None else (said or 0) + thought,
            reasoning_tokens=thought,
            breakdown=breakdown,
        )


def _sum(one: int | None, other: int | None) -> int | None:
    return other if one is None else one + (other or 0)


class Chunk(Struct, gc=False, rename="camel"):
    """A whole answer, or a piece of one."""

    candidates: list[Candidate] | None = None
    prompt_feedback: PromptFeedback | None = None
    usage_metadata: TokenCounts | None = None
    error: Any = None
    message: str | None = None


class Vector(Struct):
    values: list[float] = []


class Embeddings(Struct, rename="camel"):
    """The answer of `embedContent`, or of `batchEmbedContents`."""

    embedding: Vector | None = None
    embeddings: list[Vector] | None = None
    usage_metadata: TokenCounts | None = None
    error: Any = None


decode_chunk = msgspec.json.Decoder(Chunk).decode
decode_embeddings = msgspec.json.Decoder(Embeddings).decode


class ModalityCount(Struct, rename="camel"):
    modality: str = ""
    token_count: int = 0


class CountsByModality(Struct, rename="camel"):
    prompt_tokens_details: list[ModalityCount] = []
    cache_tokens_details: list[ModalityCount] = []
    candidates_tokens_details: list[ModalityCount] = []


class AnswerWithAudio(Struct, rename="camel"):
    usage_metadata: CountsByModality


_decode_with_audio = msgspec.json.Decoder(AnswerWithAudio).decode


def breakdown_of(data: bytes) -> Breakdown | None:
    """What of an answer's counts is audio. It hardly ever is, so they are read only then; and even to ask costs a
    tenth of what a piece does."""
    if b"AUDIO" not in data:
        return None
    counts = _decode_with_audio(data).usage_metadata
    heard, cached, spoken = map(
        _audio_tokens, (counts.prompt_tokens_details, counts.cache_tokens_details, counts.candidates_tokens_details)
    )
    if not (heard or spoken):
        return None
    return Breakdown(audio_input_tokens=heard, cached_audio_tokens=min(cached, heard), audio_output_tokens=spoken)


def both(one: Breakdown | None, other: Breakdown | None) -> Breakdown | None:
    """What of two calls' counts is audio."""
    if one is None or other is None:
        return one or other
    return Breakdown(**{name: getattr(one, name) + getattr(other, name) for name in one.__struct_fields__})


def _audio_tokens(counts: list[ModalityCount]) -> int:
    return sum(count.token_count for count in counts if count.modality == "AUDIO")


def raw_part(data: bytes, number: int) -> JsonObject:
    """A part of the first candidate as it came. Raises: whatever is wrong with it."""
    candidate = next(each for each in msgspec.json.decode(data)["candidates"] if not each.get("index"))
    return msgspec.convert(candidate["content"]["parts"][number], dict[str, Any])


# ── arguments in pieces ─────────────────────────────────────────────────────────────────────────────────────────────

_STEPS = re.compile(r"\.([^.\[\]'\"]+)|\[(\d+)\]|\[(?:'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\")\]")


class GrowingArguments:
    """Writes the arguments of one call as JSON text, from paths with values, in the order in which they come.

    Values stand in the order of the text: what has been closed is never opened again, because text that was told
    cannot be taken back."""

    def __init__(self) -> None:
        # The path that is being written: the key or the index at each depth.
        self._path: list[str | int] = []
        self._closed: set[tuple[str | int, ...]] = set()
        self._begun = False
        self._in_string = False

    def add(self, piece: PartialArg) -> str:
        """The text that a piece adds. Raises: BackendInvalidResponse for a path that makes no sense."""
        path = _steps_of(piece.jsonPath)
        if self._in_string and path == self._path:
            text = _inside(piece.stringValue or "")
        else:
            text = self._move(path)
            if piece.stringValue is not None:
                self._in_string = True
                text += '"' + _inside(piece.stringValue or "")
            else:
                value = piece.numberValue if piece.numberValue is not None else piece.boolValue
                text += msgspec.json.encode(_whole(value)).decode()
        if self._in_string and not piece.willContinue:
            self._in_string = False
            text += '"'
        return text

    def end(self) -> str:
        """What closes everything that is open."""
        if not self._begun:
            return "{}"
        text = '"' if self._in_string else ""
        return text + "".join("]" if isinstance(step, int) else "}" for step in reversed(self._path))

    def _move(self, path: list[str | int]) -> str:
        """From the value that was written last to the place of the next one."""
        text = '"' if self._in_string else ""
        self._in_string = False
        shared = 0
        while shared < min(len(path), len(self._path)) and path[shared] == self._path[shared]:
            shared += 1
        if self._begun and (shared == len(path) or shared == len(self._path) or tuple(path) in self._closed):
            raise BackendInvalidResponse("The arguments of a call came twice for the same place.")
        if not self._begun:
            text += _opening(path[0])
            self._begun = True
        else:
            text += "".join("]" if isinstance(step, int) else "}" for step in reversed(self._path[shared + 1 :]))
            self._closed.add(tuple(self._path[: shared + 1]))
            text += ","
        for depth in range(shared, len(path)):
            if depth > shared:
                text += _opening(path[depth])
            step = path[depth]
            if tuple(path[: depth + 1]) in self._closed:
                raise BackendInvalidResponse("The arguments of a call did not come in their order.")
            if isinstance(step, str):
                text += msgspec.json.encode(step).decode() + ":"
        self._path = path
        return text


def _opening(step: str | int) -> str:
    return "[" if isinstance(step, int) else "{"


def _inside(text: str) -> str:
    """A text as it stands between the quotes of a JSON string."""
    return msgspec.json.encode(text).decode()[1:-1]


def _whole(value: float | int | bool | None) -> Any:
    """The wire has one kind of number; a whole one is written as such."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _steps_of(path: str) -> list[str | int]:
    """`$.foo.bar[0]['data']` in steps. Raises: BackendInvalidResponse."""
    steps: list[str | int] = []
    at = 1
    while path[:1] == "$" and at < len(path):
        found = _STEPS.match(path, at)
        if found is None:
            break
        name, index, single, double = found.groups()
        quoted = single if single is not None else double
        steps.append(int(index) if index is not None else name if name is not None else re.sub(r"\\(.)", r"\1", quoted))
        at = found.end()
    if not steps or at != len(path) or isinstance(steps[0], int):
        raise BackendInvalidResponse("The arguments of a call came for a place that makes no sense.")
    return steps
