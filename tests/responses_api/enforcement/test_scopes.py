"""Guardrails hold together: a lower level adds to a higher one and takes nothing away."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, ValidationError

from responses_api.enforcement.managed import GUARDRAILS
from responses_api.models import Guardrail
from routing.models import Alias
from tenants import managed
from tenants.access.access import OPERATOR, access_as
from tenants.keys import keys
from tests.support import guardrails, rows
from tests.support.client import ask
from tests.support.live import LiveGateway
from tests.support.patience import until
from tests.support.rows import Customer


def asked(gateway: LiveGateway, who: Customer, text: str, model: str = "sandbox-chat") -> int:
    return ask(gateway, "chat", who, model, text).status_code


def words(name: str, word: str, **fields: Any) -> Guardrail:
    return guardrails.guardrail(name, config={"terms": [word]}, **fields)


def test_platform_tenant_alias_and_key_hold_together(
    gateway: LiveGateway, acme: Customer, bob: Customer
):
    alias = Alias.objects.get(name="sandbox-chat", tenant=None)
    words("p", "platformword")
    words("t", "tenantword", tenant=acme.tenant)
    words("a", "aliasword", tenant=acme.tenant, alias=alias)
    words("k", "keyword", tenant=acme.tenant, api_key=acme.key)
    words("off", "offword", tenant=acme.tenant, enabled=False)
    second, secret = keys.create(acme.tenant, "second")
    colleague = Customer(acme.tenant, second, secret.reveal())
    expected = {
        "platformword": (400, 400, 400, 400),
        "tenantword": (400, 200, 400, 400),
        "aliasword": (400, 200, 200, 400),
        "keyword": (400, 200, 400, 200),
        "offword": (200, 200, 200, 200),
    }
    for word, (own, of_bob, other_alias, other_key) in expected.items():
        assert asked(gateway, acme, word) == own, word
        assert asked(gateway, bob, word) == of_bob, word
        assert asked(gateway, acme, word, "sandbox-responses") == other_alias, word
        assert asked(gateway, colleague, word) == other_key, word


def test_a_link_is_held_by_the_guardrails_of_both_its_names(gateway: LiveGateway, acme: Customer):
    source = Alias.objects.get(name="sandbox-chat", tenant=None)
    link = Alias.objects.create(name="ours", tenant=acme.tenant, platform_alias=source)
    words("source", "sourceword", alias=source)
    words("link", "linkword", tenant=acme.tenant, alias=link)
    assert asked(gateway, acme, "sourceword", "ours") == 400
    assert asked(gateway, acme, "linkword", "ours") == 400
    assert asked(gateway, acme, "linkword") == 200


def test_the_strongest_of_all_counts_whoever_owns_it(gateway: LiveGateway, acme: Customer):
    words("ours", "shared", action="block")
    words("theirs", "shared", action="monitor", tenant=acme.tenant)
    assert asked(gateway, acme, "shared") == 400


def test_a_tenant_can_neither_change_nor_remove_nor_read_the_platforms(
    gateway: LiveGateway, acme: Customer
):
    row = words("ours", "platformword")
    owner = access_as(acme.tenant, "owner")
    with pytest.raises(PermissionDenied):
        managed.change(owner, row, {"enabled": False})
    with pytest.raises(PermissionDenied):
        managed.remove(owner, row)
    with pytest.raises((PermissionDenied, ValidationError)):
        managed.create(
            owner, Guardrail, {"tenant": None, "name": "x", "kind": "pii", "action": "monitor"}
        )
    assert {"config", "url", "provider"} <= GUARDRAILS.hidden(owner, row)
    own = managed.create(
        owner, Guardrail, {"tenant": acme.tenant, "name": "ours", "kind": "pii", "config": {}}
    ).row
    with pytest.raises(ValidationError):
        managed.change(owner, own, {"tenant": None})
    assert asked(gateway, acme, "platformword") == 400


def test_a_tenants_service_lies_behind_no_private_address_and_costs_the_platform_nothing(
    gateway: LiveGateway, acme: Customer
):
    owner = access_as(acme.tenant, "owner")
    closed: dict[str, Any] = {"secret": "sk-1", "allow_tenant_credentials": False}
    platforms = rows.provider("chat", "https://mod.example/v1", name="mod", **closed)
    given = {"tenant": acme.tenant, "name": "x", "kind": "webhook"}
    wrong = (
        {"url": "http://127.0.0.1:1/x"},
        {"url": "http://127.0.0.1:1/x", "allow_private_network": True},
        {"kind": "moderation", "provider": platforms.pk},
        {"url": ""},
        {"url": "https://a.example", "action": "mask", "parallel": True},
        {"kind": "moderation", "url": "https://a.example", "action": "mask"},
        {"kind": "terms", "url": "https://a.example", "config": {"terms": ["x"]}},
        {"kind": "terms", "config": {}},
        {"kind": "pattern", "config": {"patterns": [{"name": "a", "pattern": "a+"}]}},
        {"kind": "input_limits", "config": {"max_files": 1}, "stages": ["output"]},
        {"url": "https://a.example", "config": {"dialect": "morse"}},
        {"url": "https://a.example", "secret": "not a signing secret"},
    )
    for fields in wrong:
        with pytest.raises(ValidationError):
            pytest.fail(f"{managed.create(owner, Guardrail, {**given, **fields})} {fields}")
    made = managed.create(owner, Guardrail, {**given, "url": "https://a.example"})
    assert made.secret is not None
    assert made.secret.reveal().startswith("whsec_")


def test_changes_count_and_are_seen_at_once(gateway: LiveGateway, acme: Customer):
    assert asked(gateway, acme, "forbidden") == 200
    row = guardrails.guardrail("words")
    until(lambda: asked(gateway, acme, "forbidden") == 400)
    changed = managed.change(OPERATOR, row, {"action": "monitor"})
    assert changed.revision == row.revision + 1
    gateway.call(gateway.worker.forget)
    assert asked(gateway, acme, "forbidden") == 200
    Guardrail.objects.filter(pk=row.pk).update(config={"terms": "broken"}, action="block")
    gateway.call(gateway.worker.forget)
    # What cannot be used lets nothing pass by mistake.
    assert ask(gateway, "chat", acme, "sandbox-chat", "fine").status_code == 503
