"""A tenant with a row in every table that has rows of tenants, and words planted in all that people write.

A new model with a path to a tenant gets its rows here: the walls and the deletion are tried on all of them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import Model

from gateway_project.lib import clock, ids
from gateway_project.lib.secret import Secret
from responses_api.models import (
    CachedAnswer,
    Guardrail,
    GuardrailEvent,
    IdempotentCall,
    StoredCompletion,
)
from responses_api.webhooks import endpoints, events
from routing import credentials
from routing.models import Alias, AliasGrant, Provider, UpstreamTest
from tenants import revision
from tenants.access import ownership
from tenants.access.access import OPERATOR, access_of
from tenants.billing import credits as prepaid
from tenants.billing import invoices, periods, rollups
from tenants.keys import api_tokens, keys
from tenants.members import invitations, members, roles
from tenants.models import (
    ApiCreation,
    ApiKey,
    BillingDetails,
    Budget,
    BudgetAlert,
    BudgetLease,
    EndUserDay,
    EndUserHour,
    IdentityDomain,
    IdentityProvider,
    Invoice,
    InvoiceLine,
    LongTask,
    Membership,
    RateLimit,
    RefusalHour,
    RefusedRequest,
    SupportSession,
    TaskPiece,
    Tenant,
)
from tenants.prices import publishing
from tenants.prices.publishing import Subject
from tenants.prices.rating import Line
from tests.support import kept_rows, rows, snapshots, usage_rows

CENT = 10_000_000
PRICES = [Line("input_fresh", 1_000_000), Line("output_visible", 4_000_000)]


def planted(name: str) -> str:
    """The word that is in every text of this tenant which must not outlive it."""
    return f"zz{name}planted"


def named(name: str) -> str:
    """The word in its name and slug, which its finalized invoices keep."""
    return f"zz{name}named"


# The rows of whole tenants, by their names and the hour, since some are of now.
_made: dict[tuple[object, ...], snapshots.Snapshot] = {}


def put(*names: str) -> list[Tenant]:
    """Put these tenants into an empty database: they are made once, which takes many times as long."""
    of_hour = (*names, clock.now().replace(minute=0, second=0, microsecond=0))
    if of_hour not in _made:
        for name in names:
            make(name)
        _made[of_hour] = snapshots.take()
    else:
        with transaction.atomic():
            snapshots.put_back(_made[of_hour])
            revision.bump()
    by_name = {tenant.slug: tenant for tenant in Tenant.objects.all()}
    return [by_name[_slug(name)] for name in names]


def _slug(name: str) -> str:
    return f"{named(name)}-slug"


def make(name: str) -> Tenant:
    """Make the tenant; its name, alias and prices, which invoices name, have no planted word."""
    word = planted(name)
    tenant = Tenant.objects.create(
        slug=_slug(name),
        name=f"{named(name)} Inc.",
        created_at=clock.now() - timedelta(days=70),
    )
    key, _ = keys.create(tenant, f"{word} key")
    _people(tenant, word, key)
    _routes(tenant, name, word, key)
    _limits(tenant, word, key)
    _refused(tenant, word, key)
    _guarded(tenant, word, key)
    _said(tenant, word)
    _told(tenant, word)
    _exported(tenant, word)
    _money(tenant, name, word, key)
    return tenant


def _exported(tenant: Tenant, word: str) -> None:
    task = LongTask.objects.create(
        kind="usage_export",
        tenant=tenant,
        state="done",
        asked_by=word,
        parameters={"alias": word},
        bytes=1,
    )
    TaskPiece.objects.create(task=task, number=0, content=word.encode())


def _people(tenant: Tenant, word: str, key: ApiKey) -> None:
    user = User.objects.create_user(f"{word}-user", f"{word}@example.com")
    Membership.objects.create(tenant=tenant, user=user, role="admin")
    _roles(tenant, word, user)
    _sign_in(tenant, word)
    ApiKey.objects.filter(pk=key.pk).update(created_by=user)
    for row in (key, tenant):
        LogEntry.objects.create(
            user=user,
            content_type=ContentType.objects.get_for_model(row),
            object_id=str(row.pk),
            object_repr=str(row),
            action_flag=CHANGE,
            change_message=word,
        )


def _roles(tenant: Tenant, word: str, user: User) -> None:
    role = roles.create_role(OPERATOR, tenant, f"{word} role", ["keys.view"])
    second = User.objects.create_user(f"{word}-second", f"{word}-second@example.com")
    members.add_member(OPERATOR, tenant, second, role)
    invitations.invite(OPERATOR, tenant, role, created_by=None, email=f"{word}-guest@example.com")
    SupportSession.objects.create(
        tenant=tenant, operator_name="somebody", role="viewer", reason=word, ends_at=clock.now()
    )
    token, _ = api_tokens.create(
        access_of(user), f"{word} token", ["keys.view"], tenant=tenant, maker_id=user.pk
    )
    ApiCreation.objects.create(token=token, key_digest=b"k" * 32, request_digest=b"r" * 32)


def _sign_in(tenant: Tenant, word: str) -> None:
    provider = IdentityProvider.objects.create(
        tenant=tenant, name=f"{word} login", issuer=f"https://{word}.example", client_id=word
    )
    IdentityDomain.objects.create(provider=provider, domain=f"{word}.example")


def _routes(tenant: Tenant, name: str, word: str, key: ApiKey) -> None:
    provider = rows.provider(
        "chat",
        f"https://{word}.example/v1",
        name=f"{name}-provider",
        tenant=tenant,
        auth_kind="bearer",
    )
    credentials.create(provider, Secret(f"sk-{word}"), tenant=tenant, name=f"{word} credential")
    UpstreamTest.objects.create(
        provider=provider, tested_at=clock.now(), ok=False, latency_ms=1, error=f"{word} refused"
    )
    alias = rows.alias(f"{name}-alias", (provider, "model"), tenant=tenant)
    AliasGrant.objects.create(api_key=key, alias=alias)
    platform, _ = Alias.objects.get_or_create(name="everybodys", tenant=None)
    Alias.objects.create(name=f"{word}-link", tenant=tenant, platform_alias=platform)
    shared, _ = Provider.objects.get_or_create(
        name="everybodys", tenant=None, protocol="chat", base_url="https://all.example/v1"
    )
    credentials.create(shared, Secret(f"sk-own-{word}"), tenant=tenant, name=f"{word} own")


def _limits(tenant: Tenant, word: str, key: ApiKey) -> None:
    budget = Budget.objects.create(
        tenant=tenant,
        api_key=key,
        name=f"{word} budget",
        amount_nano=25_000_000_000,
        alert_emails=[f"{word}@example.com"],
    )
    window = budget.windows.create(starts_at=clock.now(), spent_nano=1_500_000_000)
    BudgetLease.objects.create(window=window, spool=f"host.{tenant.pk}")
    BudgetAlert.objects.create(window=window, percent=50, spent_nano=1, sent_at=clock.now())
    RateLimit.objects.create(
        tenant=tenant, api_key=key, metric="requests", window="day", amount=1_000
    )


def _refused(tenant: Tenant, word: str, key: ApiKey) -> None:
    RefusedRequest.objects.create(
        id=ids.uuid7(),
        tenant=tenant,
        key_id=key.pk,
        key_public_id=key.public_id,
        at=clock.now(),
        route="chat",
        model=f"{word}-model",
        http_status=404,
        code="model_not_found",
        message=f"The model '{word}-model' does not exist.",
    )
    hour = clock.now().replace(minute=0, second=0, microsecond=0)
    for model in (EndUserHour, EndUserDay):
        model.objects.create(tenant=tenant, starts_at=hour, end_user=f"{word}-end-user")
    RefusalHour.objects.create(
        tenant=tenant,
        starts_at=hour,
        key_public_id=key.public_id,
        code="model_not_found",
        refusals=3,
    )


def _guarded(tenant: Tenant, word: str, key: ApiKey) -> None:
    row = Guardrail.objects.create(
        tenant=tenant,
        api_key=key,
        alias=Alias.objects.filter(tenant=tenant, platform_alias=None).first(),
        provider=Provider.objects.filter(tenant=tenant).first(),
        name=f"{word}-rule",
        kind="terms",
        config={"terms": [word]},
        url=f"https://{word}.example/check",
    )
    GuardrailEvent.objects.create(
        tenant=tenant,
        request_id="req_1",
        key_public_id=key.public_id,
        guardrail_id=row.pk,
        guardrail=row.name,
        revision=1,
        stage="input",
        surface="message",
        rule=word,
        action="blocked",
        digest=word,
    )


def _said(tenant: Tenant, word: str) -> None:
    first = kept_rows.response(tenant, said=f"{word} answer", model=f"{word}-model")
    kept_rows.response(tenant, said=f"{word} more", after=first, items=3)
    running = kept_rows.response(tenant, said=word, status="in_progress", background=True)
    run = kept_rows.run(running)
    run.chunks.update(events=f"data: {word}\n\n".encode())
    type(run).objects.filter(pk=run.pk).update(request=word.encode())
    kept_rows.conversation(tenant, f"{word} question", f"{word} reply")
    StoredCompletion.objects.create(
        id=ids.item_id("chatcmpl"),
        tenant=tenant,
        key_public_id="abcdefghij",
        model="m",
        metadata={"note": word},
        messages=word.encode(),
        body=word.encode(),
        expires_at=clock.now() + timedelta(days=30),
    )
    CachedAnswer.objects.create(
        tenant=tenant,
        key=ids.random_bytes(32),
        key_id=1,
        alias_id=1,
        generation=0,
        size=len(word),
        sealed_answer=f"v1.{word}",
        expires_at=clock.now() + timedelta(days=1),
    )
    IdempotentCall.objects.create(
        tenant=tenant,
        key_digest=ids.random_bytes(32),
        request_digest=ids.random_bytes(32),
        owner="host",
        lease_until=clock.now(),
        answer=word.encode(),
        headers={"x-note": word},
        expires_at=clock.now() + timedelta(days=1),
    )


def _told(tenant: Tenant, word: str) -> None:
    endpoint, _ = endpoints.create(tenant, f"https://{word}.example/hook")
    events.enqueue(tenant.pk, f"resp_{word}", "completed")
    endpoint.deliveries.update(last_error=f"{word} said no")


def _money(tenant: Tenant, name: str, word: str, key: ApiKey) -> None:
    """Two closed months: one with an invoice and a credit note, one with late usage of the first."""
    now = clock.now()
    last = now.replace(day=1) - timedelta(days=15)
    before = last.replace(day=1) - timedelta(days=15)
    fields: dict[str, Any] = {
        "alias": f"{name}-alias",
        "provider": f"{name}-provider",
        "key_id": key.pk,
        "key_public_id": key.public_id,
        "end_user": f"{word}-end-user",
        "tags": {f"{word}-tag": f"{word} value", "n": word},
        "requested_model": f"{word}-link",
    }
    for at in (before, last, last):
        usage_rows.usage(tenant, at, charges={"input_fresh": 50 * CENT}, **fields)
    rollups.recompute_dirty()
    BillingDetails.objects.create(tenant=tenant, name=f"{name} Inc.", tax_basis_points=1900)
    grant = prepaid.grant(tenant.pk, 30, "order 17")
    periods.advance(tenant)
    issued = list(Invoice.objects.filter(tenant=tenant).order_by("period__starts_at"))
    usage_rows.usage(tenant, before, charges={"input_fresh": 7 * CENT}, **fields)
    rollups.recompute_dirty()
    for invoice in issued[:1]:
        assert invoices.finalize(invoice.pk, "operator") is not None
    line = InvoiceLine.objects.filter(invoice=issued[0]).first()
    assert line is not None
    invoices.credit_note(issued[0].pk, {line.pk: 1}, "agreed", actor="operator")
    assert grant.uses.exists()
    subject = Subject.charge(f"{name}-alias", tenant)
    publishing.set_price(subject, PRICES, "operator", now, "list")


def rows_of(tenant: Tenant, model: type[Model]) -> list[Any]:
    """The tenant's rows of one model."""
    owner = ownership.lookup(ownership.paths(model)[0])
    return list(model._default_manager.filter(**{owner: tenant.pk}).order_by("pk"))
