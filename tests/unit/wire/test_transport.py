"""The loop that does a codec's I/O, with a client that answers from a list and a codec made for the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, ClassVar

import msgspec
import pytest

from pluggably.domain.catalog import Target
from pluggably.domain.generation import (
    Completed,
    Event,
    GenerationRequest,
    ItemCompleted,
    ItemDelta,
    ItemStarted,
    Leased,
    Message,
    Progress,
    Text,
    TextParameters,
)
from pluggably.errors import (
    BackendAuthenticationFailed,
    BackendError,
    BackendInvalidResponse,
    BackendRateLimited,
    BackendRejected,
    BackendTimeout,
    Overloaded,
    UnsupportedParameter,
    Violation,
)
from pluggably.net.http import Patience
from pluggably.wire.codec import Address, Frame, HttpCall, HttpReply, Step
from pluggably.wire.endpoint import Endpoint
from pluggably.wire.transport import MAX_REPLY_BYTES, LeasedBackend, attempt

PATIENCE = Patience(1.0, 2.0, 3.0)
TARGET = Target(backend="toy", model="m", location="local")


def request(stream: bool = True) -> GenerationRequest:
    return GenerationRequest(
        model="m", modality="text", messages=[Message("user", "hi")], parameters=TextParameters(), stream=stream
    )


class FakeAnswer:
    """An answer of given pieces; an exception among them is raised where it stands."""

    def __init__(
        self, pieces: Sequence[bytes | Exception], status: int, content_type: str, headers: Mapping[str, str] = {}
    ) -> None:
        self._pieces = list(pieces)
        self.status = status
        self.content_type = content_type
        self.headers = {"content-type": content_type, **headers}
        self.events_seen = 0
        self.drained = self.closed = False

    def saw_event(self) -> None:
        self.events_seen += 1

    async def next_chunk(self) -> bytes:
        assert not self.closed
        if not self._pieces:
            return b""
        piece = self._pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        return piece

    async def read(self, limit_bytes: int) -> bytes:
        pieces = []
        while piece := await self.next_chunk():
            pieces.append(piece)
        return b"".join(pieces)

    async def drain(self) -> None:
        self.drained = True
        self._pieces.clear()

    def close(self) -> None:
        self.closed = True


class FakeClient:
    """Answers from a list, and keeps what was sent."""

    def __init__(self, *answers: FakeAnswer | Exception, takes_s: float = 0.0) -> None:
        self._answers = list(answers)
        self._takes_s = takes_s
        self.sent: list[tuple[str, str, dict[str, str], bytes]] = []
        self.patience: list[tuple[float, float, float]] = []

    async def send(self, method: str, url: str, headers: dict[str, str], body: bytes, patience: Patience) -> Any:
        self.patience.append((patience.first_event_s, patience.idle_s, patience.total_s))
        self.sent.append((method, url, headers, body))
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if self._takes_s:
            await asyncio.sleep(self._takes_s)
        return answer


def sse(*pieces: bytes | Exception, status: int = 200) -> FakeAnswer:
    return FakeAnswer(pieces, status, "text/event-stream")


def plain(
    *pieces: bytes | Exception,
    status: int = 200,
    content_type: str = "application/json",
    headers: Mapping[str, str] = {},
) -> FakeAnswer:
    return FakeAnswer(pieces, status, content_type, headers)


class Toy:
    """A wire of words: `start`, `text …`, `end`; `bug` is a slip, `error …` a house error, `next …` another call, and
    `both …` a piece of text and another call."""

    class Options(msgspec.Struct):
        framed: bool = True
        begins_with: tuple[Event, ...] = ()

    def __init__(self, options: Options) -> None:
        self._options = options
        self._next: HttpCall | None = None
        self._ended = False

    def begin(self, request: GenerationRequest, address: Address) -> Step:
        if request.on_unsupported == "error":
            raise UnsupportedParameter("no")
        framing: Any = "sse" if self._options.framed else None
        call = HttpCall(
            url=f"{address.base_url}/{address.model}/{'stream' if address.stream else 'plain'}",
            headers={"x-codec": "toy"},
            body=b"{}",
            framing=framing,
        )
        return Step(self._options.begins_with, call)

    def _word(self, word: str, rest: str) -> Step:
        if word == "start":
            return Step((ItemStarted(0, Text("")),))
        if word == "text":
            return Step((ItemDelta(0, "text", rest),))
        if word == "end":
            self._ended = True
            return Step((ItemCompleted(0, Text("")), Completed("stop")))
        if word == "next":
            self._next = HttpCall(method="GET", url=f"http://toy/{rest}")
            self._ended = True
            return Step(next=self._next)
        if word == "both":
            return Step((ItemDelta(0, "text", rest),), HttpCall(url="http://toy/more"))
        if word == "error":
            raise BackendError(rest)
        if word == "failed":
            return Step((ItemDelta(0, "text", rest),), error=BackendError(rest))
        if word == "bug":
            raise KeyError("a word of the answer")
        return Step()

    def receive(self, reply: HttpReply) -> Step:
        word, _, rest = reply.body.decode().partition(" ")
        return self._word(word, rest)

    def feed(self, frame: Frame) -> Step:
        word, _, rest = frame.data.decode().partition(" ")
        return self._word(word, rest)

    def finish(self) -> Step:
        if not self._ended:
            raise BackendInvalidResponse("no end")
        return Step(next=self._next)

    def fault(self, reply: HttpReply) -> BackendError:
        return BackendError(f"fault {reply.status} {reply.body.decode()}", backend_status=reply.status)


def endpoint(codec: type[Any] = Toy, always_streams: bool = False, **options: Any) -> Endpoint:
    return Endpoint(
        base_url="http://toy",
        model="m",
        backend="toy",
        location="local",
        codec=codec,
        options=codec.Options(**options),
        headers={"authorization": "Bearer secret"},
        always_streams=always_streams,
    )


def events_of(
    client: Any, at: Endpoint, stream: bool = True, patience: Patience = PATIENCE
) -> tuple[list[Sequence[Event]], Exception | None]:
    """The batches of one attempt, and the error that ended it."""

    async def main() -> tuple[list[Sequence[Event]], Exception | None]:
        batches: list[Sequence[Event]] = []
        try:
            async with aclosing(attempt(client, request(stream), at, patience)) as found:
                async for batch in found:
                    batches.append(batch)  # noqa: PERF401  what came before an error is kept
        except Exception as error:
            return batches, error
        return batches, None

    return asyncio.run(main())


def kinds(batches: list[Sequence[Event]]) -> list[list[str]]:
    return [[type(event).__name__ for event in batch] for batch in batches]


GOOD = b"data: start\n\ndata: text a\n\n"


def test_the_events_of_one_read_come_together() -> None:
    """What one read brings is one batch; the answer is drained before its end is told, and closed."""
    answer = sse(GOOD, b"data: te", b"xt b\n\ndata: end\n\n", b"data: never read\n\n")
    client = FakeClient(answer)
    batches, error = events_of(client, endpoint())
    assert error is None
    assert kinds(batches) == [["ItemStarted", "ItemDelta"], ["ItemDelta", "ItemCompleted", "Completed"]]
    assert answer.drained
    assert answer.closed
    assert answer.events_seen == 2


def test_the_endpoints_headers_go_with_every_call() -> None:
    """The credential is added to what the codec says, in each call of an attempt."""
    client = FakeClient(sse(b"data: next poll\n\n"), plain(b"end"))
    _, error = events_of(client, endpoint())
    assert error is None
    assert client.sent == [
        ("POST", "http://toy/m/stream", {"x-codec": "toy", "authorization": "Bearer secret"}, b"{}"),
        ("GET", "http://toy/poll", {"authorization": "Bearer secret"}, b""),
    ]


def test_calls_go_on_until_there_is_no_next_one() -> None:
    """A reply may name the next call, a stream too; each answer is closed before the next call is made."""
    answers = [plain(b"next one"), plain(b"next two"), plain(b"start"), plain(b"never")]
    client = FakeClient(*answers)
    batches, error = events_of(client, endpoint(framed=False))
    assert [url for _, url, _, _ in client.sent] == ["http://toy/m/stream", "http://toy/one", "http://toy/two"]
    assert kinds(batches) == [["ItemStarted"]]
    assert isinstance(error, BackendInvalidResponse)  # it ended without `Completed`
    assert [answer.closed for answer in answers] == [True, True, True, False]


@pytest.mark.parametrize(
    ("stream", "always", "path"), [(True, False, "stream"), (False, False, "plain"), (False, True, "stream")]
)
def test_who_asks_for_a_stream(stream: bool, always: bool, path: str) -> None:
    """The client asks for a stream, or the endpoint must always be asked for one."""
    client = FakeClient(plain(b"end"))
    events_of(client, endpoint(framed=False, always_streams=always), stream)
    assert client.sent[0][1] == f"http://toy/m/{path}"


def test_a_whole_reply_may_take_the_whole_time() -> None:
    """The first event of a reply that comes whole is its end; a stream's has a limit of its own."""
    streamed, whole = FakeClient(sse(GOOD, b"data: end\n\n")), FakeClient(plain(b"end"))
    events_of(streamed, endpoint())
    events_of(whole, endpoint(framed=False))
    assert (streamed.patience, whole.patience) == ([(1.0, 2.0, 3.0)], [(3.0, 3.0, 3.0)])


