"""The order of a route's targets, and what is tried after a failure: by table, and by random pursuits."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from snapshots import target

from pluggably.domain.catalog import Foresight, Price, Route, Target
from pluggably.domain.generation import Location, Routing
from pluggably.errors import (
    BackendAuthenticationFailed,
    BackendError,
    BackendInvalidResponse,
    BackendQuotaExhausted,
    BackendRateLimited,
    BackendRejected,
    BackendTimeout,
    BackendUnreachable,
    ContentFiltered,
    ContextLengthExceeded,
    InvalidRequest,
    ModelNotFound,
    ModelUnavailable,
    Overloaded,
    PermissionDenied,
    PluggablyError,
    UnsupportedParameter,
)
from pluggably.gateway.routing import Known, Plan, Pursuit, RetryRules, plan

QWEN = target("qwen", local=True, runner="llama.cpp")
BOX = target("box/llama", local=True)
OPENAI = target("openai/gpt")
GROQ = target("groq/fast")
ALL = (QWEN, BOX, OPENAI, GROQ)
NOTHING = Known()


def half() -> float:
    return 0.5


def planned(
    *targets: Target,
    wishes: Routing | None = None,
    known: dict[Target, Known] | None = None,
    promise: Location | None = None,
    draw: Callable[[], float] = half,
    **route: Any,
) -> Plan:
    facts = known or {}
    return plan(
        Route(id="r", targets=targets or ALL, **route),
        wishes,
        lambda one: facts.get(one, Known(free=True) if one.runner else NOTHING),
        promise=promise,
        draw=draw,
    )


def order(plan: Plan) -> list[Target]:
    return [one.target for one in plan.candidates]


def priced(dollars_in: str | None, dollars_out: str | None) -> Known:
    return Known(price=Price(input_per_million=dollars_in, output_per_million=dollars_out))


# ── the order ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        (None, ALL),
        (Routing(), ALL),
        (Routing(only=["local"]), (QWEN, BOX)),
        (Routing(only=["remote"]), (OPENAI, GROQ)),
        (Routing(only=["free"]), (QWEN,)),
        (Routing(only=["llama.cpp"]), (QWEN,)),
        (Routing(only=["qwen", "groq"]), (QWEN, GROQ)),
        (Routing(only=[]), ()),
        (Routing(only=["nobody"]), ()),
        (Routing(ignore=["remote"]), (QWEN, BOX)),
        (Routing(ignore=["openai", "llama.cpp"]), (BOX, GROQ)),
        (Routing(ignore=["free"]), (BOX, OPENAI, GROQ)),
        (Routing(only=["local"], ignore=["local"]), ()),
        (Routing(order=["groq"]), (GROQ, QWEN, BOX, OPENAI)),
        (Routing(order=["remote", "box"]), (OPENAI, GROQ, BOX, QWEN)),
        (Routing(order=["nobody", "openai"]), (OPENAI, QWEN, BOX, GROQ)),
        (Routing(only=["remote"], order=["groq"]), (GROQ, OPENAI)),
        (Routing(fallbacks=False), (QWEN,)),
        (Routing(fallbacks=False, order=["groq"]), (GROQ,)),
        (Routing(fallbacks=False, only=["remote"]), (OPENAI,)),
    ],
)
def test_what_a_request_wishes(wishes: Routing | None, expected: Sequence[Target]) -> None:
    """Names and classes choose, leave out and put first; the config's order decides the rest."""
    found = planned(wishes=wishes)
    assert order(found) == list(expected)
    assert {one.target for one in found.passed} == set(ALL) - set(expected)


@pytest.mark.parametrize(
    ("route_promises", "key_promises", "expected"),
    [
        (None, None, ALL),
        ("local", None, (QWEN, BOX)),
        (None, "local", (QWEN, BOX)),
        ("local", "local", (QWEN, BOX)),
        ("remote", None, (OPENAI, GROQ)),
        ("local", "remote", ()),
    ],
)
def test_promises_of_location(
    route_promises: Location | None, key_promises: Location | None, expected: Sequence[Target]
) -> None:
    """What the model and the key promise holds for every target, for those kept for later, and against any wish."""
    for wishes in (None, Routing(order=["openai"]), Routing(sort="price")):
        found = planned(
            wishes=wishes,
            location=route_promises,
            promise=key_promises,
            on_context_length=ALL,
            on_content_filter=(GROQ, BOX),
        )
        assert set(order(found)) == set(expected)
        assert {one.target for one in found.on_context_length} == set(expected)
        assert {one.target for one in found.on_content_filter} == {GROQ, BOX} & set(expected)


