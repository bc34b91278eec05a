"""Two tenants and a platform. Whatever is tenant B's carries the canary in every text it has."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, fields
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Model
from django.test import Client

from gateway_project.lib import clock
from gateway_project.lib.secret import Secret
from responses_api.models import (
    Conversation,
    Guardrail,
    GuardrailEvent,
    StoredResponse,
    WebhookDelivery,
    WebhookEndpoint,
)
from responses_api.webhooks import endpoints, events
from routing import credentials
from routing.models import Alias, AliasGrant, Credential, Provider, ProviderModel
from tenants.access.access import OPERATOR
from tenants.audit import chain
from tenants.billing import credits as prepaid
from tenants.billing import invoices, periods, rollups
from tenants.keys import api_tokens, keys
from tenants.managed.tables import UsageResource
from tenants.members import invitations, roles
from tenants.models import (
    ApiKey,
    ApiToken,
    AuditEvent,
    BillingDetails,
    BillingPeriod,
    Budget,
    CreditTransaction,
    CustomRole,
    IdentityProvider,
    Invitation,
    Invoice,
    LongTask,
    Membership,
    PlatformRole,
    PriceVersion,
    RateLimit,
    SupportSession,
    Tenant,
    UsageDay,
    UsageHour,
    UsageRow,
)
from tenants.prices import publishing
from tenants.prices.publishing import Subject
from tenants.prices.rating import Line
from tenants.reports import budgets
from tests.support import console_session, kept_rows, rows, snapshots, usage_rows
from tests.support.snapshots import Snapshot

CANARY = "zzcanary"
SECRET = "sk-upstream-secret-value-9876"
ROLES = ("owner", "admin", "developer", "billing", "viewer")


@dataclass(frozen=True, slots=True)
class Platform:
    """Routing's rows of one side; these of the platform."""

    provider: Provider
    credential: Credential
    model: ProviderModel
    alias: Alias
    price: PriceVersion
    guardrail: Guardrail
    details: BillingDetails

    def rows(self) -> list[Model]:
        """All rows that have a page."""
        return [getattr(self, field.name) for field in fields(self)]


@dataclass(frozen=True, slots=True)
class Side(Platform):
    """A tenant's rows."""

    tenant: Tenant
    member: Membership
    key: ApiKey
    token: ApiToken
    budget: Budget
    limit: RateLimit
    response: StoredResponse
    conversation: Conversation
    endpoint: WebhookEndpoint
    delivery: WebhookDelivery
    usage: UsageRow
    hour: UsageHour
    day: UsageDay
    period: BillingPeriod
    invoice: Invoice
    movement: CreditTransaction
    role: CustomRole
    invitation: Invitation
    support: SupportSession
    event: AuditEvent
    identity: IdentityProvider
    finding: GuardrailEvent
    task: LongTask


@dataclass(frozen=True, slots=True)
class World:
    ours: Side
    theirs: Side
    platform: Platform


def make() -> World:
    """Return a new world. In an empty database, all but the first of a process are copies of its rows."""
    if User.objects.exists() or Tenant.objects.exists():
        return _made()
    if not _first:
        world = _made()
        _first.append((pickle.dumps(world), snapshots.take()))
        return world
    pattern, snapshot = _first[0]
    snapshots.put_back(snapshot)
    copied: World = pickle.loads(pattern)
    return copied


_first: list[tuple[bytes, Snapshot]] = []


def _made() -> World:
    world = World(ours=_side("ours"), theirs=_side(CANARY), platform=_platform("plat"))
    chain.join_pending()  # a test's transaction is never committed
    return world


def _side(name: str) -> Side:
    tenant = Tenant.objects.create(slug=name, name=f"{name} tenant")
    routes = _platform(name, tenant)
    key, _ = keys.create(tenant, f"{name} key")
    AliasGrant.objects.create(api_key=key, alias=routes.alias)
    user = User.objects.create_user(f"{name}-member", f"{name}@example.com")
    member = Membership.objects.create(tenant=tenant, user=user, role="developer")
    said, webhook, money = _said(name, tenant), _webhook(name, tenant), _money(name, tenant)
    return Side(
        routes.provider,
        routes.credential,
        routes.model,
        routes.alias,
        routes.price,
        routes.guardrail,
        routes.details,
        tenant,
        member,
        key,
        api_tokens.create(OPERATOR, f"{name} token", ["keys.view"], tenant=tenant)[0],
        _budget(name, tenant, key),
        RateLimit.objects.create(
            tenant=tenant, api_key=key, metric="requests", window="day", amount=1_000
        ),
        said[0],
        said[1],
        webhook[0],
        webhook[1],
        money[0],
        money[1],
        money[2],
        money[3],
        money[4],
        money[5],
        *_people(name, tenant),
        _event(tenant),
        IdentityProvider.objects.create(
            tenant=tenant,
            name=f"{name} login",
            issuer=f"https://login.{name}.example",
            client_id=f"{name}-client",
        ),
        _finding(name, tenant, routes.guardrail),
        _task(name, tenant),
    )


def _task(name: str, tenant: Tenant) -> LongTask:
    """An export that is done, as a member asked for it, with a file of nothing."""
    at = clock.now()
    asked = {
        "start": (at - timedelta(days=1)).isoformat(),
        "end": at.isoformat(),
        "alias": f"{name}-alias",
        "format": "csv",
        "hidden": sorted(UsageResource.OF_OPERATORS | UsageResource.OF_UPSTREAMS),
    }
    return LongTask.objects.create(
        kind="usage_export",
        tenant=tenant,
        state="done",
        asked_by=f"{name}-member",
        parameters=asked,
        bytes=20,
        next_at=None,
        finished_at=at,
        expires_at=at + timedelta(days=1),
    )


