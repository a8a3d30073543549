"""The wire between gateways, where the conversations do not reach."""

from __future__ import annotations

import pytest

from pluggably.domain.generation import UsageReported
from pluggably.errors import BackendRejected
from pluggably.testing import codecs
from pluggably.wire.codecs.native.codec import MAX_HOPS, NativeCodec
from pluggably.wire.codecs.native.reply import UsageSaid


@pytest.mark.parametrize("hops", range(MAX_HOPS))
def test_each_gateway_counts_itself(hops: int) -> None:
    """Up to the last hop that is allowed."""
    conversation = codecs.Conversation(request={"input": "Hello", "hops": hops})
    step = codecs.make(NativeCodec, {}).begin(conversation.generation_request(), conversation.address())
    assert step.next is not None
    assert step.next.headers["Pluggably-Hops"] == str(hops + 1)


def test_the_error_of_a_circle_is_not_tried_again() -> None:
    """Else each gateway of the circle would multiply it."""
    conversation = codecs.Conversation(request={"input": "Hello", "hops": MAX_HOPS})
    with pytest.raises(BackendRejected) as raised:
        codecs.make(NativeCodec, {}).begin(conversation.generation_request(), conversation.address())
    assert not raised.value.again


@pytest.mark.parametrize("cost", ["NaN", "-1", "1e999999", "", "1.", "0x1", "1" * 40])
def test_a_cost_that_is_no_amount_is_unknown(cost: str) -> None:
    """It would poison every sum that it joins."""
    assert UsageSaid(cost_usd=cost).reported() == UsageReported()


def test_a_cost_is_taken_at_its_word() -> None:
    """As the decimal that it is."""
    assert UsageSaid(cost_usd="0.00125").reported().cost_usd == "0.00125"
