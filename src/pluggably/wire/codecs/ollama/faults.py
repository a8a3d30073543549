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

from pluggably.errors import (
    ContextLengthExceeded,
    ModelNotFound,
    PluggablyError,
    UnsupportedModality,
    UnsupportedParameter,
)
from pluggably.wire.codec import HttpReply
from pluggably.wire.codecs.openai import faults as openai_faults
from pluggably.wire.faults import Asked, decoded, in_order, shown, words_of

_LACKS = re.compile(r"does not support (\w+)", re.I)
_POINTERS = {"tools": "/tools", "thinking": "/parameters/reasoning/effort", "think": "/parameters/reasoning/effort"}
# "input length exceeds the context length", "prompt too long; exceeded max context length".
_INPUT, _LONG = re.compile(r"input|prompt", re.I), re.compile(r"length|too long", re.I)
_LIMIT, _EXCEEDS, _CONTEXT = (re.compile(word, re.I) for word in ("context|exceeds", "exceeds", "context"))


def fault_of_reply(reply: HttpReply, asked: Asked) -> PluggablyError:
    """The error that a reply with a status of 300 or more means."""
    words = _words(reply.body)
    return (words and _by_words(words, asked)) or _advised(openai_faults.fault_of_reply(reply, asked), asked)


def fault_of_line(error: Any, asked: Asked) -> PluggablyError:
    """The error that stands where an answer should."""
    words = words_of(error)
    return _by_words(words, asked) or _advised(openai_faults.fault_in_answer(error, asked), asked)


def _words(body: bytes) -> str:
    value = decoded(body)
    return words_of(value.get("error")) if isinstance(value, dict) else ""


def _by_words(words: str, asked: Asked) -> PluggablyError | None:
    said = f"{asked.backend}: {shown(words)}"
    lack = _LACKS.search(words)
    if lack is not None:
        what = lack[1].lower()
        if what in _POINTERS:
            return UnsupportedParameter(said, pointer=_POINTERS[what])
        return UnsupportedModality(said, pointer="/modality")
    if in_order(words, _INPUT, _LONG, _LIMIT) or in_order(words, _EXCEEDS, _CONTEXT):
        return ContextLengthExceeded(said, pointer="/input")
    return None


def _advised(fault: PluggablyError, asked: Asked) -> PluggablyError:
    if isinstance(fault, ModelNotFound):
        return ModelNotFound(
            f"{fault.detail} The operator of {asked.backend} can get it with `ollama pull`.", pointer="/model"
        )
    return fault
