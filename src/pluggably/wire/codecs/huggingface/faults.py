"""What an error of Hugging Face's router means. Its forms become OpenAI's, which `openai.faults` can judge.

The router says `{"error": "…"}`, the servers of Hugging Face put an `error_type` beside it, and a model that is being
loaded tells its `estimated_time`. What a provider behind the router says passes through as it is, most often in the
form of OpenAI. What surprises: only the text tells a model that nobody serves from a bad request, and an input that is
too long from a body that is too large.

Source: huggingface.co/docs/inference-providers/index, …/pricing and …/guides/first-api-call; the API descriptions of
github.com/huggingface/text-generation-inference and …/text-embeddings-inference; the errors that huggingface_hub 2.4.0
tells apart, inference/_common.py (2026-11).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from pluggably.errors import (
    BackendAuthenticationFailed,
    BackendError,
    BackendRejected,
    ModelNotFound,
    PluggablyError,
)
from pluggably.wire.codec import HttpReply
from pluggably.wire.codecs.openai import faults as openai_faults
from pluggably.wire.faults import Asked, Meaning, decoded, in_order, words_of

# The codes of the router and the values of `error_type`, in lower case.
MEANINGS: Mapping[str, Meaning] = {
    "model_not_supported": "model",
    "overloaded": "rate",
    "validation": "request",
    "tokenizer": "request",
    "empty": "request",
}
_NO_MODEL = re.compile(r"not supported by (any )?provider|not a valid model identifier", re.I)
_MODEL = re.compile(r"\bmodel\b", re.I)
_IS_NONE = re.compile(r" (does not exist|is not a valid model id|not supported for task)", re.I)
_TOO_LONG = re.compile(
    r"`inputs` (tokens \+ `max_new_tokens` )?must (be|have) (<=|less than) \d+( tokens| characters)?", re.I
)
# Of a model that is being loaded; a number beyond it means nothing.
_LONGEST_WAIT_S = 1e9
_PERMISSION = re.compile(r"permission", re.I)
_GATED = re.compile(r"\bgated\b|access to (this )?model|must have access", re.I)


def fault_of_reply(reply: HttpReply, asked: Asked) -> PluggablyError:
    """The error that a reply with a status of 300 or more means."""
    if asked.modality == "embedding" and reply.status == 404:
        # Often without JSON; the model stands in the path, so it is the one thing that can be missing.
        return ModelNotFound(
            f"{asked.backend} has no model {asked.model} for feature extraction. "
            "Its page at Hugging Face says whether HF Inference serves it.",
            pointer="/model",
        )
    said = decoded(reply.body)
    if said is None:
        return openai_faults.fault_of_reply(reply, asked)
    known = msgspec.structs.replace(
        reply, headers=_with_wait(reply.headers, said), body=msgspec.json.encode(as_openai(said))
    )
    fault = openai_faults.fault_of_reply(known, asked)
    if isinstance(fault, BackendAuthenticationFailed):
        return _with_advice(fault, said, asked.backend)
    if reply.status == 424 and type(fault) is BackendRejected:
        # The server's "inference failed", not a call that it does not take.
        return BackendError(fault.detail, backend_status=424, backend_code=fault.backend_code)
    return fault


def as_openai(said: Any) -> Any:
    """An error in OpenAI's form, with a code where its text alone says what it is; anything else as it is."""
    error = said.get("error") if isinstance(said, dict) else None
    if isinstance(error, list):
        error = "; ".join(one for one in error if isinstance(one, str))
    if isinstance(error, str):
        error = {"message": error, "type": said.get("error_type")}
    if not isinstance(error, dict):
        return said
    message = error.get("message")
    if isinstance(message, str) and not isinstance(error.get("code"), str):
        code = _code_of(message)
        if code is not None:
            error = {**error, "code": code, "type": None}
    return {"error": error}


def _code_of(message: str) -> str | None:
    message = words_of(message)
    if _NO_MODEL.search(message) or in_order(message, _MODEL, _IS_NONE):
        return "model_not_supported"
    return "context_length_exceeded" if _TOO_LONG.search(message) else None


def _with_wait(headers: Mapping[str, str], said: Any) -> Mapping[str, str]:
    """The headers, and the time that a model takes to load where they name no other wait."""
    wait_s = said.get("estimated_time") if isinstance(said, dict) else None
    if isinstance(wait_s, bool) or not isinstance(wait_s, int | float) or not 0 <= wait_s < _LONGEST_WAIT_S:
        return headers
    return {"retry-after": str(wait_s), **headers}


def _with_advice(fault: BackendError, said: Any, backend: str) -> BackendError:
    """What the operator can do, where the text tells. The text itself names the account, so it is not shown."""
    text = words_of(msgspec.json.encode(said).decode())
    if _GATED.search(text):
        advice = "may not use this model: its operator can ask for access on the model's page"
    elif fault.backend_status == 403 and _PERMISSION.search(text):
        advice = 'may not do this: its operator can give the token the permission "Make calls to Inference Providers"'
    else:
        return fault
    return BackendAuthenticationFailed(
        f"{backend} says that the gateway's token {advice}.",
        backend_status=fault.backend_status,
        backend_code=fault.backend_code,
    )