@pytest.mark.parametrize("name", ["local", "remote", "free"])
def test_a_backend_cannot_be_called_like_a_class(name: str) -> None:
    """A remote provider of the name `local` is not what `only: [local]` means."""
    odd = target(f"{name}/model")
    found = planned(odd, QWEN, wishes=Routing(only=[name]))
    assert order(found) == [one for one, belongs in ((odd, name == "remote"), (QWEN, name != "remote")) if belongs]


def test_prices_from_low_to_high_and_unknown_ones_last() -> None:
    """What is free costs nothing; a price of which half is missing is not known."""
    known = {
        QWEN: Known(),
        BOX: priced("1", None),
        OPENAI: priced("2.5", "10"),
        GROQ: priced("0.1", "0.4"),
    }
    free = target("gift/model")
    found = planned(*ALL, free, choose="price", known={**known, free: Known(free=True)})
    assert order(found) == [free, GROQ, OPENAI, QWEN, BOX]
    reasons = [one.reason for one in found.candidates]
    assert reasons[:2] == ["it costs nothing", "about $0.175 a million tokens"]
    assert reasons[-1] == "its price is not known"
    assert order(planned(known=known, wishes=Routing(sort="price"))) == [GROQ, OPENAI, QWEN, BOX]


def test_latency_from_low_to_high_and_the_unmeasured_first() -> None:
    """What was not measured lately is tried first, or it never would be."""
    known = {QWEN: Known(latency_s=0.9), BOX: Known(latency_s=0.2), OPENAI: Known(), GROQ: Known(latency_s=0.1)}
    assert order(planned(choose="latency", known=known)) == [OPENAI, GROQ, BOX, QWEN]
    assert order(planned(wishes=Routing(sort="latency"), known=known)) == [OPENAI, GROQ, BOX, QWEN]


def test_a_wish_for_an_order_stands_over_the_sorting() -> None:
    """`order` puts its names first, and `sort` orders within what it names and what is left."""
    known = {OPENAI: priced("2", "2"), GROQ: priced("1", "1"), QWEN: priced("9", "9"), BOX: priced("8", "8")}
    assert order(planned(known=known, wishes=Routing(order=["local"], sort="price"))) == [BOX, QWEN, GROQ, OPENAI]


@pytest.mark.parametrize("weights", [(3.0, 1.0), (0.75, 0.25), (3e-5, 1e-5), (3e300, 1e300)])
def test_shares_by_weight(weights: tuple[float, float]) -> None:
    """Of many requests each target comes first in proportion to its weight, whatever the unit."""
    draw = random.Random(7).random
    first = Counter(order(planned(OPENAI, GROQ, choose="weight", weights=weights, draw=draw))[0] for _ in range(4000))
    assert first[OPENAI] / 4000 == pytest.approx(0.75, abs=0.03)


def test_the_second_by_weight_too() -> None:
    """Behind the first, the others stand in proportion to their weights as well."""
    draw = random.Random(7).random
    orders = [order(planned(*ALL[:3], choose="weight", weights=(98.0, 1.5, 0.5), draw=draw)) for _ in range(4000)]
    behind = Counter(one[1] for one in orders if one[0] == QWEN)
    assert behind[BOX] / behind.total() == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize("drawn", [0.0, 1.0, 0.5])
@pytest.mark.parametrize("weight", [5e-324, 1.0, 1e308, math.inf])
def test_odd_weights_and_draws_are_survived(drawn: float, weight: float) -> None:
    """No weight that is positive and no draw breaks the order."""
    found = planned(OPENAI, GROQ, choose="weight", weights=(weight, 1.0), draw=lambda: drawn)
    assert set(order(found)) == {OPENAI, GROQ}


def test_a_resting_target_is_passed_over() -> None:
    """It is told why, and the route goes on with the others."""
    found = planned(known={QWEN: Known(rests_s=4.26, resting="it failed")})
    assert order(found) == [BOX, OPENAI, GROQ]
    assert found.passed[0].error.detail == "it failed"
    assert found.passed[0].error.retry_after_s == 4.3


# ── what the targets would make of it ───────────────────────────────────────────────────────────────────────────────


