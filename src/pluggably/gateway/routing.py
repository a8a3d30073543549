"""Which targets may serve a request, in which order, and what is tried after a failure.

All of it is a pure function of what it is given: what is known of the targets, the errors, the clock and the dice come
in as values. `plan` settles the order before anything is tried; a `Pursuit` walks it, one failure after the other.
What surprises: a promise of location is kept by leaving the target out of the plan, so that no rule of the pursuit
could break it; and a target's credentials are tried in turn before the next target is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec import Struct

from pluggably.domain.catalog import Foresight, Price, Prospect, Route, Target
from pluggably.domain.generation import Location, Routing
from pluggably.errors import (
    BackendAuthenticationFailed,
    BackendError,
    BackendQuotaExhausted,
    BackendRateLimited,
    BackendTimeout,
    ContentFiltered,
    ContextLengthExceeded,
    InvalidRequest,
    ModelUnavailable,
    PermissionDenied,
    PluggablyError,
)

# Back-off between two attempts at one target, in seconds: the design's `min(0.5·2ⁿ, 5)`.
BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 5.0
# Output costs more and is less: what one input and output token cost in a typical exchange, for comparing prices.
INPUT_SHARE = 0.75

# Weights are numbers of a config; one that is next to nothing still divides.
LEAST_WEIGHT = 1e-300
CLASSES = frozenset(("local", "remote", "free"))

NO_ROUTING = Routing()


class Known(Struct, frozen=True, kw_only=True):
    """What is known of a target now. None is "not known".

    `latency_s` is how soon it lately answered a request of this kind; `rests_s` how long it still rests after
    failures, `resting` why."""

    free: bool | None = None
    price: Price | None = None
    latency_s: float | None = None
    rests_s: float = 0.0
    resting: str = ""


class Candidate(Struct, frozen=True):
    """A target that may be tried, and why it stands where it does; empty in a plan that nobody reads."""

    target: Target
    known: Known
    reason: str


class Passed(Struct, frozen=True):
    """A target that is not tried, and why: the error that it would be if nothing else were left."""

    target: Target
    known: Known
    error: PluggablyError


class Plan(Struct, frozen=True):
    """The targets in the order in which they are tried, and those that are not."""

    candidates: tuple[Candidate, ...]
    passed: tuple[Passed, ...] = ()
    on_context_length: tuple[Candidate, ...] = ()
    on_content_filter: tuple[Candidate, ...] = ()
    # Of the last two, those that are not tried.
    passed_later: tuple[Passed, ...] = ()
    # How long a target may take to begin while another one is left. Seconds.
    first_event_s: float | None = None
    # Where `routing.only` has none of them: what the route's targets may be called.
    names: tuple[str, ...] = ()

    def preferring(self, foreseen: Mapping[Target, Foresight], *, keeps_order: bool) -> Plan:
        """The same, with what refuses taken out, and what drops nothing put first; `keeps_order` leaves the order as
        it is, because the client has chosen it."""
        candidates, passed = [], list(self.passed)
        for one in self.candidates:
            foresight = foreseen.get(one.target, Foresight())
            if foresight.refusal is not None:
                passed.append(Passed(one.target, one.known, foresight.refusal))
            elif foresight.drops and one.reason:
                candidates.append(Candidate(one.target, one.known, f"{one.reason}; cannot honour all that is asked"))
            else:
                candidates.append(one)
        if not keeps_order:
            candidates.sort(key=lambda one: foreseen.get(one.target, Foresight()).drops > 0)
        return msgspec.structs.replace(self, candidates=tuple(candidates), passed=tuple(passed))

    def drawn(self, route: Route, draw: Callable[[], float]) -> Plan:
        """The same for another request, where chance decides the order."""
        return msgspec.structs.replace(self, candidates=tuple(_by_weight(route, self.candidates, draw)))

    def nothing_left(self) -> PluggablyError:
        """What to tell a client for whom there is no candidate."""
        if not self.passed:
            return ModelUnavailable("None of the models that this route names is there any more.")
        for kind in (ModelUnavailable, PermissionDenied):
            found = [one.error.retry_after_s for one in self.passed if isinstance(one.error, kind)]
            if found:
                soonest = min((after for after in found if after is not None), default=None)
                return kind(f"No target is left: {_listed(self.passed)}.", retry_after_s=soonest)
        own = next((one.error for one in self.passed if one.error.elsewhere), None)
        if own is not None:
            return own
        pointers = {one.error.pointer for one in self.passed}
        pointer = pointers.pop() if len(pointers) == 1 else "/routing"
        detail = f"`routing` leaves no target: {_listed(self.passed)}."
        if self.names:
            names = ", ".join(f"`{name}`" for name in self.names[:20]) + (" and others" if len(self.names) > 20 else "")
            detail += f" No target of this model has a name that is in `routing.only`; they have {names}."
        return InvalidRequest(detail, pointer=pointer)

    def prospects(self) -> list[Prospect]:
        """The plan as the API tells it."""
        tried = [_prospect(one.target, one.known, i, one.reason) for i, one in enumerate(self.candidates, 1)]
        later = [
            _prospect(one.target, one.known, None, reason)
            for reason, more in (
                ("only where the input is too long for another", self.on_context_length),
                ("only where another's content filter refuses", self.on_content_filter),
            )
            for one in more
        ]
        never = (_prospect(one.target, one.known, None, one.error.detail) for one in (*self.passed, *self.passed_later))
        return [*tried, *later, *never]


def plan(
    route: Route,
    routing: Routing | None,
    known: Callable[[Target], Known],
    *,
    promise: Location | None = None,
    draw: Callable[[], float],
    is_told: bool = True,
) -> Plan:
    """The order of a route's targets for one request. `promise` is the caller's own: where its data may go. `draw`
    gives numbers from 0 to 1, for targets that are chosen by weight. Reasons are put into words only where `is_told`:
    that costs more than all the rest."""
    wishes = routing or NO_ROUTING
    passed: list[Passed] = []
    passed_later: list[Passed] = []

    def judged(targets: Sequence[Target], barred: list[Passed]) -> list[Candidate]:
        allowed = []
        for target in targets:
            facts = known(target)
            error = _bar(target, facts, wishes, route.location, promise)
            if error is None:
                allowed.append(Candidate(target, facts, ""))
            else:
                barred.append(Passed(target, facts, error))
        return allowed

    candidates = _ordered(route, wishes, judged(route.targets, passed), draw)
    if is_told:
        alone = len(candidates) == 1
        candidates = [
            Candidate(one.target, one.known, "the only target" if alone else _reason(one, route, wishes))
            for one in candidates
        ]
    names: tuple[str, ...] = ()
    if wishes.only is not None and not candidates:
        known_names = set[str]().union(*(_names(target, known(target)) for target in route.targets))
        names = tuple(sorted(known_names)) if known_names.isdisjoint(wishes.only) else ()
    if not wishes.fallbacks:
        passed += [
            Passed(one.target, one.known, InvalidRequest("the request allows no fallback")) for one in candidates[1:]
        ]
        return Plan(tuple(candidates[:1]), tuple(passed), names=names)
    on_context_length = judged(route.on_context_length, passed_later)
    on_content_filter = judged(route.on_content_filter, passed_later)
    return Plan(
        tuple(candidates),
        tuple(passed),
        tuple(on_context_length),
        tuple(on_content_filter),
        tuple(passed_later),
        route.first_event_s,
        names,
    )


def _bar(
    target: Target, known: Known, wishes: Routing, promised: Location | None, demanded: Location | None
) -> PluggablyError | None:
    """Why a target may not be tried."""
    if demanded is not None and target.location != demanded:
        return PermissionDenied(f"it is {target.location}, and the key may only use {demanded} models")
    if promised is not None and target.location != promised:
        return InvalidRequest(f"it is {target.location}, and the model promises {promised}", pointer="/model")
    if wishes.only is not None and _names(target, known).isdisjoint(wishes.only):
        return InvalidRequest("`routing.only` leaves it out", pointer="/routing/only")
    if wishes.ignore and not _names(target, known).isdisjoint(wishes.ignore):
        return InvalidRequest("`routing.ignore` names it", pointer="/routing/ignore")
    if known.rests_s > 0:
        return ModelUnavailable(known.resting, retry_after_s=round(known.rests_s, 1))
    return None


def _names(target: Target, known: Known) -> set[str]:
    """What a request may call a target. A backend that is called like a class does not become one of it."""
    names: set[str] = {target.location}
    if target.backend not in CLASSES:
        names.add(target.backend)
    if target.runner is not None:
        names.add(target.runner)
    if known.free:
        names.add("free")
    return names


def _ordered(route: Route, wishes: Routing, candidates: list[Candidate], draw: Callable[[], float]) -> list[Candidate]:
    choose = wishes.sort or route.choose
    if choose == "weight":
        candidates = _by_weight(route, candidates, draw)
    elif choose == "price":
        candidates = sorted(candidates, key=lambda one: _cost(one.known))
    elif choose == "latency":
        # What has not been measured lately comes first: otherwise it never would be.
        candidates = sorted(candidates, key=lambda one: one.known.latency_s or 0.0)
    if wishes.order:
        candidates = sorted(candidates, key=lambda one: _rank(_names(one.target, one.known), wishes.order))
    return candidates


def _by_weight(route: Route, candidates: Sequence[Candidate], draw: Callable[[], float]) -> list[Candidate]:
    weights = {id(one): weight for one, weight in zip(route.targets, route.weights, strict=True)}

    def lot(one: Candidate) -> float:
        # Efraimidis and Spirakis, "Weighted random sampling with a reservoir" (2006): the whole order in one draw each;
        # by logarithms, which do not run out of digits.
        return -math.log(max(draw(), 1e-300)) / max(weights[id(one.target)], LEAST_WEIGHT)

    return sorted(candidates, key=lot)


def _reason(one: Candidate, route: Route, wishes: Routing) -> str:
    """Why a candidate stands where it does."""
    if _rank(_names(one.target, one.known), wishes.order) < len(wishes.order):
        return "as `routing.order` says"
    choose = wishes.sort or route.choose
    if choose == "weight":
        return f"by chance, weight {dict(zip(route.targets, route.weights, strict=False))[one.target]:g}"
    if choose == "price":
        cost = _cost(one.known)
        if cost == float("inf"):
            return "its price is not known"
        return f"about ${cost:g} a million tokens" if cost else "it costs nothing"
    if choose == "latency":
        latency_s = one.known.latency_s
        return "not measured lately" if latency_s is None else f"lately answered after {latency_s:.2g} s"
    return "in the order of the config"


def _rank(names: set[str], order: Sequence[str]) -> int:
    return next((i for i, name in enumerate(order) if name in names), len(order))


def _cost(known: Known) -> float:
    """Dollars for a million tokens of a typical exchange; what is not known comes last."""
    if known.free:
        return 0.0
    price = known.price
    if price is None or price.input_per_million is None or price.output_per_million is None:
        return float("inf")
    return INPUT_SHARE * float(price.input_per_million) + (1 - INPUT_SHARE) * float(price.output_per_million)


def _listed(passed: Sequence[Passed]) -> str:
    shown = [f"{_called(one.target)} ({one.error.detail})" for one in passed[:5]]
    return "; ".join(shown) + (f"; and {len(passed) - 5} more" if len(passed) > 5 else "")


def _called(target: Target) -> str:
    return target.backend if target.backend == target.model else f"{target.backend}/{target.model}"


def _prospect(target: Target, known: Known, position: int | None, reason: str) -> Prospect:
    return Prospect(
        backend=target.backend,
        model=target.model,
        location=target.location,
        position=position,
        reason=reason,
        free=known.free,
        price=known.price,
        latency_s=known.latency_s,
    )


# ── after a failure ─────────────────────────────────────────────────────────────────────────────────────────────────


class RetryRules(Struct, frozen=True, kw_only=True):
    """How often one target is tried, and how long a request waits between attempts, in all. Seconds."""

    attempts: int = 2
    max_wait_s: float = 60.0


class Attempt(Struct, frozen=True):
    """The next thing to try: a target with one of its credentials, after a wait of `wait_s`, and why. `first_event_s`
    is how long it may take to begin, where that is less than usual."""

    target: Target
    credential: int
    wait_s: float
    reason: str
    first_event_s: float | None = None


class Pursuit:
    """Walks a plan. `credentials` gives the indices of a target's credentials in the order in which to use them,
    `admits` whether a target may be tried right now (a resting one lets a single request through), `jitter` numbers
    from 0 to 1. `deadline` is on the clock that `after` is told the time of."""

    def __init__(
        self,
        plan: Plan,
        credentials: Callable[[Target], Sequence[int]],
        admits: Callable[[Target], bool],
        rules: RetryRules,
        jitter: Callable[[], float],
        deadline: float,
    ) -> None:
        self._plan = plan
        self._credentials = credentials
        self._admits = admits
        self._rules = rules
        self._jitter = jitter
        self._deadline = deadline
        self._queue = list(plan.candidates)
        self._tries: dict[Target, int] = {}
        self._left: list[int] = []
        self._refused: set[tuple[str, int]] = set()
        self._waiting: list[tuple[float, Target]] = []
        # Until when a target has asked for patience with a credential.
        self._limited_until: dict[tuple[Target, int], float] = {}
        self._waited_s = 0.0
        self._current: Attempt | None = None

    def first(self) -> Attempt:
        """Raises: ModelUnavailable where no target takes a request right now."""
        attempt = self._next_target("first", float("-inf"))
        if attempt is None:
            raise ModelUnavailable(
                "Every target rests after failures, and another request is trying one just now.", retry_after_s=1
            )
        return attempt

    def begin_with(self, attempt: Attempt) -> None:
        """The plan's first target has been tried with its first credential, without being asked for here."""
        target = self._queue.pop(0).target
        assert target == attempt.target
        self._left = [one for one in self._credentials(target) if one != attempt.credential]
        self._tries[target] = 1
        self._current = attempt

    def extend(self, seconds: float) -> None:
        """Puts the deadline off, by time that does not count."""
        self._deadline += seconds

    def after(self, error: PluggablyError, now: float) -> Attempt | None:
        """What to try after the last attempt failed with `error`; None: nothing, the request has failed."""
        attempt = self._follow(error, now) if now < self._deadline else None
        if attempt is not None:
            self._waited_s += attempt.wait_s
        return attempt

    def _follow(self, error: PluggablyError, now: float) -> Attempt | None:
        last = self._current
        assert last is not None
        if isinstance(error, ContextLengthExceeded):
            return self._switch(self._plan.on_context_length, "the input was too long for another", now)
        if isinstance(error, ContentFiltered):
            return self._switch(self._plan.on_content_filter, "another's content filter refused", now)
        if not error.elsewhere:
            return None
        if isinstance(error, BackendAuthenticationFailed | BackendQuotaExhausted):
            self._refused.add((last.target.backend, last.credential))
            return self._next_credential() or self._next_target("fallback", now) or self._wait(now)
        if isinstance(error, BackendRateLimited):
            self._be_patient(last, now + self._pause(error))
            return self._next_credential() or self._next_target("fallback", now) or self._wait(now)
        if isinstance(error, BackendError) and error.again and not isinstance(error, BackendTimeout):
            pause_s = self._pause(error)
            is_to_repeat = error.retry_after_s is None and self._may_repeat(last.target)
            if is_to_repeat and self._may_wait(now, pause_s) and self._admits(last.target):
                return self._take(last.target, last.credential, pause_s, "again")
            self._be_patient(last, now + pause_s)
        else:
            # It would fail again, with any key.
            self._waiting = [one for one in self._waiting if one[1] != last.target]
        return self._next_target("fallback", now) or self._wait(now)

    def _switch(self, candidates: Sequence[Candidate], reason: str, now: float) -> Attempt | None:
        self._queue = [one for one in candidates if one.target not in self._tries]
        self._waiting = []
        return self._next_target(reason, now)

    def _next_target(self, reason: str, now: float) -> Attempt | None:
        while self._queue:
            target = self._queue.pop(0).target
            if target in self._tries:
                continue
            left = self._usable(target, now)
            if left and self._admits(target):
                self._left = left[1:]
                return self._take(target, left[0], 0.0, reason)
        return None

    def _next_credential(self) -> Attempt | None:
        last = self._current
        assert last is not None
        while self._left:
            credential = self._left.pop(0)
            if (last.target.backend, credential) not in self._refused and self._admits(last.target):
                return self._take(last.target, credential, 0.0, "another key", counts=False)
        return None

    def _be_patient(self, last: Attempt, ready_at: float) -> None:
        self._limited_until[last.target, last.credential] = ready_at
        self._waiting.append((ready_at, last.target))

    def _wait(self, now: float) -> Attempt | None:
        """The target that asked for the least patience, if that is not too much."""
        while self._waiting:
            ready_at, target = min(self._waiting, key=lambda one: one[0])
            self._waiting.remove((ready_at, target))
            left = self._usable(target, ready_at)
            wait_s = max(ready_at - now, 0.0)
            if left and self._may_repeat(target) and self._may_wait(now, wait_s) and self._admits(target):
                self._left = left[1:]
                return self._take(target, left[0], wait_s, "again, after a wait")
        return None

    def _usable(self, target: Target, at: float) -> list[int]:
        """The credentials that a target may be tried with at a time."""
        return [
            one
            for one in self._credentials(target)
            if (target.backend, one) not in self._refused and self._limited_until.get((target, one), at) <= at
        ]

    def _may_wait(self, now: float, wait_s: float) -> bool:
        return self._waited_s + wait_s <= self._rules.max_wait_s and now + wait_s < self._deadline

    def _may_repeat(self, target: Target) -> bool:
        return self._tries[target] < self._rules.attempts

    def _take(self, target: Target, credential: int, wait_s: float, reason: str, *, counts: bool = True) -> Attempt:
        if counts:
            self._tries[target] = self._tries.get(target, 0) + 1
        first_event_s = self._plan.first_event_s if self._queue else None
        self._current = Attempt(target, credential, wait_s, reason, first_event_s)
        return self._current

    def _pause(self, error: PluggablyError) -> float:
        if error.retry_after_s is not None:
            return error.retry_after_s
        last = self._current
        assert last is not None
        backoff_s = min(BACKOFF_S * 2.0 ** (self._tries[last.target] - 1), LONGEST_BACKOFF_S)
        return backoff_s * (0.5 + 0.5 * self._jitter())
