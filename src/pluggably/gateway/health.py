"""How the targets have been doing: which of them rest, how soon they began to answer, which credentials work.

A circuit breaker a target: after some failures in a row it rests; once the rest is over a single request may try it
(half-open), and its outcome closes the breaker or doubles the rest. What surprises: a failure counts only where it is
the target's (no connection, 5xx, an answer that cannot be read, the operator's own time-out), so no client can make a
target rest with bad requests or with a tiny time limit. All of it is in memory, and a restart forgets it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pluggably.domain.catalog import Target
from pluggably.errors import (
    BackendAuthenticationFailed,
    BackendError,
    BackendQuotaExhausted,
    BackendRateLimited,
    BackendRejected,
    BackendTimeout,
    PluggablyError,
)

# Clients name the models, so there may be any number of targets; the one known longest is forgotten.
MOST_TARGETS = 4096
MOST_DOUBLINGS = 4  # the longest rest is sixteen times the first
# A measure older than this counts as none, so that a target that was slow once is tried again.
FRESH_S = 600.0
# How much of the moving average the newest measure is.
NEWEST_SHARE = 0.3
# How long a credential that was refused, or has no credit, stands behind the others of its provider.
REFUSED_CREDENTIAL_S = 300.0
# The same for one that is limited, where the provider does not say how long.
LIMITED_CREDENTIAL_S = 5.0
LONGEST_LIMIT_S = 3600.0


class _State:
    __slots__ = ("failures", "last_error", "latencies", "probe", "rests", "rests_until")

    def __init__(self) -> None:
        self.failures = 0
        self.rests = 0
        self.rests_until = 0.0
        # Who tries it after its rest, until that is over.
        self.probe: object | None = None
        self.last_error = ""
        # Streamed or not → the moving average, and when it was last measured.
        self.latencies: dict[bool, tuple[float, float]] = {}


class Health:
    """`clock` gives seconds; `failures` in a row (0: any number) make a target rest for `rest_s` at first."""

    def __init__(self, clock: Callable[[], float], failures: int = 5, rest_s: float = 10.0) -> None:
        self._clock = clock
        self._most_failures = failures
        self._rest_s = rest_s
        self._states: dict[Target, _State] = {}
        self._resting: set[Target] = set()
        self._credentials: dict[tuple[str, int], float] = {}

    def configure(self, failures: int, rest_s: float) -> None:
        """The rules from now on; rests that have begun go on."""
        self._most_failures, self._rest_s = failures, rest_s

    # ── a target ──

    def rests_s(self, target: Target) -> float:
        """How long a target still rests; 0 where it may be tried."""
        state = self._states.get(target)
        if state is None or not state.rests_until:
            return 0.0
        left_s = state.rests_until - self._clock()
        # The rest is over, but the one request that tries it has not come back.
        return max(left_s, 1.0) if state.probe is not None else max(left_s, 0.0)

    def why(self, target: Target) -> str:
        """Why a target rests."""
        state = self._states.get(target)
        if state is None or not state.failures:
            return ""
        times = "once" if state.failures == 1 else f"{state.failures} times in a row"
        return (
            f"it failed {times}, the last time with {state.last_error}, and is tried again in "
            f"{max(self.rests_s(target), 1.0):.0f} s"
        )

    def admits(self, target: Target, who: object) -> bool:
        """Whether a request may try the target now. The first one after a rest takes the only place there is, until
        it is told what became of it: `began`, `failed` or `left`. Others that began before the rest and end now are
        told of, too; so each says `who` it is."""
        state = self._states.get(target)
        if state is None or not state.rests_until or state.probe is who:
            return True
        if state.probe is not None or self._clock() < state.rests_until:
            return False
        state.probe = who
        return True

    def began(self, target: Target, latency_s: float, stream: bool, who: object) -> None:
        """It has begun to answer. A stream's latency is that of its first output; a plain answer's, of the whole."""
        state = self._states.get(target) or self._new(target)
        if state.probe is who:
            state.probe = None
            self._set_rest(target, state, 0.0)
        now = self._clock()
        average_s, measured_at = state.latencies.get(stream, (latency_s, now))
        if now - measured_at > FRESH_S:
            average_s = latency_s
        state.latencies[stream] = (average_s + NEWEST_SHARE * (latency_s - average_s), now)

    def succeeded(self, target: Target) -> None:
        """It answered to the end."""
        state = self._states.get(target)
        if state is not None and state.failures:
            state.failures = state.rests = 0
            state.probe = None
            self._set_rest(target, state, 0.0)

    def failed(self, target: Target, error: PluggablyError, who: object, *, own_time: bool = True) -> None:
        """It failed. `own_time` is false where a shorter limit than the operator's ended it."""
        if not _is_the_targets(error) or (isinstance(error, BackendTimeout) and not own_time):
            self.left(target, who)
            return
        state = self._states.get(target) or self._new(target)
        state.failures += 1
        state.last_error = error.code
        now = self._clock()
        is_probe = state.probe is who
        if is_probe:
            state.probe = None
        # Requests that were under way when the rest began fail in a row; only the first of them and the one that
        # tries the target after its rest say anything new.
        is_one_too_many = 0 < self._most_failures <= state.failures and state.probe is None and now >= state.rests_until
        if is_probe or is_one_too_many:
            self._set_rest(target, state, now + self._rest_s * 2 ** min(state.rests, MOST_DOUBLINGS))
            state.rests += 1

    def left(self, target: Target, who: object) -> None:
        """The attempt ended without a word about the target: a client left, or asked for what it cannot do."""
        state = self._states.get(target)
        if state is not None and state.probe is who:
            state.probe = None

    def latency_s(self, target: Target, stream: bool) -> float | None:
        """How soon it has lately answered; None where that was not measured lately."""
        state = self._states.get(target)
        average_s, measured_at = (state.latencies.get(stream) if state is not None else None) or (0.0, float("-inf"))
        return average_s if self._clock() - measured_at <= FRESH_S else None

    @property
    def is_well(self) -> bool:
        """Whether no target rests."""
        return not self._resting

    @property
    def is_untroubled(self) -> bool:
        """Whether no target rests and no credential is known to be in trouble."""
        return not self._resting and not self._credentials

    def resting(self) -> list[Target]:
        """The targets that rest, or are being tried after a rest."""
        return list(self._resting)

    def forget(self, backends: set[str]) -> None:
        """Forgets all about backends that are not what they were."""
        for target in [one for one in self._states if one.backend in backends]:
            self._drop(target)
        self._credentials = {key: until for key, until in self._credentials.items() if key[0] not in backends}

    def _new(self, target: Target) -> _State:
        if len(self._states) >= MOST_TARGETS:
            self._drop(next(iter(self._states)))
        state = self._states[target] = _State()
        return state

    def _drop(self, target: Target) -> None:
        del self._states[target]
        self._resting.discard(target)

    def _set_rest(self, target: Target, state: _State, until: float) -> None:
        state.rests_until = until
        (self._resting.add if until else self._resting.discard)(target)

    # ── a credential ──

    def credentials(self, backend: str, count: int) -> Sequence[int]:
        """The indices of a backend's credentials: those that work as they stand, then those that lately did not."""
        if count == 1 or not self._credentials:
            return range(count)
        now = self._clock()
        return sorted(range(count), key=lambda i: max(self._credentials.get((backend, i), 0.0) - now, 0.0))

    def credential_failed(self, backend: str, credential: int, error: PluggablyError) -> None:
        """Puts a credential behind its provider's others, where the error is about it."""
        if isinstance(error, BackendAuthenticationFailed | BackendQuotaExhausted):
            rest_s = REFUSED_CREDENTIAL_S
        elif isinstance(error, BackendRateLimited):
            asked_s = error.retry_after_s
            rest_s = min(LIMITED_CREDENTIAL_S if asked_s is None else asked_s, LONGEST_LIMIT_S)
        else:
            return
        self._credentials[backend, credential] = self._clock() + rest_s

    def credential_worked(self, backend: str, credential: int) -> None:
        if self._credentials:
            self._credentials.pop((backend, credential), None)


def _is_the_targets(error: PluggablyError) -> bool:
    """Whether a failure says something about the target, and not about the request or the credential."""
    return isinstance(error, BackendError) and not isinstance(
        error, BackendAuthenticationFailed | BackendQuotaExhausted | BackendRateLimited | BackendRejected
    )