def test_all_calls_of_an_attempt_have_one_time_in_all() -> None:
    """Each has what those before it left, and where nothing is left, none is made."""
    slow = FakeClient(plain(b"next one"), plain(b"next two"), plain(b"end"), takes_s=0.02)
    _, error = events_of(slow, endpoint(framed=False))
    assert error is None
    totals = [total_s for _, _, total_s in slow.patience]
    assert totals[0] == 3.0 and totals[1] < 2.985 and totals[2] < 2.97
    late = FakeClient(plain(b"next one"), plain(b"end"), takes_s=0.02)
    _, error = events_of(late, endpoint(framed=False), patience=Patience(0.01, 0.01, 0.01))
    assert isinstance(error, BackendTimeout)
    assert (error.detail, len(late.sent)) == ("The backend did not finish within 0.01 s.", 1)


@pytest.mark.parametrize("before", [0, 1, 2])
def test_a_fault_of_a_later_call_says_so(before: int) -> None:
    """So whoever reads it knows that the request itself was understood."""
    client = FakeClient(*(plain(b"next one") for _ in range(before)), plain(b"no", status=429))
    _, error = events_of(client, endpoint(framed=False))
    assert isinstance(error, BackendError)
    more = f". That was call {before + 1} for this request; those before it went well." if before else ""
    assert error.detail == f"fault 429 no{more}"


