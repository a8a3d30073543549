"""The one loop that does a codec's I/O: send its call, feed it what comes, make its next call, until it is done.

Here, and nowhere else, a codec's slip over a reply becomes `backend_invalid_response`, and a stream that lacks its
end becomes an error. Nothing is retried here: that is a decision, and decisions live in `gateway`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from functools import partial

import structlog

from pluggably.domain.catalog import Foresight, Target
from pluggably.domain.generation import (
    MEDIA_KINDS,
    Completed,
    Event,
    GenerationRequest,
    Leased,
    MediaKind,
    Progress,
    Warned,
)
from pluggably.errors import BackendInvalidResponse, BackendTimeout, PluggablyError
from pluggably.net.http import Answer, HttpClient, Patience
from pluggably.wire.codec import Address, Codec, Frame, HttpCall, HttpReply, Step
from pluggably.wire.endpoint import AddressSource, Endpoint, FixedAddress, Signer
from pluggably.wire.faults import fault_by_status, redact, retry_after_s
from pluggably.wire.framing import FRAMERS, Framer, comes_whole, ended, received
from pluggably.wire.own_urls import refuse_own_urls

log = structlog.get_logger()

# Of an answer, whole or as a stream. A million embedding numbers as JSON text are 20 MB.
MAX_REPLY_BYTES = 128 * 1024 * 1024
MAX_FAULT_BYTES = 256 * 1024
# Headers that let a call in, whoever made them; of an endpoint's own, all may be secrets but the version of an API.
_CREDENTIAL = re.compile(r"auth|key|token|secret|cookie", re.I)
_VERSION = re.compile(r"version$", re.I)


class FixedBackend:
    """A backend whose address never changes: a provider, and the wire that it speaks."""

    def __init__(self, place: FixedAddress, client: HttpClient) -> None:
        self._place = place
        self._client = client

    def generate(
        self, request: GenerationRequest, target: Target, patience: Patience, credential: int = 0
    ) -> AsyncGenerator[Sequence[Event], None]:
        """The events of one attempt, those of one read together; the last is `Completed`. Closing it early cuts the
        backend's work."""
        return attempt(self._client, request, self._place.endpoint(target, credential), patience)

    @property
    def credentials(self) -> int:
        return self._place.credentials

    def takes_urls(self, target: Target) -> Collection[MediaKind]:
        """What the codec's option `inputs` says; nothing on the operator's own network, where a URL would be fetched
        from inside, and nothing for a codec that does not say."""
        try:
            endpoint = self._place.endpoint(target)
        except PluggablyError:  # told when it is asked
            return ()
        if endpoint.location == "local":
            return ()
        inputs = getattr(endpoint.options, "inputs", ())
        return [kind for kind in MEDIA_KINDS if f"{kind}_url" in inputs]

    def foresee(self, request: GenerationRequest, target: Target) -> Foresight:
        """What the codec makes of the request: it is pure, so that costs nothing but its time."""
        try:
            return _foreseen(self._place.endpoint(target), request)
        except PluggablyError as refusal:
            return Foresight(refusal)


class LeasedBackend:
    """A backend whose address is leased for each generation: the models of this machine."""

    def __init__(self, source: AddressSource, client: HttpClient) -> None:
        self._source = source
        self._client = client

    async def generate(
        self,
        request: GenerationRequest,
        target: Target,
        patience: Patience,
        credential: int = 0,  # noqa: ARG002  a worker has one secret, which the lease brings
    ) -> AsyncGenerator[Sequence[Event], None]:
        """As above, with progress before it while the lease waits. Closing it early also gives the lease back."""
        clock = asyncio.get_running_loop().time
        asked_at = clock()
        waited = False
        async with aclosing(self._source.lease(target, request.keep_alive_s)) as lease:
            async for step in lease:
                if isinstance(step, Progress):
                    waited = True
                    yield (step,)
                    continue
                if waited:
                    yield (Leased(round(clock() - asked_at, 6)),)
                async with aclosing(attempt(self._client, request, step, patience)) as events:
                    async for batch in events:
                        yield batch
                return

    @property
    def credentials(self) -> int:
        return 1

    def takes_urls(self, target: Target) -> Collection[MediaKind]:  # noqa: ARG002
        """Nothing: a worker would fetch it from inside."""
        return ()

    def foresee(self, request: GenerationRequest, target: Target) -> Foresight:
        """Only a worker brings its codec, so before the first one nothing is known to be amiss; after it, what would
        be refused. What would be dropped is not told: the order of a route would change with a model's first start."""
        endpoint = self._source.last_endpoint(target)
        return Foresight(_foreseen(endpoint, request).refusal) if endpoint is not None else Foresight()


