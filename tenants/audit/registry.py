"""List the models whose changes are recorded, and those whose changes are not, with the reason.

A model that a tenant owns, or that has a page in the console, stands in one of the two tables; a test fails
otherwise. A new model takes one line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.apps import apps
from django.db.models import Model


@dataclass(frozen=True, slots=True)
class Recorded:
    """A model whose changes are events, and how they are told.

    The values of `secret` fields are never written, only that they changed. A change of `noise` fields alone
    is no event. `plain` fields have names that sound secret and values that are not. `named_by` is the field
    that names a row whose own text also names a provider: not everybody who reads the log is shown those
    (`Tenant.shows_upstreams`).
    """

    name: str  # the object's type, and the first part of the action: `<name>.created`
    secret: frozenset[str] = frozenset()
    noise: frozenset[str] = frozenset()
    plain: frozenset[str] = frozenset()
    named_by: str = ""

    def ignores(self, fields: Iterable[str]) -> bool:
        """Tell whether a change of these fields is no event."""
        return self.noise.issuperset(fields)


def _only(*names: str) -> frozenset[str]:
    return frozenset(names)


RECORDED: Mapping[str, Recorded] = {
    "auth.Group": Recorded("group"),
    "auth.User": Recorded("user", secret=_only("password"), noise=_only("last_login")),
    "tenants.Tenant": Recorded("tenant", noise=_only("zone_switches")),
    "tenants.Membership": Recorded("membership"),
    "tenants.CustomRole": Recorded("role"),
    "tenants.Invitation": Recorded("invitation", secret=_only("digest", "pepper_id")),
    "tenants.PlatformRole": Recorded("platform_role"),
    "tenants.SupportSession": Recorded("support_session"),
    "tenants.IdentityProvider": Recorded("identity_provider", secret=_only("sealed_secret")),
    "tenants.IdentityDomain": Recorded("identity_domain"),
    # Who may come in as whom: a row made here opens an account.
    "tenants.ExternalIdentity": Recorded(
        "external_identity", noise=_only("shown_as", "last_used_at")
    ),
    "mfa.Authenticator": Recorded(
        "second_factor", secret=_only("data"), noise=_only("last_used_at")
    ),
    "tenants.TenantDeletion": Recorded(
        "tenant_deletion",
        noise=_only("counts", "sweeps", "next_sweep_at", "runner", "lease_until"),
    ),
    "tenants.ApiKey": Recorded("api_key", noise=_only("last_used_at")),
    # A secret's digest is made anew, under the newest pepper, when the key is used.
    "tenants.KeySecret": Recorded(
        "key_secret", secret=_only("digest"), noise=_only("digest", "pepper_id")
    ),
    "tenants.ApiToken": Recorded(
        "api_token", secret=_only("digest"), noise=_only("digest", "pepper_id", "last_used_at")
    ),
    "tenants.RateLimit": Recorded("rate_limit"),
    "tenants.Budget": Recorded("budget"),
    "tenants.PriceVersion": Recorded("price"),
    "tenants.PriceLine": Recorded("price_line", plain=_only("token_class", "pico_per_token")),
    "tenants.BillingDetails": Recorded("billing_details"),
    "tenants.Invoice": Recorded("invoice", noise=_only("canonical", "sha256")),
    "tenants.CreditTransaction": Recorded("credit"),
    "tenants.CreditEntry": Recorded("credit_entry"),
    "routing.Provider": Recorded("provider", plain=_only("allow_tenant_credentials")),
    "routing.Credential": Recorded("credential", secret=_only("sealed_secret"), named_by="name"),
    "routing.ProviderModel": Recorded("provider_model"),
    "routing.Alias": Recorded("alias"),
    "routing.Target": Recorded("target", named_by="alias"),
    "routing.AliasGrant": Recorded("alias_grant"),
    "responses_api.Guardrail": Recorded(
        "guardrail",
        secret=_only("sealed_secret"),
        noise=_only("revision"),
        plain=_only("secret_host"),
    ),
    "responses_api.WebhookEndpoint": Recorded(
        "webhook_endpoint",
        secret=_only("sealed_secret", "sealed_old_secret"),
        plain=_only("old_secret_until"),
    ),
}

_ANSWERED = "written by calls; that a person reads or deletes one is recorded by its page"
_BOOKED = "written by the ledger, which is only ever added to"
LEFT_OUT: Mapping[str, str] = {
    "tenants.ApiCreation": "notes which request made a row; the row is recorded",
    "tenants.AuditEvent": "the log itself",
    "tenants.BillingPeriod": "moved on by the calendar; its invoice is recorded, and that it was closed",
    "tenants.BudgetAlert": "sent when a threshold is reached",
    "tenants.BudgetLease": "taken and returned by calls",
    "tenants.BudgetWindow": "counted up by calls",
    "tenants.ConsoleSession": "written by every sign-in, which is recorded",
    "tenants.DirtyHour": "a mark for the sums",
    "tenants.InvoiceLine": "computed from the ledger for an invoice, which is recorded",
    "tenants.InvoiceSequence": "counted up by invoices",
    "tenants.RefusedRequest": _BOOKED,
    "tenants.RefusalHour": _BOOKED,
    "tenants.EndUserDay": _BOOKED,
    "tenants.EndUserHour": _BOOKED,
    "tenants.KeyDay": _BOOKED,
    "tenants.LongTask": "moved on by a job; that it is asked for, confirmed or discarded is recorded",
    "tenants.ModelDay": _BOOKED,
    "tenants.ModelHour": _BOOKED,
    "tenants.TaskPiece": "written by a task; that its file is taken is recorded",
    "tenants.UsageDay": _BOOKED,
    "tenants.UsageHour": _BOOKED,
    "tenants.UsageRow": _BOOKED,
    "routing.UpstreamTest": "the outcome of a test that somebody asked for; it changes nothing",
    "responses_api.CachedAnswer": "written by calls; nobody reads one, and a purge is a change of its alias",
    "responses_api.Conversation": _ANSWERED,
    "responses_api.ConversationItem": _ANSWERED,
    "responses_api.EventChunk": _ANSWERED,
    "responses_api.GuardrailEvent": "written by calls, of which a guardrail found something",
    "responses_api.IdempotentCall": _ANSWERED,
    "responses_api.Run": _ANSWERED,
    "responses_api.StoredCompletion": _ANSWERED,
    "responses_api.StoredItem": _ANSWERED,
    "responses_api.StoredResponse": _ANSWERED,
    "responses_api.WebhookDelivery": "written by events, and moved on by attempts to deliver them",
}

_by_model: dict[type[Model], Recorded] = {}


def of(model: type[Model]) -> Recorded | None:
    """Return how changes of this model are told; None where they are not, and before the apps are ready."""
    return _by_model.get(model)


def resolve() -> Mapping[type[Model], Recorded]:
    """Find the models by their names, once they are all known; what is recorded counts from then on."""
    _by_model.update({apps.get_model(label): told for label, told in RECORDED.items()})
    return _by_model