def test_targets_that_drop_nothing_come_first() -> None:
    """What refuses is taken out; what drops hints stands behind what drops none, and otherwise as it stood."""
    refusal = UnsupportedParameter("no tools here")
    foreseen = {QWEN: Foresight(None, 2), BOX: Foresight(refusal), OPENAI: Foresight(), GROQ: Foresight(None, 1)}
    found = planned().preferring(foreseen, keeps_order=False)
    assert order(found) == [OPENAI, QWEN, GROQ]
    assert found.passed[0].error is refusal
    assert "cannot honour" in found.candidates[1].reason
    kept = planned().preferring(foreseen, keeps_order=True)
    assert order(kept) == [QWEN, OPENAI, GROQ]


def rest(seconds: float) -> Known:
    return Known(rests_s=seconds, resting="it rests")


@pytest.mark.parametrize(
    ("made", "kind", "pointer", "retry_after_s"),
    [
        (lambda: planned(wishes=Routing(only=["nobody"])), InvalidRequest, "/routing/only", None),
        (lambda: planned(wishes=Routing(ignore=["local", "remote"])), InvalidRequest, "/routing/ignore", None),
        (lambda: planned(wishes=Routing(only=["remote"], ignore=["remote"])), InvalidRequest, "/routing", None),
        (lambda: planned(OPENAI, location="local"), InvalidRequest, "/model", None),
        (lambda: planned(OPENAI, promise="local"), PermissionDenied, None, None),
        (lambda: planned(OPENAI, QWEN, promise="local", wishes=Routing(only=["remote"])), PermissionDenied, None, None),
        (lambda: planned(OPENAI, GROQ, known={OPENAI: rest(9), GROQ: rest(3)}), ModelUnavailable, None, 3.0),
        (lambda: planned(OPENAI, QWEN, promise="local", known={QWEN: rest(5)}), ModelUnavailable, None, 5.0),
        (
            lambda: planned(OPENAI, GROQ, known={OPENAI: rest(5)}, wishes=Routing(ignore=["groq"])),
            ModelUnavailable,
            None,
            5.0,
        ),
        (
            lambda: planned(OPENAI).preferring({OPENAI: Foresight(UnsupportedParameter("no"))}, keeps_order=False),
            UnsupportedParameter,
            None,
            None,
        ),
        (
            lambda: planned(OPENAI, GROQ, wishes=Routing(ignore=["groq"])).preferring(
                {OPENAI: Foresight(UnsupportedParameter("no"))}, keeps_order=False
            ),
            UnsupportedParameter,
            None,
            None,
        ),
        (lambda: plan(Route(id="r", targets=()), None, lambda _: NOTHING, draw=half), ModelUnavailable, None, None),
    ],
)
def test_the_error_where_nothing_is_left(
    made: Callable[[], Plan], kind: type[PluggablyError], pointer: str | None, retry_after_s: float | None
) -> None:
    """What would change by waiting comes before what the client may not, and that before what it asked wrongly."""
    found = made()
    assert not found.candidates
    error = found.nothing_left()
    assert type(error) is kind
    assert (error.pointer, error.retry_after_s) == (pointer, retry_after_s)
    assert error.detail


def test_names_that_mean_nothing_are_told() -> None:
    """With those that the targets have; where one of them means a target, there is nothing to say about names."""
    told = " No target of this model has a name that is in `routing.only`; they have "
    nobody = planned(QWEN, OPENAI, wishes=Routing(only=["nobody"])).nothing_left().detail
    assert nobody.endswith(f"{told}`free`, `llama.cpp`, `local`, `openai`, `qwen`, `remote`.")
    for wishes in (Routing(only=["remote"], ignore=["openai"]), Routing(ignore=["local", "remote"])):
        assert told not in planned(QWEN, OPENAI, wishes=wishes).nothing_left().detail


def test_the_error_lists_a_few() -> None:
    """A route of many targets does not make an endless message."""
    many = tuple(target(f"p{i}/m") for i in range(9))
    detail = planned(*many, wishes=Routing(only=["nobody"])).nothing_left().detail
    assert "p4/m" in detail and "p5/m" not in detail and "and 4 more" in detail