def test_closing_between_two_calls_makes_no_other() -> None:
    """A client that leaves between two calls costs no call more."""

    async def main() -> None:
        client = FakeClient(plain(b"both"), plain(b"end"))
        events = attempt(client, request(), endpoint(framed=False), PATIENCE)  # type: ignore[arg-type]
        assert [type(event) for event in await anext(events)] == [ItemDelta]
        await events.aclose()
        assert len(client.sent) == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "framed"),
    [(plain(b"failed here"), False), (sse(b"data: failed here\n\ndata: text unread\n\n"), True)],
    ids=["whole", "stream"],
)
def test_what_came_with_an_error_is_told_before_it(answer: FakeAnswer, framed: bool) -> None:
    """An answer may end in an error and say what it used; nothing that follows the error is read."""
    batches, error = events_of(FakeClient(answer), endpoint(framed=framed))
    assert (kinds(batches), str(error)) == ([["ItemDelta"]], "here")
    assert isinstance(error, BackendError)
    assert answer.closed


def test_warnings_come_before_the_call() -> None:
    """What a codec tells at once is told before anything is sent."""
    client = FakeClient(BackendTimeout("slow"))
    batches, error = events_of(client, endpoint(begins_with=(Progress(stage="x"),)))
    assert kinds(batches) == [["Progress"]]
    assert isinstance(error, BackendTimeout)


@pytest.mark.parametrize("framed", [True, False])
@pytest.mark.parametrize("status", [300, 302, 400, 404, 500])
def test_a_fault_is_the_codecs_to_read(status: int, framed: bool) -> None:
    """From status 300 on the codec says which error it is, framed or not, and the answer is closed."""
    answer = plain(b"some", b"thing", status=status)
    batches, error = events_of(FakeClient(answer), endpoint(framed=framed))
    assert batches == []
    assert isinstance(error, BackendError)
    assert (error.detail, error.backend_status) == (f"fault {status} something", status)
    assert answer.closed


def test_a_whole_reply_where_a_stream_was_asked() -> None:
    """JSON in place of a stream is read as a whole reply, most often with the reason in it."""
    batches, error = events_of(FakeClient(plain(b"error it says why")), endpoint())
    assert batches == []
    assert str(error) == "it says why"


def test_a_stream_that_is_called_json_is_read_as_one() -> None:
    """What an answer is, its first bytes tell, whatever it is called."""
    batches, error = events_of(FakeClient(plain(GOOD, b"data: end\n\n")), endpoint())
    assert error is None
    assert kinds(batches)[-1][-1] == "Completed"


