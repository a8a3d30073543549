"""When a target rests and who may try it after that, which credentials come first, and what is known of latencies."""

from __future__ import annotations

import pytest
from snapshots import target

from pluggably.errors import (
    BackendAuthenticationFailed,
    BackendError,
    BackendInvalidResponse,
    BackendQuotaExhausted,
    BackendRateLimited,
    BackendRejected,
    BackendTimeout,
    BackendUnreachable,
    ContextLengthExceeded,
    InvalidRequest,
    ModelUnavailable,
    PluggablyError,
)
from pluggably.gateway import health as health_module
from pluggably.gateway.health import FRESH_S, LIMITED_CREDENTIAL_S, LONGEST_LIMIT_S, REFUSED_CREDENTIAL_S, Health

A = target("openai/a")
B = target("openai/b")
BROKE = BackendError("broke")
ME, YOU = object(), object()


class House:
    """Health on a clock that the test turns; three failures make a target rest for ten seconds."""

    def __init__(self, failures: int = 3) -> None:
        self.now = 1000.0
        self.health = Health(lambda: self.now, failures, 10.0)

    def fail(self, times: int = 1, error: PluggablyError = BROKE) -> None:
        for _ in range(times):
            self.health.failed(A, error, ME)

    def rest(self) -> None:
        """Brings it to rest, and to the end of that."""
        self.fail(3)
        self.now += 10


# ── the breaker ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_failures_in_a_row_make_a_target_rest() -> None:
    """Up to one less it is tried as ever; then it rests for its time, alone."""
    house = House()
    house.fail(2)
    assert house.health.admits(A, ME) and house.health.is_well and house.health.rests_s(A) == 0
    house.fail()
    assert (house.health.admits(A, ME), house.health.rests_s(A), house.health.is_well) == (False, 10.0, False)
    assert (
        house.health.why(A)
        == "it failed 3 times in a row, the last time with backend_error, and is tried again in 10 s"
    )
    assert house.health.resting() == [A]
    assert house.health.admits(B, ME) and house.health.why(B) == ""


def test_a_success_starts_the_count_anew() -> None:
    """Only failures in a row count."""
    house = House()
    for _ in range(3):
        house.fail(2)
        house.health.succeeded(A)
    assert house.health.admits(A, ME)


def test_no_number_of_failures_is_too_many_where_the_breaker_is_off() -> None:
    """With 0 failures in the config no target ever rests."""
    house = House(failures=0)
    house.fail(1000)
    assert house.health.admits(A, ME) and house.health.is_well


def test_one_request_tries_it_after_the_rest() -> None:
    """The first that asks takes the only place, and keeps it; others find the target resting a little longer."""
    house = House()
    house.rest()
    assert house.health.rests_s(A) == 0
    assert house.health.admits(A, ME)
    assert not house.health.admits(A, YOU)
    assert house.health.admits(A, ME)
    assert house.health.rests_s(A) == 1.0
    house.now += 3600
    assert not house.health.admits(A, YOU)


def test_output_from_the_one_that_tries_lets_all_others_in() -> None:
    """They need not wait for its end; that clears the count."""
    house = House()
    house.rest()
    house.health.admits(A, ME)
    house.health.began(A, 0.1, True, ME)
    assert house.health.admits(A, YOU) and house.health.is_well
    house.health.succeeded(A)
    house.fail(2)
    assert house.health.admits(A, YOU)


def test_a_failure_after_that_output_makes_it_rest_again() -> None:
    """The count was not cleared yet, and the rest is twice as long."""
    house = House()
    house.rest()
    house.health.admits(A, ME)
    house.health.began(A, 0.1, True, ME)
    house.fail()
    assert house.health.rests_s(A) == 20.0


def test_each_failed_try_doubles_the_rest_up_to_sixteen_times() -> None:
    """And a good one makes the next rest short again."""
    house = House()
    house.rest()
    rests = []
    for _ in range(6):
        assert house.health.admits(A, ME)
        house.fail()
        rests.append(house.health.rests_s(A))
        house.now += rests[-1]
    assert rests == [20, 40, 80, 160, 160, 160]
    assert house.health.admits(A, ME)
    house.health.began(A, 0.1, True, ME)
    house.health.succeeded(A)
    house.fail(3)
    assert house.health.rests_s(A) == 10


def test_what_was_under_way_when_the_rest_began_does_not_prolong_it() -> None:
    """Twenty that fail together are one reason to rest, not twenty."""
    house = House()
    house.fail(20)
    assert house.health.rests_s(A) == 10
    house.now += 4
    house.fail(20)
    assert house.health.rests_s(A) == 6


def test_what_ends_late_does_not_end_the_try() -> None:
    """Others that fail or leave while one request tries the target neither take its place nor speak for it."""
    house = House()
    house.rest()
    assert house.health.admits(A, ME)
    house.health.failed(A, BROKE, YOU)
    house.health.left(A, YOU)
    house.health.failed(A, InvalidRequest("wrong"), YOU)
    assert not house.health.admits(A, YOU)
    house.health.began(A, 0.1, True, YOU)
    assert not house.health.admits(A, YOU)
    house.health.began(A, 0.1, True, ME)
    assert house.health.admits(A, YOU)