def test_the_prospects_tell_of_every_target_once_a_list() -> None:
    """Those that are tried have positions from 1, the others say why not; so do those kept for later."""
    found = planned(
        QWEN, OPENAI, wishes=Routing(only=["local"]), on_context_length=(BOX, GROQ), on_content_filter=(BOX,)
    )
    told = [(one.backend, one.position) for one in found.prospects()]
    assert told == [("qwen", 1), ("box", None), ("box", None), ("openai", None), ("groq", None)]
    reasons = [one.reason for one in found.prospects()]
    assert reasons == [
        "the only target",
        "only where the input is too long for another",
        "only where another's content filter refuses",
        "`routing.only` leaves it out",
        "`routing.only` leaves it out",
    ]


# ── after a failure ─────────────────────────────────────────────────────────────────────────────────────────────────


class Chase:
    """A pursuit of a route, and the time that it is told."""

    def __init__(
        self,
        *targets: Target,
        credentials: int = 1,
        attempts: int = 2,
        max_wait_s: float = 60.0,
        deadline: float = 1000.0,
        admits: Callable[[Target], bool] = lambda _: True,
        **route: Any,
    ) -> None:
        self.now = 0.0
        self.pursuit = Pursuit(
            planned(*targets, **route),
            lambda _: range(credentials),
            admits,
            RetryRules(attempts=attempts, max_wait_s=max_wait_s),
            lambda: 1.0,
            deadline,
        )
        self.tried = [self.pursuit.first()]

    def fail(self, error: PluggablyError) -> bool:
        following = self.pursuit.after(error, self.now)
        if following is not None:
            self.now += following.wait_s
            self.tried.append(following)
        return following is not None

    @property
    def path(self) -> list[tuple[str, int, float]]:
        return [(one.target.backend, one.credential, one.wait_s) for one in self.tried]


BROKE = BackendError("broke")


@pytest.mark.parametrize(
    "error",
    [BROKE, BackendUnreachable("refused"), BackendInvalidResponse("garbled")],
)
def test_what_may_pass_is_tried_again_and_then_elsewhere(error: BackendError) -> None:
    """The same target after a back-off, then the next one."""
    chase = Chase(OPENAI, GROQ)
    while chase.fail(error):
        pass
    assert chase.path == [("openai", 0, 0), ("openai", 0, 0.5), ("groq", 0, 0), ("groq", 0, 0.5)]


def test_the_back_off_doubles_up_to_a_limit() -> None:
    """Half a second, then twice as long each time, at most five seconds."""
    chase = Chase(OPENAI, attempts=8)
    while chase.fail(BROKE):
        pass
    assert [wait_s for _, _, wait_s in chase.path] == [0, 0.5, 1, 2, 4, 5, 5, 5]


@pytest.mark.parametrize(
    "error",
    [
        BackendTimeout("slow"),
        BackendRejected("404"),
        ModelNotFound("gone"),
        ModelUnavailable("not loaded"),
        Overloaded("queue"),
        UnsupportedParameter("no"),
    ],
)
def test_what_would_not_pass_goes_elsewhere_at_once(error: PluggablyError) -> None:
    """Another target is tried without any wait, and the same one never again."""
    chase = Chase(OPENAI, GROQ)
    assert chase.fail(error) and not chase.fail(error)
    assert chase.path == [("openai", 0, 0), ("groq", 0, 0)]


@pytest.mark.parametrize("error", [InvalidRequest("wrong"), ContextLengthExceeded("long"), ContentFiltered("bad")])
def test_the_clients_own_error_goes_nowhere(error: PluggablyError) -> None:
    """What is wrong with the request is not tried elsewhere, unless the operator chose where."""
    assert not Chase(OPENAI, GROQ).fail(error)


@pytest.mark.parametrize("error", [BackendAuthenticationFailed("401"), BackendQuotaExhausted("402")])
def test_a_refused_credential_is_dead_for_the_request(error: PluggablyError) -> None:
    """The next one is tried, then the next target; another target of the same provider does without it, too."""
    sibling = target("openai/mini")
    chase = Chase(OPENAI, sibling, GROQ, credentials=2)
    assert chase.fail(error)
    assert chase.fail(BackendTimeout("slow"))
    assert chase.path == [("openai", 0, 0), ("openai", 1, 0), ("openai", 1, 0)]
    assert chase.tried[-1].target == sibling
    assert chase.fail(error)
    assert chase.path[-1] == ("groq", 0, 0)


