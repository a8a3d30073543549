"""How the models behind Bedrock's Converse differ, as data that a preset or an operator sets."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from pluggably.domain.generation import Effort
from pluggably.wire.media import Input


class TopK(Struct, frozen=True, forbid_unknown_fields=True):
    """Where models take `top_k`: as the names of fields below `additionalModelRequestFields`. `models` is a regular
    expression, searched in the model's id."""

    models: str
    path: tuple[str, ...]


class BedrockOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The quirks of Bedrock, or of a server that speaks as it does."""

    # What may stand in a message beside text. Bedrock fetches nothing by URL but from S3.
    inputs: tuple[Input, ...] = ("image", "file", "audio")
    # The efforts that `outputConfig.effort` knows; another becomes the nearest, with a warning.
    efforts: tuple[Effort, ...] = ("low", "medium", "high", "xhigh")
    # Converse has no field for `top_k`; elsewhere it is dropped with a warning.
    top_k: tuple[TopK, ...] = (
        # docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-call.html: {"top_k": 200} (2026-11)
        TopK(r"anthropic\.claude", ("top_k",)),
        # docs.aws.amazon.com/nova/latest/userguide/using-converse-api.html: {"inferenceConfig": {"topK": 20}} (2026-11)
        TopK(r"amazon\.nova", ("inferenceConfig", "topK")),
    )
    # Fields that go into every body of Converse, under those of the request and of its provider options.
    extra_body: dict[str, Any] = {}
