"""Decide for every model with rows of tenants what a deletion does with them.

A new model gets one line here: in ERASED, where it stands before whatever it leads to; in DIGESTED; or in
KEPT, with the reason. tests/structure/test_deletion_plan.py says which line is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.apps import apps
from django.db.models import Model

from tenants.access import ownership


@dataclass(frozen=True, slots=True)
class Erased:
    """A model whose rows go.

    `by` is the lookup of their tenant, where the shortest has no index; `along` names rows that go in the
    same transaction because nothing else would find them: a model, and its link to these.
    """

    label: str
    by: str = ""
    along: tuple[str, str] | None = None

    @property
    def model(self) -> type[Model]:
        return apps.get_model(self.label)

    @property
    def lookup(self) -> str:
        return self.by or ownership.lookup(ownership.paths(self.model)[0])


# In this order: secrets first, then what runs, what was said, what is configured, and people last.
ERASED = (
    Erased("routing.Credential"),
    Erased("tenants.KeySecret"),
    Erased("responses_api.WebhookDelivery"),
    Erased("responses_api.WebhookEndpoint"),
    Erased("responses_api.EventChunk", by="run__tenant"),
    Erased("responses_api.Run", along=("responses_api.EventChunk", "run")),
    Erased("responses_api.StoredItem"),
    Erased("responses_api.StoredResponse"),
    Erased("responses_api.ConversationItem"),
    Erased("responses_api.Conversation"),
    Erased("responses_api.StoredCompletion"),
    Erased("responses_api.IdempotentCall"),
    Erased("responses_api.GuardrailEvent"),
    Erased("responses_api.Guardrail"),
    Erased("responses_api.CachedAnswer"),
    Erased("routing.AliasGrant"),
    Erased("routing.Target"),
    Erased("routing.Alias"),
    Erased("routing.ProviderModel"),
    Erased("routing.UpstreamTest"),
    Erased("routing.Provider"),
    Erased("tenants.TaskPiece", by="task__tenant"),
    Erased("tenants.LongTask"),
    Erased("tenants.RefusedRequest"),
    Erased("tenants.RefusalHour"),
    Erased("tenants.EndUserHour"),
    Erased("tenants.EndUserDay"),
    Erased("tenants.BudgetAlert"),
    Erased("tenants.BudgetLease"),
    Erased("tenants.BudgetWindow"),
    Erased("tenants.Budget"),
    Erased("tenants.RateLimit"),
    Erased("tenants.ApiKey"),
    Erased("tenants.ApiCreation"),
    Erased("tenants.ApiToken"),
    Erased("tenants.IdentityDomain"),
    Erased("tenants.IdentityProvider"),
    Erased("tenants.SupportSession"),
    Erased("tenants.Invitation"),
    Erased("tenants.Membership"),
    Erased("tenants.CustomRole"),
)

# Rows that stay, with columns replaced by keyed digests (digests.py).
DIGESTED = {"tenants.UsageRow": ("end_user", "tags", "requested_model", "tenant_slug")}

KEPT = {
    "tenants.Tenant": "the row that invoices name: a tombstone without a name, its slug free again",
    "tenants.AuditEvent": "the audit log is only ever added to; pruned by age (docs/audit.md)",
    "tenants.TenantDeletion": "says that it was deleted, when and by whom",
    "tenants.UsageHour": "sums of the ledger; no end user and no tag is in them",
    "tenants.UsageDay": "sums of the ledger; no end user and no tag is in them",
    "tenants.KeyDay": "sums of the ledger; no end user and no tag is in them",
    "tenants.ModelHour": "sums of the ledger; no end user and no tag is in them",
    "tenants.ModelDay": "sums of the ledger; no end user and no tag is in them",
    "tenants.BillingPeriod": "months that were or will be invoiced",
    "tenants.BillingDetails": "whom the invoices of its last months are addressed to",
    "tenants.InvoiceSequence": "the last number of its invoices",
    "tenants.Invoice": "finalized documents must be kept, and never change",
    "tenants.InvoiceLine": "lines of invoices, which name aliases and units",
    "tenants.CreditTransaction": "movements of money are only ever added to",
    "tenants.CreditEntry": "entries of movements of money",
    "tenants.PriceVersion": "what usage was charged by; a published price never changes",
    "tenants.PriceLine": "lines of prices, which never change either",
}
# Kept rows of which the console writes no history, and which may be very many.
NEVER_LOGGED = frozenset(
    {
        "tenants.UsageHour",
        "tenants.UsageDay",
        "tenants.KeyDay",
        "tenants.ModelHour",
        "tenants.ModelDay",
        "tenants.CreditEntry",
    }
)