def test_a_limited_target_is_waited_for_once_nothing_else_is_left() -> None:
    """Other keys and other targets come first; then the one that asked for the least patience."""
    chase = Chase(OPENAI, GROQ, credentials=2)
    for after in (9.0, 4.0, 7.0, 8.0):
        assert chase.fail(BackendRateLimited("429", retry_after_s=after))
    assert chase.path == [("openai", 0, 0), ("openai", 1, 0), ("groq", 0, 0), ("groq", 1, 0), ("openai", 1, 4.0)]
    assert chase.fail(BackendRateLimited("429", retry_after_s=9.0))
    assert chase.path[-1] == ("groq", 0, 3.0), "the key of four seconds did not shorten the wait of another"


@pytest.mark.parametrize(
    ("after", "wait_s"),
    [(0.0, 0.0), (2.5, 2.5), (60.0, 60.0), (60.1, None), (1e300, None), (None, 0.5)],
)
def test_how_long_is_waited(after: float | None, wait_s: float | None) -> None:
    """As long as was asked for, up to the limit; without a word, a back-off."""
    chase = Chase(OPENAI)
    assert chase.fail(BackendRateLimited("429", retry_after_s=after)) == (wait_s is not None)
    assert wait_s is None or chase.path[-1][2] == wait_s


@pytest.mark.parametrize("odd", [math.nan, -1.0, math.inf, -math.inf])
def test_a_wait_that_is_none_is_not_known(odd: float) -> None:
    """What a backend says of its patience may be nonsense; then it said nothing."""
    error = BackendRateLimited("429", retry_after_s=odd)
    assert error.retry_after_s is None
    chase = Chase(OPENAI)
    assert chase.fail(error)
    assert chase.path[-1][2] == 0.5


@pytest.mark.parametrize("last", [BackendTimeout("slow"), BackendRejected("405"), ModelNotFound("gone")])
def test_a_wait_is_off_where_the_target_fails_for_good(last: PluggablyError) -> None:
    """One key is limited, and with the other the target fails in a way that no key and no wait would change."""
    chase = Chase(OPENAI, credentials=2, attempts=4)
    assert chase.fail(BackendRateLimited("429", retry_after_s=2.0))
    assert not chase.fail(last)
    assert chase.path == [("openai", 0, 0), ("openai", 1, 0)]


def test_waits_add_up_to_no_more_than_allowed() -> None:
    """Each wait of a request counts, back-offs as well."""
    chase = Chase(OPENAI, attempts=10, max_wait_s=8.0)
    while chase.fail(BROKE):
        pass
    assert [wait_s for _, _, wait_s in chase.path] == [0, 0.5, 1, 2, 4]


def test_without_patience_nothing_is_repeated() -> None:
    """With `max_wait_s: 0` a target is tried again only where it asks for no wait."""
    chase = Chase(OPENAI, GROQ, max_wait_s=0.0)
    assert chase.fail(BROKE) and not chase.fail(BROKE)
    assert chase.path == [("openai", 0, 0), ("groq", 0, 0)]
    assert Chase(OPENAI, max_wait_s=0.0).fail(BackendRateLimited("429", retry_after_s=0.0))


def test_a_busy_target_that_names_its_time_lets_others_go_first() -> None:
    """A 5xx with Retry-After is not repeated before the other targets."""
    chase = Chase(OPENAI, GROQ)
    assert chase.fail(BackendError("503", retry_after_s=2.0))
    assert chase.fail(BackendTimeout("slow"))
    assert chase.path == [("openai", 0, 0), ("groq", 0, 0), ("openai", 0, 2.0)]


@pytest.mark.parametrize("deadline", [0.4, 0.5])
def test_no_back_off_beyond_the_deadline(deadline: float) -> None:
    """Where the back-off would end too late, the next target is tried at once."""
    chase = Chase(OPENAI, GROQ, deadline=deadline)
    assert chase.fail(BROKE)
    assert chase.path == [("openai", 0, 0), ("groq", 0, 0)]
    chase.now = deadline
    assert not chase.fail(BROKE)


def test_time_that_does_not_count_puts_the_deadline_off() -> None:
    """Waiting for a model to load is added to the deadline."""
    chase = Chase(OPENAI, GROQ, deadline=1.0)
    chase.now = 5.0
    chase.pursuit.extend(4.5)
    assert chase.fail(BROKE)