def _foreseen(endpoint: Endpoint, request: GenerationRequest) -> Foresight:
    try:
        step = _begun(endpoint.codec(endpoint.options), endpoint, request)
    except PluggablyError as refusal:
        return Foresight(refusal)
    return Foresight(None, sum(type(event) is Warned for event in step.events))


def _begun(codec: Codec, endpoint: Endpoint, request: GenerationRequest) -> Step:
    """A codec's first step. Raises: UnsupportedParameter, UnsupportedModality, InvalidRequest."""
    if endpoint.location == "local":
        refuse_own_urls(request, endpoint.backend)
    return codec.begin(request, _address(endpoint, request))


def _address(endpoint: Endpoint, request: GenerationRequest) -> Address:
    return Address(
        base_url=endpoint.base_url,
        model=endpoint.model,
        backend=endpoint.backend,
        stream=request.stream or endpoint.always_streams,
    )


async def attempt(
    client: HttpClient, request: GenerationRequest, endpoint: Endpoint, patience: Patience
) -> AsyncGenerator[Sequence[Event], None]:
    """One attempt at one endpoint.

    Raises: BackendError and its kinds; UnsupportedParameter, UnsupportedModality before any call."""
    codec = endpoint.codec(endpoint.options)
    step = _begun(codec, endpoint, request)
    completed = False
    calls, began = 0, asyncio.get_running_loop().time()
    while True:
        if step.events:
            yield step.events
        if step.error is not None:
            raise step.error
        call = step.next
        if call is None:
            break
        headers: Mapping[str, str] = {**call.headers, **endpoint.headers}
        left = _left(patience, began) if calls else patience
        calls += 1
        waits = left if call.framing is not None else left.for_whole()
        url = f"{call.url}?{endpoint.query}" if endpoint.query else call.url
        if endpoint.signer is not None:
            headers = await _signed(endpoint.signer, call, url, headers, waits)
        answer = await client.send(call.method, url, headers, call.body, waits)
        try:
            if answer.status >= 300:
                fault = _fault(codec, await _reply(answer, MAX_FAULT_BYTES))
                fault.backend_status = fault.backend_status or answer.status
                if calls > 1:
                    said = fault.detail if fault.detail.endswith((".", "!", "?", "…")) else f"{fault.detail}."
                    fault.detail = f"{said} That was call {calls} for this request; those before it went well."
                raise fault
            if call.framing is None or comes_whole(call.framing, answer.content_type):
                reply = await _reply(answer, MAX_REPLY_BYTES)
                step = _understood(partial(received, codec, reply))
            else:
                framer = FRAMERS[call.framing]()
                async with aclosing(_streamed(codec, framer, answer)) as batches:
                    async for batch in batches:
                        completed = completed or type(batch[-1]) is Completed
                        yield batch
                step = _understood(partial(ended, codec, framer))
            if step.error is not None:
                redact(step.error, _credentials(endpoint, headers))
        except PluggablyError as error:
            redact(error, _credentials(endpoint, headers))
            raise
        finally:
            answer.close()
        completed = completed or any(type(event) is Completed for event in step.events)
    if not completed:
        raise BackendInvalidResponse("The backend's answer ended without its end mark.")


