"""What an error of Ollama means: `{"error": "…"}`, with a status or as a line of a stream.

It has no codes, so its words are read. What surprises: a model that is not there is the operator's to pull, but which
model to ask for is the client's choice, so both are told. Models in the maker's cloud fail with 401 where nobody is
signed in, with 429 where an allowance is used up for now, and with 502 where the cloud is not to be reached.

Source: docs.ollama.com/api/errors and …/cloud (2026-11); server/routes.go and server/sched.go of ollama/ollama for
the words.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from pluggably.errors import (
    ContextLengthExceeded,
    ModelNotFound,
    PluggablyError,
    UnsupportedModality,
    UnsupportedParameter,
)
from pluggably.wire.codec import HttpReply
from pluggably.wire.codecs.openai import faults as openai_faults
from pluggably.wire.faults import Asked, shown

_LACKS = re.compile(r"does not support (\w+)", re.I)
_POINTERS = {"tools": "/tools", "thinking": "/parameters/reasoning/effort", "think": "/parameters/reasoning/effort"}
_TOO_LONG = re.compile(r"(input|prompt).*(length|too long).*(context|exceeds)|exceeds.*context", re.I)


def fault_of_reply(reply: HttpReply, asked: Asked) -> PluggablyError:
    """The error that a reply with a status of 300 or more means."""
    words = _words(reply.body)
    return (words and _by_words(words, asked)) or _advised(openai_faults.fault_of_reply(reply, asked), asked)


def fault_of_line(error: Any, asked: Asked) -> PluggablyError:
    """The error that stands where an answer should."""
    words = error if isinstance(error, str) else ""
    return _by_words(words, asked) or _advised(openai_faults.fault_in_answer(error, asked), asked)


def _words(body: bytes) -> str:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    error = value.get("error") if isinstance(value, dict) else None
    return error if isinstance(error, str) else ""


def _by_words(words: str, asked: Asked) -> PluggablyError | None:
    said = f"{asked.backend}: {shown(words)}"
    lack = _LACKS.search(words)
    if lack is not None:
        what = lack[1].lower()
        if what in _POINTERS:
            return UnsupportedParameter(said, pointer=_POINTERS[what])
        return UnsupportedModality(said, pointer="/modality")
    if _TOO_LONG.search(words):
        return ContextLengthExceeded(said, pointer="/input")
    return None


def _advised(fault: PluggablyError, asked: Asked) -> PluggablyError:
    if isinstance(fault, ModelNotFound):
        return ModelNotFound(
            f"{fault.detail} The operator of {asked.backend} can get it with `ollama pull`.", pointer="/model"
        )
    return fault
