"""Hugging Face's wire: what its conversations do not reach."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluggably.domain.generation import Embedding, Fold
from pluggably.errors import BackendError, PluggablyError
from pluggably.testing.codecs import generation_request
from pluggably.wire.codec import Address, HttpReply, Step
from pluggably.wire.codecs.huggingface.codec import HuggingFaceCodec
from pluggably.wire.codecs.huggingface.faults import fault_of_reply
from pluggably.wire.codecs.huggingface.options import HuggingFaceOptions
from pluggably.wire.faults import Asked

ASKED = Asked(backend="huggingface", model="m", modality="text", error_codes={})


def embedding(texts: list[str], base_url: str = "https://v.test/v1") -> tuple[HuggingFaceCodec, Step]:
    codec = HuggingFaceCodec(HuggingFaceOptions())
    address = Address(base_url=base_url, model="owner/m", backend="huggingface", stream=True)
    return codec, codec.begin(generation_request({"modality": "embedding", "input": texts}), address)


def whole(value: object, status: int = 200) -> HttpReply:
    return HttpReply(status=status, headers={}, body=msgspec.json.encode(value))


@pytest.mark.parametrize("count", [1, 31, 32, 33, 64, 70])
def test_many_texts_are_several_calls(count: int) -> None:
    """Each of at most 32 texts, in their order, all to the same address; one answer comes of them."""
    texts = [f"text {number}" for number in range(count)]
    codec, step = embedding(texts)
    fold, sent, sizes = Fold(), [], []
    while step.next is not None:
        assert step.next.url == "https://v.test/hf-inference/models/owner/m/pipeline/feature-extraction"
        batch = json.loads(step.next.body)["inputs"]
        sent += batch
        sizes.append(len(batch))
        step = codec.receive(whole([[float(text.split()[1])] for text in batch]))
        fold.add(step.events)
    assert sent == texts
    assert max(sizes) <= 32
    assert sum(sizes) == count
    told = [item for item in fold.output() if isinstance(item, Embedding)]
    assert [(item.input_index, item.vector) for item in told] == [(n, [float(n)]) for n in range(count)]
    assert fold.finish_reason == "stop"


def test_an_error_of_a_later_call_ends_the_answer() -> None:
    """Embeddings of a part of the texts are not told as complete."""
    codec, _ = embedding([f"text {number}" for number in range(40)])
    step = codec.receive(whole([[0.5]] * 32))
    assert step.next is not None
    with pytest.raises(BackendError):
        codec.receive(whole([[0.5]] * 32))


def test_an_address_without_a_version_is_kept_whole() -> None:
    """An operator's own proxy may stand in front of the router."""
    step = embedding(["x"], "https://proxy.test/hf")[1]
    assert step.next is not None
    assert step.next.url.startswith("https://proxy.test/hf/hf-inference/models/owner/m/")


@pytest.mark.parametrize("wait", [True, "20", None, [20], -3, 1e400])
def test_a_wait_that_makes_no_sense_is_no_wait(wait: object) -> None:
    """The time that a model takes to load is a number of seconds, or it is not known."""
    body = json.dumps({"error": "Model m is currently loading", "estimated_time": wait}).encode()
    fault = fault_of_reply(HttpReply(status=503, headers={}, body=body), ASKED)
    assert fault.code == "backend_error"
    assert fault.retry_after_s is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["error", "error_type", "message", "code", "type", "estimated_time"]), inner
            )
        ),
        max_leaves=8,
    ),
    st.sampled_from([300, 400, 401, 402, 403, 404, 413, 422, 424, 429, 500, 503]),
    st.sampled_from(["text", "embedding"]),
)
def test_any_body_of_an_error_is_an_error(body: object, status: int, modality: str) -> None:
    """Whatever its form, it is one of the house's, in words that fit a line."""
    fault = fault_of_reply(whole(body, status), msgspec.structs.replace(ASKED, modality=modality))
    assert isinstance(fault, PluggablyError)
    assert "\n" not in fault.detail
