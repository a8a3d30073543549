"""What an error of Mistral means, as errors of the house.

What surprises: there are four forms. A refused body is a list of what is wrong, each with its place, which here
becomes a pointer into our request; it may stand under `message`. What a guardrail blocks has the status of a refused
key, and is none. Everything else has OpenAI's fields without the object around them, and codes of Mistral's own, which
are numbers as text.

Source: docs.mistral.ai/api/endpoint/chat and …/deprecated/guardrailing/mistral_moderation_2411 (2026-11); the type
HTTPValidationError of mistralai 3.7.0; and, for codes, the errors as they were reported
(github.com/mistralai/platform-docs-public/issues, …/client-python/issues).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pluggably.errors import ContentFiltered, InvalidRequest, PluggablyError, UnsupportedParameter, Violation
from pluggably.wire.codec import HttpReply
from pluggably.wire.codecs.openai.faults import fault_in_answer as fault_in_openai_answer
from pluggably.wire.codecs.openai.faults import fault_of_reply as fault_of_openai_reply
from pluggably.wire.codecs.openai.faults import pointer_of
from pluggably.wire.faults import Asked, Meaning, decoded, shown

ERROR_CODES: Mapping[str, Meaning] = {
    "1500": "model",  # "Invalid model: …"
    "invalid_model": "model",
    "1300": "rate",  # "Requests rate limit exceeded"
    "rate_limited": "rate",
    "3505": "rate",  # "Service tier capacity exceeded for this model."
    "service_tier_capacity_exceeded": "rate",
}
# An option that is known, but not to this model. Their code, 3051, is also that of a prompt that is too long.
# "reasoning_effort='medium' is not supported for this model. Must be one of …" (2026-07):
# github.com/architects-toolkit/SmartHopper/issues/647. "Reasoning prompt mode is not enabled for this model" (2026-04):
# …/earendil-works/pi/issues/3096. "supported values: ['low', 'high', 'max']" (…/anomalyco/models.dev/pull/7334).
_NOT_FOR_THE_MODEL = re.compile(r"not (supported|enabled) for this model|supported values", re.I)
# The parameters of ours that only some models take.
_OF_MODELS = ("reasoning_effort",)
_BLOCKED_WORDS = re.compile(r"blocked by (a )?guardrail", re.I)
# What Mistral calls differently from OpenAI.
_NAMES = {"random_seed": "seed", "output_dimension": "dimensions"}


def fault_of_reply(reply: HttpReply, asked: Asked) -> PluggablyError:
    """The error that a reply with a status of 300 or more means."""
    value = decoded(reply.body)
    told = f"{asked.backend} answered {reply.status}"
    if reply.status == 403 and (blocked := _blocked(value, told)) is not None:
        return blocked
    refused = _refused_body(value, asked, told) or _refused_for_the_model(value, asked, told)
    return refused or fault_of_openai_reply(reply, asked)


def fault_in_answer(value: Any, asked: Asked) -> PluggablyError:
    """The error that stands where an answer should: inside a 200, or in the middle of a stream."""
    error = value.get("error") if isinstance(value, dict) and value.get("error") else value
    return _refused_body(error, asked, f"{asked.backend} failed") or fault_in_openai_answer(error, asked)


def _blocked(value: Any, told: str) -> ContentFiltered | None:
    """`{"error": {"message": "Content blocked by guardrail", "status": 403}, "guardrails": {…}}`: a guardrail of the
    request or of the account took offence at the input."""
    if not isinstance(value, dict):
        return None
    error = value.get("error")
    message = shown((error if isinstance(error, dict) else value).get("message"))
    if "guardrails" not in value and not _BLOCKED_WORDS.search(message):
        return None
    return ContentFiltered(f"{told}: {message or 'a guardrail blocked the input.'}", pointer="/input")


def _refused_for_the_model(value: Any, asked: Asked, told: str) -> UnsupportedParameter | None:
    """What only other models take. Of a mode of the prompt it tells the name without `_`."""
    message = shown(value.get("message")) if isinstance(value, dict) and value.get("code") == "3051" else ""
    if not _NOT_FOR_THE_MODEL.search(message):
        return None
    own = next((name for name in asked.own_options if name.replace("_", " ") in message.replace("_", " ")), None)
    named = own or next((name for name in _OF_MODELS if name in message), None)
    return UnsupportedParameter(f"{told}: {message}", pointer=pointer_of(named, asked))


def _refused_body(value: Any, asked: Asked, told: str) -> InvalidRequest | None:
    """`{"detail": [{"loc": ["body", "messages", 0], "msg": …}]}`, also as the `message` of an error."""
    if isinstance(value, dict) and isinstance(value.get("message"), dict):
        value = value["message"]
    wrong = value.get("detail") if isinstance(value, dict) else None
    if not isinstance(wrong, list) or not wrong:
        return None
    violations: list[Violation] = []
    said: list[str] = []
    for each in wrong:
        if not isinstance(each, dict):
            continue
        steps = each.get("loc")
        place = [str(step) for step in steps if step != "body"] if isinstance(steps, list) else []
        message = shown(each.get("msg"))
        said.append(f"{shown('.'.join(place), 100)}: {message}" if place else message)
        violations.append(Violation(_pointer(place, asked) or "", message))
    detail = shown("; ".join(said)) or "the body is refused."
    pointer = violations[0].pointer or None if violations else None
    return InvalidRequest(f"{told}: {detail}", pointer=pointer, violations=violations)


def _pointer(place: list[str], asked: Asked) -> str | None:
    if place:
        place = [_NAMES.get(place[0], place[0]), *place[1:]]
    return pointer_of(".".join(place), asked)
