"""Count requests and their calls as they end, for Prometheus (docs/observability.md).

Only what the operator made, or a closed set of words, becomes a label: a tenant's own aliases, providers and
guardrails are `other`, as is a model that nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gateway_project.lib.errors import GatewayError
from gateway_project.lib.metrics import names
from gateway_project.lib.metrics.names import OTHER
from gateway_project.lib.metrics.tables import Row, Tables, observe
from responses_api.accounting.metered_call import MeteredCall
from routing.route import Route
from tenants.token_classes import INPUT_CLASSES

# Sets of labels whose rows are at hand; those that are not are looked up.
MOST_AT_HAND = 20_000

_CALLS = names.CALLS.columns.names
_FIRST_TOKEN = _CALLS.index("first token <=0.05")
_TOKENS = _CALLS.index(names.TOKENS[0])
_COST, _CHARGE = _CALLS.index("cost"), _CALLS.index("charge")
_TENANT_TOKENS = names.TENANTS.columns.names.index(names.TOKENS[0])
_TENANT_CHARGE = names.TENANTS.columns.names.index("charge")
_DURATION = 0
_GEN_AI_FIRST = names.GEN_AI_CALLS.columns.names.index("first token <=0.01")
_INPUT = len(INPUT_CLASSES)
# What the conventions call a request for text, whatever format it comes in.
_OPERATION = "chat"

RequestRows = tuple[Row, Row, Row]
CallRows = tuple[Row, Row]


class CallMetrics:
    """The counts of one worker. `tenants` are those that are told apart, by id with their names; None: no
    tenant is counted by itself."""

    def __init__(self, tables: Tables, *, gen_ai: bool = False) -> None:
        self.tables = tables
        self.tenants: dict[int, str] | None = None
        self._gen_ai = gen_ai
        self._codes = frozenset(_codes(GatewayError))
        self._requests: dict[tuple[str, str, str], RequestRows] = {}
        self._calls: dict[tuple[str, str, str], CallRows] = {}

    def ended(
        self,
        door: str,
        route: Route | None,
        status: str,
        seconds: float,
        calls: Sequence[MeteredCall] = (),
        tenant_id: int | None = None,
    ) -> None:
        """Count a request with the calls that were made for it; `seconds` is 0 where no model was to answer
        it."""
        alias = OTHER if route is None or route.is_tenants else route.alias
        rows = self._requests.get((door, alias, status)) or self._request_rows(door, alias, status)
        if rows is not None:
            counted, took, overhead = rows
            counted[0] += 1
            if seconds:
                observe(took, names.REQUEST_SECONDS, seconds)
            for call in calls:
                self._count_call(alias, call, overhead)
            self.tables.is_changed = True
        if self.tenants is not None:
            self._count_tenant(self.tenants, tenant_id, calls)

    def _count_call(self, alias: str, call: MeteredCall, overhead: Row) -> None:
        record = call.record
        if record is None:
            return
        provider = OTHER if call.is_at_tenants else call.provider
        outcome = record.error_code or record.status if record.status == "failed" else record.status
        rows = self._calls.get((alias, provider, outcome))
        if rows is None and (rows := self._call_rows(alias, provider, outcome)) is None:
            return
        row, attempts = rows
        attempts[0] += 1
        if record.ttft_ms is not None and call.is_streamed:
            observe(row, names.FIRST_TOKEN_SECONDS, record.ttft_ms / 1000, _FIRST_TOKEN)
        for place, tokens in enumerate(record.tokens, _TOKENS):
            if tokens:
                row[place] += tokens
        row[_COST] += record.cost_nano
        row[_CHARGE] += call.charge_nano
        if record.overhead_us:
            observe(overhead, names.OVERHEAD_SECONDS, record.overhead_us / 1_000_000)
        if self._gen_ai:
            self._count_gen_ai(provider, call)

    def refused_by_limit(self, limit: str) -> None:
        """Count a request that a limit refused."""
        self.tables.count(names.LIMITS, limit)

    def failed(self, code: str) -> None:
        """Count a request that ended with an error."""
        self.tables.count(names.ERRORS, code if code in self._codes else OTHER)

    def guardrail(self, name: str, action: str, *, is_platforms: bool) -> None:
        """Count what a guardrail did."""
        self.tables.count(names.GUARDRAILS, name if is_platforms else OTHER, action)

    def cache(self, route: Route, result: str) -> None:
        """Count a request to an alias that keeps answers."""
        self.tables.count(names.CACHE, OTHER if route.is_tenants else route.alias, result)

    def cache_charge(self, route: Route, tenant_id: int, charge_nano: int) -> None:
        """Count what an answer from the cache is charged; no provider had a part in it."""
        if not charge_nano:
            return
        row = self.tables.row(names.CALLS, OTHER if route.is_tenants else route.alias, "")
        if row is not None:
            row[_CHARGE] += charge_nano
        if self.tenants is not None:
            row = self.tables.row(names.TENANTS, self.tenants.get(tenant_id, OTHER))
            if row is not None:
                row[_TENANT_CHARGE] += charge_nano

    def _request_rows(self, door: str, alias: str, status: str) -> RequestRows | None:
        """Find the rows, and have them at hand from now on; None if there is no room for all of them."""
        tables = self.tables
        counted = tables.row(names.REQUESTS, door, alias, status)
        took = tables.row(names.SECONDS, door, alias)
        overhead = tables.row(names.OVERHEAD, door)
        if counted is None or took is None or overhead is None:
            return None
        if len(self._requests) >= MOST_AT_HAND:
            self._requests.clear()
        rows = self._requests[door, alias, status] = (counted, took, overhead)
        return rows

    def _call_rows(self, alias: str, provider: str, outcome: str) -> CallRows | None:
        tables = self.tables
        row = tables.row(names.CALLS, alias, provider)
        is_known = outcome in self._codes or outcome in _STATUSES
        attempts = tables.row(names.ATTEMPTS, provider, outcome if is_known else OTHER)
        if row is None or attempts is None:
            return None
        if len(self._calls) >= MOST_AT_HAND:
            self._calls.clear()
        rows = self._calls[alias, provider, outcome] = (row, attempts)
        return rows

    def _count_tenant(
        self, tenants: dict[int, str], tenant_id: int | None, calls: Sequence[MeteredCall]
    ) -> None:
        if tenant_id is None:
            return
        row = self.tables.row(names.TENANTS, tenants.get(tenant_id, OTHER))
        if row is None:
            return
        row[0] += 1
        for call in calls:
            if call.record is not None:
                for number, tokens in enumerate(call.record.tokens):
                    row[_TENANT_TOKENS + number] += tokens
                row[_TENANT_CHARGE] += call.charge_nano

    def _count_gen_ai(self, provider: str, call: MeteredCall) -> None:
        record = call.record
        if record is None:
            return
        labels = (_OPERATION, provider, OTHER if call.is_at_tenants else call.upstream_model)
        row = self.tables.row(names.GEN_AI_CALLS, *labels)
        if row is not None:
            observe(row, names.GEN_AI_SECONDS, record.duration_ms / 1000, _DURATION)
            if record.ttft_ms is not None and call.is_streamed:
                observe(row, names.GEN_AI_SECONDS, record.ttft_ms / 1000, _GEN_AI_FIRST)
        sides = ("input", record.tokens[:_INPUT]), ("output", record.tokens[_INPUT:])
        for kind, tokens in sides:
            row = self.tables.row(names.GEN_AI_USAGE, *labels, kind)
            if row is not None:
                observe(row, names.GEN_AI_TOKENS, sum(tokens))


_STATUSES = frozenset({"completed", "incomplete", "failed", "cancelled", "client_gone"})


def _codes(error: type[GatewayError]) -> Iterable[str]:
    """Return the codes of an error and of all that derive from it."""
    code = getattr(error, "code", None)
    if isinstance(code, str):
        yield code
    for derived in error.__subclasses__():
        yield from _codes(derived)
