"""Embeddings of more texts than a vendor takes at once: cut into calls that are made one after the other.

A codec says how a call for some texts looks, and what came back of it. Here the texts are cut, the vectors told in the
order of the texts as they come, and what the calls used is added up. What surprises: a limit of tokens is kept without
knowing the vendor's tokenizer. No tokenizer makes more tokens of a text than it has bytes, so bytes are what is
counted: a call may bring fewer texts than it could, and never too many.
"""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Annotated, TypeAlias

import msgspec

from pluggably.domain.generation import Completed, Embedding, Event, UsageReported
from pluggably.errors import BackendInvalidResponse
from pluggably.wire.codec import HttpCall, Step
from pluggably.wire.items import OutputItems

PerCall: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]

# Many tokenizers put a token before a text and one behind it.
_MARKS = 2
_NOTHING_KNOWN = UsageReported()
_COUNTS = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")


class EmbeddingCalls:
    """The calls that the embeddings of one request take. `call` makes one, for some of the texts. The rest are the
    vendor's limits; None: none known. A longer text than `tokens_per_text` is refused, or cut, whatever else is in its
    call, so it counts as one of that length; a text that is too long for any call goes alone."""

    def __init__(
        self,
        texts: Sequence[str],
        call: Callable[[list[str]], HttpCall],
        backend: str,
        *,
        texts_per_call: int | None = None,
        tokens_per_call: int | None = None,
        tokens_per_text: int | None = None,
    ) -> None:
        self._texts = texts
        self._call = call
        self._backend = backend
        self._most_texts = texts_per_call or len(texts)
        self._most_tokens = tokens_per_call
        self._longest = tokens_per_text or tokens_per_call or 0
        self._items = OutputItems()
        self._usage = _NOTHING_KNOWN
        # The indices of the texts whose vectors the next reply brings.
        self.under_way = range(0)

    def next(self) -> HttpCall:
        """The call for the first texts that have not been sent."""
        start = self.under_way.stop
        self.under_way = range(start, self._end_from(start))
        return self._call(list(self._texts[start : self.under_way.stop]))

    def received(self, vectors: Sequence[list[float]], usage: UsageReported | None) -> Step:
        """What a good reply adds, and the next call, if there is one. `vectors` are in the order of the call's texts,
        `usage` is that of the one call.

        Raises: BackendInvalidResponse where it is not one vector for each text."""
        if len(vectors) != len(self.under_way) or not all(vectors):
            raise BackendInvalidResponse(f"{self._backend} did not send one embedding for each input.")
        events: list[Event] = []
        for index, vector in zip(self.under_way, vectors, strict=True):
            events += self._items.whole(Embedding(vector, index))
        events += self._count(usage or _NOTHING_KNOWN)
        if self.under_way.stop < len(self._texts):
            return Step(events, self.next())
        return Step([*events, Completed("stop")])

    def _end_from(self, start: int) -> int:
        end = min(start + self._most_texts, len(self._texts))
        if self._most_tokens is None:
            return end
        tokens = 0
        for index in range(start, end):
            tokens += min(len(self._texts[index].encode()) + _MARKS, self._longest)
            if tokens > self._most_tokens:
                return max(index, start + 1)
        return end

    def _count(self, usage: UsageReported) -> list[Event]:
        """What has been used so far, where that has changed: so a failure keeps what the calls before it cost."""
        before = self._usage
        if usage.input_tokens is not None and usage.output_tokens is None:
            # Nothing is generated, so hardly a vendor counts it; what it costs is known only with both counts.
            usage = msgspec.structs.replace(usage, output_tokens=0)
        self._usage = usage if self.under_way.start == 0 else summed(before, usage)
        return [self._usage] if self._usage != before else []


def summed(one: UsageReported, other: UsageReported) -> UsageReported:
    """What is not known of one call is not known of both."""
    counts = {name: _plus(getattr(one, name), getattr(other, name)) for name in _COUNTS}
    costs = one.cost_usd, other.cost_usd
    cost = str(Decimal(costs[0]) + Decimal(costs[1])) if costs[0] is not None and costs[1] is not None else None
    return msgspec.structs.replace(other, **counts, cost_usd=cost)


def _plus(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def floats_of(text: str) -> list[float]:
    """The numbers of a base64 embedding: little-endian 32-bit floats (openai 3.54.0, resources/embeddings.py)."""
    numbers = array("f", base64.b64decode(text, validate=True))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()