@pytest.mark.parametrize("how", ["left", "wrong request", "refused key", "own time"])
def test_a_try_that_says_nothing_leaves_its_place_to_the_next(how: str) -> None:
    """A client that leaves, asks wrongly or has no patience neither closes the breaker nor prolongs the rest."""
    house = House()
    house.rest()
    assert house.health.admits(A, ME)
    if how == "left":
        house.health.left(A, ME)
    elif how == "own time":
        house.health.failed(A, BackendTimeout("slow"), ME, own_time=False)
    else:
        house.fail(1, InvalidRequest("x") if how == "wrong request" else BackendAuthenticationFailed("x"))
    assert not house.health.is_well
    assert house.health.admits(A, YOU)
    assert not house.health.admits(A, ME)


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (BROKE, True),
        (BackendUnreachable("x"), True),
        (BackendInvalidResponse("x"), True),
        (BackendTimeout("x"), True),
        (BackendRateLimited("x"), False),
        (BackendAuthenticationFailed("x"), False),
        (BackendQuotaExhausted("x"), False),
        (BackendRejected("x"), False),
        (InvalidRequest("x"), False),
        (ContextLengthExceeded("x"), False),
        (ModelUnavailable("x"), False),
    ],
)
def test_only_the_targets_own_failures_count(error: PluggablyError, counts: bool) -> None:
    """A limit, a key, a wrong request say nothing about the target."""
    house = House()
    house.fail(3, error)
    assert house.health.admits(A, ME) != counts


def test_a_clients_impatience_never_counts() -> None:
    """However often a client's own short limit ends an attempt, the target does not rest for it."""
    house = House()
    for _ in range(100):
        house.health.failed(A, BackendTimeout("slow"), ME, own_time=False)
    assert house.health.admits(A, ME)


def test_new_rules_hold_from_now_on() -> None:
    """A rest that has begun goes on; the next one is of the new length."""
    house = House()
    house.fail(3)
    house.health.configure(1, 2.0)
    assert house.health.rests_s(A) == 10
    house.health.failed(B, BROKE, ME)
    assert house.health.rests_s(B) == 2


def test_backends_that_changed_are_forgotten() -> None:
    """Nothing is known of them any more, neither rests nor credentials; of others, all is kept."""
    house = House()
    other = target("groq/x")
    house.fail(3)
    for _ in range(3):
        house.health.failed(other, BROKE, ME)
    house.health.credential_failed("openai", 0, BackendAuthenticationFailed("x"))
    house.health.credential_failed("groq", 0, BackendAuthenticationFailed("x"))
    house.health.forget({"openai"})
    assert house.health.admits(A, ME) and not house.health.admits(other, ME)
    assert list(house.health.credentials("openai", 2)) == [0, 1]
    assert list(house.health.credentials("groq", 2)) == [1, 0]


def test_the_number_of_targets_is_bounded() -> None:
    """Clients name the models; of too many targets the one known longest is forgotten, and its rest with it."""
    house = House()
    house.fail(3)
    for i in range(health_module.MOST_TARGETS):
        house.health.began(target(f"openai/m{i}"), 0.1, True, ME)
    assert house.health.is_well and house.health.admits(A, ME)
    assert house.health.latency_s(target("openai/m0"), True) == 0.1


# ── credentials ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (BackendAuthenticationFailed("x"), REFUSED_CREDENTIAL_S),
        (BackendQuotaExhausted("x"), REFUSED_CREDENTIAL_S),
        (BackendRateLimited("x"), LIMITED_CREDENTIAL_S),
        (BackendRateLimited("x", retry_after_s=42), 42),
        (BackendRateLimited("x", retry_after_s=float("nan")), LIMITED_CREDENTIAL_S),
        (BackendRateLimited("x", retry_after_s=1e9), LONGEST_LIMIT_S),
        (BackendRateLimited("x", retry_after_s=0), 0),
        (BROKE, 0),
        (BackendTimeout("x"), 0),
        (InvalidRequest("x"), 0),
    ],
)
def test_a_credential_that_failed_stands_behind_the_others(error: PluggablyError, seconds: float) -> None:
    """For as long as the provider said, or a fixed time; never longer than an hour."""
    house = House()
    house.health.credential_failed("openai", 0, error)
    if seconds:
        house.now += seconds - 0.5
        assert list(house.health.credentials("openai", 3)) == [1, 2, 0]
        assert list(house.health.credentials("groq", 3)) == [0, 1, 2]
        house.now += 0.5
    assert list(house.health.credentials("openai", 3)) == [0, 1, 2]


def test_credentials_that_all_failed_stand_by_when_they_may_work() -> None:
    """The one that is soonest well comes first; none is ever left out."""
    house = House()
    house.health.credential_failed("openai", 0, BackendRateLimited("x", retry_after_s=30))
    house.health.credential_failed("openai", 1, BackendAuthenticationFailed("x"))
    house.health.credential_failed("openai", 2, BackendRateLimited("x", retry_after_s=3))
    assert list(house.health.credentials("openai", 3)) == [2, 0, 1]


def test_a_credential_that_works_again_is_the_first_again() -> None:
    """Its success clears what was held against it."""
    house = House()
    house.health.credential_failed("openai", 0, BackendAuthenticationFailed("x"))
    house.health.credential_worked("openai", 0)
    assert list(house.health.credentials("openai", 2)) == [0, 1]


# ── latencies ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_latency_is_a_moving_average_of_each_way_of_asking() -> None:
    """Streams and plain answers are measured apart."""
    house = House()
    house.health.began(A, 1.0, True, ME)
    house.health.began(A, 2.0, True, ME)
    house.health.began(A, 9.0, False, ME)
    assert house.health.latency_s(A, True) == pytest.approx(1.3)
    assert house.health.latency_s(A, False) == 9.0
    assert house.health.latency_s(B, True) is None


def test_an_old_latency_is_none() -> None:
    """After its time it is unknown, and the next measure stands alone."""
    house = House()
    house.health.began(A, 9.0, True, ME)
    house.now += FRESH_S
    assert house.health.latency_s(A, True) == 9.0
    house.now += 1
    assert house.health.latency_s(A, True) is None
    house.health.began(A, 1.0, True, ME)
    assert house.health.latency_s(A, True) == 1.0
