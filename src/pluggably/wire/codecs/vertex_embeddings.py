"""Embeddings at Vertex AI: `predict`, where each text is an instance, and `embedContent`, which takes one text.

Its older models know only the first, Gemini Embedding from its second version on only the other; which of them, and how
many texts a call takes, is data of the preset. Text of models there is Gemini's own wire, `gemini`.

What surprises: Vertex would cut a text that is too long and say so in a field, so it is told not to (`autoTruncate`),
and answers with an error. And a call has a limit of tokens, which are not counted here: a text's bytes are taken for
their number, since no token is less than a byte. So a call is never too large, though there may be more of them than it
needs.

Source: docs.cloud.google.com/vertex-ai/generative-ai/docs/embeddings/get-text-embeddings, "API limits" and "REST";
…/docs/reference/rest/Shared.Types/TextEmbedding and …/TextEmbeddingPredictionParams; …/gemini-enterprise-agent-
platform/reference/rest/v1beta1/projects.locations.publishers.models/embedContent (2026-11); the types of google-genai
3.4.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import msgspec
from msgspec import Struct

from pluggably.domain.generation import (
    Completed,
    Embedding,
    EmbeddingParameters,
    Event,
    GenerationRequest,
    JsonObject,
    UsageReported,
)
from pluggably.errors import (
    BackendInvalidResponse,
    ContextLengthExceeded,
    ModelNotFound,
    PluggablyError,
    UnsupportedModality,
)
from pluggably.wire.codec import JSON_HEADERS, Address, Frame, HttpCall, HttpReply, OutputItems, Step, json_body
from pluggably.wire.codecs.gemini_faults import fault_in_answer, fault_of_reply
from pluggably.wire.codecs.gemini_reply import TokenCounts
from pluggably.wire.codecs.openai_faults import Asked
from pluggably.wire.codecs.openai_options import Input
from pluggably.wire.codecs.openai_request import refuse_own

# A step of the address: nothing in it may end the step or name another method.
_MODEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,199}")
# Of a request's own provider options, what would break the translation.
_NOT_OVERRIDABLE = ("instances", "parameters", "content", "model", "embedContentConfig")
# What `predict` has beside each text, under the names that `embedContent` has for it; the rest are its parameters.
_OF_AN_INSTANCE = {"taskType": "task_type", "task_type": "task_type", "title": "title"}


# The tokens that begin and end a text: of "What is life?" the page counts 6.
MARKS = 2


class VertexEmbeddingsOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How models differ, and what a call may hold."""

    inputs: tuple[Input, ...] = ()
    # Where a model stands behind the base URL.
    resource: str = "publishers/google/models/{model}"
    method: Literal["predict", "embedContent"] = "predict"
    # Of `predict`.
    texts_per_call: int = 250
    tokens_per_call: int = 20_000
    tokens_per_text: int = 2_048


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
        self._items = OutputItems()
        # The texts of each call that is still to be made, how many of the call under way, and how many are done.
        self._left: list[Sequence[str]] = []
        self._under_way = 0
        self._done = 0
        self._tokens: int | None = 0

    def begin(self, request: GenerationRequest, address: Address) -> Step:
        """Raises: UnsupportedModality, ModelNotFound, InvalidRequest."""
        backend = address.backend
        if request.modality != "embedding":
            raise UnsupportedModality(f"{backend}: {address.model} makes only embeddings.", pointer="/modality")
        if not _MODEL.fullmatch(address.model):
            raise ModelNotFound(f"{backend}: no model there can have this name.", pointer="/model")
        own = request.provider_options.get(backend) or {}
        refuse_own(own, _NOT_OVERRIDABLE, backend)
        self._asked = Asked(backend=backend, model=address.model, modality=request.modality, own_options=own)
        resource = self._options.resource.replace("{model}", address.model)
        self._url = f"{address.base_url}/{resource}:{self._options.method}"
        self._may_cut = own.get("autoTruncate") is True
        parameters = request.parameters
        dimensions = parameters.dimensions if isinstance(parameters, EmbeddingParameters) else None
        wanted = {"outputDimensionality": dimensions} if dimensions is not None else {}
        self._said: JsonObject = {"autoTruncate": False, **wanted, **own}
        self._left = list(_calls(request.texts, self._options))
        return Step((), self._call())

    def _call(self) -> HttpCall:
        texts = self._left.pop(0)
        self._under_way = len(texts)
        if self._options.method == "embedContent":
            value: JsonObject = {"content": {"parts": [{"text": texts[0]}]}, "embedContentConfig": self._said}
        else:
            value = _prediction(texts, self._said)
        return HttpCall(url=self._url, headers=JSON_HEADERS, body=json_body(value))

    def fault(self, reply: HttpReply) -> PluggablyError:
        return fault_of_reply(reply, self._asked)

    def receive(self, reply: HttpReply) -> Step:
        answer = _decode(reply.body)
        if answer.error is not None:
            raise fault_in_answer(answer.error, self._asked)
        vectors = answer.vectors()
        if len(vectors) != self._under_way or not all(vector.values for vector in vectors):
            raise BackendInvalidResponse(f"{self._asked.backend} did not send one embedding for each input.")
        events: list[Event] = []
        for vector in vectors:
            tokens = vector.statistics.tokens
            if vector.statistics.truncated and not self._may_cut:
                raise ContextLengthExceeded(
                    f"{self._asked.backend} cut a text that is too long for {self._asked.model}.", pointer="/input"
                )
            events += self._items.whole(Embedding(vector.values, self._done))
            self._done += 1
            self._tokens = self._tokens + tokens if self._tokens is not None and tokens is not None else None
        if self._tokens is not None:
            events.append(UsageReported(input_tokens=self._tokens))
        if self._left:
            return Step(events, self._call())
        return Step([*events, Completed("stop")])

    def feed(self, frame: Frame) -> Step:  # noqa: ARG002
        raise BackendInvalidResponse(f"{self._asked.backend} sent a stream of embeddings.")

    def finish(self) -> Step:
        raise BackendInvalidResponse(f"{self._asked.backend} sent a stream of embeddings.")


def _calls(texts: Sequence[str], options: VertexEmbeddingsOptions) -> Iterator[list[str]]:
    """The texts of each call. A text that is longer than the model takes is refused whatever its length, so it counts
    as the longest that is not."""
    at_once = options.texts_per_call if options.method == "predict" else 1
    together: list[str] = []
    tokens = 0
    for text in texts:
        most = min(len(text.encode()) + MARKS, options.tokens_per_text)
        if together and (len(together) == at_once or tokens + most > options.tokens_per_call):
            yield together
            together, tokens = [], 0
        together.append(text)
        tokens += most
    yield together


def _prediction(texts: Sequence[str], said: Mapping[str, Any]) -> JsonObject:
    beside = {_OF_AN_INSTANCE[name]: value for name, value in said.items() if name in _OF_AN_INSTANCE}
    return {
        "instances": [{"content": text, **beside} for text in texts],
        "parameters": {name: value for name, value in said.items() if name not in _OF_AN_INSTANCE},
    }
