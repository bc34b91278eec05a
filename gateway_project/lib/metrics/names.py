"""Name all metrics in one place: what is counted together, and what each of it is called outside.

A table counts what belongs to one set of labels in one row of numbers. A family is what Prometheus gets to
see of it: a column, several columns told apart by a further label, or a histogram. Values of labels are
rows that the operator made, or words of a closed set; all else is `other`. Never a key, user, request, path
or text of an error: those are in the ledger.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

OTHER = "other"
NANO = 1e-9

# Upper bounds of buckets, in seconds and in tokens.
REQUEST_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0)
FIRST_TOKEN_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2)
OVERHEAD_SECONDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0)
# The conventions of OpenTelemetry for generative AI name these.
GEN_AI_SECONDS = tuple(0.01 * 2**n for n in range(14))
GEN_AI_TOKENS = tuple(float(4**n) for n in range(14))

# The ledger's classes of tokens, in its order (tenants/token_classes.py; a test compares them).
TOKENS = (
    "input_fresh", "input_audio", "cache_read", "cache_write", "cache_write_long",
    "output_visible", "output_audio", "output_reasoning",
)  # fmt: skip


class Columns(Struct, frozen=True):
    """The numbers of a row: first histograms, each a count per bucket and a sum, then counters."""

    histograms: tuple[tuple[str, tuple[float, ...]], ...] = ()
    counters: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Return a name for each number, by which a file of another version is read."""
        found = [
            f"{name} {end}"
            for name, bounds in self.histograms
            for end in (*(f"<={bound:g}" for bound in bounds), "<=inf", "sum")
        ]
        return (*found, *self.counters)


class Table(Struct, frozen=True):
    """A kind of row: its labels, and the numbers that are counted for them."""

    name: str
    labels: tuple[str, ...]
    columns: Columns

    @property
    def series(self) -> int:
        """Return how many lines one row becomes."""
        histograms = sum(len(bounds) + 3 for _, bounds in self.columns.histograms)
        return histograms + len(self.columns.counters)


Kind = Literal["counter", "gauge", "histogram"]


