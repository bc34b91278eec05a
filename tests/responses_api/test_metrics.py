"""Metrics of calls: each end of each request is counted once, under no name but the operator's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway_project.lib.metrics.exposition import render
from gateway_project.lib.metrics.names import GEN_AI_VIEW, TENANTS_VIEW
from gateway_project.lib.metrics.tables import Tables
from gateway_project.sandbox.faults import PREFIX
from responses_api.accounting.call_metrics import CallMetrics
from routing.models import Provider
from tenants.models import Budget, RateLimit
from tests.plugins.cases import cases
from tests.responses_api.accounting.conftest import price
from tests.responses_api.cache.conftest import keeps
from tests.support import guardrails, rows
from tests.support.client import ask
from tests.support.live import LiveGateway
from tests.support.patience import until
from tests.support.rows import Customer

Told = Callable[[], dict[str, float]]


def values(tables: Tables) -> dict[str, float]:
    """Return the numbers by name and labels."""
    views = frozenset({TENANTS_VIEW, GEN_AI_VIEW})
    found = render(tables.rows, tables.dropped, {}, views).decode().splitlines()
    pairs = (line.rpartition(" ") for line in found if not line.startswith("#"))
    return {name: float(number) for name, _, number in pairs}


@pytest.fixture
def metrics(gateway: LiveGateway) -> CallMetrics:
    """Metrics that begin with this test."""
    fresh = CallMetrics(Tables(), gen_ai=True)
    gateway.change(metrics=fresh)
    return fresh


@pytest.fixture
def told(gateway: LiveGateway, metrics: CallMetrics) -> Told:
    """The numbers, once no call runs any more."""

    def find() -> dict[str, float]:
        gateway.idle()
        return gateway.call(lambda: values(metrics.tables))

    return find


@cases("door", ["chat", "responses"])
@cases("stream", [False, True])
def test_a_call_is_counted_with_its_tokens_time_and_attempt(
    gateway: LiveGateway, acme: Customer, door: str, stream: bool
) -> None:
    metrics = CallMetrics(Tables(), gen_ai=True)
    gateway.change(metrics=metrics)  # for this case alone
    assert ask(gateway, door, acme, "sandbox-chat", stream=stream).status_code == 200
    gateway.idle()
    added = gateway.call(lambda: values(metrics.tables))
    lane = 'alias="sandbox-chat",provider="sandbox-chat"'
    assert (
        added[f'tollgate_requests_total{{route="{door}",alias="sandbox-chat",status="completed"}}']
        == 1
    )
    assert added[f'tollgate_request_seconds_count{{route="{door}",alias="sandbox-chat"}}'] == 1
    assert added[f'tollgate_overhead_seconds_count{{route="{door}"}}'] == 1
    assert added['tollgate_attempts_total{provider="sandbox-chat",outcome="completed"}'] == 1
    assert added[f'tollgate_tokens_total{{{lane},class="output_visible"}}'] > 0
    first = f"tollgate_time_to_first_token_seconds_count{{{lane}}}"
    assert added.get(first, 0) == int(stream)
    gen_ai = 'gen_ai_operation_name="chat",gen_ai_provider_name="sandbox-chat"'
    gen_ai += ',gen_ai_request_model="sandbox-1"'
    assert added[f"gen_ai_client_operation_duration_seconds_count{{{gen_ai}}}"] == 1
    assert added[f'gen_ai_client_token_usage_count{{{gen_ai},gen_ai_token_type="output"}}'] == 1


def test_an_attempt_that_failed_is_counted_beside_the_one_that_answered(
    gateway: LiveGateway, acme: Customer, told: Told
) -> None:
    broken = rows.provider("chat", gateway.sandbox.base_url, "broken")
    good = Provider.objects.get(name="sandbox-chat")
    rows.alias("both", (broken, f"{PREFIX}503"), (good, "sandbox-1"))
    gateway.catch_up()
    assert ask(gateway, "chat", acme, "both").status_code == 200
    found = told()
    assert found['tollgate_requests_total{route="chat",alias="both",status="completed"}'] == 1
    assert found['tollgate_attempts_total{provider="sandbox-chat",outcome="completed"}'] == 1
    failed = {
        name for name in found if name.startswith('tollgate_attempts_total{provider="broken"')
    }
    assert failed == {'tollgate_attempts_total{provider="broken",outcome="upstream_overloaded"}'}
    assert not [name for name in found if name.startswith("tollgate_errors_total")]


def test_a_model_that_nobody_knows_is_other_however_it_is_called(
    gateway: LiveGateway, acme: Customer, told: Told
) -> None:
    for model in ("secret-project", "another", "sandbox-chat/../x"):
        assert ask(gateway, "chat", acme, model).status_code == 404
    found = told()
    assert found['tollgate_requests_total{route="chat",alias="other",status="refused"}'] == 3
    assert found['tollgate_errors_total{code="model_not_found"}'] == 3
    assert not [name for name in found if "secret-project" in name]


def test_a_tenants_own_alias_and_provider_are_named_to_nobody(
    gateway: LiveGateway, acme: Customer, told: Told
) -> None:
    url = gateway.sandbox.base_url
    own = rows.provider("chat", url, "acmes-provider", tenant=acme.tenant)
    rows.alias("acmes-alias", (own, "acmes-model"), tenant=acme.tenant)
    gateway.catch_up()
    assert ask(gateway, "chat", acme, "acmes-alias").status_code == 200
    found = told()
    assert not [name for name in found if "acmes" in name]
    assert found['tollgate_requests_total{route="chat",alias="other",status="completed"}'] == 1
    assert found['tollgate_attempts_total{provider="other",outcome="completed"}'] == 1


def test_who_is_no_customer_is_counted_too(
    gateway: LiveGateway, acme: Customer, told: Told
) -> None:
    another = "y" if acme.secret.endswith("x") else "x"
    stranger = Customer(acme.tenant, acme.key, acme.secret[:-1] + another)
    assert ask(gateway, "chat", stranger, "sandbox-chat").status_code == 401
    found = told()
    assert found['tollgate_requests_total{route="chat",alias="other",status="refused"}'] == 1
    assert found['tollgate_errors_total{code="invalid_api_key"}'] == 1


def test_what_a_limit_refuses_is_counted_by_the_limit(
    gateway: LiveGateway, acme: Customer, told: Told
) -> None:
    fields = {"metric": "requests", "amount": 1, "window": "day"}
    RateLimit.objects.create(tenant=acme.tenant, api_key=acme.key, **fields)
    gateway.catch_up()
    statuses = [ask(gateway, "chat", acme, "sandbox-chat").status_code for _ in range(2)]
    assert statuses == [200, 429]
    assert told()['tollgate_limit_refusals_total{limit="key_requests"}'] == 1


def test_what_a_budget_refuses_is_no_failed_call_and_alarms_nobody(
    gateway: LiveGateway, acme: Customer, told: Told
) -> None:
    price("sandbox-chat", "sandbox-1")
    Budget.objects.create(tenant=acme.tenant, name="tiny", amount_nano=10, period="total")
    gateway.catch_up()
    assert ask(gateway, "chat", acme, "sandbox-chat").status_code == 429
    found = told()
    assert found['tollgate_limit_refusals_total{limit="budget"}'] == 1
    ended = [name for name in found if name.startswith("tollgate_requests_total")]
    assert ended == ['tollgate_requests_total{route="chat",alias="sandbox-chat",status="refused"}']


def test_tenants_are_told_apart_only_as_far_as_asked_for(
    gateway: LiveGateway, acme: Customer, metrics: CallMetrics, told: Told
) -> None:
    other = rows.customer("hidden")
    ask(gateway, "chat", acme, "sandbox-chat")
    assert not [name for name in told() if "tenant" in name]
    metrics.tenants = {acme.tenant.pk: acme.tenant.slug}
    for customer in (acme, acme, other):
        assert ask(gateway, "chat", customer, "sandbox-chat").status_code == 200
    found = told()
    assert found['tollgate_tenant_requests_total{tenant="acme"}'] == 2
    assert found['tollgate_tenant_requests_total{tenant="other"}'] == 1
    assert not [name for name in found if "hidden" in name]


def test_answers_from_the_cache_are_counted_as_such(
    gateway: LiveGateway, acme: Customer, metrics: CallMetrics, told: Told
) -> None:
    price("sandbox-chat", "sandbox-1")
    keeps("sandbox-chat", cache_charge_percent=50)
    metrics.tenants = {acme.tenant.pk: acme.tenant.slug}
    gateway.catch_up()
    for _ in range(3):
        assert ask(gateway, "chat", acme, "sandbox-chat", temperature=0).status_code == 200
    found = told()
    assert found['tollgate_cache_total{alias="sandbox-chat",result="miss"}'] == 1
    assert found['tollgate_cache_total{alias="sandbox-chat",result="hit"}'] == 2
    assert found['tollgate_attempts_total{provider="sandbox-chat",outcome="completed"}'] == 1
    assert (
        found['tollgate_requests_total{route="chat",alias="sandbox-chat",status="completed"}'] == 3
    )
    made = found['tollgate_charge_dollars_total{alias="sandbox-chat",provider="sandbox-chat"}']
    given = found['tollgate_charge_dollars_total{alias="sandbox-chat"}']
    assert made == pytest.approx(given)  # two at half the price
    assert found['tollgate_tenant_charge_dollars_total{tenant="acme"}'] == pytest.approx(2 * made)
    assert made > 0


def test_guardrails_of_the_platform_are_named_and_those_of_tenants_are_not(
    gateway: LiveGateway, acme: Customer
) -> None:
    guardrails.guardrail("of-the-platform")
    guardrails.guardrail(
        "of-acme", config={"terms": ["secret"]}, action="monitor", tenant=acme.tenant
    )
    gateway.catch_up()
    tables = gateway.worker.services.metrics.tables  # those of the worker's own guardrails
    assert ask(gateway, "chat", acme, "sandbox-chat", "forbidden").status_code == 400
    assert ask(gateway, "chat", acme, "sandbox-chat", "secret").status_code == 200

    def is_counted(labels: str) -> bool:
        return bool(
            gateway.call(lambda: values(tables)).get(f"tollgate_guardrail_total{{{labels}}}")
        )

    until(lambda: is_counted('guardrail="of-the-platform",action="blocked"'))
    until(lambda: is_counted('guardrail="other",action="monitored"'))
    assert not [name for name in gateway.call(lambda: values(tables)) if "of-acme" in name]


def test_running_calls_are_counted_by_how_their_clients_wait(gateway: LiveGateway) -> None:
    class Call:
        def __init__(self, number: int, **fields: Any) -> None:
            self.request_id = str(number)
            vars(self).update(fields)

        def interrupt(self, why: object) -> None: ...

    from responses_api.process.registry import Registry  # noqa: PLC0415

    registry = Registry()
    for number, fields in enumerate(({"channel": "stream"}, {"channel": "stream"}, {})):
        registry.add(Call(number, **fields))
    assert registry.count_by_channel() == {"stream": 2, "waiting": 1}