def _finding(name: str, tenant: Tenant, guardrail: Guardrail) -> GuardrailEvent:
    return GuardrailEvent.objects.create(
        tenant=tenant,
        request_id=f"req_{name}",
        guardrail_id=guardrail.pk,
        guardrail=guardrail.name,
        revision=1,
        stage="input",
        rule=f"{name}-rule",
        action="blocked",
    )


def _people(name: str, tenant: Tenant) -> tuple[CustomRole, Invitation, SupportSession]:
    """Make a role of the tenant's own, offered to somebody, and an operator who once acted as the tenant."""
    role = roles.create_role(OPERATOR, tenant, f"{name} role", ["keys.view"])
    invitation, _ = invitations.invite(
        OPERATOR, tenant, role, created_by=None, email=f"{name}-guest@example.com"
    )
    at = clock.now()
    session = SupportSession.objects.create(
        tenant=tenant, operator_name="somebody", role="viewer", reason=f"{name} asked", ends_at=at
    )
    return role, invitation, session


def _event(tenant: Tenant) -> AuditEvent:
    event = AuditEvent.objects.filter(tenant=tenant, action="api_key.created").first()
    assert event is not None
    return event


def _said(name: str, tenant: Tenant) -> tuple[StoredResponse, Conversation]:
    response = kept_rows.response(tenant, said=f"{name} answer", model=f"{name}-model")
    return response, kept_rows.conversation(tenant, f"{name} question")


def _webhook(name: str, tenant: Tenant) -> tuple[WebhookEndpoint, WebhookDelivery]:
    endpoint, _ = endpoints.create(tenant, f"https://{name}.example/hook")
    events.enqueue(tenant.pk, f"resp_{name}", "completed")
    return endpoint, WebhookDelivery.objects.get(endpoint=endpoint)


def _money(
    name: str, tenant: Tenant
) -> tuple[UsageRow, UsageHour, UsageDay, BillingPeriod, Invoice, CreditTransaction]:
    """A finalized month with one call in it, paid from credit: the last one, because every month since the
    first call is closed with it."""
    at = clock.now().replace(day=1) - timedelta(days=15)
    row = usage_rows.usage(
        tenant,
        at,
        charges={"input_fresh": 50_000_000},
        alias=f"{name}-alias",
        provider=f"{name}-provider",
        upstream_model=f"{name}-model",
        key_public_id=name[:10],
        end_user=f"{name}-user",
        tags={"team": name},
        reason=f"{name} reason",
    )
    rollups.recompute_dirty()
    movement = prepaid.grant(tenant.pk, 3, f"{name} order", reason=f"{name} reason")
    periods.advance(tenant)
    invoice = invoices.finalize(Invoice.objects.get(tenant=tenant).pk, f"{name}-member")
    assert invoice is not None
    assert invoice.period is not None
    sums = UsageHour.objects.get(tenant=tenant), UsageDay.objects.get(tenant=tenant)
    return row, sums[0], sums[1], invoice.period, invoice, movement


def _platform(name: str, tenant: Tenant | None = None) -> Platform:
    provider = rows.provider(
        "chat",
        f"https://{name}.example/v1",
        name=f"{name}-provider",
        tenant=tenant,
        auth_kind="bearer",
    )
    credential = credentials.create(
        provider, Secret(f"{name}-{SECRET}"), tenant=tenant, name=f"{name} credential"
    )
    alias = rows.alias(f"{name}-alias", (provider, f"{name}-model"), tenant=tenant)
    model = ProviderModel.objects.get(provider=provider)
    guardrail = Guardrail.objects.create(
        tenant=tenant,
        name=f"{name}-guardrail",
        kind="terms",
        config={"terms": [f"{name} word"]},
    )
    details = BillingDetails.objects.create(
        tenant=tenant,
        name=f"{name} legal name",
        address=f"{name} street",
        # A row with what is the operators' is not its people's to remove.
        **({"note": f"{name} note"} if tenant is None else {"reference": f"{name} reference"}),
    )
    return Platform(provider, credential, model, alias, _price(name, tenant), guardrail, details)


def _budget(name: str, tenant: Tenant, key: ApiKey) -> Budget:
    budget = Budget.objects.create(
        tenant=tenant, api_key=key, name=f"{name} budget", amount_nano=25_000_000_000
    )
    starts_at, ends_at = budgets.current_span(budget, clock.now())
    assert starts_at is not None
    budget.windows.create(starts_at=starts_at, ends_at=ends_at, spent_nano=1_500_000_000)
    return budget


def _price(name: str, tenant: Tenant | None) -> PriceVersion:
    subject = Subject.charge(f"{name}-alias", tenant)
    lines = [Line("input_fresh", 1_000_000), Line("output_visible", 4_000_000)]
    return publishing.set_price(subject, lines, f"{name} person", clock.now(), f"{name} list")


def staff(role: str, *tenants: Tenant) -> Client:
    """Somebody who signed in with this role in these tenants."""
    user = User.objects.create_user(f"{role}-staff")
    for tenant in tenants:
        Membership.objects.create(tenant=tenant, user=user, role=role)
    return signed_in(user)


def operator() -> Client:
    return signed_in(User.objects.create_superuser("operator"))


def auditor() -> Client:
    user = User.objects.create_user("auditor")
    PlatformRole.objects.create(user=user)
    return signed_in(user)


def signed_in(user: User) -> Client:
    """Return a browser with the session that a sign-in leaves, and nothing of what signing in records."""
    client = Client()
    session = console_session.sign_in(user, is_proven=True)
    client.cookies[settings.SESSION_COOKIE_NAME] = session.cookie
    return client
