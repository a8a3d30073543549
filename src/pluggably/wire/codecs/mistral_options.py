"""What an operator or the preset may set of Mistral's wire, as data.

What surprises: there is little. The wire is Mistral's alone, so what is peculiar about it stands in the codec; here
is what differs between models. The rules are those of the OpenAI wire, of which all counts but `effort_field`.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from pluggably.domain.generation import Effort
from pluggably.wire.codecs.openai_options import Input, Lack, ModelRule


class MistralOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How models differ, and what goes out where a request says nothing."""

    inputs: tuple[Input, ...] = ("image", "image_url", "file", "file_url", "audio")
    # The efforts that are understood; another is dropped with a warning. Empty: all.
    efforts: tuple[Effort, ...] = ()
    lacks: tuple[Lack, ...] = ()
    model_rules: tuple[ModelRule, ...] = ()
    # Fields that go into every chat body, under those of the request and of its provider options.
    extra_body: dict[str, Any] = {}
