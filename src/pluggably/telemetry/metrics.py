"""Every metric of the gateway, declared once. `docs/reference/metrics.md` is made from this table.

Labels are bounded: `backend` is a configured provider or a local model, `route` a template of the route table, `code`
one of the error codes. A model's name that a client made up is never a label.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from pluggably.telemetry.tally import Spread, Tally

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Seconds. From a cached local answer to a long reasoning run.
DURATION_BUCKETS = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
)


class Metrics:
    """One gateway's metrics, in a registry of their own, so that two gateways in one process do not mix."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.build = Gauge("pluggably_build_info", "The running version.", ["version"], registry=registry)
        self.requests = Tally(
            "pluggably_http_requests_total",
            "Requests answered, by route template and status.",
            ["route", "status"],
            registry,
        )
        self.request_duration = Spread(
            "pluggably_http_request_duration_seconds",
            "From the request's head to the answer's end.",
            ["route"],
            registry,
            DURATION_BUCKETS,
        )
        self.errors = Counter("pluggably_errors_total", "Errors told to clients, by code.", ["code"], registry=registry)
        self.generations = Tally(
            "pluggably_generations_total",
            "Generations that ended, by backend, modality and status.",
            ["backend", "modality", "status"],
            registry,
        )
        self.running = Gauge("pluggably_generations_running", "Generations that are running.", registry=registry)
        self.generation_duration = Spread(
            "pluggably_generation_duration_seconds",
            "From the generation's start to its end.",
            ["backend", "modality"],
            registry,
            DURATION_BUCKETS,
        )
        self.first_event = Spread(
            "pluggably_time_to_first_event_seconds",
            "From the generation's start to the backend's first output.",
            ["backend"],
            registry,
            DURATION_BUCKETS,
        )
        self.tokens = Tally(
            "pluggably_tokens_total",
            "Tokens, by backend and direction (input, cached_input, output, reasoning).",
            ["backend", "direction"],
            registry,
        )
        self.cost = Tally(
            "pluggably_cost_usd_total", "Cost of generations whose price is known.", ["backend"], registry
        )
        self.failed_attempts = Counter(
            "pluggably_failed_attempts_total",
            "Attempts that failed and were followed by another, by backend and code.",
            ["backend", "code"],
            registry=registry,
        )
        self.input_fetches = Counter(
            "pluggably_input_fetches_total",
            "URLs of requests that the gateway fetched itself, by outcome (fetched, cancelled, or an error's code).",
            ["outcome"],
            registry=registry,
        )
        self.resting = Gauge(
            "pluggably_resting_targets", "Targets that rest after failures, by backend.", ["backend"], registry=registry
        )
        self.reloads = Counter(
            "pluggably_config_reloads_total",
            "Times that a changed config file was read, by outcome (applied, wrong).",
            ["outcome"],
            registry=registry,
        )
        self.config_ok = Gauge(
            "pluggably_config_ok", "1 while the config file as it stands is the one in use, else 0.", registry=registry
        )
        self.workers = Gauge("pluggably_workers", "Local model processes, by state.", ["state"], registry=registry)
        self.worker_memory = Gauge(
            "pluggably_worker_memory_bytes",
            "Resident memory of local model processes.",
            ["model"],
            registry=registry,
        )
        self.queued = Gauge(
            "pluggably_queued_generations",
            "Generations that wait for a local model.",
            ["model"],
            registry=registry,
        )

    def render(self) -> bytes:
        return generate_latest(self.registry)