def _credentials(endpoint: Endpoint, headers: Mapping[str, str]) -> list[str]:
    """What must not be told of a call's headers: of each the last word, as in `Bearer <key>`."""
    return [
        value.rpartition(" ")[2]
        for name, value in headers.items()
        if (name in endpoint.headers and not _VERSION.search(name)) or _CREDENTIAL.search(name)
    ]


def _left(patience: Patience, began: float) -> Patience:
    """The patience for one more call: those of an attempt have one time in all. Raises: BackendTimeout."""
    left_s = began + patience.total_s - asyncio.get_running_loop().time()
    if left_s <= 0:
        raise BackendTimeout(f"The backend did not finish within {patience.total_s:g} s.")
    return Patience(patience.first_event_s, patience.idle_s, left_s)


async def _signed(
    signer: Signer, call: HttpCall, url: str, headers: Mapping[str, str], waits: Patience
) -> Mapping[str, str]:
    """The headers of a call that must be signed. Raises: BackendTimeout, and what the signer raises."""
    limit_s = min(waits.first_event_s, waits.total_s)
    try:
        async with asyncio.timeout(limit_s):
            return await signer.sign(call.method, url, headers, call.body)
    except TimeoutError:
        raise BackendTimeout(f"There was no credential for the backend within {limit_s:g} s.") from None


async def _streamed(codec: Codec, framer: Framer, answer: Answer) -> AsyncGenerator[Sequence[Event], None]:
    """The events of a framed answer, those of one read together. `Completed` is held back until the answer has really
    ended, so that its connection can serve again."""
    size = 0
    while chunk := await answer.next_chunk():
        size += len(chunk)
        if size > MAX_REPLY_BYTES:
            raise BackendInvalidResponse(f"The backend's answer is longer than {MAX_REPLY_BYTES} bytes.")
        events, error = _events(codec, framer.feed(chunk))
        if events:
            answer.saw_event()
            if type(events[-1]) is Completed and error is None:
                await answer.drain()
                yield events
                return
            yield events
        if error is not None:
            raise error
    events, error = _events(codec, framer.end())
    if events:
        yield events
    if error is not None:
        raise error


def _events(codec: Codec, frames: Sequence[Frame]) -> tuple[list[Event], PluggablyError | None]:
    """The events of the frames of one read, and the error that ended them: what came before it still counts."""
    events: list[Event] = []
    try:
        for frame in frames:
            step = codec.feed(frame)
            events += step.events
            if step.error is not None:
                return events, step.error
    except PluggablyError as error:
        return events, error
    except Exception as slip:  # noqa: BLE001  codecs write no `try`; this is their one net
        return events, _misunderstood(slip)
    return events, None


def _understood(read: Callable[[], Step]) -> Step:
    """Runs a codec over a reply."""
    try:
        return read()
    except PluggablyError:
        raise
    except Exception as slip:
        raise _misunderstood(slip) from slip


def _fault(codec: Codec, reply: HttpReply) -> PluggablyError:
    """What a codec makes of an error; where it slips over one, what the status says is told all the same."""
    try:
        return codec.fault(reply)
    except PluggablyError:
        raise
    except Exception as slip:  # noqa: BLE001  as above
        _tell(slip)
        detail = f"The backend answered {reply.status}, and why is not in the form that its wire documents."
        return fault_by_status(reply, detail, retry_after_s=retry_after_s(reply.headers, limited=reply.status == 429))


def _misunderstood(slip: Exception) -> BackendInvalidResponse:
    _tell(slip)
    return BackendInvalidResponse("The backend's answer is not of the form that its wire documents.")


def _tell(slip: Exception) -> None:
    # The exception's text may quote the answer, so it goes nowhere; its type and place are enough to find the fault.
    log.warning("codec_slip", exception=type(slip).__name__, place=_place(slip))


def _place(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else ""


async def _reply(answer: Answer, limit_bytes: int) -> HttpReply:
    body = await answer.read(limit_bytes)
    return HttpReply(status=answer.status, headers=answer.headers, body=body)