def test_a_whole_reply_that_is_called_a_stream_is_received() -> None:
    """Where JSON is all that came. Behind an event it is nothing."""
    batches, error = events_of(FakeClient(sse(b'{"a"', b": 1}")), endpoint())
    assert (batches, str(error)) == ([], "The backend's answer ended without its end mark.")
    _, error = events_of(FakeClient(sse(GOOD, b'{"a": 1}')), endpoint())
    assert str(error) == "no end"


@pytest.mark.parametrize("answer", [lambda: sse(GOOD, b"data: bug\n\n"), lambda: plain(b"bug")])
def test_a_slip_over_a_reply_is_an_invalid_response(answer: Callable[[], FakeAnswer]) -> None:
    """A codec's own exception is told as one, without its text, which may quote the answer."""
    made = answer()
    _, error = events_of(FakeClient(made), endpoint())
    assert isinstance(error, BackendInvalidResponse)
    assert "word" not in error.detail
    assert made.closed


def test_what_came_before_an_error_still_counts() -> None:
    """Events and an error of the same read: the events first, then the error."""
    for bad in (b"data: error it broke\n\n", b"data: bug\n\n"):
        batches, error = events_of(FakeClient(sse(GOOD + bad + b"data: text never\n\n")), endpoint())
        assert kinds(batches) == [["ItemStarted", "ItemDelta"]]
        assert isinstance(error, BackendError)


def test_a_stream_without_its_end_is_an_error() -> None:
    """A stream that just ends is never taken for a whole one, whatever came before."""
    for pieces in ((), (GOOD,), (GOOD, b"data: end"), (GOOD, b"data: end\n")):
        batches, error = events_of(FakeClient(sse(*pieces)), endpoint())
        assert isinstance(error, BackendInvalidResponse)
        assert all("Completed" not in batch for batch in kinds(batches))


def test_an_attempt_without_completed_is_an_error() -> None:
    """Also where the codec itself is content, an attempt ends in `Completed` or in an error."""
    _, error = events_of(FakeClient(plain(b"start")), endpoint(framed=False))
    assert isinstance(error, BackendInvalidResponse)


def test_an_answer_that_breaks_keeps_its_error() -> None:
    """The client's own error comes out as it is, after the events."""
    answer = sse(GOOD, BackendTimeout("stalled"))
    batches, error = events_of(FakeClient(answer), endpoint())
    assert len(batches) == 1
    assert isinstance(error, BackendTimeout)
    assert answer.closed


def test_a_refusal_before_any_call() -> None:
    """What the wire cannot carry is refused before anything is sent."""

    async def main() -> None:
        client = FakeClient()
        asked = msgspec.structs.replace(request(), on_unsupported="error")
        with pytest.raises(UnsupportedParameter):
            async for _ in attempt(client, asked, endpoint(), PATIENCE):  # type: ignore[arg-type]
                pass
        assert client.sent == []

    asyncio.run(main())


@pytest.mark.parametrize("pieces", [(GOOD, b"data: end\n\n"), (GOOD + b"data: end\n\n",)])
def test_closing_early_closes_the_answer(pieces: tuple[bytes, ...]) -> None:
    """Whoever stops reading, closes: the answer is closed with the generator."""

    async def main() -> None:
        answer = sse(*pieces)
        events = attempt(FakeClient(answer), request(), endpoint(), PATIENCE)  # type: ignore[arg-type]
        await anext(events)
        assert not answer.closed
        await events.aclose()
        assert answer.closed

    asyncio.run(main())


class Lease:
    """An address source that waits a few times, and knows when its lease came back."""

    def __init__(self, waits: int, at: Endpoint | Exception) -> None:
        self._waits = waits
        self._at = at
        self.asked: list[tuple[Target, float | None]] = []
        self.given_back = False

    async def lease(
        self, target: Target, keep_alive_s: float | None = None
    ) -> AsyncGenerator[Progress | Endpoint, None]:
        self.asked.append((target, keep_alive_s))
        try:
            for position in range(self._waits):
                yield Progress(stage="queued", position=position)
            if isinstance(self._at, Exception):
                raise self._at
            yield self._at
        finally:
            self.given_back = True


def generated(source: Lease, client: FakeClient, take: int | None = None) -> list[Sequence[Event]]:
    async def main() -> list[Sequence[Event]]:
        batches: list[Sequence[Event]] = []
        backend = LeasedBackend(source, client)  # type: ignore[arg-type]
        asked = msgspec.structs.replace(request(), keep_alive_s=7.0)
        async with aclosing(backend.generate(asked, TARGET, PATIENCE)) as found:
            async for batch in found:
                batches.append(batch)
                if take is not None and len(batches) == take:
                    break
        return batches

    return asyncio.run(main())