@pytest.mark.parametrize(
    ("error", "field"),
    [(ContextLengthExceeded("long"), "on_context_length"), (ContentFiltered("bad"), "on_content_filter")],
)
def test_the_operators_choice_for_long_inputs_and_filters(error: PluggablyError, field: str) -> None:
    """These targets take the place of all others; one that was tried is not tried again, one that was not, is."""
    chase = Chase(OPENAI, GROQ, BOX, **{field: (OPENAI, BOX, QWEN)})
    assert chase.fail(error)
    assert chase.fail(error)
    assert chase.path == [("openai", 0, 0), ("box", 0, 0), ("qwen", 0, 0)]
    assert not chase.fail(error)


def test_impatience_lasts_as_long_as_another_target_is_left() -> None:
    """The last target has the usual time, and so has every one of a route that is not impatient."""
    chase = Chase(OPENAI, GROQ, first_event_s=2.0)
    assert chase.fail(BackendTimeout("slow"))
    assert [one.first_event_s for one in chase.tried] == [2.0, None]
    assert Chase(OPENAI, first_event_s=2.0).tried[0].first_event_s is None
    assert Chase(OPENAI, GROQ).tried[0].first_event_s is None
    only_one = Chase(OPENAI, GROQ, first_event_s=2.0, wishes=Routing(fallbacks=False))
    assert only_one.tried[0].first_event_s is None


def test_a_target_that_is_not_admitted_is_passed_over() -> None:
    """Another request is trying it just now; where there is no other, that is the error."""
    chase = Chase(OPENAI, GROQ, admits=lambda one: one is GROQ)
    assert chase.path == [("groq", 0, 0)]
    with pytest.raises(ModelUnavailable) as caught:
        Chase(OPENAI, GROQ, admits=lambda _: False)
    assert caught.value.retry_after_s == 1


def test_a_target_that_rests_meanwhile_is_not_repeated() -> None:
    """The breaker stands over the retry: a repeat, another key and a wait ask it, too."""
    well = [True]
    for error in (BROKE, BackendRateLimited("429", retry_after_s=1.0), BackendAuthenticationFailed("401")):
        well[0] = True
        chase = Chase(OPENAI, GROQ, credentials=2, admits=lambda one: one is GROQ or well[0])
        well[0] = False
        assert chase.fail(error)
        assert chase.tried[-1].target == GROQ


# ── at random ───────────────────────────────────────────────────────────────────────────────────────────────────────

BACKENDS = {"a": "remote", "b": "remote", "box": "local", "near": "local"}
TARGETS = st.builds(
    lambda backend, model: Target(backend=backend, model=model, location=BACKENDS[backend]),  # type: ignore[arg-type]
    st.sampled_from(sorted(BACKENDS)),
    st.sampled_from(["x", "y"]),
)
LISTS = st.lists(TARGETS, unique=True, max_size=5).map(tuple)
NAMES = st.lists(st.sampled_from([*BACKENDS, "local", "remote", "free"]), max_size=3)
PLACES = st.sampled_from([None, None, "local", "remote"])
WISHES = st.none() | st.builds(
    Routing,
    only=st.none() | NAMES,
    ignore=NAMES,
    order=NAMES,
    sort=st.sampled_from([None, "price", "latency"]),
    fallbacks=st.booleans(),
)
WAITS = st.none() | st.floats(allow_nan=True, allow_infinity=True) | st.floats(0, 30)
ERRORS = st.one_of(
    st.builds(
        lambda kind, after: kind("x", retry_after_s=after),
        st.sampled_from([BackendError, BackendRateLimited, BackendUnreachable, BackendTimeout, BackendQuotaExhausted]),
        WAITS,
    ),
    st.builds(
        lambda kind: kind("x"),
        st.sampled_from(
            [
                BackendAuthenticationFailed,
                BackendRejected,
                ContextLengthExceeded,
                ContentFiltered,
                ModelNotFound,
                ModelUnavailable,
                Overloaded,
                UnsupportedParameter,
            ]
        ),
    ),
)
NEVER_REPEATED = (
    BackendAuthenticationFailed,
    BackendQuotaExhausted,
    BackendRejected,
    BackendTimeout,
    ContextLengthExceeded,
    ContentFiltered,
    ModelNotFound,
    ModelUnavailable,
    Overloaded,
    UnsupportedParameter,
)


