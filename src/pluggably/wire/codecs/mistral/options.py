"""What an operator or the preset may set of Mistral's wire, as data.

What surprises: there is little. The wire is Mistral's alone, so what is peculiar about it stands in the codec; here
is what differs between models. The rules are those of the OpenAI wire, of which all counts but `effort_field`.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from pluggably.domain.generation import Effort
from pluggably.wire.embedding_calls import PerCall
from pluggably.wire.lacks import Lack, ModelRule
from pluggably.wire.media import Input


class MistralOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How models differ, and what goes out where a request says nothing."""

    inputs: tuple[Input, ...] = ("image", "image_url", "file", "file_url", "audio")
    # The efforts that are understood; another becomes the nearest, with a warning. Empty: all.
    efforts: tuple[Effort, ...] = ()
    lacks: tuple[Lack, ...] = ()
    model_rules: tuple[ModelRule, ...] = ()
    # What one call for embeddings may bring; more becomes several calls. No page says it, the errors of the service do:
    # "Too many inputs in request, split into more batches." (3210) above 512 texts, and "Too many tokens in batch. Max
    # is 16384" (github.com/raphaelmansuy/edgequake-llm/pull/74, 2026-05; github.com/dust-tt/dust/pull/10654, 2025-02).
    texts_per_call: PerCall | None = 512
    tokens_per_call: PerCall | None = 16_384
    # Fields that go into every chat body, under those of the request and of its provider options.
    extra_body: dict[str, Any] = {}