def test_a_lease_is_told_and_given_back() -> None:
    """Progress while it waits, then how long that was, then the events; and the lease comes back."""
    source = Lease(2, endpoint())
    batches = generated(source, FakeClient(sse(GOOD, b"data: end\n\n")))
    assert kinds(batches)[:3] == [["Progress"], ["Progress"], ["Leased"]]
    waited = batches[2][0]
    assert isinstance(waited, Leased)
    assert waited.queued_s >= 0
    assert type(batches[-1][-1]) is Completed
    assert source.asked == [(TARGET, 7.0)]
    assert source.given_back


def test_a_lease_without_a_wait_says_nothing() -> None:
    """Where nothing was waited for, nothing is told of it."""
    batches = generated(Lease(0, endpoint()), FakeClient(sse(GOOD, b"data: end\n\n")))
    assert kinds(batches)[0] == ["ItemStarted", "ItemDelta"]


@pytest.mark.parametrize("take", [1, 2, 3, 4])
def test_leaving_at_any_time_gives_the_lease_back(take: int) -> None:
    """In the queue or in the middle of an answer: the lease comes back, and the answer is closed."""
    source, answer = Lease(2, endpoint()), sse(GOOD, b"data: end\n\n")
    assert len(generated(source, FakeClient(answer), take)) == take
    assert source.given_back
    assert answer.closed == (take == 4)


def test_no_lease_no_call() -> None:
    """Where the source refuses, nothing is sent."""
    source, client = Lease(1, Overloaded("full")), FakeClient()
    with pytest.raises(Overloaded):
        generated(source, client)
    assert client.sent == []
    assert source.given_back


class Counting(Toy):
    made: ClassVar[int] = 0

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        type(self).made += 1


def test_each_attempt_has_a_codec_of_its_own() -> None:
    """One instance of a codec lives for one attempt."""
    Counting.made = 0
    for _ in range(3):
        events_of(FakeClient(sse(GOOD, b"data: end\n\n")), endpoint(Counting))
    assert Counting.made == 3


class Stamp:
    """Signs with a number that grows; fails or never ends where it is told to."""

    def __init__(self, failure: Exception | None = None, *, hangs: bool = False) -> None:
        self._failure = failure
        self._hangs = hangs
        self.signed: list[tuple[str, str, bytes]] = []

    async def sign(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str]:
        if self._hangs:
            await asyncio.Event().wait()
        if self._failure is not None:
            raise self._failure
        self.signed.append((method, url, body))
        return {**headers, "signature": str(len(self.signed))}


def test_each_call_of_an_attempt_is_signed_for_itself() -> None:
    """As it is sent, with the endpoint's query."""
    client, stamp = FakeClient(sse(b"data: next poll\n\n"), plain(b"end")), Stamp()
    at = msgspec.structs.replace(endpoint(), signer=stamp, query="v=1")
    _, error = events_of(client, at)
    assert error is None
    assert stamp.signed == [("POST", "http://toy/m/stream?v=1", b"{}"), ("GET", "http://toy/poll?v=1", b"")]
    assert [headers["signature"] for _, _, headers, _ in client.sent] == ["1", "2"]
    assert client.sent[0][2]["authorization"] == "Bearer secret"


def test_a_call_that_cannot_be_signed_is_not_sent() -> None:
    """The signer's error is that of the attempt."""
    client = FakeClient()
    at = msgspec.structs.replace(endpoint(), signer=Stamp(BackendAuthenticationFailed("no keys")))
    batches, error = events_of(client, at)
    assert (batches, str(error)) == ([], "no keys")
    assert client.sent == []


def test_a_signature_that_does_not_come_is_a_timeout() -> None:
    """The client's patience holds for it, too."""
    client = FakeClient()
    at = msgspec.structs.replace(endpoint(), signer=Stamp(hangs=True))
    _, error = events_of(client, at, patience=Patience(0.01, 1.0, 1.0))
    assert isinstance(error, BackendTimeout)
    assert client.sent == []


