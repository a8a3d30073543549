"""What an operator or the preset may set of Hugging Face's wire, as data: the options of OpenAI's.

What surprises: the defaults of `inputs`, `stop_limit`, `lacks` and `texts_per_call` are the router's. `encoding_format`
is no parameter of feature extraction, so `embedding_encoding` counts for nothing here.
"""

from __future__ import annotations

from pluggably.wire.codecs.openai.options import OpenAIOptions
from pluggably.wire.embedding_calls import PerCall
from pluggably.wire.lacks import Lack
from pluggably.wire.media import Input


class HuggingFaceOptions(OpenAIOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the router differs from the others that speak OpenAI's wire."""

    # "Up to 4 sequences": …/tasks/chat-completion, `stop`.
    stop_limit: int | None = 4
    inputs: tuple[Input, ...] = ("image", "image_url")
    # Not among the parameters of either task.
    lacks: tuple[Lack, ...] = ("top_k", "min_p", "parallel_tool_calls", "dimensions")
    # The server behind feature extraction takes 32 where nobody told it otherwise: huggingface.co/docs/
    # text-embeddings-inference/cli_arguments, `--max-client-batch-size` (2026-11).
    texts_per_call: PerCall | None = 32
