"""How the texts of a request for embeddings are cut into calls, and what comes of the calls is put together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluggably.domain.generation import Completed, Embedding, Fold, UsageReported
from pluggably.errors import BackendInvalidResponse
from pluggably.wire.codec import HttpCall, Step, json_body
from pluggably.wire.embedding_calls import EmbeddingCalls


class Vendor:
    """Answers each call with the length of each of its texts, and keeps the texts."""

    def __init__(self, texts: list[str], **limits: int | None) -> None:
        self.sent: list[list[str]] = []
        self.calls = EmbeddingCalls(texts, self._call, "vendor", **limits)

    def _call(self, texts: list[str]) -> HttpCall:
        self.sent.append(texts)
        return HttpCall(url="https://vendor.test/embed", body=json_body({"texts": texts}))

    def all(self, *usages: UsageReported | None) -> Fold:
        """The calls to their end; `usages` are those of the first ones, none is told of the others."""
        fold, told = Fold(), list(usages)
        step = Step((), self.calls.next())
        while step.next is not None:
            vectors = [[float(len(text))] for text in self.sent[-1]]
            step = self.calls.received(vectors, told.pop(0) if told else None)
            fold.add(step.events)
            assert any(type(event) is Completed for event in step.events) == (step.next is None)
        return fold


@given(
    st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=40),
    st.none() | st.integers(1, 12),
    st.none() | st.integers(1, 80),
    st.none() | st.integers(1, 40),
)
def test_every_text_goes_once_and_in_order(
    texts: list[str], most: int | None, tokens: int | None, longest: int | None
) -> None:
    """No call is larger than the vendor takes, but for a text that is too long for any; no call could have taken the
    text after its last one."""
    vendor = Vendor(texts, texts_per_call=most, tokens_per_call=tokens, tokens_per_text=longest)
    fold = vendor.all()
    assert [text for call in vendor.sent for text in call] == texts

    def fits(call: list[str]) -> bool:
        size = sum(min(len(text.encode()) + 2, longest or 1000) for text in call)
        return (most is None or len(call) <= most) and (tokens is None or size <= tokens)

    assert all(fits(call) or len(call) == 1 for call in vendor.sent)
    assert not any(fits([*call, after[0]]) for call, after in zip(vendor.sent, vendor.sent[1:], strict=False))
    items = [item for item in fold.output() if isinstance(item, Embedding)]
    assert [(item.input_index, item.vector) for item in items] == [(i, [len(t)]) for i, t in enumerate(texts)]


def test_a_call_is_made_only_when_the_one_before_has_been_answered() -> None:
    """So two thousand texts are not held as bodies all at once, and none is sent after a failure."""
    vendor = Vendor(["a"] * 4, texts_per_call=1)
    assert vendor.sent == []
    vendor.calls.next()
    assert len(vendor.sent) == 1
    with pytest.raises(BackendInvalidResponse):
        vendor.calls.received([], None)
    assert len(vendor.sent) == 1


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([UsageReported(input_tokens=3), UsageReported(input_tokens=4)], (7, 0, None, None)),
        ([UsageReported(input_tokens=3, output_tokens=2), UsageReported(input_tokens=4)], (7, 2, None, None)),
        ([UsageReported(input_tokens=3), None], (None, None, None, None)),
        ([None, UsageReported(input_tokens=3)], (None, None, None, None)),
        (
            [UsageReported(input_tokens=3, cached_input_tokens=1, cost_usd="0.1"), UsageReported(input_tokens=4)],
            (7, 0, None, None),
        ),
        (
            [
                UsageReported(input_tokens=3, cached_input_tokens=1, cost_usd="0.1"),
                UsageReported(input_tokens=4, cached_input_tokens=2, cost_usd="0.2"),
            ],
            (7, 0, 3, "0.3"),
        ),
    ],
)
def test_usage_is_that_of_all_calls(told: list[UsageReported | None], expected: tuple[object, ...]) -> None:
    """What is not known of one of them is not known of all; nothing is generated, so that is none where it is not
    told."""
    usage = Vendor(["a", "b"], texts_per_call=1).all(*told).usage
    assert (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens, usage.cost_usd) == expected


def test_what_a_call_used_is_told_with_its_vectors() -> None:
    """So a failure of the next one keeps it."""
    vendor = Vendor(["a", "b"], texts_per_call=1)
    vendor.calls.next()
    assert (
        UsageReported(input_tokens=5, output_tokens=0)
        in vendor.calls.received([[1.0]], UsageReported(input_tokens=5)).events
    )


@pytest.mark.parametrize("vectors", [[], [[1.0]], [[1.0], [2.0], [3.0]], [[1.0], []]])
def test_a_vector_too_few_or_too_many_is_no_answer(vectors: list[list[float]]) -> None:
    """Nor is one without numbers."""
    vendor = Vendor(["a", "b"])
    vendor.calls.next()
    with pytest.raises(BackendInvalidResponse):
        vendor.calls.received(vectors, None)