class Slips(Toy):
    """Reads no error but its own kind."""

    def fault(self, reply: HttpReply) -> BackendError:
        raise UnicodeDecodeError("utf-8", reply.body, 0, 1, "a word of the answer")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, BackendAuthenticationFailed), (404, BackendRejected), (429, BackendRateLimited), (500, BackendError)],
)
def test_a_slip_over_an_error_keeps_its_status(status: int, kind: type[BackendError]) -> None:
    """So whatever a backend says of its failure, another target is still tried, and a client told which it was."""
    answer = plain(b"\xff", status=status, headers={"retry-after": "7"})
    _, error = events_of(FakeClient(answer), endpoint(Slips))
    assert type(error) is kind
    assert (error.backend_status, error.retry_after_s) == (status, 7.0)
    assert "word" not in error.detail
    assert answer.closed


KEY = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    "answer",
    [
        lambda: plain(f"the key '{KEY}' is wrong".encode(), status=400),
        lambda: plain(f"the key is {KEY[:-3]}…".encode(), status=400),
        lambda: plain(f"error your key ({KEY}) is wrong".encode()),
        lambda: plain(f"failed your key ({KEY}) is wrong".encode()),
        lambda: sse(GOOD, f"data: error x-api-key: {KEY}\n\n".encode()),
        lambda: sse(GOOD, f"data: failed x-api-key: {KEY}\n\n".encode()),
    ],
    ids=["refused", "cut", "in a 200", "in a step", "in a stream", "in a step of a stream"],
)
@pytest.mark.parametrize("name", ["Authorization", "x-any"])
def test_a_backend_that_quotes_our_key_shows_it_to_nobody(name: str, answer: Callable[[], FakeAnswer]) -> None:
    """Whatever a key looks like, it is known here."""

    class Says(Toy):
        def fault(self, reply: HttpReply) -> BackendError:
            said = reply.body.decode()
            error = BackendError(said, backend_code=said)
            error.pointer, error.violations = said, [Violation("/a", said)]
            return error

        def receive(self, reply: HttpReply) -> Step:
            step = super().receive(reply)
            return Step(error=step.error) if step.error else step

    at = msgspec.structs.replace(endpoint(Says), headers={name: f"Bearer {KEY}", "api-version": "2026-11-01"})
    _, error = events_of(FakeClient(answer()), at)
    assert isinstance(error, BackendError)
    told = msgspec.json.encode(error.problem()).decode() + str(error)
    assert "[redacted]" in error.detail
    assert KEY[:20] not in told


def test_words_that_are_no_key_are_told() -> None:
    """The version of an API is none, nor what is too short to be one."""
    at = msgspec.structs.replace(endpoint(), headers={"api-version": "2026-11-01", "x-key": "words"})
    _, error = events_of(FakeClient(plain(b"no words of 2026-11-01", status=400)), at)
    assert str(error) == "fault 400 no words of 2026-11-01"


def test_what_a_signer_adds_is_as_secret() -> None:
    """A token that it has just fetched, for instance."""

    class Signs:
        async def sign(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str]:
            return {**headers, "authorization": f"Bearer {KEY}", "x-date": "20261101T000000Z"}

    at = msgspec.structs.replace(endpoint(), headers={}, signer=Signs())
    _, error = events_of(FakeClient(plain(f"20261101T000000Z {KEY}".encode(), status=400)), at)
    assert str(error) == "fault 400 20261101T000000Z [redacted]"


def test_a_stream_has_as_much_room_as_a_whole_answer() -> None:
    """One that never ends does not fill the memory."""
    piece = b"data: x" + b" " * (MAX_REPLY_BYTES // 16) + b"\n\n"
    answer = sse(GOOD, *[piece] * 16, b"data: end\n\n")
    batches, error = events_of(FakeClient(answer), endpoint())
    assert kinds(batches) == [["ItemStarted", "ItemDelta"]]
    assert isinstance(error, BackendInvalidResponse)
    assert str(MAX_REPLY_BYTES) in error.detail
    assert answer.closed


def test_a_local_endpoint_is_asked_nothing_with_a_url_of_an_option() -> None:
    """No call is made, and what would be refused is known beforehand, too."""
    place: Any = Lease(0, endpoint())
    place.last_endpoint = lambda _target: endpoint()
    asked = msgspec.structs.replace(request(), provider_options={"toy": {"image_url": "http://169.254.169.254/"}})
    client = FakeClient()
    backend = LeasedBackend(place, client)  # type: ignore[arg-type]

    async def main() -> None:
        async for _ in backend.generate(asked, TARGET, PATIENCE):
            pass

    with pytest.raises(UnsupportedParameter) as raised:
        asyncio.run(main())
    assert raised.value.pointer == "/provider_options/toy"
    assert client.sent == []
    assert isinstance(backend.foresee(asked, TARGET).refusal, UnsupportedParameter)
