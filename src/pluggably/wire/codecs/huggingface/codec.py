"""Hugging Face's wire: the router's chat completions, which are OpenAI's, and feature extraction, which is its own.

A chat is `OpenAICodec` with the router's errors brought into OpenAI's form before it reads them. Here is the rest: the
calls of feature extraction, whose model stands in the path and whose answer is bare lists of numbers.

What surprises: behind a colon a model's name may say who is to serve it. The router reads that for chats; feature
extraction has its own address for each provider, and of them only HF Inference takes the ids of the Hub, so another is
refused. Many texts become several calls. A model without pooling answers with a vector for each token, which is no
embedding of the text: it is refused rather than averaged.

Source: huggingface.co/docs/inference-providers/tasks/chat-completion, …/tasks/feature-extraction and …/providers/
hf-inference; the types and addresses of huggingface_hub 2.4.0, inference/_providers/hf_inference.py (2026-11).
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from pluggably.domain.generation import (
    EmbeddingParameters,
    GenerationRequest,
    JsonObject,
)
from pluggably.errors import (
    ModelNotFound,
    PluggablyError,
    UnsupportedModality,
)
from pluggably.wire.codec import Address, HttpReply, Step
from pluggably.wire.codecs.huggingface.faults import MEANINGS, as_openai, fault_of_reply
from pluggably.wire.codecs.huggingface.options import HuggingFaceOptions
from pluggably.wire.codecs.openai.codec import OpenAICodec
from pluggably.wire.codecs.openai.request import merge_own
from pluggably.wire.faults import asked
from pluggably.wire.lacks import check_dimensions
from pluggably.wire.parts import refuse_own

# The owner and the name of a repository, or an old one's name alone; no step of a path, no query.
_MODEL = re.compile(r"(\w[\w.-]*/)?\w[\w.-]*", re.ASCII)
# The provider that serves feature extraction, and the ways to let the router choose.
_SERVERS = ("", "hf-inference", "fastest", "cheapest", "preferred")


class HuggingFaceCodec(OpenAICodec):
    """One attempt at the router."""

    Options: ClassVar[type[Struct]] = HuggingFaceOptions

    def __init__(self, options: HuggingFaceOptions) -> None:
        super().__init__(msgspec.structs.replace(options, error_codes={**MEANINGS, **options.error_codes}))

    # ── the calls ───────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, request: GenerationRequest, address: Address) -> Step:
        """Raises: UnsupportedParameter, UnsupportedModality, InvalidRequest, ModelNotFound."""
        if request.modality != "embedding":
            return super().begin(request, address)
        self._request = request
        self._asked = asked(request, address, error_codes=self._options.error_codes)
        base_url = f"{address.base_url.removesuffix('/v1')}/hf-inference/models/{self._model(address.model)}"
        url = f"{base_url}/pipeline/feature-extraction"
        return Step((), self._begin_embeddings(url, self._extraction_options(), "inputs"))

    def _model(self, asked: str) -> str:
        """The Hub's id of a model, for a path."""
        model, _, server = asked.partition(":")
        if "embeddings" in self._options.lacks:
            raise UnsupportedModality(f"{self._asked.backend} makes no embeddings.", pointer="/modality")
        if server not in _SERVERS:
            raise UnsupportedModality(
                f"{self._asked.backend} makes embeddings by HF Inference alone; name the model without a provider.",
                pointer="/model",
            )
        if not _MODEL.fullmatch(model):
            raise ModelNotFound(f"{self._asked.backend} has no model of this name.", pointer="/model")
        return model

    def _extraction_options(self) -> JsonObject:
        """Everything of a body but its texts."""
        value: JsonObject = {}
        backend, parameters = self._asked.backend, self._request.parameters
        if isinstance(parameters, EmbeddingParameters) and parameters.dimensions is not None:
            check_dimensions(self._options.lacks, backend)
            value["dimensions"] = parameters.dimensions
        own = self._request.provider_options.get(backend)
        refuse_own(own or {}, ("inputs",), backend)
        merge_own(value, own, backend)
        return value

    # ── the answers ─────────────────────────────────────────────────────────────────────────────────────────────────

    def receive(self, reply: HttpReply) -> Step:
        if self._request.modality == "embedding":
            return self._receive_vectors(msgspec.json.decode(reply.body))
        return super().receive(reply)

    def fault(self, reply: HttpReply) -> PluggablyError:
        return fault_of_reply(reply, self._asked)

    def _fault_told(self, said: JsonObject) -> PluggablyError:
        return super()._fault_told(as_openai(said))

    def _receive_vectors(self, answer: Any) -> Step:
        if isinstance(answer, dict) and answer.get("error") is not None:
            raise self._fault_told(answer)
        return self._embeddings.received(self._told_apart(answer, len(self._embeddings.under_way)), None)

    def _told_apart(self, answer: Any, sent: int) -> list[list[float]]:
        """The vectors of an answer. Raises: UnsupportedModality for those of tokens."""
        first = answer[0] if isinstance(answer, list) and answer else None
        if sent == 1 and isinstance(first, int | float):
            answer = [answer]  # some servers unpack a list of one text
        elif isinstance(first, list) and first and isinstance(first[0], list):
            raise UnsupportedModality(
                f"{self._asked.model} answers with a vector for each token, not with one for the text; "
                "use a model that is made for embeddings.",
                pointer="/model",
            )
        return msgspec.convert(answer, list[list[float]])
