"""What an operator or the preset may set of Cohere's wire, as data.

What surprises: which models reason is told in rules and not asked, because Cohere refuses `thinking` for those that do
not; a rule is the one of the OpenAI wire, of which only `models` and `lacks` count here.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from pluggably.wire.embedding_calls import PerCall
from pluggably.wire.lacks import Lack, ModelRule
from pluggably.wire.media import Input


class CohereOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How models differ, and what goes out where a request says nothing."""

    # "Either a base64 data URI or a web URL": the type ImageUrl of cohere 7.3.1. There are no files and no audio.
    inputs: tuple[Input, ...] = ("image", "image_url")
    lacks: tuple[Lack, ...] = ()
    model_rules: tuple[ModelRule, ...] = ()
    # What embeddings are for. Cohere demands it, and our API has no word for it: a request sets it through its
    # provider options.
    input_type: Literal["search_document", "search_query", "classification", "clustering"] = "search_document"
    # How many texts one call for embeddings may bring; more become several calls. "Maximum number of texts per call is
    # `96`": docs.cohere.com/reference/embed, `texts` (2026-11).
    texts_per_call: PerCall | None = 96
    # Fields that go into every chat body, under those of the request and of its provider options.
    extra_body: dict[str, Any] = {}
