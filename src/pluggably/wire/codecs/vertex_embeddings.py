"""Embeddings at Vertex AI: `predict`, where each text is an instance, and `embedContent`, which takes one text.

Its older models know only the first, Gemini Embedding from its second version on only the other; which of them, and how
many texts a call takes, is data of the preset. Text of models there is Gemini's own wire, `gemini`.

What surprises: Vertex would cut a text that is too long and say so in a field, so it is told not to (`autoTruncate`),
and answers with an error.

Source: docs.cloud.google.com/vertex-ai/generative-ai/docs/embeddings/get-text-embeddings, "API limits" and "REST";
…/docs/reference/rest/Shared.Types/TextEmbedding and …/TextEmbeddingPredictionParams; …/gemini-enterprise-agent-
platform/reference/rest/v1beta1/projects.locations.publishers.models/embedContent (2026-11); the types of google-genai
3.4.0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import msgspec
from msgspec import Struct

from pluggably.domain.generation import EmbeddingParameters, GenerationRequest, JsonObject, UsageReported
from pluggably.errors import (
    BackendInvalidResponse,
    ContextLengthExceeded,
    ModelNotFound,
    PluggablyError,
    UnsupportedModality,
)
from pluggably.wire.codec import Address, Frame, HttpCall, HttpReply, Step, json_call
from pluggably.wire.codecs.gemini.faults import fault_in_answer, fault_of_reply
from pluggably.wire.codecs.gemini.reply import TokenCounts
from pluggably.wire.embedding_calls import EmbeddingCalls, PerCall
from pluggably.wire.faults import asked
from pluggably.wire.media import Input
from pluggably.wire.parts import refuse_own

# A step of the address: nothing in it may end the step or name another method.
_MODEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,199}")
# Of a request's own provider options, what would break the translation.
_NOT_OVERRIDABLE = ("instances", "parameters", "content", "model", "embedContentConfig")
# What `predict` has beside each text, under the names that `embedContent` has for it; the rest are its parameters.
_OF_AN_INSTANCE = {"taskType": "task_type", "task_type": "task_type", "title": "title"}


class VertexEmbeddingsOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How models differ, and what a call may hold."""

    inputs: tuple[Input, ...] = ()
    # Where a model stands behind the base URL.
    resource: str = "publishers/google/models/{model}"
    method: Literal["predict", "embedContent"] = "predict"
    # Of `predict`.
    texts_per_call: PerCall = 250
    tokens_per_call: PerCall = 20_000
    tokens_per_text: PerCall = 2_048


class Statistics(Struct):
    """The page has its names in one form, the reference in the other."""

    token_count: float | None = None
    tokenCount: float | None = None  # noqa: N815
    truncated: bool = False

    @property
    def tokens(self) -> int | None:
        count = self.tokenCount if self.token_count is None else self.token_count
        return None if count is None else int(count)


class Vector(Struct):
    values: list[float] = []
    statistics: Statistics = msgspec.field(default_factory=Statistics)


class Prediction(Struct):
    embeddings: Vector


class Answer(Struct, rename="camel"):
    """That of `predict`, or of `embedContent`."""

    predictions: list[Prediction] = []
    embedding: Vector | None = None
    usage_metadata: TokenCounts | None = None
    truncated: bool = False
    error: Any = None

    def vectors(self) -> list[Vector]:
        if self.embedding is None:
            return [prediction.embeddings for prediction in self.predictions]
        count = self.usage_metadata.prompt_token_count if self.usage_metadata is not None else None
        statistics = Statistics(token_count=count, truncated=self.truncated)
        return [Vector(self.embedding.values, statistics)]


_decode = msgspec.json.Decoder(Answer).decode


class VertexEmbeddingsCodec:
    """One attempt on this wire."""

    Options: ClassVar[type[Struct]] = VertexEmbeddingsOptions

    def __init__(self, options: VertexEmbeddingsOptions) -> None:
        self._options = options

    def begin(self, request: GenerationRequest, address: Address) -> Step:
        """Raises: UnsupportedModality, ModelNotFound, InvalidRequest."""
        backend = address.backend
        if request.modality != "embedding":
            raise UnsupportedModality(f"{backend}: {address.model} makes only embeddings.", pointer="/modality")
        if not _MODEL.fullmatch(address.model):
            raise ModelNotFound(f"{backend}: no model there can have this name.", pointer="/model")
        own = request.provider_options.get(backend) or {}
        refuse_own(own, _NOT_OVERRIDABLE, backend)
        self._asked = asked(request, address)
        resource = self._options.resource.replace("{model}", address.model)
        self._url = f"{address.base_url}/{resource}:{self._options.method}"
        self._may_cut = own.get("autoTruncate") is True
        parameters = request.parameters
        dimensions = parameters.dimensions if isinstance(parameters, EmbeddingParameters) else None
        wanted = {"outputDimensionality": dimensions} if dimensions is not None else {}
        self._said: JsonObject = {"autoTruncate": False, **wanted, **own}
        self._calls = EmbeddingCalls(
            request.texts,
            self._call,
            backend,
            texts_per_call=self._options.texts_per_call if self._options.method == "predict" else 1,
            tokens_per_call=self._options.tokens_per_call,
            tokens_per_text=self._options.tokens_per_text,
        )
        return Step((), self._calls.next())

    def _call(self, texts: list[str]) -> HttpCall:
        if self._options.method == "embedContent":
            value: JsonObject = {"content": {"parts": [{"text": texts[0]}]}, "embedContentConfig": self._said}
        else:
            value = _prediction(texts, self._said)
        return json_call(self._url, value)

    def fault(self, reply: HttpReply) -> PluggablyError:
        return fault_of_reply(reply, self._asked)

    def receive(self, reply: HttpReply) -> Step:
        answer = _decode(reply.body)
        if answer.error is not None:
            raise fault_in_answer(answer.error, self._asked)
        vectors = answer.vectors()
        if not self._may_cut and any(vector.statistics.truncated for vector in vectors):
            raise ContextLengthExceeded(
                f"{self._asked.backend} cut a text that is too long for {self._asked.model}.", pointer="/input"
            )
        counts = [vector.statistics.tokens for vector in vectors]
        known = [count for count in counts if count is not None]
        usage = UsageReported(input_tokens=sum(known)) if len(known) == len(counts) else None
        return self._calls.received([vector.values for vector in vectors], usage)

    def feed(self, frame: Frame) -> Step:  # noqa: ARG002
        raise BackendInvalidResponse(f"{self._asked.backend} sent a stream of embeddings.")

    def finish(self) -> Step:
        raise BackendInvalidResponse(f"{self._asked.backend} sent a stream of embeddings.")


def _prediction(texts: Sequence[str], said: Mapping[str, Any]) -> JsonObject:
    beside = {_OF_AN_INSTANCE[name]: value for name, value in said.items() if name in _OF_AN_INSTANCE}
    return {
        "instances": [{"content": text, **beside} for text in texts],
        "parameters": {name: value for name, value in said.items() if name not in _OF_AN_INSTANCE},
    }
