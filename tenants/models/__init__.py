"""The tables of tenants: who they are, what they may spend, and what they spent."""

from tenants.models.accounts import (
    ApiKey,
    KeySecret,
    Membership,
    Tenant,
    default_scopes,
    new_key_id,
)
from tenants.models.billing import (
    BillingPeriod,
    CreditEntry,
    CreditTransaction,
    Invoice,
    InvoiceLine,
    InvoiceSequence,
    RetentionHorizon,
)
from tenants.models.budgets import Budget, BudgetAlert, BudgetLease, BudgetWindow
from tenants.models.limits import RateLimit
from tenants.models.operations import Heartbeat, KeyFingerprint
from tenants.models.prices import PriceLine, PriceVersion
from tenants.models.rollups import DirtyHour, UsageDay, UsageHour
from tenants.models.usage import SpoolPosition, UsageRow
from tenants.revision import Revision

__all__ = [
    "ApiKey",
    "BillingPeriod",
    "Budget",
    "BudgetAlert",
    "BudgetLease",
    "BudgetWindow",
    "CreditEntry",
    "CreditTransaction",
    "DirtyHour",
    "Heartbeat",
    "Invoice",
    "InvoiceLine",
    "InvoiceSequence",
    "KeyFingerprint",
    "KeySecret",
    "Membership",
    "PriceLine",
    "PriceVersion",
    "RateLimit",
    "RetentionHorizon",
    "Revision",
    "SpoolPosition",
    "Tenant",
    "UsageDay",
    "UsageHour",
    "UsageRow",
    "default_scopes",
    "new_key_id",
]