class Family(Struct, frozen=True):
    """A metric as Prometheus sees it.

    table   where it is counted; empty for what is found out when somebody asks
    column  a counter's or a histogram's; for several counters each with the value it has in `spread`
    scale   what a number is multiplied by
    view    empty, or the name of the setting that asks for it
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    table: str = ""
    column: str = ""
    spread: tuple[str, ...] = ()
    scale: float = 1
    view: str = ""

    @property
    def all_labels(self) -> tuple[str, ...]:
        return (*self.labels, SPREAD[self.name]) if self.spread else self.labels


SPREAD = {"tollgate_tokens_total": "class", "tollgate_tenant_tokens_total": "class"}

REQUESTS = Table("requests", ("route", "alias", "status"), Columns(counters=("count",)))
SECONDS = Table("seconds", ("route", "alias"), Columns(histograms=(("request", REQUEST_SECONDS),)))
OVERHEAD = Table("overhead", ("route",), Columns(histograms=(("overhead", OVERHEAD_SECONDS),)))
CALLS = Table(
    "calls",
    ("alias", "provider"),
    Columns(
        histograms=(("first token", FIRST_TOKEN_SECONDS),),
        counters=(*TOKENS, "cost", "charge"),
    ),
)
ATTEMPTS = Table("attempts", ("provider", "outcome"), Columns(counters=("count",)))
ERRORS = Table("errors", ("code",), Columns(counters=("count",)))
LIMITS = Table("limits", ("limit",), Columns(counters=("count",)))
GUARDRAILS = Table("guardrails", ("guardrail", "action"), Columns(counters=("count",)))
CACHE = Table("cache", ("alias", "result"), Columns(counters=("count",)))
INGESTED = Table("ingested", ("result",), Columns(counters=("count",)))
TENANTS = Table("tenants", ("tenant",), Columns(counters=("requests", *TOKENS, "charge")))
GEN_AI_CALLS = Table(
    "gen_ai calls",
    ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"),
    Columns(histograms=(("duration", GEN_AI_SECONDS), ("first token", GEN_AI_SECONDS))),
)
GEN_AI_USAGE = Table(
    "gen_ai usage",
    (*GEN_AI_CALLS.labels, "gen_ai_token_type"),
    Columns(histograms=(("tokens", GEN_AI_TOKENS),)),
)
TABLES = (
    REQUESTS, SECONDS, OVERHEAD, CALLS, ATTEMPTS, ERRORS, LIMITS, GUARDRAILS, CACHE, TENANTS,
    GEN_AI_CALLS, GEN_AI_USAGE, INGESTED,
)  # fmt: skip

TENANTS_VIEW, GEN_AI_VIEW = "TOLLGATE_METRICS_TENANTS", "TOLLGATE_METRICS_GEN_AI"

# What the conventions call them today; they are about to change, so they stand here and nowhere else.
GEN_AI = (
    Family(
        "gen_ai_client_token_usage", "histogram", "Tokens of calls to upstreams.",
        GEN_AI_USAGE.labels, "gen_ai usage", "tokens", view=GEN_AI_VIEW,
    ),
    Family(
        "gen_ai_client_operation_duration_seconds", "histogram", "Time of calls to upstreams.",
        GEN_AI_CALLS.labels, "gen_ai calls", "duration", view=GEN_AI_VIEW,
    ),
    Family(
        "gen_ai_client_operation_time_to_first_chunk_seconds", "histogram",
        "Time to the first output of streamed calls to upstreams.",
        GEN_AI_CALLS.labels, "gen_ai calls", "first token", view=GEN_AI_VIEW,
    ),
)  # fmt: skip

COUNTED = (
    Family(
        "tollgate_requests_total", "counter",
        "Requests to the API's doors by how they ended: completed, incomplete, failed, refused, "
        "cancelled, client_gone or replayed.",
        REQUESTS.labels, "requests", "count",
    ),
    Family(
        "tollgate_request_seconds", "histogram",
        "Time from the admission of a request to its end.",
        SECONDS.labels, "seconds", "request",
    ),
    Family(
        "tollgate_time_to_first_token_seconds", "histogram",
        "Time from the admission of a request to the first output of a stream.",
        CALLS.labels, "calls", "first token",
    ),
    Family(
        "tollgate_overhead_seconds", "histogram",
        "The gateway's own share of a call's time: before it was sent, and after its answer came.",
        OVERHEAD.labels, "overhead", "overhead",
    ),
    Family(
        "tollgate_tokens_total", "counter", "Tokens of calls to upstreams, by the ledger's classes.",
        CALLS.labels, "calls", "", TOKENS,
    ),
    Family(
        "tollgate_cost_dollars_total", "counter", "What calls cost the operator.",
        CALLS.labels, "calls", "cost", scale=NANO,
    ),
    Family(
        "tollgate_charge_dollars_total", "counter", "What tenants are charged for calls.",
        CALLS.labels, "calls", "charge", scale=NANO,
    ),
    Family(
        "tollgate_attempts_total", "counter",
        "Calls to upstreams by how they ended: completed, incomplete, cancelled, client_gone, or the "
        "code of the error.",
        ATTEMPTS.labels, "attempts", "count",
    ),
    Family(
        "tollgate_errors_total", "counter", "Requests that ended with an error, by its code.",
        ERRORS.labels, "errors", "count",
    ),
    Family(
        "tollgate_limit_refusals_total", "counter",
        "Requests to the API's doors that a limit or a budget refused.",
        LIMITS.labels, "limits", "count",
    ),
    Family(
        "tollgate_guardrail_total", "counter", "What guardrails of the platform did.",
        GUARDRAILS.labels, "guardrails", "count",
    ),
    Family(
        "tollgate_cache_total", "counter",
        "Requests to aliases that keep answers: hit, miss, refresh or off.",
        CACHE.labels, "cache", "count",
    ),
    Family(
        "tollgate_ingested_total", "counter",
        "What ingesters made of this host's spools: booked, abandoned (booked as a call that was cut off)"
        ", set_aside (a record that could not be booked), unreadable (a look at a spool that failed).",
        INGESTED.labels, "ingested", "count",
    ),
    Family(
        "tollgate_tenant_requests_total", "counter", "Requests of the largest tenants.",
        TENANTS.labels, "tenants", "requests", view=TENANTS_VIEW,
    ),
    Family(
        "tollgate_tenant_tokens_total", "counter", "Tokens of the largest tenants.",
        TENANTS.labels, "tenants", "", TOKENS, view=TENANTS_VIEW,
    ),
    Family(
        "tollgate_tenant_charge_dollars_total", "counter", "What the largest tenants are charged.",
        TENANTS.labels, "tenants", "charge", scale=NANO, view=TENANTS_VIEW,
    ),
    *GEN_AI,
)  # fmt: skip

# What is counted by each process beside its tables.
DROPPED = Family(
    "tollgate_metrics_dropped_total", "counter",
    "What was not counted, because a process had as many series as it may.",
)  # fmt: skip

FOUND = (
    Family("tollgate_build_info", "gauge", "1, with the versions.", ("version", "python")),
    Family("tollgate_processes", "gauge", "Processes of this host that count.", ("kind",)),
    Family(
        "tollgate_ready", "gauge",
        "1 if every worker of this host finds this in order: database, spool, accepting.", ("check",),
    ),
    Family(
        "tollgate_in_flight", "gauge",
        "Running calls: request, stream, socket, background; waiting: for the answer of another.",
        ("kind",),
    ),
    Family(
        "tollgate_circuit_state", "gauge",
        "Circuits that have been open: 0 closed, 1 may be tried again, 2 open.",
        ("provider", "model", "scope"),
    ),
    Family(
        "tollgate_process_cpu_seconds_total", "counter",
        "Processor time of a process; begins anew with the process.", ("process",),
    ),
    Family("tollgate_process_resident_bytes", "gauge", "Memory of a process.", ("process",)),
    Family(
        "tollgate_process_start_time_seconds", "gauge", "When a process began, in Unix time.",
        ("process",),
    ),
    Family("tollgate_spool_lag_bytes", "gauge", "What this host's spools hold that is not booked."),
    Family(
        "tollgate_database_up", "gauge",
        "1 if the database answered when it was asked last; without it what follows is left out.",
    ),
    Family(
        "tollgate_ledger_lag_seconds", "gauge",
        "How far the ledger is behind; of the whole installation.",
    ),
    Family(
        "tollgate_background_runs", "gauge",
        "Background responses that have not ended; of the whole installation.", ("state",),
    ),
    Family(
        "tollgate_webhook_deliveries_pending", "gauge",
        "Deliveries of webhooks that are to be made; of the whole installation, counted to 10,000.",
    ),
)  # fmt: skip

FAMILIES = (*COUNTED, DROPPED, *FOUND)