@settings(max_examples=600, deadline=None)
@given(
    data=st.data(),
    targets=LISTS.filter(len),
    on_context_length=LISTS,
    on_content_filter=LISTS,
    promises=st.tuples(PLACES, PLACES),
    wishes=WISHES,
    choose=st.sampled_from(["order", "weight", "price", "latency"]),
    attempts=st.integers(1, 4),
    max_wait_s=st.floats(0, 60),
    deadline=st.floats(0.01, 100),
    keys=st.integers(1, 3),
)
def test_every_pursuit_keeps_the_rules(
    data: st.DataObject,
    targets: tuple[Target, ...],
    on_context_length: tuple[Target, ...],
    on_content_filter: tuple[Target, ...],
    promises: tuple[Location | None, Location | None],
    wishes: Routing | None,
    choose: Any,
    attempts: int,
    max_wait_s: float,
    deadline: float,
    keys: int,
) -> None:
    """No target outside the allowed set is ever tried, nothing twice without a reason, no promise is broken; attempts,
    waits and time are bounded; no refused key is used again, and no one is asked before the time that it named."""
    dice = random.Random(data.draw(st.integers(0, 9)))
    free = {one for one in (*targets, *on_context_length, *on_content_filter) if dice.random() < 0.5}
    orders = {name: data.draw(st.permutations(range(keys))) for name in BACKENDS}
    route = Route(
        id="r",
        targets=targets,
        choose=choose,
        weights=tuple(dice.random() + 0.01 for _ in targets) if choose == "weight" else (),
        location=promises[0],
        on_context_length=on_context_length,
        on_content_filter=on_content_filter,
    )
    found = plan(route, wishes, lambda one: Known(free=one in free), promise=promises[1], draw=dice.random)

    def may(one: Target) -> bool:
        names = {one.backend, one.location, *(["free"] if one in free else [])}
        asked = wishes or Routing()
        return (
            all(place in (None, one.location) for place in promises)
            and (asked.only is None or bool(names & set(asked.only)))
            and not names & set(asked.ignore)
        )

    assert set(order(found)) == {one for one in targets if may(one)} or not (wishes or Routing()).fallbacks
    assert len(order(found)) == len(set(order(found)))
    assert bool(order(found)) == any(map(may, targets))
    if not found.candidates:
        assert isinstance(found.nothing_left(), PluggablyError)
        return

    pursuit = Pursuit(
        found,
        lambda one: orders[one.backend],
        lambda _: data.draw(st.booleans()) if data.draw(st.integers(0, 9)) == 0 else True,
        RetryRules(attempts=attempts, max_wait_s=max_wait_s),
        dice.random,
        deadline,
    )
    try:
        attempt = pursuit.first()
    except ModelUnavailable:
        return
    now = waited_s = 0.0
    history: list[tuple[Target, int]] = []
    errors: dict[tuple[Target, int], PluggablyError] = {}
    ready_at: dict[tuple[Target, int], float] = {}
    switched = {ContextLengthExceeded: False, ContentFiltered: False}
    most = len({*targets, *on_context_length, *on_content_filter}) * attempts * keys
    for _ in itertools.count():
        now += attempt.wait_s
        waited_s += attempt.wait_s
        one, key = attempt.target, attempt.credential
        assert may(one)
        assert attempt.wait_s >= 0
        assert waited_s <= max_wait_s + 1e-9
        assert now < deadline or not history
        if not (wishes or Routing()).fallbacks:
            assert one == found.candidates[0].target
        assert now >= ready_at.get((one, key), 0.0) - 1e-9
        assert not isinstance(errors.get((one, key)), NEVER_REPEATED)
        refused = {
            (then.backend, theirs)
            for (then, theirs), error in errors.items()
            if isinstance(error, BackendAuthenticationFailed | BackendQuotaExhausted)
        }
        assert (one.backend, key) not in refused
        if one not in targets:
            assert (switched[ContextLengthExceeded] and one in on_context_length) or (
                switched[ContentFiltered] and one in on_content_filter
            )
        history.append((one, key))
        assert len(history) <= most
        assert Counter(history)[one, key] <= attempts
        error = data.draw(ERRORS)
        errors[one, key] = error
        if type(error) in switched:
            switched[type(error)] = True
        now += data.draw(st.floats(0, 5))
        if isinstance(error, BackendError) and error.retry_after_s is not None:
            ready_at[one, key] = now + error.retry_after_s
        following = pursuit.after(error, now)
        if following is None:
            break
        attempt = following
